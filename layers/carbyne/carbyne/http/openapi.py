"""The description of the HTTP API as OpenAPI 3.1, made of the route tables, ``operations`` and the types they name.

``python -m carbyne.http.openapi`` prints it; what is served is the file ``openapi.json`` beside this module (``make
openapi``), so that no function imports all the others to say what they do.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from carbyne.http import answers, surface
from carbyne.http.operations import OPERATIONS, Operation, Parameter
from carbyne.http.routes import Route

Json = dict[str, Any]

VERSION: Final = "3.1.0"
ABOUT: Final = """Samples of hosts and services, and the registry of these, as Mackerel's API has them.
A URL may end in `?`. No answer is empty. docs/api.md says what the fields mean."""
SECURITY: Final = {
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Token` in the place of `Bearer` will do as well"},
    "basic": {"type": "http", "scheme": "basic", "description": "The key is the password, or the user"},
}
REFUSALS: Final = {
    "400": ("BadRequest", "Something in the request is not as it must be"),
    "403": ("Forbidden", "The API key is missing or unknown, or has no permission"),
    "404": ("NotFound", "There is no such thing, or no such path"),
    "413": ("TooLarge", "The body or the answer is too large"),
    "503": ("Unavailable", "A part is away or throttled, or the tenant is over a limit; nothing was done for good"),
}
RETRY_AFTER: Final = {"description": "Seconds after which to send the request again", "schema": {"type": "integer"}}


def describe() -> Json:
    """The whole document."""
    routes = [(function, route) for function, table in surface.TABLES.items() for route in table]
    schema_of, schemas = _schemas(OPERATIONS[route.handle] for _, route in routes)
    paths: dict[str, Json] = {}
    for function, route in routes:
        paths.setdefault(path_of(route), {})[route.method.lower()] = _operation(function, route, schema_of)
    return {
        "openapi": VERSION,
        "info": {"title": "Carbyne", "version": "v0", "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in SECURITY],
        "paths": paths,
        "components": {
            "securitySchemes": SECURITY,
            "responses": {name: _refusal(status, about) for status, (name, about) in REFUSALS.items()},
            "schemas": schemas,
        },
    }


def path_of(route: Route[Any]) -> str:
    """The path of a route as OpenAPI writes it, which has no ``{name+}``."""
    return route.path.replace("+}", "}")


def _schemas(operations: Iterable[Operation]) -> tuple[Mapping[int, Json], Json]:
    """Schema by id of each type that operations name, and what these refer to."""
    kinds: list[Any] = [answers.Error]
    for one in operations:
        kinds += [one.answer, *([] if one.body is None else [one.body]), *(each.kind for each in one.query)]
    found, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return {id(kind): schema for kind, schema in zip(kinds, found, strict=True)}, dict(components)


def _operation(function: str, route: Route[Any], schema_of: Mapping[int, Json]) -> Json:
    said = OPERATIONS[route.handle]
    refused = [status for status in REFUSALS if _may(status, route, said)]
    return {
        "operationId": f"{route.method.lower()}{re.sub('[^A-Za-z0-9]+', '_', route.path).rstrip('_')}",
        "summary": said.summary,
        "tags": [function],
        **({} if route.needs else {"security": []}),
        "parameters": [*_of_path(route), *(_of_query(each, schema_of) for each in said.query)],
        **({} if said.body is None else {"requestBody": _body(said, schema_of)}),
        "responses": {
            "200": _answer(said, schema_of),
            **{status: {"$ref": f"#/components/responses/{REFUSALS[status][0]}"} for status in refused},
        },
    }


def _may(status: str, route: Route[Any], said: Operation) -> bool:
    return {"403": bool(route.needs), "404": bool(said.unknown) or "{" in route.path}.get(status, True)


def _of_path(route: Route[Any]) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)\+?}", route.path)
    ]


def _of_query(one: Parameter, schema_of: Mapping[int, Json]) -> Json:
    described = {"name": one.name, "in": "query", "description": one.about, "schema": schema_of[id(one.kind)]}
    return {**described, **({"required": True} if one.required else {})}


def _body(said: Operation, schema_of: Mapping[int, Json]) -> Json:
    return {"required": said.body is not Any, "content": {"application/json": {"schema": schema_of[id(said.body)]}}}


def _answer(said: Operation, schema_of: Mapping[int, Json]) -> Json:
    headers = {name: {"description": about, "schema": {"type": "string"}} for name, about in said.headers.items()}
    content = {"application/json": {"schema": schema_of[id(said.answer)]}}
    return {"description": said.summary, **({"headers": headers} if headers else {}), "content": content}


def _refusal(status: str, about: str) -> Json:
    ours = {"$ref": "#/components/schemas/Error"}
    schema = {"anyOf": [ours, {"$ref": "#/components/schemas/Message"}]} if status == "404" else ours
    headers = {"headers": {"Retry-After": RETRY_AFTER}} if status == "503" else {}
    return {"description": about, **headers, "content": {"application/json": {"schema": schema}}}


def text() -> str:
    """The document as the file has it."""
    return msgspec.json.format(msgspec.json.encode(describe()), indent=1).decode() + "\n"


def main(_: Sequence[str]) -> int:
    """Print it."""
    sys.stdout.write(text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
