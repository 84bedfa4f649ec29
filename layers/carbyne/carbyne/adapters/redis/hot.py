"""The hot tier: rows in Redis Cluster, through the scripts of ``lua/``."""

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from carbyne.adapters.redis.nodes import Command, Nodes, Reply, Script, checked
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, lane_due, lane_since, lane_state, split_series
from carbyne.core.limits import CALL_BYTES_MAX, LANES, LISTS_PER_WINDOW_MAX, READ_BYTES_MAX, READ_WINDOWS
from carbyne.core.stamps import STAMP_BYTES, ZERO
from carbyne.samples.columns import Columns, Rows, from_rows
from carbyne.samples.markers import Marker, erase, of_row
from carbyne.samples.rows import WHOLE, RowGroup

SAMPLE = np.dtype([("ts_ms", ">i8"), ("stamp", f"V{STAMP_BYTES}"), ("value", "<u8")])
"""One sample as the read script gives it; ``value`` holds the bits of a float64."""


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

        Rows whose list Redis does not know are sent a second time, with their series.
        """
        batches = [(lane, batch) for lane, groups in lanes.items() for batch in _batches(groups)]
        replies = self._write_all(batches, with_series=False)
        unknown = [
            (number, (lane, rest))
            for number, ((lane, batch), reply) in enumerate(zip(batches, replies, strict=True))
            if not isinstance(reply, RetryableError) and (rest := _numbered(batch, reply[3:]))
        ]
        again = self._write_all([batch for _, batch in unknown], with_series=True)
        for (number, _), reply in zip(unknown, again, strict=True):
            replies[number] = _added(replies[number], reply)
        return self._outcome(batches, replies)

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

    def read(
        self, source: SourceKey, from_ms: int, to_ms: int, length_s: int, series: Sequence[str], *, newest: bool = False
    ) -> HotRead:
        """``read_each`` of one source; raises its RetryableError."""
        read: HotRead = checked(self.read_each([source], from_ms, to_ms, length_s, series, newest=newest)[source])
        return read

    def read_each(
        self,
        sources: Iterable[SourceKey],
        from_ms: int,
        to_ms: int,
        length_s: int,
        series: Sequence[str],
        *,
        newest: bool = False,
    ) -> dict[SourceKey, HotRead | RetryableError]:
        """The samples of ``series`` from ``from_ms`` to ``to_ms``, both included, of each source; RetryableError for
        one whose lane can't be asked.

        ``length_s``: today's window length; ``newest``: of each series only those of its newest ts.  The next calls of
        all sources go together: one source after the other, their round trips would add up.
        """
        readings = {source: self._reading(source, from_ms, to_ms, length_s, series, newest) for source in sources}
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

    def _reading(
        self, source: SourceKey, from_ms: int, to_ms: int, length_s: int, series: Sequence[str], newest: bool
    ) -> Generator[Command, Reply, HotRead]:
        """Yields each call of one source and takes its reply."""
        declared = _declared(from_ms, to_ms, length_s)
        part = yield from self._read_windows(source, from_ms, to_ms, declared, series, newest)
        whole, known, samples, complete, markers = part.whole, part.known, part.samples, part.complete, part.markers
        masters = part.masters
        windows = sorted(part.windows, reverse=True)
        more = [window for window in windows if window not in declared and window.overlaps(from_ms, to_ms)]
        for length in {window.length_s for window in more}:  # of one length, so that none overlap: see read.lua's next
            same = [window for window in more if window.length_s == length]
            part = yield from self._read_windows(source, from_ms, to_ms, same, series, newest)
            known = [a or b for a, b in zip(known, part.known, strict=True)]
            samples = [a + b for a, b in zip(samples, part.samples, strict=True)]
            whole, complete, markers = whole and part.whole, complete | part.complete, markers | part.markers
            masters = masters | part.masters
        columns = erase(from_rows(map(_rows, series, samples)), markers)
        master = masters.pop() if len(masters) == 1 else ""
        return HotRead(whole, known, columns, windows, complete, master)

    def series(self, source: SourceKey) -> set[str]:
        """Every series that a window of the source in Redis knows; empty if the source has no window there."""
        tokens = checked(self._nodes.run([Command(source.lane, ("HKEYS", source.windows))])[0])
        windows = [Window.parse(token.decode()) for token in tokens]
        calls = [Command(source.lane, ("HVALS", source.lists(window))) for window in windows]
        calls += [Command(source.lane, ("HKEYS", source.dictionary(window))) for window in windows]
        replies = [checked(reply) for reply in self._nodes.run(calls)]
        return {name for reply in replies for blob in reply for name in split_series(blob)}

    def _write_all(self, batches: Sequence[tuple[int, list[RowGroup]]], *, with_series: bool) -> list[Reply]:
        calls = [self._write_call(lane, groups, with_series) for lane, groups in batches]
        return self._nodes.run(calls, replicated=True) if calls else []

    def _write_call(self, lane: int, groups: list[RowGroup], with_series: bool) -> Command:
        keys = [lane_state(lane), lane_due(lane), lane_since(lane)]
        highest = max(row.stamp for group in groups for row in group.rows)
        token, seen = self._seen.get(lane, (b"", ZERO))
        args: list[Any] = [highest, seen, token, LISTS_PER_WINDOW_MAX]
        for source, window, due_ms, fresh, rows, arrived_ms in groups:
            keys += (source.rows(window), source.lists(window), source.dictionary(window), source.windows)
            args += (source.member(window), window.token, due_ms, int(fresh), arrived_ms, len(rows))
            for row in rows:
                args += (row.field, row.value, row.series if with_series else b"")
        return self._write.call(lane, keys, args)

    def _outcome(
        self, batches: Sequence[tuple[int, list[RowGroup]]], replies: Sequence[Reply]
    ) -> dict[int, Written | RetryableError]:
        result: dict[int, Written | RetryableError] = {}
        for (lane, groups), reply in zip(batches, replies, strict=True):
            before = result.get(lane, Written(0, False))
            if isinstance(before, RetryableError) or isinstance(reply, RetryableError):
                result[lane] = before if isinstance(before, RetryableError) else reply
                continue
            result[lane] = Written(before.stored + reply[1], before.lost or bool(reply[0]))
            highest = max(row.stamp for group in groups for row in group.rows)
            token, seen = self._seen.get(lane, (b"", ZERO))
            self._seen[lane] = reply[2], max(seen, highest) if token == reply[2] else highest
        return result

    def _read_windows(
        self,
        source: SourceKey,
        from_ms: int,
        to_ms: int,
        windows: Sequence[Window],
        series: Sequence[str],
        newest: bool,
    ) -> Generator[Command, Reply, _Part]:
        """All calls that it takes; of what several calls say of state and completeness, the worst."""
        keys = [lane_state(source.lane), source.windows]
        for window in windows:
            keys += (source.rows(window), source.lists(window), source.dictionary(window))
        declared = [len(windows), *(window.token for window in windows)]
        result = _Part(True, [], [False] * len(series), [b""] * len(series), set(windows), set(), set())
        while True:
            args = [from_ms, to_ms, int(newest), READ_BYTES_MAX, *declared, *series]
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


def _rows(series: str, packed: bytes) -> Rows:
    """The samples of one series as the read script gives them, one row each."""
    samples = np.frombuffer(packed, SAMPLE)
    ts_ms, values = samples["ts_ms"].astype(np.int64), samples["value"].astype(np.uint64)
    return Rows((series,), ts_ms, samples["stamp"].tolist(), values.reshape(-1, 1))


def _batches(groups: Iterable[RowGroup]) -> Iterator[list[RowGroup]]:
    """Groups in their order, cut so that no batch has many more bytes than CALL_BYTES_MAX."""
    batch: list[RowGroup] = []
    size = 0
    for group in groups:
        first = 0
        for last, row in enumerate(group.rows, start=1):
            size += len(row.values)
            if size > CALL_BYTES_MAX or last == len(group.rows):
                batch.append(group._replace(rows=group.rows[first:last]))
                first = last
            if size > CALL_BYTES_MAX:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _numbered(groups: Sequence[RowGroup], numbers: Iterable[int]) -> list[RowGroup]:
    """The groups with only those rows that have these numbers, counted from 1 over all groups."""
    chosen = set(numbers)
    result, first = [], 1
    for group in groups if chosen else ():
        rows = [row for number, row in enumerate(group.rows, start=first) if number in chosen]
        first += len(group.rows)
        if rows:
            result.append(group._replace(rows=rows))
    return result


def _added(first: Reply, second: Reply) -> Reply:
    """The reply of a call and of its repetition with series as one."""
    return second if isinstance(second, RetryableError) else [first[0] or second[0], first[1] + second[1], second[2]]


def _declared(from_ms: int, to_ms: int, length_s: int) -> list[Window]:
    """The newest windows of today's length that overlap the span, newest first."""
    newest = Window.holding(to_ms, length_s)
    oldest = Window.holding(from_ms, length_s)
    count = min(READ_WINDOWS, (newest.start_s - oldest.start_s) // length_s + 1)
    return [Window(newest.start_s - i * length_s, length_s) for i in range(count)]
