"""Writing rollups: each seal recomputes the buckets of its window, from the finest resolution to the coarsest.

A rollup is never merged, it is recomputed: what the block holds is read first, then the finer samples over table and
archive, then the buckets are put on the version that was read; if that has changed, it begins again.  So two sealers
leave neither a stale bucket nor lose each other's.  A recomputed bucket has a greater stamp than the one it replaces,
so that where table and archive both have it, the later one wins.

A bucket that was there and has no sample any more, since all of them were deleted, stays with a count of 0, which wins
over what the archive may have.  A seal that deletes writes its buckets again whether or not they differ, so a
concurrent roller's stale result fails its conditional put.

A daily bucket is written when its day has closed: the first seal after that writes those of all series of the source,
and notes the day; from then on a seal writes those of its own series.  Until then readers answer a day from its hours.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from carbyne.core import stamps
from carbyne.core.items import Blocks
from carbyne.core.keys import RAW, BlockKey, SourceKey, Window
from carbyne.core.limits import DAY_S
from carbyne.samples import blocks
from carbyne.samples.columns import Columns, between, merge, restamped, restrict
from carbyne.samples.markers import Markers
from carbyne.samples.rollups import DAY, ROLLUPS, Resolution, Span, blanked, keys_of, roll, rolled_names, undeleted
from carbyne.store.catalogue import Catalogue, SourceCatalogue
from carbyne.store.tiers import BlockQuery, BlockTiers, Gaps
from carbyne.store.tree import Target, rewrite
from carbyne.stream.records import TS_MS_MAX


class _Deletes(NamedTuple):
    """``markers``: by which a seal deletes; ``is_past``: whether the raw samples may be past their retention."""

    markers: Markers
    is_past: bool


NO_DELETES: Final = _Deletes((), is_past=False)


class _RollupPart(NamedTuple):
    """``span``: whole buckets in one window of blocks."""

    resolution: Resolution
    span: Span
    deletes: _Deletes


class Roller:
    """``warm_s``: how long after its window's end (or its writing, if that is later) a block of each resolution stays
    in the table; ``retention_s``: of raw samples; ``now_ms``: the clock."""

    def __init__(
        self,
        warm: Blocks,
        tiers: BlockTiers,
        catalogue: Catalogue,
        warm_s: Mapping[str, int],
        retention_s: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._warm = warm
        self._tiers = tiers
        self._catalogue = catalogue
        self._warm_s = warm_s
        self._retention_s = retention_s
        self._now_ms = now_ms

    def roll(self, source: SourceKey, window: Window, series: Collection[str], markers: Markers = ()) -> int:
        """Recompute the buckets of ``series``, and of what ``markers`` delete, that a raw window touches, whether or
        not its samples changed.

        The number of blocks written.  Safe to repeat; raises RetryableError if a tier can't be asked.
        """
        written = 0
        catalogue = self._catalogue.of(source)
        deletes = _Deletes(markers, is_past=window.start_s < self._now_ms() // 1000 - self._retention_s + DAY_S)
        for resolution in ROLLUPS:
            span = resolution.aligned(window.start_s * 1000, window.end_s * 1000)
            if resolution is DAY:
                span = span[0], min(span[1], DAY.closed_ms(self._now_ms()))
                written += self._close_days(catalogue)
            written += self._write(catalogue, resolution, span, series, deletes)
        return written

    def _close_days(self, catalogue: SourceCatalogue) -> int:
        """Write the buckets of all series for each day that has closed and was not written yet."""
        written = 0
        for day, series in catalogue.days_to_close(DAY.closed_ms(self._now_ms())):
            written += self._write(catalogue, DAY, (day.start_s * 1000, day.end_s * 1000), series, NO_DELETES)
            catalogue.note_change(f"closed {day.token}".encode())  # readers will trust its buckets
            catalogue.close_day(day)
        return written

    def _write(
        self,
        catalogue: SourceCatalogue,
        resolution: Resolution,
        span: Span,
        series: Collection[str],
        deletes: _Deletes,
    ) -> int:
        """Recompute the buckets of ``series`` in a span of whole buckets; the number of blocks written."""
        return sum(
            self._rewrite(catalogue, window, _RollupPart(resolution, part, deletes), series)
            for window, part in _by_window(resolution, span)
        )

    def _rewrite(self, catalogue: SourceCatalogue, window: Window, of: _RollupPart, series: Collection[str]) -> bool:
        """Recompute buckets in one block, also those that lost samples to a delete; whether anything changed."""
        key = BlockKey(catalogue.source, of.resolution.name, window)
        expires_s = max(window.end_s, self._now_ms() // 1000) + self._warm_s[of.resolution.name]
        target = Target(self._warm, expires_s, catalogue.making(key.resolution, window))
        series = {*series, *self._deleted(key.source, of)}

        def recomputed(part: str, stored: Columns) -> Columns:
            return self._recomputed(key.source, of, [name for name in series if blocks.in_part(name, part)], stored)

        return rewrite(target, key, recomputed, keys_of(series))

    def _deleted(self, source: SourceKey, of: _RollupPart) -> Collection[str]:
        """The series with buckets here that lost samples to a delete."""
        series = {marker.series for marker in of.deletes.markers}
        return rolled_names(self._stored(source, of, None)) if "" in series else series

    def _recomputed(self, source: SourceKey, of: _RollupPart, series: Sequence[str], stored: Columns) -> Columns:
        """``stored`` with the buckets of the span recomputed for ``series``."""
        before = self._stored(source, of, keys_of(series)) if of.deletes.markers else None
        columns = None if of.deletes.is_past else self._fresh(source, of, series)
        return _with_buckets(stored, of, series, columns, before, self._now_ms())

    def _fresh(self, source: SourceKey, of: _RollupPart, series: Sequence[str]) -> Columns:
        """The buckets as the finer samples give them."""
        resolution = of.resolution
        series = series if resolution.finer == RAW else keys_of(series)
        return roll(self._between(source, resolution.finer, of.span, series), resolution.bucket_s)

    def _stored(self, source: SourceKey, of: _RollupPart, series: Collection[str] | None) -> Columns:
        """The buckets that table and archive have."""
        return self._between(source, of.resolution.name, of.span, series)

    def _between(self, source: SourceKey, resolution: str, span: Span, series: Collection[str] | None) -> Columns:
        """What table and archive have of a span."""
        start_ms, end_ms = span
        query = BlockQuery(source, resolution, start_ms, end_ms - 1, series)
        return between(self._tiers.read(query, Gaps(partial=False)), start_ms, end_ms)


def _by_window(resolution: Resolution, span: Span) -> Iterator[tuple[Window, Span]]:
    """The windows of blocks that overlap the span, each with its part of it; none for an empty span."""
    for window in resolution.windows(*span) if span[0] < span[1] else ():
        yield window, (max(span[0], window.start_s * 1000), min(span[1], window.end_s * 1000))


def _apart(columns: Columns, series: Collection[str], span: Span) -> tuple[Columns, Columns]:
    """What is neither of ``series`` nor in the span, and the rest."""
    replaced = restrict(columns, series.__contains__)
    kept = restrict(columns, lambda name: name not in series)
    earlier, later = between(replaced, -TS_MS_MAX, span[0]), between(replaced, span[1], TS_MS_MAX + 1)
    return merge([kept, earlier, later]), between(replaced, *span)


def _with_buckets(
    stored: Columns,
    of: _RollupPart,
    series: Collection[str],
    fresh: Columns | None,
    before: Columns | None,
    now_ms: int,
) -> Columns:
    """``stored`` with the buckets ``fresh``, None if they can't be computed any more.  ``before``: the buckets of table
    and archive, None if the table's alone count."""
    kept, replaced = _apart(stored, set(keys_of(series)), of.span)
    before = replaced if before is None else before
    if fresh is None:
        fresh = restamped(undeleted(before, of.deletes.markers, of.resolution.bucket_s), stamps.ZERO)
    fresh = merge([fresh, blanked(before)])
    if not of.deletes.markers and fresh == restamped(replaced, stamps.ZERO):
        return stored
    return merge([kept, restamped(fresh, _later(before, now_ms))])


def _later(replaced: Columns, now_ms: int) -> bytes:
    """A stamp after all of ``replaced``, and after those of a block that the table has no more."""
    newest = int(stamps.unpack(replaced.stamps[-1])[1]) if replaced.stamps else 0
    return stamps.pack(0, str(max(now_ms, newest + 1)))
