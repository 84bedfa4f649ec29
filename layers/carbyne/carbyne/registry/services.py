"""Services and roles, as people make and delete them."""

import msgspec

from carbyne.core import names
from carbyne.core.errors import RequestError
from carbyne.core.limits import MEMO_CHARACTERS_MAX
from carbyne.http.answers import Answer
from carbyne.registry import hosts, metadata, roles
from carbyne.registry.store import Registry, RegistryChange, Store, body_of, settle


class Service(Answer, frozen=True):
    """A service with the names of its roles."""

    name: str
    memo: str
    roles: list[str]


def find(store: Store, tenant: str) -> list[Service]:
    """All services of a tenant, by name."""
    found: dict[str, Service] = {}
    for item in store.items(roles.key_of(tenant, "").pk):
        name, _, role = item.key.sk.partition(":")
        if role:
            found[name].roles.append(role)
        else:
            found[name] = Service(name, msgspec.json.decode(item.body, type=roles.Memo).memo, [])
    return [found[name] for name in sorted(found)]


def create(registry: Registry, tenant: str, name: str, memo: str) -> Service:
    """A new service; RequestError 400 for a malformed name or one that is taken."""
    _put_new(registry, tenant, (names.service(name),), memo)
    return Service(name, memo, [])


def create_role(registry: Registry, tenant: str, service: str, name: str, memo: str) -> None:
    """A new role; RequestError 404 for an unknown service, 400 for a malformed name or one that is taken."""
    roles.memo_of(registry.store, tenant, service)
    _put_new(registry, tenant, (service, names.role(name)), memo)


def delete(registry: Registry, tenant: str, name: str) -> Service:
    """A service as it was, without which hosts go on; RequestError 404 for an unknown one."""
    service = Service(
        name, roles.memo_of(registry.store, tenant, name), list(roles.of_service(registry.store, tenant, name))
    )
    hosts.take_roles(registry, tenant, name)
    for role in service.roles:
        _remove(registry, tenant, name, role)
    _remove(registry, tenant, name)
    return service


def delete_role(registry: Registry, tenant: str, service: str, name: str) -> str:
    """The memo of a role, which its hosts have no more; RequestError 404 for an unknown one."""
    memo = roles.memo_of(registry.store, tenant, service, name)
    hosts.take_roles(registry, tenant, service, name)
    _remove(registry, tenant, service, name)
    return memo


def _put_new(registry: Registry, tenant: str, name: tuple[str, ...], memo: str) -> None:
    if len(memo) > MEMO_CHARACTERS_MAX:
        raise RequestError(400, f"the memo has {len(memo)} characters; send at most {MEMO_CHARACTERS_MAX}")
    if not registry.store.write(RegistryChange(roles.key_of(tenant, *name), body_of(roles.Memo(memo)), 0)):
        raise RequestError(400, f"{':'.join(name)!r} exists")


def _remove(registry: Registry, tenant: str, *name: str) -> None:
    """A service or role with its metadata; of what others delete at the same time nothing is left either."""
    metadata.delete_all(registry, tenant, ("role" if name[1:] else "service", *name))

    def attempt() -> bool | None:
        item = registry.store.get(roles.key_of(tenant, *name))
        return item is None or registry.store.write(RegistryChange(item.key, None, item.version)) or None

    settle(attempt)
