"""What queues need each minute without being asked: messages that become due, losses of Redis, forgotten publishes, and
an end of those that are deleted."""

import logging
from collections.abc import Callable
from random import Random

from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.keys import QueueKey
from carbyne.core.limits import DELAY_IN_REDIS_S, QUEUE_AUDIT_S, QUEUE_PAGE, SWEEP_RESERVE_S
from carbyne.queue.building import Builder
from carbyne.queue.deletion import Deletion
from carbyne.queue.ports import QueueNote, QueueOrder, QueueTable

_log = logging.getLogger(__name__)


class Sweep:
    """``now_ms``: since 1970; ``monotonic``: seconds.  Queues are swept in a random order, so that none is always the
    last one."""

    def __init__(
        self, order: QueueOrder, table: QueueTable, now_ms: Callable[[], int], monotonic: Callable[[], float]
    ) -> None:
        self._order = order
        self._table = table
        self._now_ms = now_ms
        self._builder = Builder(order, table, monotonic)
        self._deletion = Deletion(order, table, now_ms)

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many queues were swept.  One that can't be is named in the log, and the next minute tries again."""
        queues, swept = self._table.queues(), 0
        Random(self._now_ms()).shuffle(queues)
        for queue, note in queues:
            if seconds_left() < SWEEP_RESERVE_S:
                _log.error("%d of %d queues were swept; the others wait for the next minute", swept, len(queues))
                break
            try:
                self._sweep(queue, note)
                swept += 1
            except (RetryableError, RequestError) as error:  # the second one: it was deleted meanwhile
                _log.warning("queue %s is swept the next minute: %s", queue.path, error)
        return swept

    def _sweep(self, queue: QueueKey, note: QueueNote) -> None:
        if note.deleted_s:
            self._deletion.go_on(queue, note)
            return
        self._builder.whole(queue, lambda: self._order.look(queue))
        self._wake(queue)
        now_s = self._now_ms() // 1000
        if now_s - note.audited_s >= QUEUE_AUDIT_S:
            self._builder.audit(queue)
            self._table.audited(queue, now_s)

    def _wake(self, queue: QueueKey) -> None:
        """Messages that are due within some minutes.  Redis is told before and after the table: if this function dies
        in between, the next run finds them, or a taker does."""
        until_ms = self._now_ms() + DELAY_IN_REDIS_S * 1000
        while due := self._table.due(queue, until_ms, QUEUE_PAGE):
            messages = [(each.id, each.due_ms) for each in due]
            self._builder.push(queue, messages)
            for each in due:
                self._table.wake(queue, each)
            self._builder.push(queue, messages)
            if len(due) < QUEUE_PAGE:
                return
