"""The directory of labelled series: a tenant's sources with the labels of their targets, and what its metrics are.

Items of the blocks table, in DIRECTORY_SHARDS partitions of a tenant for its sources and one for its metrics.  They are
written by the ingester before the rows of a source, once a day at most unless they change: whoever lists them has seen
every source whose rows can be read, and on which days it had any.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from carbyne.core import keys
from carbyne.core.documents import Document
from carbyne.core.items import Item, Table
from carbyne.core.limits import DAY_S, DIRECTORY_ITEM_BYTES_MAX, DIRECTORY_REMEMBERED_MAX

VERSION: Final = 1


class SourceEntry(msgspec.Struct, frozen=True, array_like=True):
    """``target``: labels of its target as canonical text, empty if it has none; days since 1970 of its first and its
    last facts."""

    target: str
    first_day: int
    last_day: int


class MetricEntry(msgspec.Struct, frozen=True, array_like=True):
    """Type, help and unit of a metric."""

    kind: str
    about: str
    unit: str


DirectoryEntry = SourceEntry | MetricEntry
_SOURCES: Final = Document(
    "source of the directory",
    SourceEntry,
    version=VERSION,
    level=1,
    bytes_max=DIRECTORY_ITEM_BYTES_MAX,
    inflated_max=DIRECTORY_ITEM_BYTES_MAX,
)
_METRICS: Final = Document(
    "metric of the directory",
    MetricEntry,
    version=VERSION,
    level=1,
    bytes_max=DIRECTORY_ITEM_BYTES_MAX,
    inflated_max=DIRECTORY_ITEM_BYTES_MAX,
)


class Directory:
    """``keep_s``: how long an entry outlives its last facts, as samples do; ``now_s``: the clock."""

    def __init__(self, table: Table, keep_s: int, now_s: Callable[[], float]) -> None:
        self._table = table
        self._keep_s = keep_s
        self._now_s = now_s
        self._written: dict[tuple[str, str], DirectoryEntry] = {}

    def sources(self, tenant: str) -> dict[str, SourceEntry]:
        """All sources of a tenant."""
        return {
            source: _SOURCES.unpack(item.data)
            for partition in keys.directory_partitions(tenant)
            for source, item in self._table.query(partition, "", keys.SORT_LAST)
        }

    def metrics(self, tenant: str) -> dict[str, MetricEntry]:
        """All metrics of a tenant about which anything was said."""
        items = self._table.query(keys.metrics_item(tenant), "", keys.SORT_LAST)
        return {name: _METRICS.unpack(item.data) for name, item in items}

    def note(self, tenant: str, targets: Mapping[str, str], metrics: Mapping[str, tuple[str, str, str]]) -> None:
        """Keep these facts; RetryableError.  What this instance wrote today already is not written again."""
        day = int(self._now_s()) // DAY_S
        entries: dict[tuple[str, str], DirectoryEntry] = {}
        for source, target in targets.items():
            key = keys.directory_partition(tenant, source), source
            entries[key] = SourceEntry(target, self._first_day(key, day), day)
        for name, metric in metrics.items():
            entries[keys.metrics_item(tenant), name] = MetricEntry(*metric)
        self._write({key: entry for key, entry in entries.items() if self._written.get(key) != entry})

    def _first_day(self, key: tuple[str, str], day: int) -> int:
        """As the table has it for a source that this instance has not written."""
        known = self._written.get(key)
        if known is None and (item := self._table.get(*key)):
            known = _SOURCES.unpack(item.data)
        return min(known.first_day, day) if isinstance(known, SourceEntry) else day

    def _write(self, entries: Mapping[tuple[str, str], DirectoryEntry]) -> None:
        if not entries:
            return
        expires_s = int(self._now_s()) + self._keep_s
        self._table.write([(*key, Item(_packed(entry), expires_s)) for key, entry in entries.items()], [])
        if len(self._written) >= DIRECTORY_REMEMBERED_MAX:
            self._written.clear()
        self._written.update(entries)


def _packed(entry: DirectoryEntry) -> bytes:
    return _SOURCES.pack(entry) if isinstance(entry, SourceEntry) else _METRICS.pack(entry)
