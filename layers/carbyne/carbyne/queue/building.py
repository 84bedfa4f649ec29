"""Builds a queue in Redis out of its table, when the master that answers was not the one that it was built on.

The caller that finds that builds: each page goes on where another caller stopped.  What may be leased still counts as
leased until the longest lease is over, so that no living taker's message is given to another one.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.keys import QueueKey
from carbyne.core.limits import QUEUE_BUILD_S, QUEUE_PAGE
from carbyne.queue.ports import BUILDING, LOST, WHOLE, Built, QueueNote, QueueOrder, QueueTable


class HasState(Protocol):
    """A reply that says the state of its queue."""

    @property
    def state(self) -> str: ...


Stated = TypeVar("Stated", bound=HasState)


class Builder:
    """``monotonic``: seconds."""

    def __init__(self, order: QueueOrder, table: QueueTable, monotonic: Callable[[], float]) -> None:
        self._order = order
        self._table = table
        self._monotonic = monotonic

    def whole(self, queue: QueueKey, ask: Callable[[], Stated]) -> Stated:
        """The reply of ``ask`` to a queue that is whole; errors as of ``build``."""
        end_s = self._monotonic() + QUEUE_BUILD_S
        while (reply := ask()).state in (BUILDING, LOST):
            self.build(queue, end_s)
        return reply

    def build(self, queue: QueueKey, end_s: float) -> None:
        """Until the queue is whole; RetryableError at ``end_s``, RequestError 404 if there is no such queue."""
        built, note = self._begin(queue)
        while built.state != WHOLE:
            if self._monotonic() >= end_s:
                raise RetryableError(f"queue {queue.path} is being built again")
            if built.state == LOST:
                built, note = self._begin(queue)
                continue
            page = self._table.page(queue, built.cursor, QUEUE_PAGE)
            to = page[-1][0] if page else built.cursor
            built = self._order.fill(queue, built.cursor, to, len(page) < QUEUE_PAGE, note, page)

    def _begin(self, queue: QueueKey) -> tuple[Built, QueueNote]:
        """The note is read after the beginning: nothing is taken from then on."""
        built, note = self._order.begin(queue), self._table.note(queue)
        if note is None or note.deleted_s:
            self._order.drop(queue)
            raise unknown(queue)
        return built, note

    def audit(self, queue: QueueKey) -> None:
        """Let every message of the table be taken, in case that its publisher died before it said so to Redis."""
        cursor, page = "", self._table.page(queue, "", QUEUE_PAGE)
        while page:
            self.push(queue, page)
            cursor = page[-1][0]
            page = self._table.page(queue, cursor, QUEUE_PAGE) if len(page) == QUEUE_PAGE else []

    def push(self, queue: QueueKey, messages: list[tuple[str, int]]) -> None:
        """Let messages (id, due time in ms) that the table has be taken."""
        end_s = self._monotonic() + QUEUE_BUILD_S
        while self._order.push(queue, messages) != WHOLE:
            self.build(queue, end_s)


def unknown(queue: QueueKey) -> RequestError:
    """Of a queue that was never published in, or not since it was deleted."""
    return RequestError(404, f"queue {queue.name[:128]!r} is unknown; its first publish makes it")
