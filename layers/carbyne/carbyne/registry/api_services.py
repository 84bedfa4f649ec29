"""Mackerel's calls on services and their roles."""

from typing import Final

import msgspec

from carbyne.http.forms import form
from carbyne.http.listing import listing, page_of
from carbyne.http.message import Response
from carbyne.http.routes import PAGE, Call, Route
from carbyne.registry import roles, services
from carbyne.registry.answers import Role, Roles, Services
from carbyne.registry.services import Service
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, Permission


class NamedForm(msgspec.Struct, frozen=True):
    name: str
    memo: str = ""


def get_services(registry: Registry, call: Call) -> Response:
    defined = services.find(registry.store, call.tenant)
    return Response(200, listing("services", ((each.name, each) for each in defined), page_of(call.request.query)))


def post_service(registry: Registry, call: Call) -> Service:
    body = form(call, NamedForm)
    return services.create(registry, call.tenant, body.name, body.memo)


def delete_service(registry: Registry, call: Call) -> Service:
    return services.delete(registry, call.tenant, call.parts["service"])


def get_roles(registry: Registry, call: Call) -> Response:
    roles.memo_of(registry.store, call.tenant, call.parts["service"])
    memos = roles.of_service(registry.store, call.tenant, call.parts["service"])
    elements = ((name, Role(name, memo)) for name, memo in memos.items())
    return Response(200, listing("roles", elements, page_of(call.request.query)))


def post_role(registry: Registry, call: Call) -> Role:
    body = form(call, NamedForm)
    services.create_role(registry, call.tenant, call.parts["service"], body.name, body.memo)
    return Role(body.name, body.memo)


def delete_role(registry: Registry, call: Call) -> Role:
    memo = services.delete_role(registry, call.tenant, call.parts["service"], call.parts["role"])
    return Role(call.parts["role"], memo)


ALL: Final = "/api/v0/services"
SERVICE: Final = "/api/v0/services/{service}"
ROLES: Final = "/api/v0/services/{service}/roles"
ROLE: Final = "/api/v0/services/{service}/roles/{role}"
UNKNOWN: Final = "The service is unknown"
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("GET", ALL, Permission.READ, "Services", Services, get_services, parameters=PAGE),
    Route("POST", ALL, BOTH, "Make a service", Service, post_service, body=NamedForm),
    Route(
        "DELETE",
        SERVICE,
        BOTH,
        "Delete a service, its roles and its metadata",
        Service,
        delete_service,
        not_found=UNKNOWN,
    ),
    Route(
        "GET", ROLES, Permission.READ, "The roles of a service", Roles, get_roles, parameters=PAGE, not_found=UNKNOWN
    ),
    Route("POST", ROLES, BOTH, "Make a role", Role, post_role, body=NamedForm, not_found=UNKNOWN),
    Route(
        "DELETE",
        ROLE,
        BOTH,
        "Delete a role and its metadata",
        Role,
        delete_role,
        not_found="The service or role is unknown",
    ),
)
