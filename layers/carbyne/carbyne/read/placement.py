"""Where a source's samples lie: windows and tiers, for people who operate the system and for its tests."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol

from carbyne.core.errors import RequestError
from carbyne.core.items import Blocks, Item, RangedBlocks
from carbyne.core.keys import RAW, RESOLUTIONS, BlockKey, SourceKey, Window
from carbyne.core.limits import COLD_READERS, STORAGE_WINDOWS_MAX
from carbyne.samples import blocks
from carbyne.samples.columns import Columns
from carbyne.store.catalogue import Catalogue

TIERS: Final = ("hot", "warm", "cold")


class Placement(NamedTuple):
    """What one of TIERS holds of a window; ``samples`` of two tiers may be the same, and a bucket counts as four."""

    resolution: str
    window: Window
    tier: str
    samples: int
    bytes: int


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
            for window in self._catalogue.windows(source, resolution).sealed
            if window.overlaps(from_ms, to_ms)
        ]
        if len(hot) + len(keys) > STORAGE_WINDOWS_MAX:
            raise RequestError(400, f"{len(keys)} blocks in this span; ask for {STORAGE_WINDOWS_MAX} at most")
        placements = [*self._hot_parts(source, hot), *self._warm_parts(source, from_ms, to_ms)]
        with ThreadPoolExecutor(COLD_READERS) as threads:
            cold = threads.map(lambda key: list(self._cold_parts(key)), keys)
            placements += [placement for block in cold for placement in block]
        return sorted(placements, key=lambda at: (RESOLUTIONS.index(at.resolution), at.window, TIERS.index(at.tier)))

    def _hot_parts(self, source: SourceKey, windows: Sequence[Window]) -> Iterator[Placement]:
        for window in windows:
            rows = self._hot.rows(source, window)
            if rows.columns.groups:
                yield Placement(RAW, window, "hot", rows.columns.samples, rows.size)

    def _warm_parts(self, source: SourceKey, from_ms: int, to_ms: int) -> Iterator[Placement]:
        for resolution in RESOLUTIONS:
            for key, item in self._warm.between(source, resolution, from_ms, to_ms):
                yield _stored("warm", self._warm, key, item)

    def _cold_parts(self, key: BlockKey) -> Iterator[Placement]:
        if item := self._cold.get(key):
            yield _stored("cold", self._cold, key, item)


def _stored(tier: str, store: Blocks, key: BlockKey, item: Item) -> Placement:
    sizes = [(blocks.decode(data).samples, len(data)) for data in _leaves(store, key, item)]
    return Placement(key.resolution, key.window, tier, sum(n for n, _ in sizes), sum(size for _, size in sizes))


def _leaves(store: Blocks, key: BlockKey, item: Item) -> Iterator[bytes]:
    """The blocks under ``key``: its own, or those of its parts."""
    parts = blocks.parts_of(item.data)
    if not parts:
        yield item.data
    for part in parts:
        child = key._replace(part=part)
        if part_item := store.get(child):
            yield from _leaves(store, child, part_item)
