"""Scopes: ``<service>`` or ``<service>: <role>``, as Mackerel writes them, and what they take in."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from carbyne.core import names
from carbyne.core.errors import RequestError
from carbyne.core.limits import SCOPES_MAX
from carbyne.registry.hosts import RolesByService

ScopeText = Annotated[str, Meta(min_length=1, max_length=200)]
Scopes = Annotated[list[ScopeText], Meta(max_length=SCOPES_MAX)]


def check_scopes(field: str, scopes: Sequence[str] | None) -> None:
    """RequestError 400 that names the field and the element."""
    for number, scope in enumerate(scopes or ()):
        service, role = _parts(scope)
        try:
            names.service(service)
            if role is not None:
                names.role(role)
        except RequestError as error:
            raise RequestError(
                400, f"{field}[{number}] is `<service>` or `<service>: <role>`: {error.message}"
            ) from None


def is_in(scopes: Sequence[str] | None, roles: RolesByService) -> bool:
    """Whether a host with these roles is in one of the scopes."""
    return any(
        service in roles and (role is None or role in roles[service]) for service, role in map(_parts, scopes or ())
    )


def plain(scope: str) -> str:
    """A scope without blanks, as ``scopes_of`` writes them."""
    service, role = _parts(scope)
    return service if role is None else f"{service}:{role}"


def scopes_of(roles: RolesByService) -> list[str]:
    """All scopes that a host with these roles is in."""
    return [*roles, *(f"{service}:{role}" for service, of_service in roles.items() for role in of_service)]


def _parts(scope: str) -> tuple[str, str | None]:
    service, colon, role = scope.partition(":")
    return service.strip(), role.strip() if colon else None
