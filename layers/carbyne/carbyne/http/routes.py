"""Routes: one row says all of a call, for the dispatch, the permissions, the tests and the description of the API.

Each function has a table of rows, a constant beside its handlers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

from msgspec import Meta

from carbyne.core.limits import LIST_LIMIT_MAX, TIME_S_MAX
from carbyne.http.answers import Error
from carbyne.http.message import SKIPPED_HEADER, Request, Response, json_response, no_route
from carbyne.tenants.accounts import Accounts, Permission

Deps = TypeVar("Deps")
JSON: Final = "application/json"
Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[int, Meta(ge=-TIME_S_MAX, le=TIME_S_MAX)]


class Call(NamedTuple):
    """A request whose key was looked up; ``tenant`` is empty on a public route.

    ``parts``: the values of the path's ``{names}``.
    """

    request: Request
    tenant: str
    parts: Mapping[str, str]


class Parameter(NamedTuple):
    """A parameter of the query.  ``kind``: its type, a list if it may be repeated."""

    name: str
    kind: Any
    about: str
    required: bool = False


class Route(NamedTuple, Generic[Deps]):
    """``path``: as in template.yaml, ``/a/{b}`` or, where slashes may follow, ``/a/{b+}``.

    ``permission``: what the key must be allowed to do.  ``handler``: returns a value of the type ``answer``, which is
    encoded with status 200, or a Response where the answer has headers of its own; with None in its place that is a 204
    without a body.  ``answer_media``: of the 200; its form is described if that is JSON.  ``body``: type of the
    request's body, None without one; ``media``: its media type, which a request must name if it is not JSON (415).
    ``headers``: of the answer, name -> meaning.  ``not_found``: what a 404 means; a route with parts in its path may
    answer 404 even if this is empty.

    ``unprocessable``: what a 422 means.  ``error``: form of its refusals; one that comes before the route is found is
    an ``Error`` nonetheless.
    """

    method: str
    path: str
    permission: Permission
    summary: str
    answer: Any
    handler: Callable[[Deps, Call], object]
    body: Any = None
    parameters: Sequence[Parameter] = ()
    unprocessable: str = ""
    error: Any = Error
    headers: Mapping[str, str] = {}
    not_found: str = ""
    media: str = JSON
    answer_media: str = JSON

    def parts_of(self, method: str, path: str) -> dict[str, str] | None:
        """The values of the path's ``{names}`` if this route takes the request, else None.

        API Gateway has decoded the path: decoding it again would take ``a%41``, sent as ``a%2541``, for ``aA``.
        """
        if method != self.method:
            return None
        pattern = self.path.split("/")
        given = path.split("/", len(pattern) - 1 if self.path.endswith("+}") else -1)
        if len(pattern) != len(given):
            return None
        pairs = list(zip(pattern, given, strict=True))
        if not all((_is_name(segment) and part) or segment == part for segment, part in pairs):
            return None
        return {segment.strip("{+}"): part for segment, part in pairs if _is_name(segment)}


PAGE: Final = (
    Parameter("limit", Annotated[int, Meta(ge=1, le=LIST_LIMIT_MAX)], "Elements of a page; without it all, or 413"),
    Parameter("next", Text, "Continue behind a page: the `next` of its answer"),
)
SKIPPED: Final = {SKIPPED_HEADER: "`<reason>=<number>`, comma separated, if parts of the body were skipped"}


def dispatch(routes: Sequence[Route[Deps]], request: Request, accounts: Accounts, deps: Deps) -> Response:
    """The answer of the route that takes the request; RequestError 404 if none does, 403 if the key may not."""
    route, parts = _route_of(routes, request)
    tenant = accounts.tenant(request.headers, route.permission) if route.permission else ""
    answer = route.handler(deps, Call(request, tenant, parts))
    return answer if isinstance(answer, Response) else json_response(200, answer)


def invoked(routes: Sequence[Route[Deps]], request: Request, tenant: str, deps: Deps) -> Response:
    """As ``dispatch``, for a call by a function of the stack, which says for which tenant."""
    route, parts = _route_of(routes, request)
    answer = route.handler(deps, Call(request, tenant, parts))
    return answer if isinstance(answer, Response) else json_response(200, answer)


def public(routes: Sequence[Route[Deps]], request: Request, deps: Deps) -> Response:
    """As ``dispatch``, of routes that need no key: no account is looked up."""
    route, parts = _route_of(routes, request)
    assert not route.permission, route.path
    answer = route.handler(deps, Call(request, "", parts))
    return answer if isinstance(answer, Response) else json_response(200, answer)


def _is_name(segment: str) -> bool:
    return segment.startswith("{")


def _route_of(routes: Iterable[Route[Deps]], request: Request) -> tuple[Route[Deps], dict[str, str]]:
    for route in routes:
        parts = route.parts_of(request.method, request.path)
        if parts is not None:
            return route, parts
    raise no_route(request)
