"""Writing rollups: each seal recomputes the buckets of its window, from the finest resolution to the coarsest.

A rollup is never merged, it is recomputed: what the block holds is read first, then the finer samples over table and
archive, then the buckets are put on the version that was read; if that has changed, it begins again.  So two sealers
leave neither a stale bucket nor lose each other's.  A recomputed bucket has a greater stamp than the one it replaces,
so that where table and archive both have it, the later one wins.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial

from carbyne import blocks, stamps
from carbyne.catalogue import Catalogue
from carbyne.columns import Columns, between, merge, restamped, restrict
from carbyne.items import Blocks
from carbyne.keys import RAW, BlockKey, SourceKey, Window
from carbyne.records import TS_MS_MAX
from carbyne.rollups import ROLLUPS, Resolution, keys_of, roll
from carbyne.storing import Target, rewrite
from carbyne.tiers import BlockTiers, Gaps

DAY = ROLLUPS[-1]


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
            from_ms, to_ms = resolution.aligned(window.start_s * 1000, window.end_s * 1000)
            if resolution is DAY:  # a day is written when it has closed, until then readers answer it from its hours
                to_ms = min(to_ms, DAY.closed_ms(self._now_ms()))
            for block in resolution.windows(from_ms, to_ms) if from_ms < to_ms else ():
                span = max(from_ms, block.start_s * 1000), min(to_ms, block.end_s * 1000)
                written += self._rewrite(BlockKey(source, resolution.name, block), resolution, span, series)
        return written

    def _rewrite(self, key: BlockKey, resolution: Resolution, span: tuple[int, int], series: Collection[str]) -> bool:
        expires_s = max(key.window.end_s, self._now_ms() // 1000) + self._warm_s[resolution.name]
        target = Target(self._warm, expires_s, self._catalogue.making(key))
        return rewrite(target, key, partial(self._recomputed, key.source, resolution, span, series), keys_of(series))

    def _recomputed(
        self,
        source: SourceKey,
        resolution: Resolution,
        span: tuple[int, int],
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


def _apart(columns: Columns, series: Collection[str], span: tuple[int, int]) -> tuple[Columns, Columns]:
    """What is neither of ``series`` nor in the span, and the rest."""
    mine = restrict(columns, series.__contains__)
    others = restrict(columns, lambda name: name not in series)
    outside = [between(mine, *apart) for apart in ((-TS_MS_MAX, span[0]), (span[1], TS_MS_MAX + 1))]
    return merge([others, *outside]), between(mine, *span)
