"""What the reconciler has compared: the days of expiry, since when, and how far it came in the current day.

A day is complete when no block can come to expire on it any more: whatever was put after its comparison began expires
later.  Each run compares the days that are not complete, so with a week in the table every block is compared once.  How
far a run came within a day is noted after each batch, so that the next run goes on there.
"""

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from carbyne.core.documents import Document
from carbyne.core.items import Item, Table
from carbyne.core.keys import RECONCILE_ITEM, BlockKey
from carbyne.core.limits import COMPARED_BYTES_MAX, DAY_S, INDEX_LAG_S, SEAL_TRIES_MAX

_SORT: Final = "days"


class Day(msgspec.Struct, frozen=True, array_like=True):
    """``day``: since the epoch; ``begun_s``: when its comparison began; ``after``: name of the last block that was
    compared, empty at the start; ``failed``: blocks that could not be; ``is_whole``: all of them were; ``kept_s``: how
    long a block that was put then stays in the table at least."""

    day: int
    begun_s: int
    after: str = ""
    failed: int = 0
    is_whole: bool = False
    kept_s: int = 0

    def is_settled(self, kept_s: int) -> bool:
        """Whether all blocks were compared, and one that the index did not show yet expires later: it is kept for
        ``kept_s`` at least, or for what held when the comparison began, if it was put before that was raised."""
        stays_s = min(self.kept_s, kept_s)
        return self.is_whole and not self.failed and self.begun_s - INDEX_LAG_S + stays_s >= (self.day + 1) * DAY_S

    @property
    def last(self) -> BlockKey | None:
        """The block behind which the comparison goes on."""
        return BlockKey.of_object(self.after) if self.after else None

    def went_on(self, last: BlockKey, failed: int) -> "Day":
        """Everything up to ``last`` was compared, but for ``failed`` more blocks, which could not be."""
        return msgspec.structs.replace(self, after=last.object, failed=self.failed + failed)

    def ended(self) -> "Day":
        """Everything was compared."""
        return msgspec.structs.replace(self, after="", is_whole=True)


class Compared(Protocol):
    """Where days are noted; both methods raise RetryableError if it can't be asked."""

    def load(self) -> dict[int, Day]: ...
    def save(self, day: Day, kept: Iterable[int]) -> None:
        """Note ``day``, and forget those that are not in ``kept``."""


_DAYS = Document(
    "list of compared days",
    list[Day],
    version=1,
    level=3,
    bytes_max=COMPARED_BYTES_MAX,
    inflated_max=COMPARED_BYTES_MAX,
)


class ComparedInTable:
    """``Compared`` as an item of the blocks table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def load(self) -> dict[int, Day]:
        return _days(self._table.get(RECONCILE_ITEM, _SORT))

    def save(self, day: Day, kept: Iterable[int]) -> None:
        for _ in range(SEAL_TRIES_MAX):
            item = self._table.get(RECONCILE_ITEM, _SORT)
            days = {number: noted for number, noted in _days(item).items() if number in kept} | {day.day: day}
            if self._table.put(RECONCILE_ITEM, _SORT, Item(_DAYS.pack(list(days.values()))), item):
                return


class ComparedNow:
    """``Compared`` of one run alone, which so compares every day from its start."""

    def load(self) -> dict[int, Day]:
        return {}

    def save(self, day: Day, kept: Iterable[int]) -> None:
        """Not."""


def _days(item: Item | None) -> dict[int, Day]:
    return {day.day: day for day in _DAYS.unpack(item.data)} if item else {}
