"""Reconciling: blocks that will expire soon are compared with the archive, and what it lacks is copied.

So a disabled or broken archiver loses nothing as long as this runs once in RECONCILE_AHEAD_DAYS.  Days are taken in the
order of expiry, so that a run that is out of time has seen to what is most urgent.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from carbyne.archive.archiver import Deletes, archive
from carbyne.core.errors import CarbyneError, RetryableError
from carbyne.core.items import Blocks
from carbyne.core.keys import RAW, BlockKey
from carbyne.core.limits import (
    COLD_READERS,
    DAY_S,
    RECONCILE_AHEAD_DAYS,
    RECONCILE_BACK_DAYS,
    RECONCILE_BATCH,
    RECONCILE_RESERVE_S,
)
from carbyne.core.meter import Meter
from carbyne.samples import blocks

_log = logging.getLogger(__name__)


class Reconciled(NamedTuple):
    """Blocks that were ``compared``, those of which the archive lacked something (``copied``), the raw ones among these
    (``missed``: the archiver should have copied them when they were put), and those that ``failed``."""

    compared: int = 0
    copied: int = 0
    missed: int = 0
    failed: int = 0


class Reconciler:
    """``expiring(day)``: the keys of all raw blocks that expire on that day since the epoch."""

    def __init__(
        self,
        expiring: Callable[[int], Iterable[BlockKey]],
        warm: Blocks,
        cold: Blocks,
        deletes: Deletes,
        now_ms: Callable[[], int],
        meter: Meter,
    ) -> None:
        self._expiring = expiring
        self._warm = warm
        self._cold = cold
        self._deletes = deletes
        self._now_ms = now_ms
        self._meter = meter

    def run(
        self, seconds_left: Callable[[], float], progress: Callable[[Reconciled], None] = lambda _: None
    ) -> Reconciled:
        """Compare and copy; safe to repeat.  ``progress`` is told after each batch.

        Raises RetryableError if the table can't be read, if some of the blocks could not be compared, or if the time is
        up before all of them were.
        """
        found = Reconciled()
        today = self._now_ms() // 1000 // DAY_S
        try:
            with ThreadPoolExecutor(COLD_READERS) as threads:
                for day in range(today - RECONCILE_BACK_DAYS, today + RECONCILE_AHEAD_DAYS + 1):
                    for batch in _batches(self._expiring(day)):
                        if seconds_left() < RECONCILE_RESERVE_S:
                            raise RetryableError(_out_of_time(found, day - today))
                        found = _added(found, batch, list(threads.map(self._compare, batch)))
                        progress(found)
        finally:
            self._count(found)
        if found.failed:
            raise RetryableError(f"{found.failed} of {found.compared} blocks could not be compared; the log names them")
        return found

    def _compare(self, key: BlockKey) -> bool | None:
        """Whether the archive lacked something of the block, None if nobody can say."""
        try:
            return self._missing(key)
        except CarbyneError as error:
            _log.error("block %s can't be compared: %s", key.object, error)
            return None

    def _missing(self, key: BlockKey) -> bool:
        item = self._warm.get(key)
        if item is None:  # gone meanwhile, which the archiver was told
            return False
        if key.part == blocks.WHOLE and (archived := self._cold.get(key)) and archived.data == item.data:
            return False
        return archive(self._cold, self._deletes, key, item.data)

    def _count(self, found: Reconciled) -> None:
        self._meter.add("BlocksReconciled", found.compared)
        self._meter.add("BlocksMissing", found.missed)
        self._meter.flush_due()


def _batches(keys: Iterable[BlockKey]) -> Iterator[list[BlockKey]]:
    """Bounded lists: an executor's ``map`` takes all that it is given at once."""
    left = iter(keys)
    while batch := list(islice(left, RECONCILE_BATCH)):
        yield batch


def _added(found: Reconciled, keys: list[BlockKey], outcomes: list[bool | None]) -> Reconciled:
    copied = [key.resolution for key, outcome in zip(keys, outcomes, strict=True) if outcome]
    return Reconciled(
        found.compared + len(keys),
        found.copied + len(copied),
        found.missed + copied.count(RAW),
        found.failed + outcomes.count(None),
    )


def _out_of_time(found: Reconciled, days: int) -> str:
    return (
        f"out of time after {found.compared} blocks, and those that expire {days} days from now and later are left: "
        "give the function more memory and so more CPU, or run: carbyne reconcile"
    )
