"""When a window is due for sealing."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol
from zlib import crc32

from carbyne.core.keys import SourceKey, Window

LATE_SHARE: Final = 2
"""Late rows wait for half of their window's length.  After an outage an agent sends its backlog minute by minute,
and each seal writes a whole block and its rollups again.  Rows of a window that is sealed in time wait longer."""


class LaneArrivals(Protocol):
    """``first_ms``: arrival of the first row that no block holds, 0 if unknown, None if there is none; ``tick_ms``: of
    a record before which the ingester has done all of the lane, None if unknown; ``unsealed_s``: start of the first
    window that has rows which no block holds, None if there is none."""

    @property
    def first_ms(self) -> int | None: ...
    @property
    def tick_ms(self) -> int | None: ...
    @property
    def unsealed_s(self) -> int | None: ...


class LaneStates(Protocol):
    """What lanes said.  ``tokens``: of the last replay of each that answered, empty for none; ``rebuilding``: those of
    lanes that are not whole; ``arrivals``: of the whole ones."""

    @property
    def tokens(self) -> Mapping[int, str]: ...
    @property
    def rebuilding(self) -> Mapping[int, str]: ...
    @property
    def arrivals(self) -> Mapping[int, LaneArrivals]: ...


class SealSchedule(NamedTuple):
    """``grace_s``: agents post a minute's samples up to 119 s late; ``jitter_s``: spread of the seals of one window."""

    grace_s: int
    jitter_s: int

    def is_fresh(self, window: Window, arrival_ms: int) -> bool:
        """Whether the window began less than the grace ago and has not ended.  Then it cannot have been sealed under
        any grace setting, and a window without rows has lost none."""
        return arrival_ms < (window.start_s + min(self.grace_s, window.length_s)) * 1000

    def is_past(self, window: Window, arrival_ms: int) -> bool:
        """Whether what arrives for the window now comes late: it may have been sealed."""
        return arrival_ms > (window.end_s + self.grace_s) * 1000

    def due_ms(self, source: SourceKey, window: Window, arrival_ms: int) -> int:
        """Window end + grace + jitter for a row that arrives before that; for a later row its arrival + half of
        the window + jitter.  ``arrival_ms``: of the first row that is not sealed yet.

        The jitter is fixed per source, at most an eighth of the window, so that the windows of all sources are not due
        in the same minute.
        """
        if self.is_past(window, arrival_ms):
            return self.late_ms(source, window.length_s, arrival_ms)
        return (window.end_s + self.grace_s) * 1000 + self._jitter_ms(source, window.length_s)

    def late_ms(self, source: SourceKey, length_s: int, arrival_ms: int) -> int:
        """When late rows of windows of this length are due."""
        return arrival_ms + 1000 * (length_s // LATE_SHARE) + self._jitter_ms(source, length_s)

    def _jitter_ms(self, source: SourceKey, length_s: int) -> int:
        spread_ms = 1000 * min(self.jitter_s, length_s // 8)
        return crc32(source.path.encode()) % spread_ms if spread_ms else 0


class RawTimes(NamedTuple):
    """The times of raw samples: ``schedule`` of their seals, ``length_s`` of a window today, ``retention_s`` of
    samples, and the clock ``now_ms``."""

    schedule: SealSchedule
    length_s: int
    retention_s: int
    now_ms: Callable[[], int]
