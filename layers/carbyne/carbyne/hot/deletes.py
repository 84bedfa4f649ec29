"""Deletes: samples that arrived before a delete and lie in its range are no more, in any tier and for good.

A delete is a record of the stream like any other, and its stamp decides: what arrived before it is gone, what arrives
after it stays.  It is noted twice.  The durable marker beside the catalogue is obeyed wherever raw samples are merged,
so that neither a replay nor a late merge brings anything back.  A row of its own in each window that has or had samples
of the source makes the sealer clean the blocks and compute the rollups anew; until then readers take the window's raw
samples, and those that have all of it from Redis find the delete there.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from hashlib import blake2b
from struct import Struct as Layout
from struct import error as struct_error
from typing import Final, NamedTuple, Protocol

import numpy as np

from carbyne.core.errors import CorruptDataError, RetryableError
from carbyne.core.keys import RAW, SourceKey, Window
from carbyne.core.limits import AHEAD_MS_MAX, MARKER_EXTRA_S
from carbyne.core.stamps import STAMP_BYTES
from carbyne.samples.columns import Columns, Group, assemble
from carbyne.samples.rows import DELETED, HEAD_BYTES, HotRow, RowGroup
from carbyne.samples.schedule import SealSchedule

DELETE_TS_MS: Final = 2**62
"""In the place of a row's time: after every time that a sample can have, and a double holds it."""
_SPAN: Final = Layout(">qq")


class Marker(NamedTuple):
    """Samples of ``series`` (all series if empty) from ``from_ms`` to ``to_ms``, both included, whose stamps are before
    ``stamp`` are deleted."""

    stamp: bytes
    series: str
    from_ms: int
    to_ms: int

    @property
    def payload(self) -> bytes:
        """What is deleted, without when."""
        return _SPAN.pack(self.from_ms, self.to_ms) + self.series.encode()

    @property
    def identity(self) -> bytes:
        """8 bytes of BLAKE2b of the payload: of two deletes with one identity the later one says all."""
        return blake2b(self.payload, digest_size=8).digest()

    def overlaps(self, window: Window) -> bool:
        """Whether any time of the window is in the range."""
        return window.overlaps(self.from_ms, self.to_ms)


Markers = Sequence[Marker]


def erase(columns: Columns, markers: Iterable[Marker]) -> Columns:
    """The samples that no marker deletes."""
    return reduce(_erased, markers, columns)


def row_of(marker: Marker) -> HotRow:
    """The marker as a row of a window in Redis; what repeats it, or comes later with the same range, replaces it."""
    return HotRow(DELETE_TS_MS, marker.identity, b"", marker.stamp, marker.payload, DELETED)


def of_row(value: bytes) -> Marker:
    """The mirror of ``row_of``, of the row's value; CorruptDataError if it is none."""
    try:
        span = _SPAN.unpack_from(value, HEAD_BYTES)
        return Marker(value[:STAMP_BYTES], value[HEAD_BYTES + _SPAN.size :].decode(), *span)
    except (struct_error, UnicodeDecodeError) as error:
        raise CorruptDataError(f"a delete in Redis: {error}") from error


class Sealed(Protocol):
    """See ``catalogue.Windows``."""

    @property
    def sealed(self) -> Iterable[Window]: ...


class Noted(Protocol):
    """The durable side; both methods raise RetryableError if it can't be asked."""

    def add_marker(self, source: SourceKey, marker: Marker, expires_s: int) -> None: ...
    def windows(self, source: SourceKey, resolution: str) -> Sealed: ...


class Lost(Protocol):
    """What a lane's write found: whether the lane had lost its state or its tail."""

    @property
    def lost(self) -> bool: ...


class Windows(Protocol):
    """The windows of a source in Redis; RetryableError if it can't be asked."""

    def windows(self, source: SourceKey) -> Iterable[Window]: ...


class Hot(Protocol):
    """Writes to Redis; an error is the lane's outcome."""

    def write(self, lanes: dict[int, list[RowGroup]]) -> Mapping[int, Lost | RetryableError]: ...


class Deletes:
    """Notes deletes.  ``length_s``: of a raw window; ``retention_s``: of raw samples; ``now_ms``: the clock."""

    def __init__(
        self,
        noted: Noted,
        windows: Windows,
        hot: Hot,
        schedule: SealSchedule,
        length_s: int,
        retention_s: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._noted = noted
        self._windows = windows
        self._hot = hot
        self._schedule = schedule
        self._length_s = length_s
        self._retention_s = retention_s
        self._now_ms = now_ms

    def note(self, source: SourceKey, marker: Marker) -> Lost | None:
        """Note a delete for good; what the write to the lane did, None if there was nothing to write.

        The marker is durable before any window tells of it, and Redis is asked for its windows before the index of
        sealed ones: so a window that is sealed meanwhile is met here or there.  Windows that may begin with rows from
        before the delete, should these come late, are told as well.  Raises RetryableError; safe to repeat.
        """
        now_ms = self._now_ms()
        self._noted.add_marker(source, marker, now_ms // 1000 + self._retention_s + MARKER_EXTRA_S)
        windows = {*self._windows.windows(source)}
        windows |= {*self._noted.windows(source, RAW).sealed}
        windows |= {
            Window.holding(ts_ms, self._length_s)
            for ts_ms in range(now_ms, now_ms + AHEAD_MS_MAX + self._length_s * 1000, self._length_s * 1000)
        }
        row = row_of(marker)
        groups = [
            RowGroup(source, window, self._schedule.due_ms(source, window, now_ms), fresh=False, rows=[row])
            for window in sorted(windows)
            if marker.overlaps(window)
        ]
        if not groups:
            return None
        outcome = self._hot.write({source.lane: groups})[source.lane]
        if isinstance(outcome, RetryableError):
            raise outcome
        return outcome


def _erased(columns: Columns, marker: Marker) -> Columns:
    older = bisect_left(columns.stamps, marker.stamp)
    if not older:
        return columns
    groups = [part for group in columns.groups for part in _without(group, marker, older)]
    return assemble(columns.stamps, groups) if groups != list(columns.groups) else columns


def _without(group: Group, marker: Marker, older: int) -> list[Group]:
    """The group without what the marker deletes, in two parts if that concerns one of several series; the stamps with
    an index below ``older`` are before the marker's."""
    low, high = np.searchsorted(group.ts_ms, (marker.from_ms, marker.to_ms + 1))
    gone = np.zeros(len(group.ts_ms), bool)
    gone[low:high] = group.stamps[low:high] < older
    if not gone.any() or (marker.series and marker.series not in group.series):
        return [group]
    if not marker.series or len(group.series) == 1:
        return [_at(group, list(range(len(group.series))), ~gone)]
    row = group.series.index(marker.series)
    others = [other for other in range(len(group.series)) if other != row]
    return [_at(group, others, np.ones(len(gone), bool)), _at(group, [row], ~gone)]


def _at(group: Group, rows: Sequence[int], times: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Group:
    values = np.ascontiguousarray(group.values[rows][:, times])
    return Group(tuple(group.series[row] for row in rows), group.ts_ms[times], group.stamps[times], values)
