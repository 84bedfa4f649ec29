"""Rolled up views of a series: blocks where they are whole, finer samples where they are not yet.

A bucket that touches a window with rows in Redis is computed from the next finer resolution, down to raw samples merged
over all tiers; so is a day that no seal has closed yet.  The index of windows in Redis was read before that of open
days, and both before the blocks: a window that was sealed, or a day that was closed in between is computed.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from carbyne.catalogue import Catalogue
from carbyne.columns import Columns, between, merge
from carbyne.errors import RetryableError
from carbyne.keys import RAW, SourceKey, Window
from carbyne.rollups import BY_NAME, DAY, Resolution, Span, keys_of, roll
from carbyne.tiers import BlockTiers, Gaps


class HotPart(NamedTuple):
    """What the hot tier holds of the series, and the windows of the source that have rows there."""

    columns: Columns
    windows: Sequence[Window]


class Views:
    """Computes views over the tiers."""

    def __init__(self, tiers: BlockTiers, catalogue: Catalogue) -> None:
        self._tiers = tiers
        self._catalogue = catalogue

    def view(self, source: SourceKey, series: str, resolution: str, span: Span, hot: HotPart, gaps: Gaps) -> Columns:
        """The samples (raw) or buckets (as a rollup block holds them) of ``series`` in the span.

        The span of a rolled up view is of whole buckets, and ``hot`` has all of it that Redis has.
        """
        if resolution == RAW:
            old = self._tiers.read(source, RAW, span[0], span[1] - 1, gaps, [series])
            return between(merge([hot.columns, old]), *span)
        wanted = BY_NAME[resolution]
        windows = [*hot.windows, *(self._open_days(source, gaps) if wanted is DAY else ())]
        spans = _joined([wanted.aligned(window.start_s * 1000, window.end_s * 1000) for window in windows], span)
        held = self._tiers.read(source, resolution, span[0], span[1] - 1, gaps, keys_of([series]))
        fresh = [roll(self.view(source, series, wanted.finer, one, hot, gaps), wanted.bucket_s) for one in spans]
        return merge([*(between(held, *one) for one in _between_spans(spans, span)), *fresh])

    def _open_days(self, source: SourceKey, gaps: Gaps) -> Collection[Window]:
        try:
            return self._catalogue.open_days(source)
        except RetryableError as error:
            gaps.note("the index of windows could not be read: archived samples may be missing", error)
            return ()


def _joined(spans: Iterable[Span], within: Span) -> list[Span]:
    """The parts of ``within`` that one of the spans covers, ascending, those that touch as one."""
    joined: list[Span] = []
    for from_ms, to_ms in sorted(spans):
        start, end = max(from_ms, within[0]), min(to_ms, within[1])
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        elif start < end:
            joined.append((start, end))
    return joined


def _between_spans(spans: Sequence[Span], within: Span) -> list[Span]:
    """What is left of ``within`` without ``spans``, which ascend and do not touch."""
    edges = [within[0], *(edge for span in spans for edge in span), within[1]]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]


def span_of(resolution: str, from_ms: int, to_ms: int) -> Span:
    """The span of a view from ``from_ms`` to ``to_ms``, both included, in whole buckets."""
    rolled: Resolution | None = BY_NAME.get(resolution)
    return rolled.aligned(from_ms, to_ms + 1) if rolled else (from_ms, to_ms + 1)
