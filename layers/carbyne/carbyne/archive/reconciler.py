"""Reconciling: blocks that will expire soon are compared with the archive, and what it lacks is copied.

So a disabled or broken archiver loses nothing as long as this runs.  Days are taken in the order of expiry.  Days with
nothing left but blocks that could not be compared come last.  So a run that is out of time has done what is most
urgent; the next run, an hour later, goes on where it stopped.  Each block is compared once: ``archive/compared.py``
remembers the days.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from carbyne.archive.archiver import DeleteMarkers, archive
from carbyne.archive.compared import Compared, Day
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
    RECONCILE_URGENT_DAYS,
)
from carbyne.core.meter import Meter
from carbyne.samples import blocks

_log = logging.getLogger(__name__)


class Reconciled(NamedTuple):
    """How many blocks were ``compared``, were ``copied`` because the archive lacked samples, ``failed``; ``missed``:
    raw blocks among the copied, which the archiver should have copied when they were put."""

    compared: int = 0
    copied: int = 0
    missed: int = 0
    failed: int = 0

    def plus(self, keys: list[BlockKey], outcomes: list[bool | None]) -> "Reconciled":
        """With a batch of blocks and what ``_compare`` said of each."""
        copied = [key.resolution for key, outcome in zip(keys, outcomes, strict=True) if outcome]
        return Reconciled(
            self.compared + len(keys),
            self.copied + len(copied),
            self.missed + copied.count(RAW),
            self.failed + outcomes.count(None),
        )


class Copying(NamedTuple):
    """Where blocks are read, where they are copied to, and the deletes that a copy obeys."""

    warm: Blocks
    cold: Blocks
    deletes: DeleteMarkers


class Reconciler:
    """``expiring(day, after)``: the keys of the blocks that expire on that day since the epoch, those behind ``after``
    alone if it is given; ``kept_s``: how long every block stays in the table at least."""

    def __init__(
        self,
        expiring: Callable[[int, BlockKey | None], Iterable[BlockKey]],
        compared: Compared,
        copying: Copying,
        kept_s: int,
        now_ms: Callable[[], int],
        meter: Meter,
    ) -> None:
        self._expiring = expiring
        self._compared = compared
        self._copying = copying
        self._kept_s = kept_s
        self._now_ms = now_ms
        self._meter = meter

    def run(
        self, seconds_left: Callable[[], float], progress: Callable[[Reconciled], None] = lambda _: None
    ) -> Reconciled:
        """Compare and copy what no run has compared yet; safe to repeat, and beside another run.

        ``progress`` is told after each batch.  What there is no time for is left to the next run.  Raises
        RetryableError if the table can't be read, if some of the blocks could not be compared, or if blocks are left
        that expire within RECONCILE_URGENT_DAYS.
        """
        total = Reconciled()
        try:
            with ThreadPoolExecutor(COLD_READERS) as threads:
                for day, keys in self._batches():
                    if seconds_left() < RECONCILE_RESERVE_S:
                        self._leave(total, day.day - self._today())
                        break
                    outcomes = list(threads.map(self._compare, keys))
                    self._note(day.went_on(keys[-1], outcomes.count(None)))
                    total = total.plus(keys, outcomes)
                    progress(total)
        finally:
            self._count(total)
        if total.failed:
            raise RetryableError(f"{total.failed} of {total.compared} blocks could not be compared; the log names them")
        return total

    def _batches(self) -> Iterator[tuple[Day, list[BlockKey]]]:
        """Each day with its next blocks, as it was noted last; a day is ended when all of its batches were taken.

        Days that only what can't be compared keeps open come last: they would take the time of the others each hour.
        """
        days = self._compared.load()
        again = {day.day for day in days.values() if day.is_whole and day.failed}
        for number in sorted(self._looked_at(), key=lambda number: number in again):
            day = days.get(number)
            if day and day.is_settled(self._kept_s):
                continue
            self._day = day if day and not day.is_whole else self._begun(number)
            keys = iter(self._expiring(number, self._day.last))
            while batch := list(islice(keys, RECONCILE_BATCH)):
                yield self._day, batch
            self._note(self._day.ended())

    def _begun(self, number: int) -> Day:
        return Day(number, self._now_ms() // 1000, kept_s=self._kept_s)

    def _note(self, day: Day) -> None:
        self._day = day
        self._compared.save(day, self._looked_at())

    def _looked_at(self) -> range:
        return range(self._today() - RECONCILE_BACK_DAYS, self._today() + RECONCILE_AHEAD_DAYS + 1)

    def _today(self) -> int:
        return self._now_ms() // 1000 // DAY_S

    def _compare(self, key: BlockKey) -> bool | None:
        """Whether the archive lacked something of the block, None if it can't be compared."""
        try:
            return self._missing(key)
        except CarbyneError as error:
            _log.error("block %s can't be compared: %s", key.object, error)
            return None

    def _missing(self, key: BlockKey) -> bool:
        warm, cold, deletes = self._copying
        item = warm.get(key)
        if item is None:  # gone meanwhile, which the archiver was told
            return False
        if key.part == blocks.WHOLE and (archived := cold.get(key)) and archived.data == item.data:
            return False
        return archive(cold, deletes, key, item.data)

    def _count(self, total: Reconciled) -> None:
        self._meter.add("BlocksReconciled", total.compared)
        self._meter.add("BlocksMissing", total.missed)
        self._meter.flush_due()

    def _leave(self, total: Reconciled, days: int) -> None:
        """The time is up at blocks that expire so many days from now."""
        text = (
            f"out of time after {total.compared} blocks, and those that expire {days} days from now and later are left"
        )
        if days <= RECONCILE_URGENT_DAYS:
            raise RetryableError(f"{text}: give the function more memory and so more CPU, or run: carbyne reconcile")
        _log.info("%s to the next run", text)
