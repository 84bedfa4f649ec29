"""Which file systems a host has: it posts under their names, which one has to know before they are read."""

from collections.abc import Collection, Sequence
from typing import Protocol
from zlib import crc32

from carbyne.alerts.rates import filesystems_of
from carbyne.core.keys import SourceKey
from carbyne.core.limits import FILESYSTEMS_KEPT_MAX, FILESYSTEMS_KEPT_MS


class ReadNames(Protocol):
    """Every series that a source ever had; RetryableError if a tier can't be asked."""

    def names(self, source: SourceKey) -> Collection[str]: ...


class Filesystems:
    """Read once in FILESYSTEMS_KEPT_MS of each host, at times of its own, and kept while there is room.  A new one is
    judged from then on, its samples of before too.  Used by several threads."""

    def __init__(self, samples: ReadNames) -> None:
        self._samples = samples
        self._known: dict[SourceKey, tuple[int, Sequence[str]]] = {}

    def of(self, source: SourceKey, now_ms: int) -> Sequence[str]:
        """RetryableError as of ``ReadNames``."""
        period = (now_ms + crc32(str(source).encode()) % FILESYSTEMS_KEPT_MS) // FILESYSTEMS_KEPT_MS
        known = self._known.get(source)
        if known and known[0] == period:
            return known[1]
        mounted = filesystems_of(self._samples.names(source))
        if len(self._known) >= FILESYSTEMS_KEPT_MAX:
            self._known.clear()
        self._known[source] = period, mounted
        return mounted
