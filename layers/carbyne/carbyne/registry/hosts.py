"""Hosts: registered by agents, found by people, retired by both, removed with all of their samples by people.

A live host is an item of the tenant's partition of hosts; a retired one moves to a partition of its own, so that lists
never read it.  A custom identifier is an item that names its host, written together with the host.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from carbyne.core import keys, names
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    HOST_BYTES_MAX,
    HOST_NAME_CHARACTERS_MAX,
    HOSTS_PER_BULK_MAX,
    PAST_HOSTS_MAX,
    ROLES_PER_HOST_MAX,
    SORT_KEY_BYTES_MAX,
)
from carbyne.registry import roles
from carbyne.registry.roles import RoleName
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle
from carbyne.stream.putter import deletion
from carbyne.stream.records import ALL_TIME_MS

Status = Literal["working", "standby", "maintenance", "poweroff"]
HostName = Annotated[str, Meta(min_length=1, max_length=HOST_NAME_CHARACTERS_MAX)]
RolesByService = dict[str, list[str]]
"""Service -> its roles that the host has."""


class Check(msgspec.Struct, frozen=True):
    """A check that the host's agent runs."""

    name: str
    memo: str = ""


class PastHost(msgspec.Struct, frozen=True):
    """What a host was called, did and had until ``until_s``, since the one before, or since the host was created."""

    until_s: int
    name: str
    status: Status
    roles: RolesByService


class StoredHost(msgspec.Struct, frozen=True, kw_only=True):
    """As stored.  ``meta`` and ``interfaces`` are what the agent sent, byte by byte; ``past``: the newest last."""

    id: str
    created_s: int
    name: str = ""
    status: Status = "working"
    memo: str = ""
    display_name: str | None = None
    custom_identifier: str | None = None
    meta: dict[str, Raw] = {}
    interfaces: list[dict[str, Raw]] | None = None
    roles: RolesByService = {}
    checks: list[Check] | None = None
    retired_s: int | None = None
    past: list[PastHost] = []


class HostForm(msgspec.Struct, frozen=True, rename="camel"):
    """What registers or updates a host; of an update, what is not in there stays as it is."""

    name: HostName
    meta: dict[str, Raw] | UnsetType = UNSET
    display_name: str | UnsetType | None = UNSET
    custom_identifier: str | UnsetType | None = UNSET
    memo: str | UnsetType = UNSET
    interfaces: list[dict[str, Raw]] | UnsetType | None = UNSET
    checks: list[Check] | UnsetType | None = UNSET
    role_fullnames: list[str] | None = None


class Filter(NamedTuple):
    """Which hosts to find: of any of ``roles`` in ``service``, of any of ``statuses``; None asks for nothing."""

    service: str | None
    roles: Sequence[str]
    name: str | None
    statuses: Sequence[str]
    custom_identifier: str | None


def register(registry: Registry, tenant: str, form: HostForm) -> str:
    """The id of a new host, or of the live one that has its custom identifier: an agent that asks twice gets one."""
    names = parse_roles(form.role_fullnames)
    roles.ensure(registry, tenant, names)

    def attempt() -> str | None:
        item = _holder(registry.store, tenant, form.custom_identifier or None)
        host = _host(item) if item else StoredHost(id=registry.new_id(), created_s=registry.now_s())
        changed = _applied(host, form, names)
        return host.id if _save(registry, tenant, item, changed) else None

    return settle(attempt)


def update(registry: Registry, tenant: str, host_id: str, form: HostForm) -> None:
    """Change a host; its further roles stay.  RequestError 404 for an unknown one, 400 for a retired one."""
    names = parse_roles(form.role_fullnames)
    host = live(registry.store, tenant, host_id)
    roles.ensure(registry, tenant, [(service, role) for service, role in names if not _has(host, service, role)])
    change(registry, tenant, host_id, lambda host: _applied(host, form, names))


def set_status(registry: Registry, tenant: str, host_id: str, status: Status) -> None:
    """RequestError as of ``update``."""
    change(registry, tenant, host_id, lambda host: msgspec.structs.replace(host, status=status))


def set_roles(registry: Registry, tenant: str, host_id: str, fullnames: Sequence[str] | None) -> None:
    """Give a host these roles and no others.  RequestError as of ``update``."""
    names = parse_roles(fullnames)
    live(registry.store, tenant, host_id)
    roles.ensure(registry, tenant, names)
    change(registry, tenant, host_id, lambda host: msgspec.structs.replace(host, roles=_joined({}, names)))


def retire(registry: Registry, tenant: str, host_id: str) -> None:
    """Retire a host; of one that is retired nothing changes.  RequestError 404 for an unknown one."""

    def attempt() -> bool | None:
        item = registry.store.get(_key(tenant, host_id))
        if item is None:
            return bool(get(registry.store, tenant, host_id))
        retired = msgspec.structs.replace(_host(item), retired_s=registry.now_s())
        changes = [
            RegistryChange(item.key, None, item.version),
            RegistryChange(_retired_key(tenant, host_id), body_of(retired), 0),
        ]
        return registry.store.write(*changes, *_moves(tenant, retired, None)) or None

    settle(attempt)


def delete_samples(registry: Registry, tenant: str, host_id: str) -> None:
    """Delete all that was posted of a host until now.

    RequestError 404 for an unknown host, RetryableError if the stream does not take it: then nothing is deleted.
    """
    get(registry.store, tenant, host_id)
    registry.put([deletion(tenant, f"host/{host_id}", "", ALL_TIME_MS)])


def remove(registry: Registry, tenant: str, host_id: str) -> None:
    """Forget a host, live or retired; no host is in order, too."""

    def attempt() -> bool | None:
        live, retired = registry.store.get(_key(tenant, host_id)), registry.store.get(_retired_key(tenant, host_id))
        changes = [RegistryChange(item.key, None, item.version) for item in (live, retired) if item]
        if not changes:
            return True
        registry.store.write(*changes, *(_moves(tenant, _host(live), None) if live else []))
        return None  # it may have been retired meanwhile, so look again

    settle(attempt)


def for_each(registry: Registry, tenant: str, ids: Sequence[str], act: Callable[[str], None]) -> None:
    """``act`` on at most HOSTS_PER_BULK_MAX hosts; RequestError 404, before anything is done, if one is unknown."""
    if len(ids) > HOSTS_PER_BULK_MAX:
        raise RequestError(400, f"{len(ids)} hosts; send at most {HOSTS_PER_BULK_MAX} at once")
    distinct = list(dict.fromkeys(ids))
    for host_id in distinct:
        get(registry.store, tenant, host_id)
    for host_id in distinct:
        act(host_id)


def get(store: Store, tenant: str, host_id: str) -> StoredHost:
    """A host, live or retired; RequestError 404 for an unknown one."""
    if host := find_one(store, tenant, host_id):
        return host
    raise RequestError(404, f"host {host_id[:64]!r} is unknown")


def find_one(store: Store, tenant: str, host_id: str) -> StoredHost | None:
    """A host, live or retired, if there is one."""
    item = store.get(_key(tenant, host_id)) or store.get(_retired_key(tenant, host_id))
    return _host(item) if item else None


def live(store: Store, tenant: str, host_id: str) -> StoredHost:
    """A host; RequestError 404 for an unknown one, 400 for a retired one."""
    return _host(_live(store, tenant, host_id))


def find(store: Store, tenant: str, query: Filter, after: str = "") -> Iterator[StoredHost]:
    """Live hosts with ids greater than ``after``, by id, read while they are taken: all of them may be too many for the
    memory.  One with a custom identifier is looked up."""
    if query.custom_identifier:
        holder = _holder(store, tenant, query.custom_identifier)
        hosts = iter([_host(holder)] if holder and holder.key.sk > after else [])
    else:
        hosts = everyone(store, tenant, after)
    return (host for host in hosts if _fits(host, query))


def everyone(store: Store, tenant: str, after: str = "") -> Iterator[StoredHost]:
    """All live hosts with ids greater than ``after``, by id, read while they are taken."""
    return map(_host, store.scan(_key(tenant, "").pk, after))


def by_custom_identifier(store: Store, tenant: str, identifier: str, *, either_case: bool) -> StoredHost:
    """The live host of a custom identifier, the oldest if case does not matter; RequestError 404 if there is none."""
    named = (
        store.items(_identifier_key(tenant, "").pk, keys.custom_identifier_prefix(identifier)) if either_case else []
    )
    holders = [store.get(_key(tenant, item.body.decode())) for item in named]
    holders += [] if either_case else [_holder(store, tenant, identifier)]
    hosts = [_host(item) for item in holders if item]
    if not hosts:
        raise RequestError(404, f"no host has the custom identifier {identifier[:200]!r}")
    return min(hosts, key=_age)


def change(registry: Registry, tenant: str, host_id: str, edit: Callable[[StoredHost], StoredHost]) -> None:
    """Apply ``edit`` to a live host, again if it was changed meanwhile.  RequestError as of ``live``."""

    def attempt() -> bool | None:
        item = _live(registry.store, tenant, host_id)
        return _save(registry, tenant, item, edit(_host(item))) or None

    settle(attempt)


def take_roles(registry: Registry, tenant: str, service: str, role: str | None = None) -> None:
    """Take a role, or all roles of a service, from every host."""
    for host in everyone(registry.store, tenant):
        if _has(host, service, role):
            change(registry, tenant, host.id, lambda host: _without(host, service, role))


def parse_roles(fullnames: Sequence[str] | None) -> list[RoleName]:
    """Service and role of each ``<service>:<role>``; RequestError 400 for a malformed one, or too many."""
    if len(fullnames or ()) > ROLES_PER_HOST_MAX:
        raise RequestError(400, f"a host has at most {ROLES_PER_HOST_MAX} roles")
    return [names.role_fullname(fullname) for fullname in fullnames or ()]


def _key(tenant: str, host_id: str) -> Key:
    return Key(keys.registry_partition(tenant, "hosts"), host_id)


def _retired_key(tenant: str, host_id: str) -> Key:
    return Key(keys.registry_partition(tenant, "retired"), host_id)


def _identifier_key(tenant: str, identifier: str) -> Key:
    key = Key(keys.registry_partition(tenant, "custom-identifiers"), keys.custom_identifier(identifier))
    if len(key.sk) > SORT_KEY_BYTES_MAX:
        raise RequestError(400, f"the custom identifier is too long: {identifier[:200]!r}")
    return key


def _host(item: RegistryItem) -> StoredHost:
    return msgspec.json.decode(item.body, type=StoredHost)


def _live(store: Store, tenant: str, host_id: str) -> RegistryItem:
    item = store.get(_key(tenant, host_id))
    if item is None:
        get(store, tenant, host_id)
        raise RequestError(400, f"host {host_id!r} is retired")
    return item


def _age(host: StoredHost) -> tuple[int, str]:
    return host.created_s, host.id


def _holder(store: Store, tenant: str, identifier: str | UnsetType | None) -> RegistryItem | None:
    named = store.get(_identifier_key(tenant, identifier)) if identifier else None
    return store.get(_key(tenant, named.body.decode())) if named else None


def _applied(host: StoredHost, form: HostForm, more: Sequence[RoleName]) -> StoredHost:
    given = {name: getattr(form, name) for name in form.__struct_fields__ if name != "role_fullnames"}
    given = {name: value for name, value in given.items() if value is not UNSET}
    if form.checks is None:  # agents without checks and tools that know none send null: it says nothing
        given.pop("checks", None)
    if "custom_identifier" in given:
        given["custom_identifier"] = given["custom_identifier"] or None
    return msgspec.structs.replace(host, **given, roles=_joined(host.roles, more))


def _joined(by_service: Mapping[str, Sequence[str]], more: Sequence[RoleName]) -> RolesByService:
    pairs = {(service, role) for service, held_roles in by_service.items() for role in held_roles} | set(more)
    joined: RolesByService = {}
    for service, role in sorted(pairs):
        joined.setdefault(service, []).append(role)
    return joined


def _without(host: StoredHost, service: str, role: str | None) -> StoredHost:
    left = [(of, name) for of, all_held in host.roles.items() for name in all_held]
    left = [(of, name) for of, name in left if of != service or role not in (None, name)]
    return msgspec.structs.replace(host, roles=_joined({}, left))


def _has(host: StoredHost, service: str, role: str | None) -> bool:
    names = host.roles.get(service, [])
    return bool(names) if role is None else role in names


def _fits(host: StoredHost, query: Filter) -> bool:
    any_role: Sequence[str | None] = query.roles or [None]
    return (
        host.status in query.statuses
        and (query.name is None or host.name == query.name)
        and (query.service is None or any(_has(host, query.service, role) for role in any_role))
    )


def _save(registry: Registry, tenant: str, item: RegistryItem | None, host: StoredHost) -> bool:
    """Write a host in the place of ``item``, with its identifier; RequestError 400 if another host has that."""
    store, host = registry.store, _with_past(_host(item), host, registry.now_s()) if item else host
    body = body_of(host)
    if len(body) > HOST_BYTES_MAX:  # what it was is not worth a refusal
        body = body_of(msgspec.structs.replace(host, past=[]))
    if len(body) > HOST_BYTES_MAX:
        raise RequestError(413, f"the host has {len(body)} bytes; send at most {HOST_BYTES_MAX}")
    if item is not None and item.body == body:
        return True
    moves = _moves(tenant, _host(item) if item else None, host)
    for move in moves:
        if move.body and (taken := store.get(move.key)) and taken.body.decode() != host.id:
            raise RequestError(400, f"host {taken.body.decode()} has the custom identifier {host.custom_identifier!r}")
    return store.write(RegistryChange(_key(tenant, host.id), body, item.version if item else 0), *moves)


def _with_past(old: StoredHost, new: StoredHost, now_s: int) -> StoredHost:
    """The new host with what it was until now, if that was something else."""
    if (old.name, old.status, old.roles) == (new.name, new.status, new.roles):
        return new
    past = [*old.past, PastHost(now_s, old.name, old.status, old.roles)]
    return msgspec.structs.replace(new, past=past[-PAST_HOSTS_MAX:])


def _moves(tenant: str, old: StoredHost | None, new: StoredHost | None) -> list[RegistryChange]:
    """What to change of the identifiers when a host comes, changes or goes."""
    before, after = old and old.custom_identifier, new and new.custom_identifier
    if before == after:
        return []
    gone = [RegistryChange(_identifier_key(tenant, before), None, 1)] if before else []
    return gone + ([RegistryChange(_identifier_key(tenant, after), new.id.encode(), 0)] if new and after else [])
