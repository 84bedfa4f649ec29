"""Rollups: count, sum, min and max of each bucket of time, so that spikes and exact means survive.

A 5m bucket is made of raw samples, a 1h bucket of 5m buckets, a 1d bucket of 1h buckets: each exactly what the raw
samples give, sums added as float64 from left to right in the order of time.  NaN is left out; a bucket without a sample
is not there.  A rollup block holds four series for each series of the source, its key with one letter behind it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbyne.columns import Columns, Group, assemble
from carbyne.keys import RAW, RESOLUTIONS, Window
from carbyne.stamps import ZERO

AGGREGATES: Final = {"count": "\x01c", "sum": "\x01s", "min": "\x01m", "max": "\x01x"}
"""What a rollup block keeps of a series, and the suffix of its key there."""
SUFFIX_CHARACTERS: Final = 2


class Resolution(NamedTuple):
    """``bucket_s``: length of a bucket; ``window_s``: of a block; ``finer``: name of what it is made of."""

    name: str
    bucket_s: int
    window_s: int
    finer: str

    def aligned(self, from_ms: int, to_ms: int) -> tuple[int, int]:
        """The span [from, to) in ms, widened to whole buckets."""
        bucket_ms = self.bucket_s * 1000
        return from_ms // bucket_ms * bucket_ms, -(-to_ms // bucket_ms) * bucket_ms

    def closed_ms(self, now_ms: int) -> int:
        """The end of the last bucket that has closed by ``now_ms``."""
        return now_ms // (self.bucket_s * 1000) * self.bucket_s * 1000

    def windows(self, from_ms: int, to_ms: int) -> list[Window]:
        """The windows of blocks that overlap the span [from, to) in ms."""
        first = Window.holding(from_ms, self.window_s).start_s
        return [Window(start_s, self.window_s) for start_s in range(first, -(-to_ms // 1000), self.window_s)]


ROLLUPS: Final = (
    Resolution("5m", 300, 14_400, RAW),
    Resolution("1h", 3_600, 86_400, "5m"),
    Resolution("1d", 86_400, 30 * 86_400, "1h"),
)
BY_NAME: Final = {resolution.name: resolution for resolution in ROLLUPS}
assert (RAW, *BY_NAME) == RESOLUTIONS
assert all(coarse.bucket_s % fine.bucket_s == 0 for fine, coarse in pairwise(ROLLUPS))
assert all(rollup.window_s % rollup.bucket_s == 0 for rollup in ROLLUPS)

POINTS_MIN: Final = 240


def choose(from_ms: int, to_ms: int) -> str:
    """The coarsest resolution that still gives more than 240 points over the span, else raw (the original's rule)."""
    span_s = (to_ms - from_ms) // 1000
    fitting = [resolution.name for resolution in ROLLUPS if span_s // resolution.bucket_s > POINTS_MIN]
    return fitting[-1] if fitting else RAW


def keys_of(series: Iterable[str]) -> list[str]:
    """The keys in a rollup block of all aggregates of ``series``."""
    return [name + suffix for name in series for suffix in AGGREGATES.values()]


@dataclass(frozen=True)
class Buckets:
    """Buckets of some series: ``start_ms`` [B] ascending; each array [S, B]; a bucket of count 0 is not there."""

    start_ms: NDArray[np.int64]
    count: NDArray[np.float64]
    sum: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]


def roll(finer: Columns, bucket_s: int, stamp: bytes = ZERO) -> Columns:
    """Buckets of ``bucket_s`` out of the columns of a finer resolution, raw or rolled up, all with this ``stamp``."""
    groups = []
    for group in finer.groups:
        names = _rolled_names(group)
        series, parts = _of_rollups(group, names) if names else _of_raw(group)
        groups += _groups(series, _combined(group.ts_ms, parts, bucket_s * 1000))
    return assemble((stamp,), groups)


def buckets_of(rolled: Columns, series: str) -> Buckets:
    """The buckets of one series; raises KeyError if there are none."""
    wanted = series + AGGREGATES["count"]
    group = next((group for group in rolled.groups if wanted in group.series), None)
    if group is None:
        raise KeyError(series)
    return Buckets(group.ts_ms, *_of_rollups(group, [series])[1])


def aggregate(buckets: Buckets, name: str) -> NDArray[np.float64]:
    """[S, B] of ``avg`` (sum / count) or of one of AGGREGATES."""
    if name == "avg":
        return buckets.sum / buckets.count
    found: NDArray[np.float64] = getattr(buckets, name)
    return found


_Parts = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""count, sum, min and max, each [S, T]."""


def _rolled_names(group: Group) -> list[str]:
    """The series whose aggregates a group of a rollup block holds; none for a group of raw samples."""
    suffix = AGGREGATES["count"]
    return [name[:-SUFFIX_CHARACTERS] for name in group.series if name.endswith(suffix)]


def _of_raw(group: Group) -> tuple[list[str], _Parts]:
    values = group.values.view(np.float64)
    return list(group.series), ((~np.isnan(values)).astype(np.float64), values, values, values)


def _of_rollups(group: Group, names: list[str]) -> tuple[list[str], _Parts]:
    """All aggregates of a series share their times and stamps, so they are in one group."""
    rows = {name: row for row, name in enumerate(group.series)}
    values = group.values.view(np.float64)
    count, total, low, high = ([rows[name + suffix] for name in names] for suffix in AGGREGATES.values())
    return names, (values[count], values[total], values[low], values[high])


def _combined(ts_ms: NDArray[np.int64], parts: _Parts, bucket_ms: int) -> Buckets:
    """The n-th entries of all buckets are added at once, n ascending: every sum runs from left to right."""
    starts, first, sizes = np.unique(ts_ms // bucket_ms * bucket_ms, return_index=True, return_counts=True)
    shape = parts[0].shape[0], len(starts)
    count, total, low, high = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for nth in range(int(sizes.max(initial=0))):
        here = np.flatnonzero(sizes > nth)
        more, add, least, most = (part[:, first[here] + nth] for part in parts)
        there, fresh = more > 0, (more > 0) & (count[:, here] == 0)
        with np.errstate(invalid="ignore", over="ignore"):
            total[:, here] = np.where(fresh, add, np.where(there, total[:, here] + add, total[:, here]))
        low[:, here] = np.where(fresh, least, np.where(there, np.fmin(low[:, here], least), low[:, here]))
        high[:, here] = np.where(fresh, most, np.where(there, np.fmax(high[:, here], most), high[:, here]))
        count[:, here] += more
    return Buckets(starts, count, total, low, high)


def _groups(series: list[str], buckets: Buckets) -> list[Group]:
    """Groups of series whose buckets are at the same times."""
    there = buckets.count > 0
    alike: dict[bytes, list[int]] = {}
    for row, mask in enumerate(there):
        alike.setdefault(mask.tobytes(), []).append(row)
    return [_group(series, buckets, rows, there[rows[0]]) for rows in alike.values() if there[rows[0]].any()]


def _group(series: list[str], buckets: Buckets, rows: list[int], there: NDArray[np.bool_]) -> Group:
    entries = {
        series[row] + suffix: part[row, there]
        for part, suffix in zip(
            (buckets.count, buckets.sum, buckets.min, buckets.max), AGGREGATES.values(), strict=True
        )
        for row in rows
    }
    names = sorted(entries)
    values = np.array([entries[name] for name in names], np.float64).view(np.uint64)
    start_ms = buckets.start_ms[there]
    return Group(tuple(names), start_ms, np.zeros(len(start_ms), np.uint32), values)
