"""Where a source's samples lie: windows and tiers, for people who operate the system and for its tests."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol

from carbyne.core import stamps
from carbyne.core.errors import RequestError
from carbyne.core.items import Blocks, Item, RangedBlocks
from carbyne.core.keys import RAW, RESOLUTIONS, BlockKey, SourceKey, Window
from carbyne.core.limits import COLD_READERS, STORAGE_WINDOWS_MAX
from carbyne.samples import blocks
from carbyne.samples.columns import EMPTY, Columns, between, merge
from carbyne.samples.rollups import ROLLUPS
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import by_window

TIERS: Final = ("hot", "late", "warm", "cold")
FINEST: Final = ROLLUPS[0].name


class Placement(NamedTuple):
    """What one of TIERS holds of a window; ``samples`` of two tiers may be the same, and a bucket counts as four.

    ``late``: in the table beside the index, until the sealer merges it.  ``sealed_s``: when the last seal changed it,
    seconds; None of rows in Redis and late ones.
    """

    resolution: str
    window: Window
    tier: str
    samples: int
    bytes: int
    sealed_s: int | None = None


class HotRows(Protocol):
    """``columns``: the samples of a window's rows; ``size``: bytes of rows and lists."""

    @property
    def columns(self) -> Columns: ...
    @property
    def size(self) -> int: ...


class SourceWindows(Protocol):
    """The windows of a source in Redis; both methods raise RetryableError if it can't be asked."""

    def windows(self, source: SourceKey) -> Sequence[Window]: ...
    def rows(self, source: SourceKey, window: Window) -> HotRows: ...


class Storage:
    """Looks into all tiers."""

    def __init__(self, hot: SourceWindows, warm: RangedBlocks, cold: Blocks, catalogue: Catalogue) -> None:
        self._hot = hot
        self._warm = warm
        self._cold = cold
        self._catalogue = catalogue

    def of(self, source: SourceKey, from_ms: int, to_ms: int) -> list[Placement]:
        """What lies in which tier, by resolution, window and tier.

        Raises RequestError 400 if more than STORAGE_WINDOWS_MAX windows would have to be read, RetryableError if a
        tier can't be asked.
        """
        hot = [window for window in self._hot.windows(source) if window.overlaps(from_ms, to_ms)]
        keys = [
            BlockKey(source, resolution, window)
            for resolution in RESOLUTIONS
            for window in self._catalogue.of(source).windows(resolution).sealed
            if window.overlaps(from_ms, to_ms)
        ]
        late = list(self._late_parts(source, from_ms, to_ms))
        if len(hot) + len(late) + len(keys) > STORAGE_WINDOWS_MAX:
            raise RequestError(400, f"{len(keys)} blocks in this span; ask for {STORAGE_WINDOWS_MAX} at most")
        stored = list(self._warm_parts(source, from_ms, to_ms))
        with ThreadPoolExecutor(COLD_READERS) as threads:
            cold = threads.map(lambda key: list(self._cold_parts(key)), keys)
            stored += [placed for block in cold for placed in block]
        rolled = merge([columns for placement, columns in stored if placement.resolution == FINEST])
        placements = [*self._hot_parts(source, hot), *late, *(_sealed(*each, rolled) for each in stored)]
        return sorted(placements, key=lambda at: (RESOLUTIONS.index(at.resolution), at.window, TIERS.index(at.tier)))

    def _hot_parts(self, source: SourceKey, windows: Sequence[Window]) -> Iterator[Placement]:
        for window in windows:
            rows = self._hot.rows(source, window)
            if rows.columns.groups:
                yield Placement(RAW, window, "hot", rows.columns.samples, rows.size)

    def _late_parts(self, source: SourceKey, from_ms: int, to_ms: int) -> Iterator[Placement]:
        for window, rows in by_window(self._catalogue.of(source).pending().late).items():
            if window.overlaps(from_ms, to_ms):
                samples = sum(blocks.decode(late.data).samples for late in rows)
                yield Placement(RAW, window, "late", samples, sum(len(late.data) for late in rows))

    def _warm_parts(self, source: SourceKey, from_ms: int, to_ms: int) -> Iterator[tuple[Placement, Columns]]:
        for resolution in RESOLUTIONS:
            for key, item in self._warm.between(source, resolution, from_ms, to_ms):
                yield _stored("warm", self._warm, key, item)

    def _cold_parts(self, key: BlockKey) -> Iterator[tuple[Placement, Columns]]:
        if item := self._cold.get(key):
            yield _stored("cold", self._cold, key, item)


def _stored(tier: str, store: Blocks, key: BlockKey, item: Item) -> tuple[Placement, Columns]:
    """What a block holds, and its buckets if it is one of a rollup."""
    leaves = list(_leaves(store, key, item))
    parts = [blocks.decode(data) for data in leaves]
    placement = Placement(key.resolution, key.window, tier, sum(p.samples for p in parts), sum(map(len, leaves)))
    return placement, EMPTY if key.resolution == RAW else merge(parts)


def _sealed(placement: Placement, buckets: Columns, rolled: Columns) -> Placement:
    """With when it was sealed: the stamps of buckets are times of seals, and a raw block is sealed with its buckets in
    ``rolled``."""
    window = placement.window
    own = between(rolled, window.start_s * 1000, window.end_s * 1000) if placement.resolution == RAW else buckets
    return placement._replace(sealed_s=int(stamps.unpack(own.stamps[-1])[1]) // 1000) if own.stamps else placement


def _leaves(store: Blocks, key: BlockKey, item: Item) -> Iterator[bytes]:
    """The blocks under ``key``: its own, or those of its parts."""
    parts = blocks.parts_of(item.data)
    if not parts:
        yield item.data
    for part in parts:
        child = key._replace(part=part)
        if part_item := store.get(child):
            yield from _leaves(store, child, part_item)
