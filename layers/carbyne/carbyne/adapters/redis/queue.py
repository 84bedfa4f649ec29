"""Order and leases of queues in Redis, through the scripts ``lua/queue_*.lua``."""

from collections.abc import Sequence
from itertools import chain, pairwise

from carbyne.adapters.redis.commands import Command, Reply, Script, checked
from carbyne.adapters.redis.nodes import Nodes
from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.keys import QueueKey
from carbyne.core.limits import MESSAGE_TRIES_MAX, QUEUE_LENGTH_MAX, TAKERS_WAITING_MAX
from carbyne.queue.ports import WHOLE, Built, Leased, QueueCounts, QueueNote, Reserved, number_of


class RedisQueues:
    """A QueueOrder.  Each call that matters writes, so that the WAIT behind it proves something."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._begin = Script.load("queue_begin")
        self._fill = Script.load("queue_fill")
        self._reserve = Script.load("queue_reserve")
        self._push = Script.load("queue_push")
        self._take = Script.load("queue_take")
        self._note = Script.load("queue_note")
        self._lease = Script.load("queue_lease")
        self._forget = Script.load("queue_forget")
        self._look = Script.load("queue_look")
        self._enter = Script.load("queue_enter")

    def reserve(self, queue: QueueKey, count: int) -> Reserved:
        state, first, length = self._written(self._reserve.call(queue.lane, _order(queue), [count, QUEUE_LENGTH_MAX]))
        return Reserved(state.decode(), first, length)

    def push(self, queue: QueueKey, messages: Sequence[tuple[str, int]]) -> str:
        args = [messages[0][0], *_triples(messages)]
        state: bytes = self._written(self._push.call(queue.lane, _order(queue), args))
        return state.decode()

    def begin(self, queue: QueueKey) -> Built:
        state, cursor = self._written(self._begin.call(queue.lane, [*_order(queue), queue.tokens], [queue.path]))
        return Built(state.decode(), cursor.decode())

    def fill(
        self, queue: QueueKey, cursor: str, to: str, done: bool, note: QueueNote, messages: Sequence[tuple[str, int]]
    ) -> Built:
        args = [cursor, to, int(done), note.taken, note.lease_ms, *_triples(messages)]
        state, reached = self._written(self._fill.call(queue.lane, _order(queue), args))
        return Built(state.decode(), reached.decode())

    def take(self, queue: QueueKey, most: int, lease_ms: int, token: str) -> Leased:
        names = [*_order(queue), queue.tries, queue.tokens]
        call = self._take.call(queue.lane, names, [token, most, lease_ms, MESSAGE_TRIES_MAX])
        state, number, leased, worn = self._written(call)
        messages = {message_id.decode(): tries for message_id, tries in list(pairwise(leased))[::2]}
        return Leased(state.decode(), number, messages, [message_id.decode() for message_id in worn])

    def note(self, queue: QueueKey, note: QueueNote) -> None:
        self._written(self._note.call(queue.lane, [queue.state], [note.taken, note.lease_ms]))

    def lease(self, queue: QueueKey, lease_ms: int, leases: Sequence[tuple[str, str]]) -> tuple[str, list[bool]]:
        names = [queue.state, queue.ready, queue.leases, queue.tokens]
        state, *mine = self._written(self._lease.call(queue.lane, names, [lease_ms, *chain.from_iterable(leases)]))
        return state.decode(), list(map(bool, mine))

    def forget(self, queue: QueueKey, ids: Sequence[str]) -> None:
        names = [queue.ready, queue.delayed, queue.leases, queue.tries, queue.tokens]
        checked(self._nodes.run([self._forget.call(queue.lane, names, ids)])[0])

    def look(self, queue: QueueKey) -> QueueCounts:
        return _counts(checked(self._looks([queue])[0]))

    def ready(self, queues: Sequence[QueueKey]) -> list[QueueKey]:
        pairs = zip(queues, self._looks(queues), strict=True)
        answered = [(queue, reply) for queue, reply in pairs if not isinstance(reply, RetryableError)]
        if queues and not answered:
            raise RetryableError("no master of a queue answers")
        return [queue for queue, reply in answered if _may_be_ready(_counts(reply))]

    def drop(self, queue: QueueKey) -> None:
        self._written(Command(queue.lane, ("DEL", *_order(queue), queue.tries, queue.tokens)))

    def enter(self, tenant: str, taker: str, span_ms: int) -> bool:
        args = [taker, span_ms, TAKERS_WAITING_MAX]
        lane = keys.takers_lane(tenant)
        return bool(checked(self._nodes.run([self._enter.call(lane, [keys.takers(tenant)], args)])[0]))

    def leave(self, tenant: str, taker: str) -> None:
        lane = keys.takers_lane(tenant)
        checked(self._nodes.run([Command(lane, ("ZREM", keys.takers(tenant), taker))])[0])

    def _looks(self, queues: Sequence[QueueKey]) -> list[Reply]:
        return self._nodes.run([self._look.call(queue.lane, _order(queue), []) for queue in queues])

    def _written(self, call: Command) -> Reply:
        return checked(self._nodes.run([call], replicated=True)[0])


def _counts(reply: Reply) -> QueueCounts:
    state, waiting, delayed, leased, first = reply
    return QueueCounts(state.decode(), waiting, delayed, leased, first.decode())


def _may_be_ready(counts: QueueCounts) -> bool:
    return counts.state != WHOLE or counts.waiting > 0


def _order(queue: QueueKey) -> list[str]:
    return [queue.state, queue.ready, queue.delayed, queue.leases]


def _triples(messages: Sequence[tuple[str, int]]) -> list[str | int]:
    return [part for message_id, due_ms in messages for part in (message_id, number_of(message_id), due_ms)]
