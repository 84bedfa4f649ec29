"""Services and their roles as items: ``<service>`` and ``<service>:<role>`` in one partition of the tenant."""

from collections.abc import Iterable

import msgspec

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.registry.store import Key, Registry, RegistryChange, Store, body_of

RoleName = tuple[str, str]
"""Service and role."""


class Memo(msgspec.Struct, frozen=True):
    """What is stored of a service, and of a role."""

    memo: str = ""


def key_of(tenant: str, service: str, *role: str) -> Key:
    """Key of a service or of one of its roles."""
    return Key(keys.registry_partition(tenant, "services"), ":".join(map(keys.escape, (service, *role))))


def memo_of(store: Store, tenant: str, service: str, *role: str) -> str:
    """The memo of a service or role; RequestError 404 if there is none of this name."""
    item = store.get(key_of(tenant, service, *role))
    if item is None:
        kind = "role" if role else "service"
        raise RequestError(404, f"{kind} {':'.join((service, *role))[:200]!r} is unknown")
    return msgspec.json.decode(item.body, type=Memo).memo


def of_service(store: Store, tenant: str, service: str) -> dict[str, str]:
    """The roles of a service and their memos, sorted."""
    items = store.items(key_of(tenant, service).pk, f"{keys.escape(service)}:")
    return {item.key.sk.partition(":")[2]: msgspec.json.decode(item.body, type=Memo).memo for item in items}


def ensure(registry: Registry, tenant: str, roles: Iterable[RoleName]) -> None:
    """Make those services and roles that are not known yet."""
    for service, role in sorted(set(roles)):
        for key in (key_of(tenant, service), key_of(tenant, service, role)):
            if registry.store.get(key) is None:
                registry.store.write(RegistryChange(key, body_of(Memo()), 0))
