"""Documents of one kind of a tenant, each with an id: an item for each, in one partition, and how many bytes they have.

All of a kind are read together (monitors each minute), so they are bounded together."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import DOCUMENTS_BYTES_MAX
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle

KeptDocument = TypeVar("KeptDocument", bound=msgspec.Struct)
Beside = Callable[[Any], Sequence[RegistryChange]]
"""Changes of other items that are written together with a document."""


class _Count(msgspec.Struct, frozen=True, array_like=True):
    """``mark``: the table takes an equal body for the same write, and two may count to one number at once; ``size``:
    bytes of all documents."""

    number: int = 0
    mark: str = ""
    size: int = 0


def nothing(_: object) -> Sequence[RegistryChange]:
    return ()


class Documents(Generic[KeptDocument]):
    """``kind``: the partition; ``name``: of one, in messages; ``form``: its type, which has an ``id`` and a ``name``;
    ``most``: of a tenant."""

    def __init__(self, kind: str, name: str, form: Any, most: int) -> None:  # noqa: ANN401 - a struct or a union of them
        self._kind = kind
        self._name = name
        self._form = form
        self._most = most

    def find(self, store: Store, tenant: str) -> list[KeptDocument]:
        """All of a tenant, by name."""
        documents = [self.read(item) for item in store.items(self.key(tenant, "").pk)]
        return sorted(documents, key=lambda each: (str(getattr(each, "name", "")), str(getattr(each, "id", ""))))

    def get(self, store: Store, tenant: str, document_id: str) -> KeptDocument:
        """RequestError 404 for an unknown id."""
        return self.read(self.item(store, tenant, document_id))

    def create(
        self, registry: Registry, tenant: str, form: KeptDocument, beside: Beside = nothing, document_id: str = ""
    ) -> KeptDocument:
        """A new one, with an id of its own unless it is given one; RequestError 400 for one too many, or for
        too many bytes."""
        new_id = document_id or registry.new_id()
        made = msgspec.structs.replace(form, id=new_id)

        def attempt() -> bool | None:
            count = registry.store.get(self._count_key(tenant))
            known = _read(count).number
            if known >= self._most:
                raise RequestError(400, f"there are {known} {self._name}s, which is the limit; delete one first")
            change = RegistryChange(self.key(tenant, new_id), body_of(made), 0)
            counted = self._counted(registry, tenant, count, known + 1, len(body_of(made)))
            return registry.store.write(change, counted, *beside(made)) or None

        settle(attempt)
        return made

    def replace(
        self,
        registry: Registry,
        tenant: str,
        document_id: str,
        form: KeptDocument,
        joined: Callable[[KeptDocument, KeptDocument], KeptDocument] = lambda _, form: form,
        beside: Beside = nothing,
    ) -> KeptDocument:
        """The new one; ``joined``: of the one before and the form.  RequestError 404 for an unknown id, 400 for too
        many bytes."""

        def attempt() -> KeptDocument | None:
            item = self.item(registry.store, tenant, document_id)
            made = msgspec.structs.replace(joined(self.read(item), form), id=document_id)
            change = RegistryChange(item.key, body_of(made), item.version)
            more = len(body_of(made)) - len(item.body)
            count = registry.store.get(self._count_key(tenant)) if more else None
            counted = [self._counted(registry, tenant, count, _read(count).number, more)] if count else []
            return made if registry.store.write(change, *counted, *beside(made)) else None

        return settle(attempt)

    def delete(self, registry: Registry, tenant: str, document_id: str, beside: Beside = nothing) -> KeptDocument:
        """One as it was; RequestError 404 for an unknown id."""

        def attempt() -> KeptDocument | None:
            item = self.item(registry.store, tenant, document_id)
            count = registry.store.get(self._count_key(tenant))
            left = max(0, _read(count).number - 1)
            counted = [self._counted(registry, tenant, count, left, -len(item.body))] if count else []
            change, document = RegistryChange(item.key, None, item.version), self.read(item)
            return document if registry.store.write(change, *counted, *beside(document)) else None

        return settle(attempt)

    def item(self, store: Store, tenant: str, document_id: str) -> RegistryItem:
        """RequestError 404 for an unknown id."""
        if item := store.get(self.key(tenant, document_id)):
            return item
        raise RequestError(404, f"{self._name} {document_id[:100]!r} is unknown")

    def key(self, tenant: str, document_id: str) -> Key:
        return Key(keys.registry_partition(tenant, self._kind), keys.escape(document_id))

    def read(self, item: RegistryItem) -> KeptDocument:
        document: KeptDocument = msgspec.json.decode(item.body, type=self._form)
        return document

    def _count_key(self, tenant: str) -> Key:
        return Key(keys.registry_partition(tenant, "counts"), self._kind)

    def _counted(
        self, registry: Registry, tenant: str, count: RegistryItem | None, number: int, more: int
    ) -> RegistryChange:
        size = max(0, _read(count).size + more)
        if more > 0 and size > DOCUMENTS_BYTES_MAX:
            limit = f"{DOCUMENTS_BYTES_MAX:,} is the limit; delete or shorten some"
            raise RequestError(400, f"all {self._name}s would have {size:,} bytes, {limit}")
        body = body_of(_Count(number, registry.new_mark(), size))
        return RegistryChange(self._count_key(tenant), body, count.version if count else 0)


def _read(count: RegistryItem | None) -> _Count:
    return msgspec.json.decode(count.body, type=_Count) if count else _Count()
