"""The description of the HTTP API as OpenAPI 3.1, made of the route tables and the types that their rows name.

The registry serves the file ``openapi.json`` beside this module, so that no function imports the tables of all; ``make
openapi`` writes it (``carbyne.wiring.openapi``).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from inspect import cleandoc
from typing import Any, Final

import msgspec

from carbyne.http.answers import Error
from carbyne.http.routes import JSON, Parameter, Route

Json = dict[str, Any]
Tables = Mapping[str, Sequence[Route[Any]]]
"""Function -> its routes."""

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
    "415": ("WrongType", "The body is of a type that is not read here"),
    "413": ("TooLarge", "The body or the answer is too large"),
    "422": ("Unprocessable", "What is asked for can't be computed, or would cost too much"),
    "503": ("Unavailable", "A part is away or throttled, or the tenant is over a limit; nothing was done for good"),
}
RETRY_AFTER: Final = {"description": "Seconds after which to send the request again", "schema": {"type": "integer"}}


def describe(tables: Tables) -> Json:
    """The whole document."""
    routes = [(function, route) for function, table in tables.items() for route in table]
    schema_of, schemas = _schemas(route for _, route in routes)
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


def _schemas(routes: Iterable[Route[Any]]) -> tuple[Mapping[int, Json], Json]:
    """Schema by id of each type that routes name, and what these refer to."""
    kinds: list[Any] = [Error]
    for route in routes:
        named = [kind for kind in (route.answer, route.body) if kind is not None]
        kinds += [*named, route.error, *(parameter.kind for parameter in route.parameters)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    cleaned = {name: _without_indent(schema) for name, schema in components.items()}
    return {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}, cleaned


def _without_indent(schema: Json) -> Json:
    """msgspec takes docstrings as they are: with their indent, which Python 3.13 removes and earlier ones keep."""
    return {key: cleandoc(value) if key == "description" else value for key, value in schema.items()}


def _operation(function: str, route: Route[Any], schema_of: Mapping[int, Json]) -> Json:
    refused = [each for each in REFUSALS if _may_answer(route, each) and (each != "422" or route.unprocessable)]
    return {
        "operationId": f"{route.method.lower()}{re.sub('[^A-Za-z0-9]+', '_', route.path).rstrip('_')}",
        "summary": route.summary,
        "tags": [function],
        **({} if route.permission else {"security": []}),
        "parameters": [*_of_path(route), *(_of_query(each, schema_of) for each in route.parameters)],
        **({} if route.body is None else {"requestBody": _body(route, schema_of)}),
        "responses": {
            **_answer(route, schema_of),
            **{status: _refused(route, status, schema_of) for status in refused},
        },
    }


def _refused(route: Route[Any], status: str, schema_of: Mapping[int, Json]) -> Json:
    """A refusal of the common form, or of one of its own besides."""
    name, about = REFUSALS[status]
    if route.error is Error:
        return {"$ref": f"#/components/responses/{name}"}
    schema = {"anyOf": [schema_of[id(route.error)], schema_of[id(Error)]]}
    return {**_refusal(status, about), "content": {"application/json": {"schema": schema}}}


def _may_answer(route: Route[Any], status: str) -> bool:
    limited = {
        "403": bool(route.permission),
        "404": bool(route.not_found) or "{" in route.path,
        "415": route.media != JSON,
    }
    return limited.get(status, True)


def _of_path(route: Route[Any]) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)\+?}", route.path)
    ]


def _of_query(parameter: Parameter, schema_of: Mapping[int, Json]) -> Json:
    schema = schema_of[id(parameter.kind)]
    described = {"name": parameter.name, "in": "query", "description": parameter.about, "schema": schema}
    return {**described, **({"required": True} if parameter.required else {})}


def _body(route: Route[Any], schema_of: Mapping[int, Json]) -> Json:
    return {"required": route.body is not Any, "content": {route.media: {"schema": schema_of[id(route.body)]}}}


def _answer(route: Route[Any], schema_of: Mapping[int, Json]) -> Json:
    headers = {name: {"description": about, "schema": {"type": "string"}} for name, about in route.headers.items()}
    described = {"description": route.summary, **({"headers": headers} if headers else {})}
    if route.answer is None:
        return {"204": described}
    form = {"schema": schema_of[id(route.answer)]} if route.answer_media == JSON else {}
    return {"200": {**described, "content": {route.answer_media: form}}}


def _refusal(status: str, about: str) -> Json:
    schema = {"$ref": "#/components/schemas/Error"}
    headers = {"headers": {"Retry-After": RETRY_AFTER}} if status == "503" else {}
    return {"description": about, **headers, "content": {"application/json": {"schema": schema}}}


def text(tables: Tables) -> str:
    """The document as the file ``openapi.json`` has it."""
    return msgspec.json.format(msgspec.json.encode(describe(tables)), indent=1).decode() + "\n"
