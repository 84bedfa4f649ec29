"""Markers of deletes: which samples a delete removes, and the row that stands for it in a window in Redis."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import reduce
from hashlib import blake2b
from struct import Struct as Layout
from struct import error as struct_error
from typing import Final, NamedTuple

import numpy as np

from carbyne.core.errors import CorruptDataError
from carbyne.core.keys import Window
from carbyne.core.stamps import STAMP_BYTES
from carbyne.samples.columns import Columns, Group, assemble
from carbyne.samples.rows import DELETED, HEAD_BYTES, HotRow

DELETE_TS_MS: Final = 2**62
"""In the place of a row's time: after every time that a sample can have, and exact as a double."""
_SPAN: Final = Layout(">qq")


class Marker(NamedTuple):
    """Deletes the samples of ``series`` (of all if empty) from ``from_ms`` to ``to_ms``, both included, whose stamps
    are before ``stamp``."""

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
        """8 bytes of BLAKE2b of the payload: a later delete with the same identity supersedes this one."""
        return blake2b(self.payload, digest_size=8).digest()

    def covers(self, other: "Marker") -> bool:
        """Whether everything that ``other`` deletes is deleted by this one as well."""
        return (
            self.series in ("", other.series)
            and self.from_ms <= other.from_ms
            and self.to_ms >= other.to_ms
            and self.stamp >= other.stamp
        )

    def overlaps(self, window: Window) -> bool:
        """Whether any time of the window is in the range."""
        return window.overlaps(self.from_ms, self.to_ms)


Markers = Sequence[Marker]


def erase(columns: Columns, markers: Iterable[Marker]) -> Columns:
    """The samples that no marker deletes."""
    return reduce(_erased, markers, columns)


def row_of(marker: Marker) -> HotRow:
    """The marker as a row of a window in Redis; a repetition, or a later delete of the same range, replaces it."""
    return HotRow(DELETE_TS_MS, marker.identity, b"", marker.stamp, marker.payload, DELETED)


def of_row(value: bytes) -> Marker:
    """The mirror of ``row_of``, from the row's value; CorruptDataError if it is no delete."""
    try:
        span = _SPAN.unpack_from(value, HEAD_BYTES)
        return Marker(value[:STAMP_BYTES], value[HEAD_BYTES + _SPAN.size :].decode(), *span)
    except (struct_error, UnicodeDecodeError) as error:
        raise CorruptDataError(f"a delete in Redis: {error}") from error


def _erased(columns: Columns, marker: Marker) -> Columns:
    older = bisect_left(columns.stamps, marker.stamp)
    if not older:
        return columns
    groups = [part for group in columns.groups for part in _without(group, marker, older)]
    return assemble(columns.stamps, groups) if groups != list(columns.groups) else columns


def _without(group: Group, marker: Marker, older: int) -> list[Group]:
    """The group without the deleted samples, as two groups if only one of several series is affected.  Stamps with an
    index below ``older`` are before the marker's."""
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
