"""Stores of queues in memory: a table in a dict, and the real scripts on Lua 5.1.

Both pass the same contract as the real ones (``tests/integration/test_queue_stores.py``).
"""

import itertools

from carbyne.adapters.redis.queue import RedisQueues
from carbyne.core.errors import RetryableError
from carbyne.core.limits import DEAD_COUNTED_MAX, MESSAGE_KEY_S
from carbyne.queue.ports import QueueNote, StoredMessage
from carbyne.queue.queues import Queues, QueueTime
from carbyne.queue.sweep import Sweep

from tests.model.redis import MemoryNodes, MemoryRedis

NOW_MS = 1_700_000_000_000


class MemoryQueueTable:
    """A QueueTable.  ``away`` makes every call fail."""

    def __init__(self):
        self.messages, self.later, self.letters, self.keys, self.notes = {}, {}, {}, {}, {}
        self.away = False

    def put(self, queue, messages):
        self._check()
        self.messages |= {(queue, each.id): each for each in messages}

    def put_once(self, queue, message, key, now_s, *, later):
        self._check()
        kept = self.keys.get((queue, key))
        if kept and kept[1] > now_s:
            return kept[0]
        self.keys[queue, key] = message.id, now_s + MESSAGE_KEY_S
        (self.later if later else self.messages)[queue, message.id] = message
        return message.id

    def bodies(self, queue, ids):
        self._check()
        return {each: self.messages[queue, each].body for each in ids if (queue, each) in self.messages}

    def remove(self, queue, ids):
        self._check()
        for each in ids:
            self.messages.pop((queue, each), None)

    def page(self, queue, after, most):
        self._check()
        messages_in_order = sorted((each.id, each.due_ms) for (of, _), each in self.messages.items() if of == queue)
        return [place for place in messages_in_order if place[0] > after][:most]

    def put_later(self, queue, messages):
        self._check()
        self.later |= {(queue, each.id): each for each in messages}

    def remove_later(self, queue, messages):
        self._check()
        for each in messages:
            self.later.pop((queue, each.id), None)

    def due(self, queue, until_ms, most):
        self._check()
        waiting = [each for (of, _), each in self.later.items() if of == queue and each.due_ms <= until_ms]
        return sorted(waiting, key=lambda each: (each.due_ms, each.id))[:most]

    def wake(self, queue, message):
        self._check()
        woken = self.later.pop((queue, message.id), None)
        if woken:
            self.messages[queue, message.id] = woken
        return woken is not None

    def count_later(self, queue):
        self._check()
        return min(DEAD_COUNTED_MAX, sum(of == queue for of, _ in self.later))

    def bury(self, queue, message):
        self._check()
        if self.messages.pop((queue, message.id), None):
            self.letters[queue, message.id] = message

    def dead(self, queue, after, most):
        self._check()
        letters = sorted((each for (of, _), each in self.letters.items() if of == queue), key=lambda each: each.id)
        return [each for each in letters if each.id > after][:most]

    def count_dead(self, queue):
        self._check()
        return min(DEAD_COUNTED_MAX, sum(of == queue for of, _ in self.letters))

    def revive(self, queue, message):
        self._check()
        letter = self.letters.pop((queue, message.id), None)
        if letter:
            self.messages[queue, message.id] = message
        return letter is not None

    def remove_dead(self, queue, ids):
        self._check()
        for each in ids:
            self.letters.pop((queue, each), None)

    def note(self, queue):
        self._check()
        return self.notes.get(queue)

    def raise_note(self, queue, note):
        self._check()
        if known := self.notes.get(queue):
            taken, lease_ms = max(known.taken, note.taken), max(known.lease_ms, note.lease_ms)
            self.notes[queue] = known._replace(taken=taken, lease_ms=lease_ms)
        return self.notes.get(queue)

    def make(self, queue):
        self._check()
        self.notes.setdefault(queue, QueueNote())

    def audited(self, queue, now_s):
        self._check()
        if queue in self.notes:
            self.notes[queue] = self.notes[queue]._replace(audited_s=now_s)

    def condemn(self, queue, now_s):
        self._check()
        if known := self.notes.get(queue):
            self.notes[queue] = known._replace(deleted_s=max(now_s, known.deleted_s))
        return known is not None

    def clear(self, queue, most):
        self._check()
        items = [(kind, key) for kind in (self.later, self.letters, self.messages, self.keys) for key in kind]
        cleared = [(kind, key) for kind, key in items if key[0] == queue][:most]
        for kind, key in cleared:
            del kind[key]
        return len(cleared)

    def end(self, queue, note):
        self._check()
        if queue in self.notes and self.notes[queue].deleted_s == note.deleted_s > 0:
            del self.notes[queue]

    def queues(self, tenant=""):
        self._check()
        return [(queue, note) for queue, note in sorted(self.notes.items()) if tenant in ("", queue.tenant)]

    def _check(self):
        if self.away:
            raise RetryableError("the table is away")


class MemoryQueueWorld:
    """``queues`` and ``sweep`` over one clock, which sleeping moves on."""

    def __init__(self, start_ms=NOW_MS):
        self.now_ms = start_ms
        self.redis = MemoryRedis(lambda: self.now_ms)
        self.nodes = MemoryNodes(self.redis)
        self.table = MemoryQueueTable()
        self.order = RedisQueues(self.nodes)
        numbers = itertools.count(1)
        self.time = QueueTime(
            lambda: self.now_ms,
            lambda: self.now_ms / 1000,
            self.sleep,
            lambda digits: f"{next(numbers):0{digits}x}",
        )
        self.queues = self.instance()

    def instance(self, order=None, table=None):
        """Another instance of the function."""
        return Queues(order or self.order, table or self.table, self.time)

    def sleep(self, seconds):
        self.now_ms += max(1, round(seconds * 1000))

    def sweep(self):
        return Sweep(self.order, self.table, self.time.now_ms, self.time.monotonic).run(lambda: 60.0)

    def flush(self):
        """Redis starts empty."""
        self.redis.values.clear()
        self.redis.expiries_ms.clear()


def stored(number, body=b"1", **fields):
    """A message with an id that says its number."""
    return StoredMessage(f"{number:016d}-{NOW_MS:011x}-{number:08x}", body, **fields)
