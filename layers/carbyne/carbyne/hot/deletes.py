"""Deletes: samples that arrived before a delete and lie in its range are no more, in any tier and for good.

A delete is a record of the stream like any other, and its stamp decides: what arrived before it is gone, what arrives
after it stays.  It is noted twice.  The durable marker beside the catalogue is obeyed wherever raw samples are merged,
so that neither a replay nor a late merge brings anything back.  A row of its own in each window that has or had samples
of the source makes the sealer clean the blocks and compute the rollups anew; until then readers take the window's raw
samples, and those that have all of it from Redis find the delete there.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from carbyne.core.errors import RetryableError
from carbyne.core.keys import RAW, SourceKey, Window
from carbyne.core.limits import AHEAD_MS_MAX, MARKER_EXTRA_S
from carbyne.hot.outcomes import HotWriter, LaneOutcome
from carbyne.samples.markers import Marker, row_of
from carbyne.samples.rows import RowGroup
from carbyne.samples.schedule import SealSchedule


class SealedWindows(Protocol):
    """See ``catalogue.Windows``."""

    @property
    def sealed(self) -> Iterable[Window]: ...


class MarkerStore(Protocol):
    """The durable side; both methods raise RetryableError if it can't be asked."""

    def add_marker(self, source: SourceKey, marker: Marker, expires_s: int) -> None: ...
    def windows(self, source: SourceKey, resolution: str) -> SealedWindows: ...


class WindowsOfSource(Protocol):
    """The windows of a source in Redis; RetryableError if it can't be asked."""

    def windows(self, source: SourceKey) -> Iterable[Window]: ...


class Deletes:
    """Notes deletes.  ``length_s``: of a raw window; ``retention_s``: of raw samples; ``now_ms``: the clock."""

    def __init__(
        self,
        markers: MarkerStore,
        windows: WindowsOfSource,
        hot: HotWriter,
        schedule: SealSchedule,
        length_s: int,
        retention_s: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._markers = markers
        self._windows = windows
        self._hot = hot
        self._schedule = schedule
        self._length_s = length_s
        self._retention_s = retention_s
        self._now_ms = now_ms

    def note(self, source: SourceKey, marker: Marker) -> LaneOutcome | None:
        """Note a delete for good; what the write to the lane did, None if there was nothing to write.

        The marker is durable before any window tells of it, and Redis is asked for its windows before the index of
        sealed ones: so a window that is sealed meanwhile is met here or there.  Windows that may begin with rows from
        before the delete, should these come late, are told as well.  Raises RetryableError; safe to repeat.
        """
        now_ms = self._now_ms()
        self._markers.add_marker(source, marker, now_ms // 1000 + self._retention_s + MARKER_EXTRA_S)
        windows = {*self._windows.windows(source)}
        windows |= {*self._markers.windows(source, RAW).sealed}
        windows |= {
            Window.holding(ts_ms, self._length_s)
            for ts_ms in range(now_ms, now_ms + AHEAD_MS_MAX + self._length_s * 1000, self._length_s * 1000)
        }
        row = row_of(marker)
        groups = [
            RowGroup(source, window, self._schedule.due_ms(source, window, now_ms), fresh=False, rows=[row])
            for window in sorted(windows)
            if marker.overlaps(window)
        ]
        if not groups:
            return None
        outcome = self._hot.write({source.lane: groups})[source.lane]
        if isinstance(outcome, RetryableError):
            raise outcome
        return outcome
