"""Writing rollups: each seal recomputes the buckets of its window, from the finest resolution to the coarsest.

A rollup is never merged, it is recomputed: what the block holds is read first, then the finer samples over table and
archive, then the buckets are put on the version that was read; if that has changed, it begins again.  So two sealers
leave neither a stale bucket nor lose each other's.  A recomputed bucket has a greater stamp than the one it replaces,
so that where table and archive both have it, the later one wins.

A daily bucket is written when its day has closed: the first seal after that writes those of all series of the source,
and notes the day; from then on a seal writes those of its own series.  Until then readers answer a day from its hours.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial

from carbyne import blocks, stamps
from carbyne.catalogue import Catalogue
from carbyne.columns import Columns, between, merge, restamped, restrict
from carbyne.items import Blocks
from carbyne.keys import RAW, BlockKey, SourceKey, Window
from carbyne.records import TS_MS_MAX
from carbyne.rollups import DAY, ROLLUPS, Resolution, Span, keys_of, roll
from carbyne.storing import Target, rewrite
from carbyne.tiers import BlockTiers, Gaps


class Roller:
    """``warm_s``: how long after its window's end (or its writing, if that is later) a block of each resolution stays
    in the table; ``now_ms``: the clock."""

    def __init__(
        self,
        warm: Blocks,
        tiers: BlockTiers,
        catalogue: Catalogue,
        warm_s: Mapping[str, int],
        now_ms: Callable[[], int],
    ) -> None:
        self._warm = warm
        self._tiers = tiers
        self._catalogue = catalogue
        self._warm_s = warm_s
        self._now_ms = now_ms

    def roll(self, source: SourceKey, window: Window, series: Collection[str]) -> int:
        """Recompute the buckets of ``series`` that a raw window touches, whether or not its samples changed.

        The number of blocks written.  Safe to repeat; raises RetryableError if a tier can't be asked.
        """
        written = 0
        for resolution in ROLLUPS:
            span = resolution.aligned(window.start_s * 1000, window.end_s * 1000)
            if resolution is DAY:
                span = span[0], min(span[1], DAY.closed_ms(self._now_ms()))
                written += self._close_days(source)
            written += self._write(source, resolution, span, series)
        return written

    def _close_days(self, source: SourceKey) -> int:
        """Write the buckets of all series for each day that has closed and was not written yet."""
        written = 0
        closed_ms = DAY.closed_ms(self._now_ms())
        days = [day for day in self._catalogue.open_days(source) if day.end_s * 1000 <= closed_ms]
        spans = self._catalogue.series(source) if days else {}
        for day in sorted(days):
            start_ms, end_ms = day.start_s * 1000, day.end_s * 1000
            series = [name for name, seen in spans.items() if seen.first_ms < end_ms and seen.last_ms >= start_ms]
            written += self._write(source, DAY, (start_ms, end_ms), series)
            self._catalogue.close_day(source, day)
        return written

    def _write(self, source: SourceKey, resolution: Resolution, span: Span, series: Collection[str]) -> int:
        """Recompute the buckets of ``series`` in a span of whole buckets; the number of blocks written."""
        return sum(
            self._rewrite(BlockKey(source, resolution.name, window), resolution, part, series)
            for window, part in _by_window(resolution, span)
        )

    def _rewrite(self, key: BlockKey, resolution: Resolution, span: Span, series: Collection[str]) -> bool:
        expires_s = max(key.window.end_s, self._now_ms() // 1000) + self._warm_s[resolution.name]
        target = Target(self._warm, expires_s, self._catalogue.making(key))
        return rewrite(target, key, partial(self._recomputed, key.source, resolution, span, series), keys_of(series))

    def _recomputed(
        self,
        source: SourceKey,
        resolution: Resolution,
        span: Span,
        series: Collection[str],
        part: str,
        held: Columns,
    ) -> Columns:
        """``held`` with the buckets of the span recomputed for those of ``series`` that lie in ``part``."""
        mine = [name for name in series if blocks.in_part(name, part)]
        kept, replaced = _apart(held, set(keys_of(mine)), span)
        wanted = mine if resolution.finer == RAW else keys_of(mine)
        finer = self._tiers.read(source, resolution.finer, span[0], span[1] - 1, Gaps(partial=False), wanted)
        fresh = roll(between(finer, *span), resolution.bucket_s)
        if fresh == restamped(replaced, stamps.ZERO):
            return held
        return merge([kept, restamped(fresh, self._later(replaced))])

    def _later(self, replaced: Columns) -> bytes:
        """A stamp after all of ``replaced``, and after those of a block that the table has no more."""
        newest = int(stamps.unpack(replaced.stamps[-1])[1]) if replaced.stamps else 0
        return stamps.pack(0, str(max(self._now_ms(), newest + 1)))


def _by_window(resolution: Resolution, span: Span) -> Iterator[tuple[Window, Span]]:
    """The windows of blocks that overlap the span, each with its part of it; none for an empty span."""
    for window in resolution.windows(*span) if span[0] < span[1] else ():
        yield window, (max(span[0], window.start_s * 1000), min(span[1], window.end_s * 1000))


def _apart(columns: Columns, series: Collection[str], span: Span) -> tuple[Columns, Columns]:
    """What is neither of ``series`` nor in the span, and the rest."""
    mine = restrict(columns, series.__contains__)
    others = restrict(columns, lambda name: name not in series)
    outside = [between(mine, *apart) for apart in ((-TS_MS_MAX, span[0]), (span[1], TS_MS_MAX + 1))]
    return merge([others, *outside]), between(mine, *span)
