"""Rollups: count, sum, min and max of each bucket of time, so that spikes and exact means survive.

A 5m bucket is computed from raw samples, a 1h bucket from 5m buckets, a 1d bucket from 1h buckets.  Sums are added as
float64 from left to right in time order.  NaN is left out.  A rollup block has five series for each series of the
source: its key and a suffix.  The fifth says how many NaN were left out, but for stale markers.  Blocks of earlier code
lack it: then that is not known.

A bucket whose samples are all NaN, or were deleted, stays with count 0, and readers leave it out.  The archive may have
an earlier bucket of samples that were overwritten since, and nothing is ever removed there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbyne.core.keys import RAW, RESOLUTIONS, Window
from carbyne.core.labels import STALE_BITS
from carbyne.core.stamps import STAMP_BYTES, ZERO
from carbyne.samples.columns import Columns, Group, assemble
from carbyne.samples.markers import Marker, erase

AGGREGATES: Final = {"count": "\x01c", "sum": "\x01s", "min": "\x01m", "max": "\x01x"}
"""The four aggregates of a series, and the suffix of each one's key."""
NANS: Final = "\x01n"
"""The suffix of the key of what says how many NaN a bucket has that are no stale markers."""
SUFFIX_CHARACTERS: Final = 2
_NEVER: Final = b"\xff" * STAMP_BYTES
"""A stamp after every arrival."""


Span = tuple[int, int]
"""[from, to) in ms."""


class Resolution(NamedTuple):
    """``bucket_s``: length of a bucket; ``window_s``: of a block; ``finer``: name of its source."""

    name: str
    bucket_s: int
    window_s: int
    finer: str

    def aligned(self, from_ms: int, to_ms: int) -> Span:
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
HOUR, DAY = ROLLUPS[1:]
BY_NAME: Final = {resolution.name: resolution for resolution in ROLLUPS}
assert (RAW, *BY_NAME) == RESOLUTIONS
assert all(coarse.bucket_s % fine.bucket_s == 0 for fine, coarse in pairwise(ROLLUPS))
assert all(rollup.window_s % rollup.bucket_s == 0 for rollup in ROLLUPS)
assert HOUR.window_s == DAY.bucket_s, "an hourly block is a day: the catalogue's index of them says which days exist"

POINTS_MIN: Final = 240


def choose(from_ms: int, to_ms: int) -> str:
    """The coarsest resolution that gives more than 240 points over the span, else raw (Mackerel's rule)."""
    span_s = (to_ms - from_ms) // 1000
    fitting = [resolution.name for resolution in ROLLUPS if span_s // resolution.bucket_s > POINTS_MIN]
    return fitting[-1] if fitting else RAW


def keys_of(series: Iterable[str]) -> list[str]:
    """The keys in a rollup block of all that it has of ``series``."""
    return [name + suffix for name in series for suffix in (*AGGREGATES.values(), NANS)]


@dataclass(frozen=True)
class Buckets:
    """Buckets of some series: ``start_ms`` [B] ascending; each array [S, B]; where the count is 0, all are 0 but
    ``nans``, which is NaN where it is not known."""

    start_ms: NDArray[np.int64]
    count: NDArray[np.float64]
    sum: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    nans: NDArray[np.float64]


def roll(finer: Columns, bucket_s: int) -> Columns:
    """Buckets of ``bucket_s`` from the columns of a finer resolution, raw or rolled up, all with the stamp ZERO."""
    groups, nans = [], _nans_apart(finer)
    for group in finer.groups:
        if not _has_only_nans(group):
            names = _rolled_names(group)
            series, parts = _of_rollups(group, names, nans) if names else _of_raw(group)
            groups.append(_group(series, _combined(group.ts_ms, parts, bucket_s * 1000)))
    return assemble((ZERO,), groups)


def rolled_names(rolled: Columns) -> list[str]:
    """The series that have buckets."""
    return sorted(name for group in rolled.groups for name in _rolled_names(group))


def blanked(rolled: Columns) -> Columns:
    """The same buckets with count 0, all with the stamp ZERO."""
    groups = [
        Group(group.series, group.ts_ms, np.zeros_like(group.stamps), np.zeros_like(group.values))
        for group in rolled.groups
    ]
    return assemble((ZERO,), groups)


def undeleted(rolled: Columns, markers: Iterable[Marker], bucket_s: int) -> Columns:
    """Buckets whose samples are gone, without those that a marker deletes whole, whatever their stamps."""
    whole = [
        Marker(_NEVER, key, marker.from_ms, marker.to_ms - bucket_s * 1000 + 1)
        for marker in markers
        for key in (keys_of([marker.series]) if marker.series else [""])
    ]
    return erase(rolled, whole)


def buckets_of(rolled: Columns, series: str) -> Buckets:
    """The buckets of one series that have a sample other than NaN; raises KeyError if it has no bucket at all."""
    counts = series + AGGREGATES["count"]
    group = next((group for group in rolled.groups if counts in group.series), None)
    if group is None:
        raise KeyError(series)
    _, parts = _of_rollups(group, [series], {})
    there = parts[0][0] > 0
    return Buckets(group.ts_ms[there], *(part[:, there] for part in parts))


class SeriesBuckets(NamedTuple):
    """Of one series: ``starts``, ``counts``, ``values`` (of one of AGGREGATES) and ``nans`` [B], as in ``Buckets``."""

    series: str
    starts: NDArray[np.int64]
    counts: NDArray[np.float64]
    values: NDArray[np.float64]
    nans: NDArray[np.float64]


def each_series(rolled: Columns, name: str) -> Iterator[SeriesBuckets]:
    """All buckets of each series, those of nothing but NaN among them."""
    nans, nth = _nans_apart(rolled), list(AGGREGATES).index(name)
    for group in rolled.groups:
        series, parts = _of_rollups(group, _rolled_names(group), nans)
        for row, key in enumerate(series):
            yield SeriesBuckets(key, group.ts_ms, parts[0][row], parts[nth][row], parts[-1][row])


def aggregate(buckets: Buckets, name: str) -> NDArray[np.float64]:
    """[S, B] of ``avg`` (sum / count) or of one of AGGREGATES."""
    if name == "avg":
        return buckets.sum / buckets.count
    values: NDArray[np.float64] = getattr(buckets, name)
    return values


_Parts = Sequence[NDArray[np.float64]]
"""count, sum, min, max and number of NaN, each [S, T]."""
_Nans = Mapping[str, tuple[Group, int]]
"""Key -> its group and row there."""


def _rolled_names(group: Group) -> list[str]:
    """The series whose aggregates are in a group of a rollup block; none for a group of raw samples."""
    suffix = AGGREGATES["count"]
    return [name[:-SUFFIX_CHARACTERS] for name in group.series if name.endswith(suffix)]


def _has_only_nans(group: Group) -> bool:
    return all(name.endswith(NANS) for name in group.series)


def _nans_apart(rolled: Columns) -> _Nans:
    """The counts of NaN as a group of their own: buckets of earlier code lack them."""
    apart = filter(_has_only_nans, rolled.groups)
    return {name: (group, row) for group in apart for row, name in enumerate(group.series)}


def _of_raw(group: Group) -> tuple[list[str], _Parts]:
    values = group.values.view(np.float64)
    is_nan = np.isnan(values)
    strange = is_nan & (group.values != STALE_BITS)
    return list(group.series), ((~is_nan).astype(np.float64), values, values, values, strange.astype(np.float64))


def _of_rollups(group: Group, names: list[str], apart: _Nans) -> tuple[list[str], _Parts]:
    """All aggregates of a series share their times and stamps, so they are in one group."""
    rows = {name: row for row, name in enumerate(group.series)}
    values = group.values.view(np.float64)
    parts = [values[[rows[name + suffix] for name in names]] for suffix in AGGREGATES.values()]
    nans = np.full(parts[0].shape, np.nan)
    for at, name in enumerate(names):
        key = name + NANS
        if key in rows:
            nans[at] = values[rows[key]]
        elif key in apart:
            nans[at] = _aligned(group, *apart[key])
    return names, (*parts, nans)


def _aligned(group: Group, apart: Group, row: int) -> NDArray[np.float64]:
    """A row of another group at the times of a group, NaN where its stamp is another one: earlier code computed the
    bucket again without it."""
    place = np.minimum(np.searchsorted(apart.ts_ms, group.ts_ms), len(apart.ts_ms) - 1)
    is_same = (apart.ts_ms[place] == group.ts_ms) & (apart.stamps[place] == group.stamps)
    return np.where(is_same, apart.values[row].view(np.float64)[place], np.nan)


def _combined(ts_ms: NDArray[np.int64], parts: _Parts, bucket_ms: int) -> Buckets:
    """Adds the n-th entries of all buckets at once, n ascending, so every sum runs from left to right.

    Of equal extremes (0.0 and -0.0) the first stays.  A sum that is NaN is the same NaN on every machine.
    """
    starts, first, sizes = np.unique(ts_ms // bucket_ms * bucket_ms, return_index=True, return_counts=True)
    shape = parts[0].shape[0], len(starts)
    count, total, low, high, nans = (np.zeros(shape) for _ in range(5))
    for nth in range(int(sizes.max(initial=0))):
        here = np.flatnonzero(sizes > nth)
        more, add, least, most, strange = (part[:, first[here] + nth] for part in parts)
        there, fresh = more > 0, count[:, here] == 0
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.where(fresh, add, total[:, here] + add)
        total[:, here] = np.where(there, sums, total[:, here])
        low[:, here] = np.where(there & (fresh | (least < low[:, here])), least, low[:, here])
        high[:, here] = np.where(there & (fresh | (most > high[:, here])), most, high[:, here])
        count[:, here] += more
        nans[:, here] += strange
    for part in (total, nans):
        part[np.isnan(part)] = np.nan
    return Buckets(starts, count, total, low, high, nans)


def _group(series: list[str], buckets: Buckets) -> Group:
    parts = (buckets.count, buckets.sum, buckets.min, buckets.max, buckets.nans)
    computed = dict(zip((*AGGREGATES.values(), NANS), parts, strict=True))
    suffixes = sorted(computed)
    names = [name + suffix for name in series for suffix in suffixes]
    values = np.stack([computed[suffix] for suffix in suffixes], axis=1).reshape(len(names), -1).view(np.uint64)
    return Group(tuple(names), buckets.start_ms, np.zeros(len(buckets.start_ms), np.uint32), values)
