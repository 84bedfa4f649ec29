"""Sealing: rows of closed windows become blocks in the table, and only then leave Redis.

A window is claimed (which saves work), read, merged into its block, noted in the catalogue, rolled up and confirmed.
Every step can be repeated, and two sealers may do the same at once: blocks are put on the version that was read, and
confirm lets go only of (field, stamp) pairs that a put or a consistent read has shown to be in the block.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from carbyne.core.errors import CarbyneError, RetryableError
from carbyne.core.items import Blocks
from carbyne.core.keys import RAW, BlockKey, SourceKey, Window
from carbyne.core.limits import SEAL_RESERVE_S
from carbyne.core.meter import Meter
from carbyne.samples.columns import Columns
from carbyne.samples.markers import Markers
from carbyne.samples.schedule import LaneStates, SealSchedule
from carbyne.seal.backlog import Backlog
from carbyne.seal.relief import Admission, Relief, ReliefPorts, ShardMemory, Sized
from carbyne.store.catalogue import Catalogue, SourceCatalogue
from carbyne.store.catalogue_items import spans_of
from carbyne.store.tree import Target, clean, merge_into
from carbyne.store.worklist import Worklist

_log = logging.getLogger(__name__)
Given = TypeVar("Given")


class DueWindows(LaneStates, Protocol):
    """``windows``: (due_ms, source, window), earliest first, beside what the lanes said."""

    @property
    def windows(self) -> Sequence[tuple[int, SourceKey, Window]]: ...


class SealableRows(Protocol):
    """``pairs``: (field, stamp) of each row; ``columns``: their samples; ``markers``: the deletes among them."""

    @property
    def pairs(self) -> Sequence[tuple[bytes, bytes]]: ...
    @property
    def columns(self) -> Columns: ...
    @property
    def markers(self) -> Markers: ...


class SealableWindows(Protocol):
    """The sealer's side of the hot tier; every method raises RetryableError if it can't be asked."""

    def due(self, now_ms: int, closed_s: int) -> DueWindows: ...
    def claim(self, source: SourceKey, window: Window) -> bool: ...
    def rows(self, source: SourceKey, window: Window) -> SealableRows: ...
    def confirm(
        self,
        source: SourceKey,
        window: Window,
        pairs: Sequence[tuple[bytes, bytes]],
        *,
        expiry_ms: int,
        again_ms: int,
        early: bool = False,
    ) -> bool: ...
    def shards(self) -> Sequence[ShardMemory]: ...
    def sizes(self) -> Sequence[Sized]: ...


class Rollups(Protocol):
    """Recomputes the rollups of a raw window, of which some was deleted by ``markers``; the number of blocks written,
    RetryableError if a tier can't be asked."""

    def roll(self, source: SourceKey, window: Window, series: Collection[str], markers: Markers = ()) -> int: ...


class Replays(Protocol):
    """Has lanes replayed that are not whole.  ``begin_look``: before Redis is asked; what it gives takes what Redis
    said.  Both raise RetryableError if that can't be seen to now."""

    def begin_look(self) -> Callable[[LaneStates], None]: ...


class Retention(NamedTuple):
    """``hot_s``: how long after its end a sealed window stays readable in Redis; ``warm_raw_s``: how long after its end
    (or its seal, if that is later) a raw block stays in the table."""

    hot_s: int
    warm_raw_s: int


class SealStores(NamedTuple):
    """Where samples are: Redis, the table, the archive, and what the table's catalogue says of both."""

    hot: SealableWindows
    warm: Blocks
    cold: Blocks
    catalogue: Catalogue


class SealDuties(NamedTuple):
    """What a run does beside the windows that are due."""

    rollups: Rollups
    worklist: Worklist
    admission: Admission
    replays: Replays


class SealTimes(NamedTuple):
    """When windows are sealed, how long what is sealed is kept, and the clock."""

    schedule: SealSchedule
    retention: Retention
    now_ms: Callable[[], int]


class Sealer:
    """The use case of the function, with what it needs from outside."""

    def __init__(self, stores: SealStores, duties: SealDuties, times: SealTimes, meter: Meter) -> None:
        self._hot, self._warm, self._cold, self._catalogue = stores
        self._rollups, self._replays = duties.rollups, duties.replays
        self._schedule, self._retention, self._now_ms = times
        self._meter = meter
        early = partial(self._try_seal, early=True)
        self._backlog = Backlog(duties.worklist, self._catalogue, self.merge, times.now_ms, meter)
        self._relief = Relief(ReliefPorts(self._hot, duties.admission, early, times.now_ms, meter))

    def run(self, seconds_left: Callable[[], float]) -> int:
        """Seal what is due, earliest first, until done or out of time, and before it what fills Redis; the number of
        windows sealed.

        A window that fails stays due, and holds up no other.  Raises RetryableError if Redis can't be asked at all.
        """
        now_ms = self._now_ms()
        look = self._watch_lanes(self._replays.begin_look)
        due = self._hot.due(now_ms, now_ms // 1000 - self._schedule.grace_s)
        self._meter.peak("LanesRebuilding", len(due.rebuilding))
        if look:
            self._watch_lanes(partial(look, due))
        if due.windows:
            self._meter.peak("OldestDueSeconds", max(0, now_ms - due.windows[0][0]) / 1000)
        full, sealed = self._relief.run(seconds_left, replaying=any(due.rebuilding.values()))
        for _, source, window in due.windows:
            if seconds_left() < SEAL_RESERVE_S:
                _log.warning("out of time: the windows that are left wait for the next run")
                break
            sealed += self._try_seal(source, window, early=source.lane in full)
        self._backlog.run(seconds_left)
        self._meter.add("WindowsSealed", sealed)
        self._meter.flush_due()
        return sealed

    def _watch_lanes(self, step: Callable[[], Given]) -> Given | None:
        """What the step gives, None if it failed."""
        try:
            return step()
        except RetryableError as error:
            _log.warning("lanes that are not whole wait for the next run: %s", error)
        except CarbyneError:  # a note that can't be read must not hold up what is due
            _log.exception("no replay can begin for lanes that are not whole")
            self._meter.add("SealsFailed", 1)
        return None

    def _try_seal(self, source: SourceKey, window: Window, *, early: bool) -> bool:
        try:
            return self._hot.claim(source, window) and self.seal(source, window, early=early)
        except RetryableError as error:
            _log.warning("window %s of %s waits: %s", window.token, source.path, error)
        except CarbyneError:
            _log.exception("window %s of %s can't be sealed", window.token, source.path)
            self._meter.add("SealsFailed", 1)
        return False

    def seal(self, source: SourceKey, window: Window, *, early: bool = False) -> bool:
        """Move a window's rows into its block; whether none is left unsealed.  Safe to repeat at any step.

        ``early``: the rows leave Redis at once; the window may be open still, and goes on taking rows.
        """
        rows = self._hot.rows(source, window)
        if rows.pairs:
            change = f"sealed {window.token} {rows.pairs}".encode()
            self.merge(source, window, rows.columns, rows.markers, change)
        now_ms = self._now_ms()
        keep_ms = (window.end_s + self._retention.hot_s) * 1000
        return self._hot.confirm(
            source,
            window,
            rows.pairs,
            expiry_ms=keep_ms if keep_ms > now_ms else 0,
            again_ms=self._schedule.due_ms(source, window, now_ms),
            early=early,
        )

    def merge(self, source: SourceKey, window: Window, columns: Columns, markers: Markers, change: bytes) -> None:
        """Block, catalogue and rollups of a window hold ``columns`` afterwards, and nothing that ``markers`` delete.

        ``change``: noted when all of it is there, see ``SourceCatalogue.note_change``; empty if the caller does that.
        """
        key, catalogue = BlockKey(source, RAW, window), self._catalogue.of(source)
        if columns.groups:
            self._store(key, catalogue, columns)
        self._meter.add("RollupsWritten", self._rollups.roll(source, window, columns.series, markers))
        if markers:
            self._clean(key, catalogue)
        if change:
            catalogue.note_change(change)

    def _store(self, key: BlockKey, catalogue: SourceCatalogue, columns: Columns) -> None:
        """Block and catalogue hold ``columns`` afterwards."""
        creating, expires_s = catalogue.making(key.resolution, key.window), self._expires_s(key.window)
        if merge_into(self._warm, key, columns, expires_s=expires_s, creating=creating, markers=catalogue.markers):
            self._meter.add("BlocksWritten", 1)
        catalogue.add_series(spans_of(columns))
        self._meter.add("SamplesSealed", columns.samples)

    def _clean(self, key: BlockKey, catalogue: SourceCatalogue) -> None:
        """Take deleted samples out of the blocks of both tiers, parts that no row of this seal lies in included."""
        markers = catalogue.markers()
        clean(Target(self._warm, self._expires_s(key.window)), key, markers)
        clean(Target(self._cold, 0), key, markers)

    def _expires_s(self, window: Window) -> int:
        return max(window.end_s, self._now_ms() // 1000) + self._retention.warm_raw_s
