"""The directory of labelled series: a tenant's sources, the labels of their targets, names of metrics and labels.

Sources are indexed, not series: an entry for each series and label would cost twenty times as much to write.  Items of
the blocks table, in DIRECTORY_SHARDS partitions of a tenant for its sources, one for its sets of names, each stored
once by its hash, one for what its metrics are, and one for tokens: a partition of sources gets another one after each
change, and readers read it again then.  The ingester writes them before the rows of a new source or name,
and else once a day, so whoever lists them finds every source whose rows can be read, and the days on which it had any.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from secrets import token_bytes
from typing import Final, NamedTuple

import msgspec

from carbyne.core import keys
from carbyne.core.documents import Document
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import SourceKey
from carbyne.core.labels import NamesOfSeries, names_in
from carbyne.core.limits import (
    BATCH_GET_MAX,
    BATCH_READERS,
    DAY_S,
    DIRECTORY_ITEM_BYTES_MAX,
    DIRECTORY_NAMES_BYTES_MAX,
    DIRECTORY_REMEMBERED_MAX,
    DIRECTORY_SOURCES_MAX,
    DIRECTORY_WHOLE_S,
    DIRECTORY_WRITERS,
    WRITE_TRIES_MAX,
)

VERSION: Final = 1
_HASH_BYTES: Final = 12
ANY_NAME: Final = b"*"
"""In the place of a hash: a source with more names than an item takes, which may have any."""


class SourceEntry(msgspec.Struct, frozen=True, array_like=True):
    """``target``: labels of its target as canonical text, empty if it has none; days since 1970 of its first and its
    last facts; ``names``: hash of its set of names, empty before any, or ANY_NAME."""

    target: str
    first_day: int
    last_day: int
    names: bytes = b""


class MetricEntry(msgspec.Struct, frozen=True, array_like=True):
    """Type, help and unit of a metric."""

    kind: str
    about: str
    unit: str


class _NameSet(msgspec.Struct, frozen=True, array_like=True):
    """``labels``: names of labels, None in the sets of earlier code, which did not keep them."""

    names: list[str]
    labels: list[str] | None = None


class ListedNames(NamedTuple):
    """Names of metrics, and of the labels that their series have besides those of their target; None if they may be
    any."""

    metrics: frozenset[str] | None
    labels: frozenset[str] | None

    def joined(self, other: NamesOfSeries) -> "ListedNames":
        """With those of further series."""
        metrics = None if self.metrics is None else self.metrics | other.metrics
        return ListedNames(metrics, None if self.labels is None else self.labels | other.labels)


_NONE: Final = ListedNames(frozenset(), frozenset())
_ANY: Final = ListedNames(None, None)


class ListedSource(NamedTuple):
    """A source as it is listed; ``names``: in its series."""

    target: str
    first_day: int
    last_day: int
    names: ListedNames


class _Known(NamedTuple):
    entry: SourceEntry
    item: Item


class _ReadPage(NamedTuple):
    """A partition of sources as it was read, after its token."""

    token: bytes
    read_s: float
    entries: Mapping[str, SourceEntry]


_Key = tuple[str, str]


NO_NAMES: Final = names_in(())


def _in_turn(sources: Iterable[str], names: Mapping[str, NamesOfSeries]) -> list[list[str]]:
    """The sources in two groups: one source of each set of names, which stores it, then those that find it stored."""
    first = {names.get(source, NO_NAMES): source for source in sorted(sources, reverse=True)}
    storing = sorted(first.values())
    return [group for group in (storing, sorted(set(sources) - set(storing))) if group]


def _kind(body: type, bytes_max: int) -> Document:  # type: ignore[type-arg]
    what = "entry of the directory"
    return Document(what, body, version=VERSION, level=3, bytes_max=bytes_max, inflated_max=bytes_max)


_SOURCES: Final[Document[SourceEntry]] = _kind(SourceEntry, DIRECTORY_ITEM_BYTES_MAX)
_METRICS: Final[Document[MetricEntry]] = _kind(MetricEntry, DIRECTORY_ITEM_BYTES_MAX)
_NAMES: Final[Document[_NameSet]] = _kind(_NameSet, DIRECTORY_NAMES_BYTES_MAX)


class Directory:
    """``keep_s``: how long an entry outlives its last facts, as samples do; ``now_s``: the clock."""

    def __init__(self, table: Table, keep_s: int, now_s: Callable[[], float]) -> None:
        self._table = table
        self._keep_s = keep_s
        self._now_s = now_s
        self._known: dict[_Key, _Known] = {}
        self._metrics: dict[_Key, MetricEntry] = {}
        self._sets: dict[_Key, ListedNames] = {}
        self._pages: dict[str, _ReadPage] = {}
        self._untold: set[tuple[str, str]] = set()

    def sources(self, tenant: str) -> dict[str, ListedSource]:
        """All sources of a tenant; RetryableError, RequestError 422 for more than a reader has memory for.

        Only partitions whose token has changed are read again, and each once in DIRECTORY_WHOLE_S.
        """
        if sum(len(page.entries) for page in self._pages.values()) > DIRECTORY_SOURCES_MAX:
            self._pages.clear()
        tokens = {sort: item.data for sort, item in self._all(keys.directory_tokens(tenant))}
        partitions = keys.directory_partitions(tenant)
        due_s = self._now_s() - DIRECTORY_WHOLE_S
        old = [
            partition
            for partition in partitions
            if partition not in self._pages
            or self._pages[partition].token != tokens.get(partition, b"")
            or self._pages[partition].read_s <= due_s
        ]
        if old:
            self._read_again(old, tokens)
        entries = {
            source: entry for partition in partitions for source, entry in self._pages[partition].entries.items()
        }
        if len(entries) > DIRECTORY_SOURCES_MAX:
            self._pages.clear()
            raise _too_many(len(entries))
        sets = self._names_of_each(tenant, {entry.names for entry in entries.values()})
        sets[b""] = _ANY  # facts come before rows; but an entry that was lost may have rows, and its names no more
        return {
            source: ListedSource(entry.target, entry.first_day, entry.last_day, sets[entry.names])
            for source, entry in entries.items()
        }

    def _read_again(self, partitions: Sequence[str], tokens: Mapping[str, bytes]) -> None:
        """Partitions of a tenant; the first one says about how large the others are."""
        first, *others = partitions
        items = {first: self._all(first)}
        if (about := len(items[first]) * len(partitions)) > DIRECTORY_SOURCES_MAX:
            raise _too_many(about)
        with ThreadPoolExecutor(BATCH_READERS) as readers:  # all at once: it saves round trips
            items |= zip(others, readers.map(self._all, others), strict=True)
        now_s = self._now_s()
        for partition, page in items.items():
            entries = {source: _SOURCES.unpack(item.data) for source, item in page}
            self._pages[partition] = _ReadPage(tokens.get(partition, b""), now_s, entries)

    def metrics(self, tenant: str) -> dict[str, MetricEntry]:
        """All metrics of a tenant about which anything was said; RetryableError."""
        items = self._all(keys.metrics_item(tenant))
        return {name: _METRICS.unpack(item.data) for name, item in items}

    def _all(self, partition: str) -> list[tuple[str, Item]]:
        return self._table.query(partition, keys.SORT_FIRST, keys.SORT_LAST)

    def note(
        self,
        tenant: str,
        targets: Mapping[str, str],
        metrics: Mapping[str, tuple[str, str, str]],
        series: Mapping[str, Set[str]],
    ) -> None:
        """Keep facts, and the names in keys of series by source; RetryableError.

        What this instance has written or read of today is not written again.
        """
        names = {source: names_in(keys_of) for source, keys_of in series.items()}
        day = int(self._now_s()) // DAY_S

        def note(source: str) -> None:
            of_source = SourceKey(tenant, source)
            self._note_source(of_source, targets.get(source, ""), (day, day), names.get(source, NO_NAMES))

        for sources in _in_turn(targets.keys() | names.keys(), names):
            with ThreadPoolExecutor(DIRECTORY_WRITERS) as writers:  # a thousand new targets are seconds one by one
                list(writers.map(note, sources))  # after an error none is begun: an outage takes the time of one
        self._tell()
        self._note_metrics(keys.metrics_item(tenant), metrics)
        self._trim()

    def _tell(self) -> None:
        """Give another token to each partition with an entry that was written, or not remembered."""
        if self._untold:
            expires_s = int(self._now_s()) + self._keep_s
            places = [(keys.directory_tokens(tenant), partition) for tenant, partition in self._untold]
            self._table.write([(*place, Item(token_bytes(8), expires_s)) for place in places], [])
            self._untold.clear()

    def _trim(self) -> None:
        for memory in (self._known, self._metrics, self._sets):
            if len(memory) > DIRECTORY_REMEMBERED_MAX:
                memory.clear()

    def restore(self, source: SourceKey, days: tuple[int, int], series: Set[str]) -> bool:
        """Make the entry of a source of its series, and of its first and last day, again; whether its target is known.

        What the entry has besides stays.  RetryableError.
        """
        target = self._target_of(source)
        self._note_source(source, target, days, names_in(series))
        self._tell()
        self._trim()
        return bool(target)

    def _target_of(self, source: SourceKey) -> str:
        """What is noted beside the series of a source, empty if nothing is."""
        item = self._table.get(source.series_item, keys.TARGET_SORT)
        return item.data.decode() if item else ""

    def _note_source(self, source: SourceKey, target: str, days: tuple[int, int], names: NamesOfSeries) -> None:
        """Entries are changed on the version that was read: no two instances lose each other's names.

        A target that is new is written beside the series of its source before: an entry can be made again of the two.
        """
        key = keys.directory_partition(*source), source.source
        for _ in range(WRITE_TRIES_MAX):
            known = self._known.get(key) or self._read_untold(source.tenant, key)
            if known is None and not target:  # it was lost, and its facts were told before that
                target = self._target_of(source)
            entry = self._changed(source.tenant, known and known.entry, target, days, names)
            if known and entry == known.entry:
                return
            if target and (known is None or known.entry.target != target):
                self._table.write([(source.series_item, keys.TARGET_SORT, Item(target.encode()))], [])
            item = Item(_SOURCES.pack(entry), int(self._now_s()) + self._keep_s)
            self._untold.add((source.tenant, key[0]))
            if self._table.put(*key, item, known and known.item):
                self._known[key] = _Known(entry, item)
                return
            self._known.pop(key, None)
        raise RetryableError(f"the entry of {source.source} keeps changing under us")

    def _read_untold(self, tenant: str, key: _Key) -> _Known | None:
        """An entry that is not remembered: who wrote it may have ended before its partition's token."""
        self._untold.add((tenant, key[0]))
        item = self._table.get(*key)
        if item is None:
            return None
        self._known[key] = _Known(_SOURCES.unpack(item.data), item)
        return self._known[key]

    def _changed(
        self, tenant: str, entry: SourceEntry | None, target: str, days: tuple[int, int], names: NamesOfSeries
    ) -> SourceEntry:
        first, last = days
        if entry is None:
            return SourceEntry(target, first, last, self._joined(tenant, b"", names))
        joined = self._joined(tenant, entry.names, names)
        return SourceEntry(target or entry.target, min(entry.first_day, first), max(entry.last_day, last), joined)

    def _joined(self, tenant: str, known: bytes, names: NamesOfSeries) -> bytes:
        """The hash of the set with these names as well, which is there then."""
        before = self._names_of(tenant, known)
        joined = before.joined(names)
        if joined == before:
            return known
        if joined.metrics is None or _bytes_of(joined) > DIRECTORY_NAMES_BYTES_MAX - 32:
            return ANY_NAME
        return self._set(tenant, joined, joined.metrics)

    def _set(self, tenant: str, names: ListedNames, metrics: frozenset[str]) -> bytes:
        """The hash of a set, which is there then."""
        body = _NameSet(sorted(metrics), None if names.labels is None else sorted(names.labels))
        identity = blake2b(msgspec.json.encode(body), digest_size=_HASH_BYTES).digest()
        key = keys.names_item(tenant), identity.hex()
        if key not in self._sets:
            self._table.write([(*key, Item(_NAMES.pack(body), int(self._now_s()) + self._keep_s))], [])
            self._sets[key] = names
        return identity

    def _names_of(self, tenant: str, identity: bytes) -> ListedNames:
        return self._names_of_each(tenant, {identity})[identity]

    def _names_of_each(self, tenant: str, identities: Set[bytes]) -> dict[bytes, ListedNames]:
        """Sets by their hashes.  One that was removed after KEEP_S, while a source still names it, stands for any name,
        rather than none."""
        places = {identity: (keys.names_item(tenant), identity.hex()) for identity in identities - {b"", ANY_NAME}}
        self._read_sets([place for place in places.values() if place not in self._sets])
        return {b"": _NONE, ANY_NAME: _ANY} | {
            identity: self._sets.get(place, _ANY) for identity, place in places.items()
        }

    def _read_sets(self, places: Sequence[_Key]) -> None:
        batches = [places[first : first + BATCH_GET_MAX] for first in range(0, len(places), BATCH_GET_MAX)]
        if not batches:
            return
        with ThreadPoolExecutor(BATCH_READERS) as readers:
            for items in readers.map(self._table.get_each, batches):
                self._sets |= {place: _listed_names(_NAMES.unpack(item.data)) for place, item in items.items()}

    def _note_metrics(self, partition: str, metrics: Mapping[str, tuple[str, str, str]]) -> None:
        entries = {name: MetricEntry(*metric) for name, metric in metrics.items()}
        new = {name: entry for name, entry in entries.items() if self._metrics.get((partition, name)) != entry}
        expires_s = int(self._now_s()) + self._keep_s
        puts = [(partition, name, Item(_METRICS.pack(entry), expires_s)) for name, entry in new.items()]
        if puts:
            self._table.write(puts, [])
        self._metrics.update({(partition, name): entry for name, entry in new.items()})


def _listed_names(body: _NameSet) -> ListedNames:
    return ListedNames(frozenset(body.names), None if body.labels is None else frozenset(body.labels))


def _bytes_of(names: ListedNames) -> int:
    return sum(len(name.encode()) + 3 for name in (*(names.metrics or ()), *(names.labels or ())))


def _too_many(sources: int) -> RequestError:
    message = f"the tenant has about {sources} targets; at most {DIRECTORY_SOURCES_MAX} are searched"
    return RequestError(422, message)
