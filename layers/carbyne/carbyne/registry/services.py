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
    services: dict[str, Service] = {}
    for item in store.items(roles.key_of(tenant, "").pk):
        name, _, role = item.key.sk.partition(":")
        if not role:
            services[name] = Service(name, msgspec.json.decode(item.body, type=roles.Memo).memo, [])
        elif name in services:
            services[name].roles.append(role)
    return [services[name] for name in sorted(services)]


def find_one(store: Store, tenant: str, name: str) -> Service | None:
    """A service with the names of its roles; None for one that is not registered."""
    key = roles.key_of(tenant, name)
    memos = {item.key.sk: item.body for item in store.items(key.pk, key.sk)}
    if key.sk not in memos:
        return None
    of_service = [sk.removeprefix(f"{key.sk}:") for sk in memos if sk.startswith(f"{key.sk}:")]
    return Service(name, msgspec.json.decode(memos[key.sk], type=roles.Memo).memo, sorted(of_service))


def create(registry: Registry, tenant: str, name: str, memo: str) -> Service:
    """A new service; RequestError 400 for a malformed name or one that is taken."""
    key = roles.key_of(tenant, names.service(name))
    _check_memo(memo)
    if registry.store.get(key) or not registry.store.write(RegistryChange(key, body_of(roles.Memo(memo)), 0)):
        raise RequestError(400, f"service {name} exists")
    return Service(name, memo, [])


def create_role(registry: Registry, tenant: str, service: str, name: str, memo: str) -> None:
    """A new role; RequestError 404 for an unknown service, 400 for a malformed name or one that is taken."""
    roles.memo_of(registry.store, tenant, service)
    _check_memo(memo)
    roles.create(registry, tenant, service, names.role(name), memo)


def delete(registry: Registry, tenant: str, name: str) -> Service:
    """A service as it was, without which hosts go on; RequestError 404 for an unknown one."""
    service = Service(
        name, roles.memo_of(registry.store, tenant, name), list(roles.of_service(registry.store, tenant, name))
    )
    hosts.take_roles(registry, tenant, name)
    _remove(registry, tenant, name)
    return service


def delete_role(registry: Registry, tenant: str, service: str, name: str) -> str:
    """The memo of a role, which its hosts have no more; RequestError 404 for an unknown one."""
    memo = roles.memo_of(registry.store, tenant, service, name)
    hosts.take_roles(registry, tenant, service, name)
    _remove(registry, tenant, service, name)
    return memo


def _check_memo(memo: str) -> None:
    if len(memo) > MEMO_CHARACTERS_MAX:
        raise RequestError(400, f"the memo has {len(memo)} characters; send at most {MEMO_CHARACTERS_MAX}")


def _remove(registry: Registry, tenant: str, *name: str) -> None:
    """A role, or a service with its roles, each with its metadata.

    A service goes last and only as it was read first, so that a role that came meanwhile goes as well.
    """

    def attempt() -> bool | None:
        item = registry.store.get(roles.key_of(tenant, *name))
        if len(name) == 1:
            for role in roles.of_service(registry.store, tenant, *name):
                _remove(registry, tenant, *name, role)
        metadata.delete_all(registry, tenant, ("role" if name[1:] else "service", *name))
        return item is None or registry.store.write(RegistryChange(item.key, None, item.version)) or None

    settle(attempt)
