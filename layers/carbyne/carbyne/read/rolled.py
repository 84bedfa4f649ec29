"""What a range selector reads: rollups where these give exactly what raw samples would, raw samples elsewhere.

A bucket [start, end) stands for its samples if no window begins or ends within it: all of them are in the same windows.
So windows are cut into the coarsest buckets that fit, and raw samples at their ends, as windows are (from, to].  A
bucket takes the place of its samples as one sample with their greatest, or least, value, or their number.

NaN is left out of rollups.  So a bucket of which a series has nothing but NaN is read again from the next finer
resolution, down to raw samples, since the answer to only NaN is NaN; and for a number of samples each bucket that has a
NaN, or may have: of buckets that earlier code computed it is not known.  Stale markers are no samples, here as there.
Sums are not served: PromQL adds with compensation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbyne.core.keys import RAW, SourceKey
from carbyne.core.limits import BATCH_READERS, ROLLED_READS_MAX, ROLLED_SPAN_MS_MAX
from carbyne.promql.labels import Labels
from carbyne.promql.select import Selection, SeriesSamples
from carbyne.read.reader import How, Many, Reader
from carbyne.read.spent import Spent
from carbyne.read.views import between_spans, joined_spans
from carbyne.samples.columns import Columns, merge
from carbyne.samples.rollups import ROLLUPS, Resolution, SeriesBuckets, Span, each_series

COUNT: Final = "count"
EXACT: Final = {
    "count_over_time": COUNT,
    "max_over_time": "max",
    "min_over_time": "min",
    "present_over_time": "max",
    "absent_over_time": "max",
}
"""Functions whose answer rollups give exactly -> which value of a bucket stands for its samples."""
RAW_BLOCK_MS: Final = ROLLUPS[0].window_s * 1000
"""A block of raw samples, by which reads are compared: about as large as one of any rollup."""

LabelsOf = Callable[[str], Labels]
Times = NDArray[np.int64]


class SamplePoints(NamedTuple):
    """As in SeriesSamples."""

    ts_ms: Times
    values: NDArray[np.float64]
    weights: NDArray[np.float64] | None = None


class RollupPlan(NamedTuple):
    """``levels``: which buckets are read of each rollup, the coarsest first, as spans of whole buckets; ``rest``: the
    spans of raw samples."""

    levels: list[tuple[Resolution, list[Span]]]
    rest: list[Span]


@lru_cache(maxsize=32)  # each source of a selection has the same plan
def planned(selection: Selection, rollups: Sequence[Resolution] = ROLLUPS) -> RollupPlan:
    """Which rollups serve a selection: none, unless that saves half of the blocks at least."""
    span = (selection.after_ms + 1, selection.until_ms + 1)
    raw = RollupPlan([], [span])
    is_long = selection.window_ms > RAW_BLOCK_MS and span[1] - span[0] <= ROLLED_SPAN_MS_MAX
    if selection.function not in EXACT or not is_long:
        return raw
    levels, rest, cuts = [], [span], _cuts(selection)
    for rollup in reversed(rollups):
        whole = [run for part in rest for run in _whole(rollup, part, cuts)]
        levels.append((rollup, whole))
        rest = [left for part in rest for left in between_spans(whole, part)]
    plan = RollupPlan(levels, rest)
    reads = [*(_reads(spans, rollup.window_s * 1000) for rollup, spans in levels), _reads(rest, RAW_BLOCK_MS)]
    blocks = sum(blocks for each in reads for blocks in each.values())
    saves = 2 * blocks <= _blocks(span, RAW_BLOCK_MS) and sum(map(len, reads)) <= ROLLED_READS_MAX
    return plan if saves else raw


class SelectionRead:
    """One read of series: what the function of a selection needs of them.  ``keys``: of each source; the same key in
    several sources, which a divided target has, is one series."""

    def __init__(
        self, reader: Reader, keys: Mapping[SourceKey, Sequence[str]], selection: Selection, spent: Spent
    ) -> None:
        self._reader, self._keys, self._spent = reader, keys, spent
        self._plan = planned(selection)
        self._span = selection.after_ms + 1, selection.until_ms + 1
        self._value = EXACT.get(selection.function, "")
        self._points: dict[str, list[SamplePoints]] = {}

    def series(self, labels: LabelsOf) -> list[SeriesSamples]:
        """Those with samples; of a rollup one for each bucket, so that times may come twice.  Errors of ``Reader``."""
        blank: list[Span] = []
        for rollup, spans in self._plan.levels:
            blank = list(self._rolled(rollup, joined_spans([*spans, *blank], self._span)))
        self._raw(joined_spans([*self._plan.rest, *blank], self._span))
        return [SeriesSamples(labels(key), *_in_order(parts)) for key, parts in self._points.items()]

    def _rolled(self, rollup: Resolution, spans: Sequence[Span]) -> Iterator[Span]:
        """Take the buckets of the spans, but those that do not say what some series had there."""
        bucket_ms = rollup.bucket_s * 1000
        for span in _reads(spans, rollup.window_s * 1000):
            read = [
                buckets for columns in self._each(span, rollup.name) for buckets in each_series(columns, self._value)
            ]
            unsaid = self._unsaid(read, spans)
            for buckets in read:
                said = _inside(buckets.starts, spans) & ~np.isin(buckets.starts, unsaid)
                self._take(buckets, said & (buckets.counts > 0), bucket_ms)
            for start_ms in unsaid.tolist():
                yield start_ms, start_ms + bucket_ms

    def _unsaid(self, read: Sequence[SeriesBuckets], spans: Sequence[Span]) -> Times:
        """Where buckets begin of which the function needs more, or that two sources have of one series: all series are
        read again there, and none twice."""
        starts = [np.empty(0, np.int64)]
        for buckets in read:
            has_nan = buckets.nans != 0  # NaN, where that is not known, is no 0 either
            needs = has_nan if self._value == COUNT else has_nan & (buckets.counts == 0)
            starts.append(buckets.starts[needs])
        starts += _shared(read) if len(self._keys) > 1 else []
        unsaid = np.unique(np.concatenate(starts))
        return unsaid[_inside(unsaid, spans)]

    def _take(self, buckets: SeriesBuckets, which: NDArray[np.bool_], bucket_ms: int) -> None:
        if which.any():
            ts_ms, values = buckets.starts[which] + bucket_ms - 1, buckets.values[which]
            points = SamplePoints(ts_ms, values, values if self._value == COUNT else None)
            self._points.setdefault(buckets.series, []).append(points)

    def _raw(self, spans: Sequence[Span]) -> None:
        for span in _reads(spans, RAW_BLOCK_MS):
            for group in merge(list(self._each(span, RAW))).groups:
                inside = _inside(group.ts_ms, spans)
                ts_ms, values = group.ts_ms[inside], group.values.view(np.float64)[:, inside]
                for key, of_key in zip(group.series, values, strict=True) if len(ts_ms) else ():
                    self._points.setdefault(key, []).append(SamplePoints(ts_ms, of_key))

    def _each(self, span: Span, resolution: str) -> Iterator[Columns]:
        """What each source has."""
        each = _part_threads().map if len(self._keys) > 1 else map  # all at once: it saves round trips

        def read(source: SourceKey) -> Many:
            return self._reader.read_many(source, self._keys[source], span[0], span[1] - 1, How(resolution))

        for many in each(read, self._keys):
            self._spent.add(many)
            yield many.columns


@cache
def _part_threads() -> ThreadPoolExecutor:
    """Of their own: those that read targets wait for them."""
    return ThreadPoolExecutor(BATCH_READERS)


def _shared(read: Sequence[SeriesBuckets]) -> list[Times]:
    """The beginnings of buckets that come more than once for a series."""
    of_keys: dict[str, list[Times]] = {}
    for buckets in read:
        of_keys.setdefault(buckets.series, []).append(buckets.starts)
    of_several = (np.unique(np.concatenate(starts), return_counts=True) for starts in of_keys.values() if starts[1:])
    return [starts[counts > 1] for starts, counts in of_several]


def _in_order(parts: Sequence[SamplePoints]) -> SamplePoints:
    if len(parts) == 1:
        return parts[0]
    ts_ms, values = np.concatenate([part.ts_ms for part in parts]), np.concatenate([part.values for part in parts])
    order, weights = np.argsort(ts_ms, kind="stable"), None
    if any(part.weights is not None for part in parts):
        of_parts = (np.ones(len(part.ts_ms)) if part.weights is None else part.weights for part in parts)
        weights = np.concatenate(list(of_parts))[order]
    return SamplePoints(ts_ms[order], values[order], weights)


def _cuts(selection: Selection) -> Times:
    """A window begins or ends between each of these ms and the next."""
    last_ms = selection.until_ms - selection.window_ms
    starts = np.arange(selection.after_ms, last_ms + 1, selection.step_ms or 1 << 62, dtype=np.int64)
    return np.unique(np.concatenate([starts, starts + selection.window_ms]))


def _whole(rollup: Resolution, span: Span, cuts: Times) -> list[Span]:
    """The buckets of a span within which no cut is, those that touch as one."""
    bucket_ms = rollup.bucket_s * 1000
    starts = np.arange(-(-span[0] // bucket_ms) * bucket_ms, span[1] - bucket_ms + 1, bucket_ms, dtype=np.int64)
    next_cut = np.append(cuts, np.iinfo(np.int64).max)[np.searchsorted(cuts, starts)]
    is_whole = np.concatenate([[False], next_cut >= starts + bucket_ms - 1, [False]])
    edges = np.flatnonzero(is_whole[1:] != is_whole[:-1])
    ends = starts + bucket_ms
    return [(int(starts[low]), int(ends[high - 1])) for low, high in zip(edges[::2], edges[1::2], strict=True)]


def _reads(spans: Iterable[Span], block_ms: int) -> dict[Span, int]:
    """Spans to read at once, and how many blocks each touches: those are joined between which no block lies."""
    reads: list[Span] = []
    for start, end in spans:
        if reads and start // block_ms <= (reads[-1][1] - 1) // block_ms + 1:
            reads[-1] = (reads[-1][0], end)
        else:
            reads.append((start, end))
    return {span: _blocks(span, block_ms) for span in reads}


def _blocks(span: Span, block_ms: int) -> int:
    return (span[1] - 1) // block_ms - span[0] // block_ms + 1


def _inside(ts_ms: Times, spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Which times are in one of the spans, which ascend."""
    edges = np.array([edge for span in spans for edge in span], np.int64)
    return np.asarray(np.searchsorted(edges, ts_ms, "right") % 2 == 1)
