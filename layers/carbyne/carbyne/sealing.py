"""When a window is due for sealing."""

from typing import NamedTuple
from zlib import crc32

from carbyne.keys import SourceKey, Window


class SealSchedule(NamedTuple):
    """``grace_s``: agents post a minute's samples up to 119 s late; ``jitter_s``: spread of the seals of one window."""

    grace_s: int
    jitter_s: int

    def is_fresh(self, window: Window, arrival_ms: int) -> bool:
        """Whether the window began less than the grace ago and has not ended: then nothing of it was ever sealed, under
        this grace or another one, and a window without rows has lost none."""
        return arrival_ms < (window.start_s + min(self.grace_s, window.length_s)) * 1000

    def due_ms(self, source: SourceKey, window: Window, arrival_ms: int) -> int:
        """max(window end + grace, first unsealed arrival) + jitter; the jitter is the source's own, at most an eighth
        of the window, so that the windows of all sources do not fall due in the same minute."""
        spread_ms = 1000 * min(self.jitter_s, window.length_s // 8)
        jitter_ms = crc32(source.path.encode()) % spread_ms if spread_ms else 0
        return max((window.end_s + self.grace_s) * 1000, arrival_ms) + jitter_ms
