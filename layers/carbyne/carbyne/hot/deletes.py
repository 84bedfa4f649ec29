"""Deletes: samples that arrived before a delete and lie in its range are no more, in any tier and for good.

A delete is a record of the stream like any other, and its stamp decides: what arrived before it is gone, what arrives
after it stays.  The durable marker beside the catalogue is obeyed wherever raw samples are merged, so that neither a
replay nor a late merge brings anything back.  It says how far the sealer has cleaned the blocks and recomputed their
rollups; until then readers compute what it concerns from raw samples.  The windows of the source that Redis has get a
row of their own beside, since reads that have all of a window from there ask no other tier.  So a delete costs the same
whatever it deletes.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import AHEAD_MS_MAX, MARKER_EXTRA_S
from carbyne.hot.outcomes import HotWriter, LaneOutcome
from carbyne.samples.markers import Marker, row_of
from carbyne.samples.rows import RowGroup
from carbyne.samples.schedule import RawTimes
from carbyne.tenants.windows import RawLengths


class SourceMarkers(Protocol):
    def add_marker(self, marker: Marker, expires_s: int) -> None: ...


class MarkerStore(Protocol):
    """The durable side; RetryableError if it can't be asked."""

    def of(self, source: SourceKey) -> SourceMarkers: ...


class WorkQueue(Protocol):
    """Has the sealer work on a source from ``due_ms`` on, and gives a token for that; RetryableError if it can't."""

    def add(self, source: SourceKey, due_ms: int) -> str: ...


class WindowsOfSource(Protocol):
    """The windows of a source in Redis; RetryableError if it can't be asked."""

    def windows(self, source: SourceKey) -> Iterable[Window]: ...


class Deletes:
    """Notes deletes.  ``lengths``: of the windows of each source."""

    def __init__(
        self,
        markers: MarkerStore,
        work: WorkQueue,
        windows: WindowsOfSource,
        hot: HotWriter,
        times: RawTimes,
        lengths: RawLengths,
    ) -> None:
        self._markers = markers
        self._work = work
        self._windows = windows
        self._hot = hot
        self._times = times
        self._lengths = lengths

    def note(self, source: SourceKey, marker: Marker, arrived_ms: int = 0) -> LaneOutcome | None:
        """Note a delete for good; what the write to the lane did, None if there was nothing to write.

        ``arrived_ms``: when it came to the stream, 0 if that is not known.

        The marker is durable before the source is on the sealer's list and before any window tells of it.  Windows that
        may begin with rows from before the delete, should these come late, are told as well.  Raises RetryableError;
        safe to repeat.
        """
        now_ms = self._times.now_ms()
        self._markers.of(source).add_marker(marker, self._expires_s(marker, now_ms))
        self._work.add(source, self._times.schedule.late_ms(source, self._times.length_s, now_ms))
        windows = {*self._windows.windows(source), *self._beginning(source, now_ms)}
        row = row_of(marker)
        groups = [
            RowGroup(
                source,
                window,
                self._times.schedule.due_ms(source, window, now_ms),
                fresh=False,
                rows=[row],
                arrived_ms=arrived_ms,
            )
            for window in sorted(windows)
            if marker.overlaps(window)
        ]
        if not groups:
            return None
        outcome = self._hot.write({source.lane: groups})[source.lane]
        if isinstance(outcome, RetryableError):
            raise outcome
        return outcome

    def _expires_s(self, marker: Marker, now_ms: int) -> int:
        """When the last sample that it deletes is past retention."""
        return min(now_ms, marker.to_ms) // 1000 + self._times.retention_s + MARKER_EXTRA_S

    def _beginning(self, source: SourceKey, now_ms: int) -> Iterator[Window]:
        """The windows that samples may open now."""
        window = self._lengths.window(source, now_ms)
        yield window
        while window.end_s * 1000 <= now_ms + AHEAD_MS_MAX:
            window = self._lengths.window(source, window.end_s * 1000)
            yield window
