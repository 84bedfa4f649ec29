"""Metadata: any JSON under a namespace of a host, a service or a role.

The namespaces of an owner are listed in one item beside the documents, so that counting them reads no document.
"""

from typing import NamedTuple

import msgspec
from msgspec import Raw

from carbyne.core import keys, names
from carbyne.core.errors import RequestError
from carbyne.core.limits import METADATA_BYTES_MAX, METADATA_READABLE_S, METADATA_SPACES_MAX
from carbyne.registry import hosts, roles
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle

Owner = tuple[str, ...]
"""``("host", id)``, ``("service", name)`` or ``("role", service, name)``."""


class Metadata(msgspec.Struct, frozen=True):
    """``data``: JSON as it was sent; ``modified_s``: when."""

    data: Raw
    modified_s: int


class _OwnerPlace(NamedTuple):
    """Where an owner's documents are."""

    pk: str

    @property
    def directory(self) -> Key:
        return Key(self.pk, "metadata")

    def document(self, namespace: str) -> Key:
        return Key(self.pk, f"metadata:{namespace}")


def put(registry: Registry, tenant: str, owner: Owner, namespace: str, data: bytes) -> None:
    """Keep ``data``, which is JSON, in the place of what was there.

    RequestError 413 if it is too large, 400 for a malformed namespace, one too many or a retired host, 404 for an
    unknown owner.
    """
    names.namespace(namespace)
    if len(data) > METADATA_BYTES_MAX:
        raise RequestError(413, f"the metadata has {len(data)} bytes; send at most {METADATA_BYTES_MAX}")
    check_writable(registry.store, tenant, owner)
    body = body_of(Metadata(Raw(data), registry.now_s()))
    settle(lambda: _put_once(registry.store, _place(tenant, owner), namespace, body))


def get(registry: Registry, tenant: str, owner: Owner, namespace: str) -> Metadata:
    """A document; RequestError 404 if there is none, 400 of a host that was retired too long ago."""
    check_readable(registry, tenant, owner)
    item = registry.store.get(_place(tenant, owner).document(namespace))
    if item is None:
        raise _unknown(owner, namespace)
    return msgspec.json.decode(item.body, type=Metadata)


def spaces(registry: Registry, tenant: str, owner: Owner) -> list[str]:
    """The namespaces of an owner, sorted; errors as of ``get``."""
    check_readable(registry, tenant, owner)
    return _listed(registry.store.get(_place(tenant, owner).directory))


def delete(registry: Registry, tenant: str, owner: Owner, namespace: str) -> None:
    """RequestError 404 if there is no such document, 400 of a retired host."""
    check_writable(registry.store, tenant, owner)
    settle(lambda: _delete_once(registry.store, _place(tenant, owner), owner, namespace))


def delete_all(registry: Registry, tenant: str, owner: Owner) -> None:
    """Forget everything that hangs on an owner."""

    def attempt() -> bool | None:
        items = registry.store.items(_place(tenant, owner).pk)
        return all(registry.store.write(RegistryChange(item.key, None, item.version)) for item in items) or None

    settle(attempt)


def check_writable(store: Store, tenant: str, owner: Owner) -> None:
    """RequestError 404 for an unknown owner, 400 for a retired host."""
    kind, *name = owner
    if kind == "host":
        hosts.live(store, tenant, name[0])
    else:
        roles.memo_of(store, tenant, *name)


def check_readable(registry: Registry, tenant: str, owner: Owner) -> None:
    """RequestError 404 for an unknown owner, 400 for a host that was retired too long ago."""
    kind, *name = owner
    if kind != "host":
        return check_writable(registry.store, tenant, owner)
    retired_s = hosts.get(registry.store, tenant, name[0]).retired_s
    if retired_s is not None and retired_s + METADATA_READABLE_S < registry.now_s():
        raise RequestError(400, f"host {name[0]!r} was retired more than a week ago")
    return None


def _place(tenant: str, owner: Owner) -> _OwnerPlace:
    return _OwnerPlace(keys.registry_owner(tenant, *owner))


def _unknown(owner: Owner, namespace: str) -> RequestError:
    return RequestError(404, f"{owner[0]} {':'.join(owner[1:])!r} has no metadata {namespace[:128]!r}")


def _listed(directory: RegistryItem | None) -> list[str]:
    return msgspec.json.decode(directory.body, type=list[str]) if directory else []


def _put_once(store: Store, place: _OwnerPlace, namespace: str, body: bytes) -> bool | None:
    directory, document = store.get(place.directory), store.get(place.document(namespace))
    listed = _listed(directory)
    changes = [RegistryChange(place.document(namespace), body, document.version if document else 0)]
    if namespace not in listed:
        if len(listed) >= METADATA_SPACES_MAX:
            raise RequestError(400, f"there are {len(listed)} namespaces, which is the limit; delete one first")
        changes.append(_listing(place, directory, [*listed, namespace]))
    return store.write(*changes) or None


def _delete_once(store: Store, place: _OwnerPlace, owner: Owner, namespace: str) -> bool | None:
    directory, document = store.get(place.directory), store.get(place.document(namespace))
    if document is None:
        raise _unknown(owner, namespace)
    left = [name for name in _listed(directory) if name != namespace]
    return store.write(RegistryChange(document.key, None, document.version), _listing(place, directory, left)) or None


def _listing(place: _OwnerPlace, directory: RegistryItem | None, listed: list[str]) -> RegistryChange:
    return RegistryChange(place.directory, body_of(sorted(listed)), directory.version if directory else 0)
