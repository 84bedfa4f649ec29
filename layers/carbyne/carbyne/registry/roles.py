"""Services and their roles as items: ``<service>`` and ``<service>:<role>`` in one partition of the tenant."""

from collections.abc import Iterable
from functools import partial

import msgspec

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle

RoleName = tuple[str, str]
"""Service and role."""


class Memo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored of a service, and of a role.

    ``mark``: another one with each new role of a service, so that a concurrent delete of the service fails and looks
    again; a role without its service would stay for ever.
    """

    memo: str = ""
    mark: str = ""


def key_of(tenant: str, service: str, *role: str) -> Key:
    """Key of a service or of one of its roles."""
    return Key(keys.registry_partition(tenant, "services"), ":".join(map(keys.escape, (service, *role))))


def memo_of(store: Store, tenant: str, service: str, *role: str) -> str:
    """The memo of a service or role; RequestError 404 if there is none of this name."""
    item = store.get(key_of(tenant, service, *role))
    if item is None:
        raise _unknown(service, *role)
    return msgspec.json.decode(item.body, type=Memo).memo


def _unknown(service: str, *role: str) -> RequestError:
    kind = "role" if role else "service"
    return RequestError(404, f"{kind} {':'.join((service, *role))[:200]!r} is unknown")


def of_service(store: Store, tenant: str, service: str) -> dict[str, str]:
    """The roles of a service and their memos, sorted."""
    items = store.items(key_of(tenant, service).pk, f"{keys.escape(service)}:")
    return {item.key.sk.partition(":")[2]: msgspec.json.decode(item.body, type=Memo).memo for item in items}


def ensure(registry: Registry, tenant: str, roles: Iterable[RoleName]) -> None:
    """Make those services and roles that are not known yet."""
    for service, role in sorted(set(roles)):
        settle(partial(_ensure_once, registry, tenant, service, role))


def create(registry: Registry, tenant: str, service: str, role: str, memo: str) -> None:
    """A new role; RequestError 404 for an unknown service, 400 for a name that is taken."""

    def attempt() -> bool | None:
        owner = registry.store.get(key_of(tenant, service))
        if owner is None:
            raise _unknown(service)
        if registry.store.get(key_of(tenant, service, role)):
            raise RequestError(400, f"role {service}:{role} exists")
        return _write(registry, tenant, service, role, memo, owner) or None

    settle(attempt)


def _ensure_once(registry: Registry, tenant: str, service: str, role: str) -> bool | None:
    owner = registry.store.get(key_of(tenant, service))
    known = owner and registry.store.get(key_of(tenant, service, role))
    return bool(known) or _write(registry, tenant, service, role, "", owner) or None


def _write(registry: Registry, tenant: str, service: str, role: str, memo: str, owner: RegistryItem | None) -> bool:
    """Put a new role, and its service as well if there is none, together."""
    noted = msgspec.json.decode(owner.body, type=Memo) if owner else Memo()
    marked = body_of(Memo(noted.memo, registry.new_mark()))
    key = key_of(tenant, service, role)
    orphan = registry.store.get(key)
    return registry.store.write(
        RegistryChange(key, body_of(Memo(memo)), orphan.version if orphan else 0),
        RegistryChange(key_of(tenant, service), marked, owner.version if owner else 0),
    )
