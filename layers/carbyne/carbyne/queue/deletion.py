"""Deletes a queue: its messages, its keys in Redis, its items in the table, and at last its note.

The note says first that the queue is deleted, then Redis forgets it, then its items go.  A publisher that began before
either put a message before the items went, and it goes with them, or finds Redis without the queue and takes its
message back.  The note stays until every call that began before has ended: until then no queue of this name is made, of
which such a caller would delete or add messages.  A request that dies between the first two steps is not answered: the
sweep takes the second one, and what was published until then goes as well.
"""

from collections.abc import Callable

from carbyne.core.keys import QueueKey
from carbyne.core.limits import PURGE_MESSAGES_MAX, QUEUE_DELETION_S
from carbyne.queue.building import unknown
from carbyne.queue.ports import QueueNote, QueueOrder, QueueTable


class Deletion:
    """A request does a part of the work, and the sweep of each minute the rest.  ``now_ms``: since 1970."""

    def __init__(self, order: QueueOrder, table: QueueTable, now_ms: Callable[[], int]) -> None:
        self._order = order
        self._table = table
        self._now_ms = now_ms

    def begin(self, queue: QueueKey) -> tuple[int, bool]:
        """How many items were deleted, and whether there are more; RequestError 404 for an unknown queue."""
        if not self._table.condemn(queue, self._now_ms() // 1000):
            raise unknown(queue)
        return self._clear(queue)

    def go_on(self, queue: QueueKey, note: QueueNote) -> None:
        """Delete more items of a queue with this note, or the note."""
        _, more = self._clear(queue)
        if not more and self._now_ms() // 1000 - note.deleted_s >= QUEUE_DELETION_S:
            self._table.end(queue, note)

    def _clear(self, queue: QueueKey) -> tuple[int, bool]:
        self._order.drop(queue)
        deleted = 0
        while deleted < PURGE_MESSAGES_MAX:
            note = self._table.note(queue)
            if note is None or not note.deleted_s:  # another run deleted it, and the next queue may be there
                return deleted, False
            if not (cleared := self._table.clear(queue, PURGE_MESSAGES_MAX - deleted)):
                return deleted, False
            deleted += cleared
        return deleted, True
