"""The blocks of a source over both tiers behind Redis: the table first, then the archive for what the table lacks.

The source's index of sealed windows says what exists, and it is read after the table: a block that was made again in
between is marked there before it could be read.  The clock decides nothing.

How long raw windows are is a setting that may have changed, and each block that begins earlier is read for nothing.  So
the table is asked for windows as long as any seen so far, and again if the index has a longer one in the span.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from carbyne.core.errors import CorruptDataError, InvariantError, RetryableError
from carbyne.core.items import Blocks, Item, RangedBlocks
from carbyne.core.keys import RAW, BlockKey, SourceKey, Window
from carbyne.core.limits import COLD_READERS, SHORT_WINDOW_S
from carbyne.samples import blocks
from carbyne.samples.blocks import Stub
from carbyne.samples.columns import EMPTY, Columns, merge
from carbyne.samples.markers import Markers, erase
from carbyne.store.catalogue import Catalogue

_log = logging.getLogger(__name__)


class Taken(NamedTuple):
    """What one call of a store gave: ``tier``: hot, cache, warm or cold."""

    tier: str
    bytes: int


class Gaps:
    """What a read could not ask, and what it got: ``taken``, by call.  Without ``partial`` the first gap ends the read,
    with RetryableError unless it is damage; with it the answer goes on, and ``warnings`` says what may be missing."""

    def __init__(self, *, partial: bool) -> None:
        self._partial = partial
        self._warnings: dict[str, None] = {}
        self.taken: list[Taken] = []

    @property
    def warnings(self) -> list[str]:
        """Each once, however many threads noted it."""
        return list(self._warnings)

    def note(self, warning: str, cause: Exception | None = None) -> None:
        """One tier, or a part of it, could not be asked."""
        if not self._partial:
            raise RetryableError(f"{warning}: {cause}" if cause else warning) from cause
        self._warnings[warning] = None

    def apart(self) -> "Gaps":
        """Gaps of one part of the read, under the same rule; ``join`` brings them back."""
        return Gaps(partial=self._partial)

    def join(self, other: "Gaps") -> None:
        """Take over what another part could not ask, and what it got."""
        self._warnings.update(other._warnings)
        self.taken += other.taken

    def damage(self, key: BlockKey, cause: CorruptDataError) -> None:
        """A block can't be read, and never will be."""
        _log.error("block %s can't be read: %s", key.object, cause)
        if not self._partial:
            raise cause
        self._warnings["a damaged block was left out: some samples may be missing"] = None


class BlockQuery(NamedTuple):
    """All blocks of a source at one resolution whose windows overlap the span, both ends included: of ``series``, or of
    every series of ``part``."""

    source: SourceKey
    resolution: str
    from_ms: int
    to_ms: int
    series: Collection[str] | None = None
    part: str = blocks.WHOLE


class _Measured:
    """A store that notes what it gives."""

    def __init__(self, tier: str, store: Blocks, gaps: Gaps) -> None:
        self._tier, self._store, self._gaps = tier, store, gaps

    def get(self, key: BlockKey) -> Item | None:
        item = self._store.get(key)
        self._gaps.taken.append(Taken(self._tier, len(item.data) if item else 0))
        return item

    def put(self, key: BlockKey, item: Item, replaces: Item | None) -> bool:
        raise InvariantError(f"BUG: a read puts {key}")


ReadBlocks = Callable[[BlockQuery, Gaps, Columns], Columns]
"""See ``BlockTiers.read``."""


class BlockTiers:
    """Reads series out of blocks, wherever they are."""

    def __init__(self, warm: RangedBlocks, cold: Blocks, catalogue: Catalogue) -> None:
        self._warm = warm
        self._cold = cold
        self._catalogue = catalogue
        self._threads = ThreadPoolExecutor(COLD_READERS)
        self._raw_s = SHORT_WINDOW_S

    def noted(self, _: SourceKey) -> ReadBlocks:
        """``read``, which keeps nothing from one read to the next; see ``CachedTiers``."""
        return self.read

    def read(self, query: BlockQuery, gaps: Gaps, hot: Columns = EMPTY) -> Columns:
        """The samples in the blocks, and ``hot``, what Redis has of them.  Raw samples that were deleted are left out,
        wherever they are."""
        raw_s = self._raw_s
        parts, there = self._warm_parts(query, raw_s, gaps)
        windows, markers = self._lacking(query, there, gaps)
        if query.resolution == RAW and (longest_s := max((window.length_s for window in windows), default=0)) > raw_s:
            self._raw_s = max(self._raw_s, longest_s)  # another thread may have seen a longer one
            return self.read(query, gaps, hot)
        for columns in self._threads.map(partial(self._cold_parts, query, gaps), windows):
            parts += columns
        return erase(merge([hot, *parts]), markers)

    def _warm_parts(self, query: BlockQuery, raw_s: int, gaps: Gaps) -> tuple[list[Columns], set[Window]]:
        """What the table holds, and the windows whose requested blocks it holds completely."""
        parts: list[Columns] = []
        there: set[Window] = set()
        try:
            for key, item in self._warm.between(*query[:4], raw_s):
                gaps.taken.append(Taken("warm", len(item.data)))
                columns = self._blocks(_Measured("warm", self._warm, gaps), key, item, query, gaps)
                parts += _present(columns)
                if None not in columns:
                    there.add(key.window)
        except RetryableError as error:
            gaps.note("the warm tier could not be read: samples of the last days may be missing", error)
        return parts, there

    def _lacking(self, query: BlockQuery, there: set[Window], gaps: Gaps) -> tuple[list[Window], Markers]:
        """The windows of which the archive may hold more than the table: removed from it, or made again in it; and the
        deletes of the source's raw samples."""
        try:
            windows, markers = self._catalogue.of(query.source).windows_and_markers(query.resolution)
        except RetryableError as error:
            gaps.note("the index of windows could not be read: archived samples may be missing", error)
            return [], ()
        markers = [marker for marker in markers if marker.from_ms <= query.to_ms and marker.to_ms >= query.from_ms]
        return sorted(
            window for window in (windows.sealed - there) | windows.again if window.overlaps(query.from_ms, query.to_ms)
        ), markers

    def _cold_parts(self, query: BlockQuery, gaps: Gaps, window: Window) -> list[Columns]:
        key, cold = BlockKey(query.source, query.resolution, window), _Measured("cold", self._cold, gaps)
        try:
            return _present(self._blocks(cold, key, cold.get(key), query, gaps))
        except RetryableError as error:
            gaps.note("the cold tier could not be read: old samples may be missing", error)
            return []

    def _blocks(
        self, store: Blocks, key: BlockKey, item: Item | None, query: BlockQuery, gaps: Gaps
    ) -> list[Columns | None]:
        """What a store holds of a window, with None for each part that it lacks."""
        try:
            return list(read_blocks(store, key, item, query.series, query.part))
        except CorruptDataError as error:
            gaps.damage(key, error)
            return [None]


def _present(parts: Iterable[Columns | None]) -> list[Columns]:
    return [columns for columns in parts if columns is not None]


def read_blocks(
    store: Blocks, key: BlockKey, item: Item | None, series: Collection[str] | None, part: str = blocks.WHOLE
) -> Iterator[Columns | None]:
    """The series of the block ``item`` under ``key`` that are in ``series``, or of ``part`` if that is None, from its
    parts if it was split, which were there before their stub; None for each part that the store does not hold."""
    stored = blocks.read(item.data, series) if item else None
    if not isinstance(stored, Stub):
        yield stored if series is not None or stored is None else blocks.of_part(stored, part)
        return
    for child in (key._replace(part=name) for name in stored.parts):
        if _may_hold(child.part, series, part):
            yield from read_blocks(store, child, store.get(child), series, part)


def _may_hold(child: str, series: Collection[str] | None, part: str) -> bool:
    if series is not None:
        return any(blocks.in_part(name, child) for name in series)
    return child.startswith(part) or part.startswith(child)
