"""Reconciling: blocks that will expire soon are compared with the archive, and what it lacks is copied.

So a disabled or broken archiver loses nothing as long as this runs once in RECONCILE_AHEAD_S.
"""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from carbyne.archiver import archive
from carbyne.errors import CarbyneError, RetryableError
from carbyne.items import Blocks
from carbyne.keys import BlockKey
from carbyne.limits import COLD_READERS, RECONCILE_AHEAD_S
from carbyne.telemetry import Meter

_log = logging.getLogger(__name__)

PROGRESS_BLOCKS = 1_000


class Reconciler:
    """``expiring(before_s)``: (key, data) of every raw block whose TTL comes before that time; ``progress``: told the
    blocks compared so far, from time to time."""

    def __init__(
        self,
        expiring: Callable[[int], Iterable[tuple[BlockKey, bytes]]],
        cold: Blocks,
        now_ms: Callable[[], int],
        meter: Meter,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._expiring = expiring
        self._cold = cold
        self._now_ms = now_ms
        self._meter = meter
        self._progress = progress

    def run(self) -> int:
        """Compare and copy; the number of blocks of which the archive lacked something.  Safe to repeat.

        Raises RetryableError if the table can't be read, or if some of the blocks could not be compared.
        """
        copied = failed = seen = 0
        before_s = self._now_ms() // 1000 + RECONCILE_AHEAD_S
        with ThreadPoolExecutor(COLD_READERS) as threads:
            for seen, outcome in enumerate(threads.map(self._compare, self._expiring(before_s)), start=1):
                copied += outcome is True
                failed += outcome is None
                if seen % PROGRESS_BLOCKS == 0:
                    self._progress(seen)
        self._progress(seen)
        self._meter.add("BlocksReconciled", seen)
        self._meter.add("BlocksMissing", copied)
        self._meter.flush_due()
        if failed:
            raise RetryableError(f"{failed} of {seen} blocks could not be compared; the log names them")
        return copied

    def _compare(self, block: tuple[BlockKey, bytes]) -> bool | None:
        """Whether the archive lacked something of the block, None if nobody can say."""
        key, data = block
        try:
            return archive(self._cold, key, data)
        except CarbyneError as error:
            _log.error("block %s can't be compared: %s", key.object, error)
            return None
