"""What came after a window was sealed: late rows are merged into its block, deletes are cleaned out of it.

The sealer takes the sources of the worklist one after the other, tenants by turns and each source for a slice of time,
so that no tenant's work holds up another's.  It goes through a source's windows in ascending order and notes now and
then how far it is, so that the next run resumes there.  Late rows leave only when block and rollups have them.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from carbyne.core.errors import CarbyneError, RetryableError
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import (
    BACKLOG_AGAIN_MS,
    BACKLOG_SLICE_S,
    BACKLOG_STEP_WINDOWS,
    SEAL_LEASE_MS,
    SEAL_RESERVE_S,
)
from carbyne.core.meter import Meter
from carbyne.samples import blocks
from carbyne.samples.columns import Columns, merge
from carbyne.samples.markers import Markers
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import LateRows, OpenDelete, by_window
from carbyne.store.worklist import WorkEntry, Worklist

_log = logging.getLogger(__name__)


class Merge(Protocol):
    """Makes block and rollups of a window hold ``columns`` and nothing that ``markers`` delete, and then notes the
    ``change``, unless that is empty; RetryableError."""

    def __call__(
        self, source: SourceKey, window: Window, columns: Columns, markers: Markers, change: bytes
    ) -> None: ...


class Backlog:
    """The sealer's work on windows that Redis does not have.  ``now_ms``: the clock."""

    def __init__(
        self, worklist: Worklist, catalogue: Catalogue, merge: Merge, now_ms: Callable[[], int], meter: Meter
    ) -> None:
        self._worklist = worklist
        self._catalogue = catalogue
        self._merge = merge
        self._now_ms = now_ms
        self._meter = meter

    def run(self, seconds_left: Callable[[], float]) -> None:
        """Work on the sources that are due while there is time; what fails stays on the list."""
        try:
            entries = _by_turns(self._worklist.due(self._now_ms()))
        except RetryableError as error:
            _log.warning("the next run works off the list of late rows and deletes: %s", error)
            return
        for entry in entries:
            if seconds_left() < SEAL_RESERVE_S:
                return
            try:
                self._work(entry, seconds_left)
            except RetryableError as error:
                _log.warning("what %s has to be merged or cleaned waits: %s", entry.source.path, error)
            except CarbyneError:
                _log.exception("what %s has can't be merged or cleaned", entry.source.path)
                self._meter.add("SealsFailed", 1)

    def _work(self, entry: WorkEntry, seconds_left: Callable[[], float]) -> None:
        """Work on one source for a slice of time, unless another sealer does."""
        claimed = self._worklist.postpone(entry, self._now_ms() + SEAL_LEASE_MS)
        if claimed is None:
            return
        reserve_s = max(SEAL_RESERVE_S, seconds_left() - BACKLOG_SLICE_S)
        source, failed = entry.source, False
        index, pending = self._catalogue.of(source).work()
        late, deletes = by_window(pending.late), pending.deletes
        for number, window in enumerate(_windows(index.sealed, late, deletes)):
            if seconds_left() < reserve_s:
                if not failed:
                    self._advance(source, deletes, window.start_s * 1000)
                self._worklist.postpone(claimed, self._now_ms())
                return
            if number and number % BACKLOG_STEP_WINDOWS == 0 and not failed:
                deletes = self._advance(source, deletes, window.start_s * 1000)
            failed |= not self._try_window(source, window, late.get(window, ()), deletes)
        if failed:
            self._worklist.postpone(claimed, self._now_ms() + BACKLOG_AGAIN_MS)
        else:
            self._advance(source, deletes, None)
            self._worklist.finish(claimed)

    def _advance(self, source: SourceKey, deletes: list[OpenDelete], left_ms: int | None) -> list[OpenDelete]:
        """Note how far the blocks are clean, and first that they changed: from then on readers trust them."""
        catalogue = self._catalogue.of(source)
        if deletes:
            identity = b"".join(delete.marker.stamp for delete in deletes)
            catalogue.note_change(identity + str(left_ms).encode())
        return catalogue.advance(deletes, left_ms)

    def _try_window(
        self, source: SourceKey, window: Window, late: Sequence[LateRows], deletes: Iterable[OpenDelete]
    ) -> bool:
        """Whether the window lacks nothing now: one that can't be read must not hold up the others."""
        markers = [delete.marker for delete in deletes if _concerns(delete, window)]
        try:
            change = "".join(rows.sort for rows in late).encode()
            self._merge(source, window, merge([blocks.decode(rows.data) for rows in late]), markers, change)
        except RetryableError:
            raise
        except CarbyneError:
            _log.exception("window %s of %s can't be merged or cleaned", window.token, source.path)
            self._meter.add("SealsFailed", 1)
            return False
        if late:
            self._catalogue.of(source).remove_late(late)
        self._meter.add("WindowsMended", 1)
        return True


def _by_turns(entries: Sequence[WorkEntry]) -> list[WorkEntry]:
    """The first of each tenant, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    turns: list[tuple[int, WorkEntry]] = []
    for entry in entries:
        seen[entry.source.tenant] += 1
        turns.append((seen[entry.source.tenant], entry))
    return [entry for _, entry in sorted(turns, key=lambda turn: turn[0])]


def _windows(sealed: Iterable[Window], late: Iterable[Window], deletes: Sequence[OpenDelete]) -> list[Window]:
    """The windows that lack something, ascending."""
    return sorted({window for window in sealed if any(_concerns(delete, window) for delete in deletes)} | {*late})


def _concerns(delete: OpenDelete, window: Window) -> bool:
    return window.start_s * 1000 >= delete.left_ms and delete.marker.overlaps(window)
