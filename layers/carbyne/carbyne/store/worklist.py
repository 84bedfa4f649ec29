"""Sources whose blocks lack something that is durable elsewhere: late rows, deletes that are not cleaned yet.

Each such source has an entry in the blocks table, which the ingester puts and the sealer works off.  Every put gives
the entry another token, and the sealer removes the entry that it read before it looked at the source: so one that is
put meanwhile stays.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from carbyne.core.documents import Document
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import SourceKey, work_partition
from carbyne.core.limits import SEAL_TRIES_MAX, WORK_BYTES_MAX, WORK_PARTITIONS


class _Work(msgspec.Struct, frozen=True, array_like=True):
    token: str
    due_ms: int


_WORK = Document(
    "entry of the worklist", _Work, version=1, level=3, bytes_max=WORK_BYTES_MAX, inflated_max=WORK_BYTES_MAX
)
_FIRST, _LAST = "!", "\x7f"


class WorkEntry(NamedTuple):
    """``due_ms``: when the source is to be worked on, or when the lease of the sealer that works on it ends."""

    source: SourceKey
    due_ms: int
    item: Item


class Worklist:
    """The entries of all sources.  ``new_token``: a text that no other entry has.  Methods raise RetryableError if the
    table can't be asked."""

    def __init__(self, table: Table, new_token: Callable[[], str]) -> None:
        self._table = table
        self._new_token = new_token

    def add(self, source: SourceKey, due_ms: int) -> str:
        """Have a source worked on at ``due_ms``, or earlier if it is to be so already; the entry's token."""
        for _ in range(SEAL_TRIES_MAX):
            item = self._table.get(*_place(source))
            earliest_ms = min(due_ms, _WORK.unpack(item.data).due_ms) if item else due_ms
            token = self._new_token()
            if self._table.put(*_place(source), _item(token, earliest_ms), item):
                return token
        raise RetryableError(f"the entry of {source.source} keeps changing under us")

    def holds(self, source: SourceKey, token: str) -> bool:
        """Whether the entry of a source is unchanged since ``add`` gave it this token."""
        item = self._table.get(*_place(source))
        return item is not None and _WORK.unpack(item.data).token == token

    def listed(self, sources: Collection[SourceKey]) -> set[SourceKey]:
        """Those sources that have an entry: no other one has late rows."""
        entries = self._table.get_each([_place(source) for source in sources])
        return {source for source in sources if _place(source) in entries}

    def due(self, now_ms: int) -> list[WorkEntry]:
        """The entries that are due, earliest first."""
        entries = [
            WorkEntry(SourceKey.of_path(path), _WORK.unpack(item.data).due_ms, item)
            for number in range(WORK_PARTITIONS)
            for path, item in self._table.query(work_partition(number), _FIRST, _LAST)
        ]
        return sorted((entry for entry in entries if entry.due_ms <= now_ms), key=lambda entry: entry.due_ms)

    def postpone(self, entry: WorkEntry, due_ms: int) -> WorkEntry | None:
        """The entry as it is then; None if it is another one by now."""
        item = _item(self._new_token(), due_ms)
        done = self._table.put(*_place(entry.source), item, entry.item)
        return WorkEntry(entry.source, due_ms, item) if done else None

    def finish(self, entry: WorkEntry) -> None:
        """Remove the entry unless it was put again meanwhile."""
        self._table.remove(*_place(entry.source), entry.item)


def _item(token: str, due_ms: int) -> Item:
    return Item(_WORK.pack(_Work(token, due_ms)))


def _place(source: SourceKey) -> tuple[str, str]:
    return work_partition(source.lane % WORK_PARTITIONS), source.path
