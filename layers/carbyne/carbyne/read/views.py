"""Rolled up views of a series: blocks where they are whole, finer samples where they are not yet.

A bucket that touches a window with rows in Redis, with late rows, or of which a delete has not been cleaned yet, is
computed from the next finer resolution, down to raw samples merged over all tiers; so is a day that no seal has closed
yet.  The index of windows in Redis was read before that of open days, late rows and deletes, and all of them before the
blocks: a window that was sealed, or a day that was closed in between is computed.

Where raw samples may have ended, nothing is computed from them for a delete: it takes the buckets that lie in it whole,
as the sealer will.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from carbyne.core.errors import RetryableError
from carbyne.core.keys import RAW, RESOLUTIONS, SourceKey, Window
from carbyne.samples.blocks import decode_series
from carbyne.samples.columns import EMPTY, Columns, between, merge
from carbyne.samples.markers import Markers
from carbyne.samples.rollups import BY_NAME, DAY, Resolution, Span, keys_of, roll, undeleted
from carbyne.store.cached import CachedTiers
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import Pending
from carbyne.store.tiers import BlockQuery, BlockTiers, Gaps, ReadBlocks


class HotPart(NamedTuple):
    """What the hot tier holds of the series, and the windows of the source that have rows there."""

    columns: Columns
    windows: Sequence[Window]


class _Level(NamedTuple):
    """One resolution of a view: ``spans`` that it is needed for, and what of them is ``computed`` from the next finer
    one; both ascend."""

    resolution: str
    spans: list[Span]
    computed: list[Span]


class Views:
    """Computes views over the tiers.  ``raw_from_ms``: from when on no raw sample has ended yet."""

    def __init__(
        self, tiers: BlockTiers | CachedTiers, catalogue: Catalogue, raw_from_ms: Callable[[], int] = lambda: 0
    ) -> None:
        self._tiers = tiers
        self._catalogue = catalogue
        self._raw_from_ms = raw_from_ms
        self._threads = ThreadPoolExecutor(len(RESOLUTIONS))

    def view(
        self, source: SourceKey, series: Sequence[str], resolution: str, span: Span, hot: HotPart, gaps: Gaps
    ) -> Columns:
        """The samples (raw) or buckets (as a rollup block holds them) of ``series`` in the span.

        The span of a rolled up view is of whole buckets, and ``hot`` has all of it that Redis has.
        """
        pending = pending_of(self._catalogue, source, gaps, days=resolution == DAY.name)
        raw_from_ms = self._raw_from_ms()
        fluid = [*map(_span, hot.windows), *_fluid(pending, (max(span[0], raw_from_ms), span[1]))]
        levels = _levels(resolution, span, fluid, pending.open_days)
        columns = merge([hot.columns, late_columns(pending, series, span)])
        each = self._threads.map if len(levels) > 1 else map  # all at once: it saves round trips
        deleted = _past(pending, raw_from_ms)
        read = self._tiers.noted(source)
        of_levels = each(partial(self._of_level, read, source, series, gaps, columns, deleted), levels)
        return _combined(list(zip(levels, of_levels, strict=True)))

    def _of_level(
        self,
        read: ReadBlocks,
        source: SourceKey,
        series: Sequence[str],
        gaps: Gaps,
        hot: Columns,
        deleted: Markers,
        level: _Level,
    ) -> Columns:
        """What the blocks of a level, and Redis of raw samples, hold of the spans that it is needed for; ``deleted``:
        by which buckets that can't be computed are deleted."""
        names, also = (series, hot) if level.resolution == RAW else (keys_of(series), EMPTY)
        queries = [BlockQuery(source, level.resolution, start, end - 1, names) for start, end in level.spans]
        parts = (between(read(of, gaps, also), of.from_ms, of.to_ms + 1) for of in queries)
        columns = merge(list(parts))
        return columns if level.resolution == RAW else undeleted(columns, deleted, BY_NAME[level.resolution].bucket_s)


def pending_of(catalogue: Catalogue, source: SourceKey, gaps: Gaps, *, days: bool = False) -> Pending:
    """What the blocks of a source lack; to be asked before they are read."""
    try:
        return catalogue.of(source).pending(days=days)
    except RetryableError as error:
        gaps.note("the index of windows could not be read: archived and late samples may be missing", error)
        return Pending([], [], set())


def late_columns(pending: Pending, series: Collection[str], span: Span) -> Columns:
    """The late rows of some series in windows that overlap the span."""
    rows = (late.data for late in pending.late if late.window.overlaps(span[0], span[1] - 1))
    return merge([decode_series(data, series) for data in rows])


def _fluid(pending: Pending, span: Span) -> list[Span]:
    """The parts of a span where rollup blocks are not up to date."""
    late = {late.window for late in pending.late}
    deleted = [
        (max(delete.left_ms, delete.marker.from_ms, span[0]), min(delete.marker.to_ms + 1, span[1]))
        for delete in pending.deletes
    ]
    return [*map(_span, late), *((start, end) for start, end in deleted if start < end)]


def _past(pending: Pending, raw_from_ms: int) -> Markers:
    """The parts before ``raw_from_ms`` of deletes that blocks are not clean of."""
    cut = [
        delete.marker._replace(
            from_ms=max(delete.left_ms, delete.marker.from_ms), to_ms=min(delete.marker.to_ms, raw_from_ms - 1)
        )
        for delete in pending.deletes
    ]
    return [marker for marker in cut if marker.from_ms <= marker.to_ms]


def _span(window: Window) -> Span:
    return window.start_s * 1000, window.end_s * 1000


def _levels(resolution: str, span: Span, fluid: Sequence[Span], days: Iterable[Window]) -> list[_Level]:
    """The resolutions that a view needs, coarsest first; ``fluid``: where rollups are not up to date, ``days``: those
    that are open."""
    levels, spans = [], [span]
    while resolution != RAW and spans:
        rolled = BY_NAME[resolution]
        unsealed = [*fluid, *map(_span, days)] if rolled is DAY else fluid
        touched = [rolled.aligned(*part) for part in unsealed]
        computed = [joined for part in spans for joined in joined_spans(touched, part)]
        levels.append(_Level(resolution, spans, computed))
        resolution, spans = rolled.finer, computed
    return [*levels, _Level(RAW, spans, [])] if spans else levels


def _combined(of_levels: Sequence[tuple[_Level, Columns]]) -> Columns:
    """Finest first: what a level holds, and what is computed from the level below it."""
    columns = EMPTY
    for level, blocks in reversed(of_levels):
        if level.resolution == RAW:
            columns = blocks
        else:
            kept = [between(blocks, *rest) for part in level.spans for rest in between_spans(level.computed, part)]
            columns = merge([*kept, roll(columns, BY_NAME[level.resolution].bucket_s)])
    return columns


def joined_spans(spans: Iterable[Span], within: Span) -> list[Span]:
    """The parts of ``within`` that one of the spans covers, ascending, those that touch as one."""
    joined: list[Span] = []
    for from_ms, to_ms in sorted(spans):
        start, end = max(from_ms, within[0]), min(to_ms, within[1])
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        elif start < end:
            joined.append((start, end))
    return joined


def between_spans(spans: Sequence[Span], within: Span) -> list[Span]:
    """``within`` without ``spans``, which ascend and do not overlap."""
    inside = [span for span in spans if within[0] <= span[0] < within[1]]
    edges = [within[0], *(edge for span in inside for edge in span), within[1]]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]


def span_of(resolution: str, from_ms: int, to_ms: int) -> Span:
    """The span of a view from ``from_ms`` to ``to_ms``, both included, in whole buckets."""
    rolled: Resolution | None = BY_NAME.get(resolution)
    return rolled.aligned(from_ms, to_ms + 1) if rolled else (from_ms, to_ms + 1)
