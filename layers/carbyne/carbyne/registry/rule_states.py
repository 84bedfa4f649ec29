"""What is kept of groups of rules between evaluations, and what an evaluation leaves to be sent.

One evaluation is one transaction: the group's item, whose version is the condition, the names of its series if they
changed, and what must be sent.  Of two evaluators that made the same evaluation one writes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from carbyne.core import keys
from carbyne.core.limits import RECORDED_ITEM_BYTES
from carbyne.registry.store import Key, RegistryChange, RegistryItem, Store, body_of
from carbyne.rules.kept import KeptGroup, KeptSeries
from carbyne.stream.putter import Entry


class GroupName(msgspec.Struct, frozen=True, order=True):
    """A group of a tenant."""

    file: str
    group: str


class StoredGroup(NamedTuple):
    """With the versions of both items, 0 where there is none."""

    kept: KeptGroup = KeptGroup()
    version: int = 0
    series: KeptSeries = KeptSeries()
    series_version: int = 0


class LeftToSend(msgspec.Struct, frozen=True):
    """``entries``: records for the stream, which must have those of ``before`` first; ``tells``: the group has alerts
    of which Alertmanagers hear."""

    tenant: str
    name: GroupName
    entries: list[Entry]
    tells: bool
    before: list[Entry] = []


class _StoredState(msgspec.Struct, frozen=True):
    name: GroupName
    kept: KeptGroup


def find(store: Store, tenant: str) -> dict[GroupName, StoredGroup]:
    """All groups of a tenant that were evaluated, without their series."""
    known = [
        (msgspec.json.decode(item.body, type=_StoredState), item.version) for item in store.items(_partition(tenant))
    ]
    return {each.name: StoredGroup(each.kept, version) for each, version in known}


def with_series(store: Store, tenant: str, name: GroupName, stored: StoredGroup) -> StoredGroup:
    item = store.get(_series_key(tenant, name))
    if item is None:
        return stored
    series = msgspec.json.decode(item.body, type=KeptSeries)
    return stored._replace(series=series, series_version=item.version)


def of(store: Store, tenant: str, name: GroupName) -> KeptGroup:
    """What is kept of a group, without its series."""
    item = store.get(_key(tenant, name))
    return msgspec.json.decode(item.body, type=_StoredState).kept if item else KeptGroup()


def write(
    store: Store,
    tenant: str,
    name: GroupName,
    before: StoredGroup,
    kept: KeptGroup,
    series: KeptSeries,
    left: Sequence[RegistryChange],
) -> StoredGroup | None:
    """The group as it is stored now; None if another evaluator was quicker."""
    changes = [RegistryChange(_key(tenant, name), body_of(_StoredState(name, kept)), before.version), *left]
    after = StoredGroup(kept, before.version + 1, series, before.series_version)
    if series != before.series:
        changes.append(RegistryChange(_series_key(tenant, name), body_of(series), before.series_version))
        after = after._replace(series_version=before.series_version + 1)
    return after if store.write(*changes) else None


def remove(store: Store, tenant: str, name: GroupName, before: StoredGroup, left: Sequence[RegistryChange]) -> bool:
    """Forget a group that is no more; whether this call did it."""
    changes = [RegistryChange(_key(tenant, name), None, before.version), *left]
    if before.series_version:
        changes.append(RegistryChange(_series_key(tenant, name), None, before.series_version))
    return store.write(*changes)


def to_send(left: LeftToSend, at_ms: int) -> list[RegistryChange]:
    """What to write beside an evaluation, in items that the table takes."""
    without = msgspec.structs.replace(left, entries=[], tells=False, before=[])
    if sum(len(data) for _, data in (*left.before, *left.entries)) <= RECORDED_ITEM_BYTES:
        parts = [left] if left != without else []
    else:
        parts = [msgspec.structs.replace(without, before=part) for part in _parts(left.before)]
        parts += [msgspec.structs.replace(without, entries=part) for part in _parts(left.entries)]
        parts[-1] = msgspec.structs.replace(parts[-1], tells=left.tells)
    return [
        RegistryChange(
            _sent_key(left.tenant, left.name, f"{at_ms:013d}:{number:02d}"),
            body_of(part),
            0,
        )
        for number, part in enumerate(parts)
    ]


def _parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    size = 0
    for entry in entries:
        size += len(entry[1])
        if part and size > RECORDED_ITEM_BYTES:
            yield part
            part, size = [], len(entry[1])
        part.append(entry)
    if part:
        yield part


def still(tenant: str, name: GroupName, now_ms: int) -> RegistryChange:
    """Alertmanagers hear of what fires, although nothing was evaluated."""
    return RegistryChange(
        _sent_key(tenant, name, f"{now_ms:013d}:still"), body_of(LeftToSend(tenant, name, [], tells=True)), 0
    )


def waiting(store: Store, tenant: str) -> Iterator[tuple[RegistryItem, LeftToSend]]:
    """What must be sent still of a tenant, of each group the oldest first."""
    prefix = _prefix(tenant)
    for item in store.scan(keys.RECORDED_ITEM, prefix):
        if not item.key.sk.startswith(prefix):
            return
        yield item, msgspec.json.decode(item.body, type=LeftToSend)


def _partition(tenant: str) -> str:
    return keys.registry_partition(tenant, "rule-states")


def _key(tenant: str, name: GroupName) -> Key:
    return Key(_partition(tenant), _text(name))


def _series_key(tenant: str, name: GroupName) -> Key:
    return Key(keys.registry_partition(tenant, "rule-series"), _text(name))


def _sent_key(tenant: str, name: GroupName, what: str) -> Key:
    return Key(keys.RECORDED_ITEM, f"{_prefix(tenant)}{_text(name)}:{what}")


def _prefix(tenant: str) -> str:
    return f"{keys.escape(tenant)}:"


def _text(name: GroupName) -> str:
    return keys.rule_group(name.file, name.group)
