"""The hot tier: rows in Redis Cluster, through the scripts of ``lua/``."""

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from struct import Struct as Layout
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbyne.adapters.redis.commands import Command, Reply, Script, checked, mapping
from carbyne.adapters.redis.dictionaries import Append, Base, Dictionaries, names_of
from carbyne.adapters.redis.nodes import Nodes
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, lane_due, lane_since, lane_state, split_series
from carbyne.core.labels import is_labelled
from carbyne.core.limits import (
    CALL_BYTES_MAX,
    LANES,
    READ_BYTES_MAX,
    READ_WINDOWS,
    SHORT_WINDOW_S,
    WRITE_ROUNDS_MAX,
)
from carbyne.core.stamps import STAMP_BYTES, ZERO
from carbyne.samples.columns import Columns, Rows, from_rows
from carbyne.samples.markers import Marker, erase, of_row
from carbyne.samples.rows import LIST_BYTES, WHOLE, HotQuery, HotRow, RowGroup

_HEAD = np.dtype([("ts_ms", ">i8"), ("stamp", f"V{STAMP_BYTES}")])
_SAMPLE = np.dtype([("head", f"V{_HEAD.itemsize}"), ("value", "<u8")])
"""One sample as the read script gives it; ``value`` holds the bits of a float64."""
_GROUP: Final = Layout(">I?B")
LaneBatch = tuple[int, list[RowGroup]]
"""Groups of one lane that one call takes."""


class Written(NamedTuple):
    """What a lane's write did: rows that changed, and whether the lane had lost its state or its tail."""

    stored: int
    lost: bool


class HotRead(NamedTuple):
    """``whole``: the lane holds everything that it should; ``known``: for each series asked, whether a window of the
    span lists it; ``columns``: their samples, but for those that a delete in Redis concerns; ``windows``: all windows
    of the source that have rows, newest first; ``complete``: those windows of the span of which every row ever written
    is here; ``master``: the replication id of the node that gave it, empty if there were several."""

    whole: bool
    known: list[bool]
    columns: Columns
    windows: list[Window]
    complete: set[Window]
    master: str = ""

    def unproven(self) -> "HotRead":
        """The answer of a master that may lack what another one had acknowledged."""
        return self._replace(whole=False, complete=set())


class _Part(NamedTuple):
    """What the read script says of some windows, in ``HotRead``'s words; ``samples`` as it packs them."""

    whole: bool
    windows: list[Window]
    known: list[bool]
    samples: list[bytes]
    complete: set[Window]
    markers: set[Marker]
    masters: set[str]


class HotStore:
    """Writes and reads rows.  Remembers, for each lane, the highest stamp that it saw acknowledged, and the token that
    the lane had then: under another one a replay brings back what was lost, and the stamp says nothing."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._write = Script.load("write")
        self._names = Script.load("names")
        self._dictionaries = Dictionaries()
        self._read = Script.load("read")
        self._init = Script.load("init")
        self._partial = Script.load("partial")
        self._seen: dict[int, tuple[bytes, bytes]] = {}

    def init(self) -> None:
        """Call every lane whole that has no state yet.  Raises RetryableError; safe to repeat."""
        calls = [self._init.call(lane, [lane_state(lane)], [ZERO]) for lane in range(LANES)]
        for reply in self._nodes.run(calls, replicated=True):
            checked(reply)

    def write(self, lanes: dict[int, list[RowGroup]]) -> dict[int, Written | RetryableError]:
        """Store the rows of each lane; a lane either has all of its rows acknowledged or an error.

        Rows of a window whose dictionary is not the one that is known here are sent again, once Redis was asked.
        """
        result: dict[int, Written | RetryableError] = {}
        batches = [(lane, batch) for lane, groups in lanes.items() for batch in _batches(groups)]
        for _ in range(WRITE_ROUNDS_MAX):
            if batches:
                batches = self._write_once(batches, result)
        for lane, _ in batches:
            result[lane] = RetryableError("other writers keep changing the dictionary of a window")
        self._dictionaries.trim()
        return result

    def names_in(self, source: SourceKey, window: Window) -> Collection[bytes]:
        """The series that this instance knows a source to have in a window that it wrote to."""
        return self._dictionaries.names(source, window)

    def make_partial(self, windows: Mapping[SourceKey, Collection[Window]]) -> dict[SourceKey, RetryableError]:
        """See to it that no read takes Redis to have all of these windows; the sources for which that failed."""
        calls = [
            self._partial.call(source.lane, [source.windows], [window.token for window in sorted(some)])
            for source, some in windows.items()
        ]
        replies = self._nodes.run(calls, replicated=True)
        return {
            source: reply for source, reply in zip(windows, replies, strict=True) if isinstance(reply, RetryableError)
        }

    def read_each(self, sources: Iterable[SourceKey], query: HotQuery) -> dict[SourceKey, HotRead | RetryableError]:
        """The answer of each source; RetryableError for one whose lane can't be asked.

        Labelled sources are expected to have short windows; those of another length take one call more.  The next calls
        of all sources go together: one source after the other, their round trips would add up.
        """
        readings = {source: self._reading(source, query) for source in sources}
        answers: dict[SourceKey, HotRead | RetryableError] = {}
        calls = {source: next(reading) for source, reading in readings.items()}
        while calls:
            replies = zip(calls, self._nodes.run(list(calls.values())), strict=True)
            calls = {}
            for source, reply in replies:
                try:
                    calls[source] = readings[source].send(checked(reply))
                except StopIteration as end:
                    answers[source] = end.value
                except RetryableError as error:
                    answers[source] = error
        return answers

    def _reading(self, source: SourceKey, query: HotQuery) -> Generator[Command, Reply, HotRead]:
        """Yields each call of one source and takes its reply."""
        declared = _declared(query, _likely_s(source, query))
        part = yield from self._read_windows(source, query, declared)
        whole, known, samples, complete, markers = part.whole, part.known, part.samples, part.complete, part.markers
        masters = part.masters
        windows = sorted(part.windows, reverse=True)
        more = [window for window in windows if window not in declared and window.overlaps(query.from_ms, query.to_ms)]
        for length in {window.length_s for window in more}:  # of one length, so that none overlap: see read.lua's next
            same = [window for window in more if window.length_s == length]
            part = yield from self._read_windows(source, query, same)
            known = [a or b for a, b in zip(known, part.known, strict=True)]
            samples = [a + b for a, b in zip(samples, part.samples, strict=True)]
            whole, complete, markers = whole and part.whole, complete | part.complete, markers | part.markers
            masters = masters | part.masters
        columns = erase(from_rows(_rows(query.series, samples)), markers)
        master = masters.pop() if len(masters) == 1 else ""
        return HotRead(whole, known, columns, windows, complete, master)

    def series(self, source: SourceKey) -> set[str]:
        """Every series that a window of the source in Redis knows; empty if the source has no window there."""
        return set(self.series_each([source])[source])

    def series_each(self, sources: Sequence[SourceKey]) -> dict[SourceKey, dict[str, tuple[int, int]]]:
        """The same of each source: name -> first and last ms of the windows that know it.

        RetryableError if one of the sources can't be asked.
        """
        windows = self._windows(sources)
        calls = [Command(source.lane, ("HKEYS", source.dictionary(window))) for source, window in windows]
        calls += [Command(source.lane, ("HGETALL", source.lists(window))) for source, window in windows]
        replies = [checked(reply) for reply in self._nodes.run(calls)]
        known: dict[SourceKey, dict[str, tuple[int, int]]] = {source: {} for source in sources}
        count = len(windows)
        for (source, window), coded, lists in zip(windows, replies[:count], replies[count:], strict=True):
            blobs = (blob for field, blob in mapping(lists).items() if len(field) == LIST_BYTES)
            names = {name.decode() for name in coded}.union(*map(split_series, blobs))
            first_ms, last_ms, of_source = window.start_s * 1000, window.end_s * 1000 - 1, known[source]
            for name in names:
                first, last = of_source.get(name, (first_ms, last_ms))
                of_source[name] = min(first, first_ms), max(last, last_ms)
        return known

    def counts_each(self, sources: Sequence[SourceKey], since_ms: int) -> dict[SourceKey, int]:
        """How many series each source has in the window, of those that end after ``since_ms``, that has most.

        RetryableError as of ``series_each``.
        """
        windows = [pair for pair in self._windows(sources) if pair[1].end_s * 1000 > since_ms]
        calls = [Command(source.lane, ("HLEN", source.dictionary(window))) for source, window in windows]
        counts = dict.fromkeys(sources, 0)
        for (source, _), reply in zip(windows, self._nodes.run(calls), strict=True):
            counts[source] = max(counts[source], checked(reply))
        return counts

    def sources(self) -> set[SourceKey]:
        """Every source with a window in Redis that is not sealed; RetryableError if a lane can't be asked."""
        calls = [Command(lane, ("ZRANGE", lane_due(lane), 0, -1)) for lane in range(LANES)]
        members = [member.decode() for reply in self._nodes.run(calls) for member in checked(reply)]
        return {SourceKey.of_member(member)[0] for member in members}

    def _windows(self, sources: Sequence[SourceKey]) -> list[tuple[SourceKey, Window]]:
        """Every window that Redis knows of each source."""
        tokens = self._nodes.run([Command(source.lane, ("HKEYS", source.windows)) for source in sources])
        return [
            (source, Window.parse(token.decode()))
            for source, reply in zip(sources, tokens, strict=True)
            for token in checked(reply)
        ]

    def _write_once(self, batches: Sequence[LaneBatch], result: dict[int, Written | RetryableError]) -> list[LaneBatch]:
        """Write the batches of lanes that have no error in ``result``, and add to it; the groups to be sent again."""
        self._learn(batches, result)
        batches = [(lane, groups) for lane, groups in batches if not isinstance(result.get(lane), RetryableError)]
        calls = [self._write_call(lane, groups) for lane, groups in batches]
        replies = self._nodes.run(calls, replicated=True) if calls else []
        refused: list[LaneBatch] = []
        for (lane, groups), reply in zip(batches, replies, strict=True):
            self._note(result, lane, groups, reply)
            if not isinstance(reply, RetryableError) and (again := [groups[number - 1] for number in reply[3:]]):
                refused.append((lane, again))
        for _, groups in refused:
            for group in groups:
                self._dictionaries.of(group.source, group.window).doubt()
        return refused

    def _learn(self, batches: Sequence[LaneBatch], result: dict[int, Written | RetryableError]) -> None:
        """Ask for the indexes that the batches need and that are not known here."""
        rows: dict[tuple[SourceKey, Window], list[HotRow]] = {}
        for _, groups in batches:
            for group in groups:
                rows.setdefault((group.source, group.window), []).extend(group.rows)
        asked = [key for key, mine in rows.items() if self._dictionaries.of(*key).must_ask(mine)]
        series = [sorted(names_of(rows[key])) for key in asked]
        calls = [
            self._names.call(source.lane, [source.lists(window), source.dictionary(window)], names)
            for (source, window), names in zip(asked, series, strict=True)
        ]
        replies = self._nodes.run(calls) if calls else []
        for key, names, reply in zip(asked, series, replies, strict=True):
            if isinstance(reply, RetryableError):
                result[key[0].lane] = reply
                continue
            length, digest, *indexes = reply
            if any(length) and not digest:  # older code made it: it gets the digest that this record gives it
                digest = max(row.stamp for row in rows[key])
            self._dictionaries.of(*key).learn(Base(int.from_bytes(length, "big"), digest), names, indexes)

    def _write_call(self, lane: int, groups: list[RowGroup]) -> Command:
        keys = [lane_state(lane), lane_due(lane), lane_since(lane)]
        token, seen = self._seen.get(lane, (b"", ZERO))
        args: list[Any] = [_highest(groups) + seen + token]
        for source, window, due_ms, fresh, rows, arrived_ms in groups:
            append = self._dictionaries.of(source, window).code(rows)
            keys += (source.rows(window), source.lists(window), source.dictionary(window), source.windows)
            args.append(_head(append, window.token.encode()))
            args.append(f"{source.member(window)}\n{due_ms}\n{int(fresh)}\n{arrived_ms}")
            if append.names:
                args += (b"\n".join(append.names), append.after.digest)
            for row in append.rows:
                args += row
        return self._write.call(lane, keys, args)

    def _note(
        self, result: dict[int, Written | RetryableError], lane: int, groups: list[RowGroup], reply: Reply
    ) -> None:
        """Add what one call did to its lane's outcome."""
        before = result.get(lane, Written(0, False))
        if isinstance(before, RetryableError) or isinstance(reply, RetryableError):
            result[lane] = before if isinstance(before, RetryableError) else reply
            return
        result[lane] = Written(before.stored + reply[1], before.lost or bool(reply[0]))
        token, seen = self._seen.get(lane, (b"", ZERO))
        highest = _highest(groups)
        self._seen[lane] = reply[2], max(seen, highest) if token == reply[2] else highest

    def _read_windows(
        self, source: SourceKey, query: HotQuery, windows: Sequence[Window]
    ) -> Generator[Command, Reply, _Part]:
        """All calls that it takes; of what several calls say of state and completeness, the worst."""
        keys = [lane_state(source.lane), source.windows]
        for window in windows:
            keys += (source.rows(window), source.lists(window), source.dictionary(window))
        declared = [len(windows), *(window.token for window in windows)]
        series, to_ms = query.series, query.to_ms
        result = _Part(True, [], [False] * len(series), [b""] * len(series), set(windows), set(), set())
        while True:
            args = [query.from_ms, to_ms, int(query.newest), READ_BYTES_MAX, *declared, *series]
            reply = yield self._read.call(source.lane, keys, args)
            result, next_ms = _continued(result, reply), reply[2]
            if next_ms < 0:
                return result
            to_ms = next_ms - 1


def _continued(before: _Part, reply: Reply) -> _Part:
    state, tokens, _, known, samples, complete, deletes, master = reply
    return _Part(
        before.whole and state == WHOLE,
        [Window.parse(token.decode()) for token in tokens],
        [a or bool(b) for a, b in zip(before.known, known, strict=True)],
        [a + b for a, b in zip(before.samples, samples, strict=True)],
        before.complete & {Window.parse(token.decode()) for token in complete},
        before.markers | set(map(of_row, deletes)),
        before.masters | {master.decode()},
    )


def _rows(series: Sequence[str], packed: Sequence[bytes]) -> Iterator[Rows]:
    """The samples of series as the read script gives them; series of the same rows, as most of a source are, in one."""
    alike: dict[bytes, dict[str, NDArray[np.uint64]]] = {}
    for name, samples in zip(series, packed, strict=True):
        given = np.frombuffer(samples, _SAMPLE)
        alike.setdefault(given["head"].tobytes(), {})[name] = given["value"]
    for heads, columns in alike.items():
        head, names = np.frombuffer(heads, _HEAD), sorted(columns)
        values = np.array([columns[name] for name in names], np.uint64).T
        yield Rows(tuple(names), head["ts_ms"].astype(np.int64), head["stamp"].tolist(), values)


def _batches(groups: Iterable[RowGroup]) -> Iterator[list[RowGroup]]:
    """Groups in their order, cut so that no batch has many more bytes than CALL_BYTES_MAX."""
    batch: list[RowGroup] = []
    size = 0
    for group in groups:
        first = 0
        for last, row in enumerate(group.rows, start=1):
            size += len(row.values) + len(row.series)
            if size > CALL_BYTES_MAX or last == len(group.rows):
                batch.append(group._replace(rows=group.rows[first:last]))
                first = last
            if size > CALL_BYTES_MAX:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _head(append: Append, window: bytes) -> bytes:
    """Of a group, as the write script takes it apart."""
    digest = append.base.digest
    return _GROUP.pack(len(append.rows), bool(append.names), len(digest)) + append.base.packed + digest + window


def _highest(groups: Iterable[RowGroup]) -> bytes:
    return max(row.stamp for group in groups for row in group.rows)


def _likely_s(source: SourceKey, query: HotQuery) -> int:
    """The length that the newest windows of a source probably have."""
    return min(query.length_s, SHORT_WINDOW_S) if is_labelled(source.source) else query.length_s


def _declared(query: HotQuery, length_s: int) -> list[Window]:
    """The newest windows of this length that overlap the span, newest first."""
    newest = Window.holding(query.to_ms, length_s)
    oldest = Window.holding(query.from_ms, length_s)
    count = min(READ_WINDOWS, (newest.start_s - oldest.start_s) // length_s + 1)
    return [Window(newest.start_s - i * length_s, length_s) for i in range(count)]
