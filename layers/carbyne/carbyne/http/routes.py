"""Tables of routes: what a function answers, and what a key must be allowed to do for it.

A table is a constant of its module, so that the template, the documents and the tests can be held against it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from carbyne.http.message import Request, Response, no_route
from carbyne.tenants.accounts import Accounts, Permission

Deps = TypeVar("Deps")


class Call(NamedTuple):
    """A request whose key was looked up; ``tenant`` is empty where none is needed.

    ``parts``: what stands in the place of the path's ``{names}``.
    """

    request: Request
    tenant: str
    parts: Mapping[str, str]


class Route(NamedTuple, Generic[Deps]):
    """``path``: as in template.yaml, ``/a/{b}`` or, where slashes may follow, ``/a/{b+}``; ``needs``: of its key."""

    method: str
    path: str
    needs: Permission
    handle: Callable[[Deps, Call], Response]

    def parts_of(self, method: str, path: str) -> dict[str, str] | None:
        """The parts in the place of ``{names}`` if this route takes the request, else None.

        API Gateway has decoded the path: decoding it again would take ``a%41``, sent as ``a%2541``, for ``aA``.
        """
        wanted = self.path.split("/")
        given = path.split("/", len(wanted) - 1 if self.path.endswith("+}") else -1)
        if method != self.method or len(wanted) != len(given):
            return None
        pairs = list(zip(wanted, given, strict=True))
        if not all((_is_name(want) and part) or want == part for want, part in pairs):
            return None
        return {want.strip("{+}"): part for want, part in pairs if _is_name(want)}


def _is_name(segment: str) -> bool:
    return segment.startswith("{")


def dispatch(routes: Sequence[Route[Deps]], request: Request, accounts: Accounts, deps: Deps) -> Response:
    """The answer of the route that takes the request; RequestError 404 if none does, 403 if the key may not."""
    route, parts = _route_of(routes, request)
    tenant = accounts.tenant(request.headers, route.needs) if route.needs else ""
    return route.handle(deps, Call(request, tenant, parts))


def _route_of(routes: Iterable[Route[Deps]], request: Request) -> tuple[Route[Deps], dict[str, str]]:
    for route in routes:
        parts = route.parts_of(request.method, request.path)
        if parts is not None:
            return route, parts
    raise no_route(request)
