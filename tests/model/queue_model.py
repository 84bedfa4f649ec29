"""A queue under random schedules: publishers, takers that die, losses of Redis, outages, and what must hold meanwhile.

Every call to a store may fail or end its function, before or after it took effect, and other actors may have their turn
before it.  A dict says what every take may return.
"""

import random
from contextlib import suppress
from typing import Any, NamedTuple

from carbyne.adapters.redis.queue import RedisQueues
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.keys import QueueKey
from carbyne.core.limits import MESSAGE_TRIES_MAX
from carbyne.queue.ports import QueueNote, number_of
from carbyne.queue.queues import NewMessage, Queues, TakenMessage
from carbyne.queue.sweep import Sweep

from tests.model.faults import KINDS, Faults, FaultyNodes, FaultyStore, KilledError
from tests.support.queue_stores import MemoryQueueWorld

STEPS = 40
QUEUE = QueueKey("a", "jobs")
LEASES_S = (5, 30)
DELAYS_MS = (0, 0, 0, 0, 20_000, 400_000)
NESTED_MAX = 2


class QueueBrokenError(AssertionError):
    """What must hold does not."""


class Held(NamedTuple):
    """A message that a taker has, or had when it died: its lease ends from ``until_ms`` to ``latest_ms``, since a call
    takes its time."""

    body: int
    lease: str
    until_ms: int
    latest_ms: int
    is_alive: bool


class QueueSimulation:
    """``published``: body -> (when it is due, numbers of the publish that began and ended before), of acknowledged
    messages; ``due_ms``: the earliest time for each; ``done``: acknowledged by takers; ``asked``: those and the ones
    whose acknowledgement failed, or is on its way; ``held``: lease -> taker; ``gone``: acknowledged to their publishers
    before the queue was deleted; ``unordered``: due later, and in the table alone, when Redis lost the queue: their
    numbers were given out again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = MemoryQueueWorld()
        self.faults = Faults(self._others)
        self.published: dict[int, tuple[int, int, int]] = {}
        self.due_ms: dict[int, int] = {}
        self.done: set[int] = set()
        self.asked: set[int] = set()
        self.held: dict[str, Held] = {}
        self.tries: dict[int, int] = {}
        self.leased: dict[int, int] = {}
        self.maybe: set[int] = set()
        self.lost_until_ms = 0
        self._copy: tuple[Any, Any] | None = None
        self._bodies = self._events = self._depth = 0
        self._losses = self._deletes = 0
        self._is_deleting = self._is_unanswered = False
        self.gone: set[int] = set()
        self.unordered: set[int] = set()
        self.instances = [self._instance() for _ in range(2)]

    def run(self, steps: int = STEPS) -> None:
        self._publish(faulty=False)
        for _ in range(steps):
            self._step(faulty=True)
        self._drain()

    def _instance(self) -> Queues:
        return self.world.instance(
            RedisQueues(FaultyNodes(self.world.nodes, self.faults)), FaultyStore(self.world.table, self.faults)
        )

    def _step(self, *, faulty: bool) -> None:
        choices = [self._publish] * 4 + [self._take] * 6 + [self._finish] * 4
        choices += [self._keep, self._release, self._die, self._time, self._sweep, self._flush, self._fail_over]
        choices += [self._delete] * (self.random.random() < 0.2)
        self.random.choice(choices)(faulty=faulty)

    def _others(self) -> None:
        """Before a call of a store: another actor's turn, now and then."""
        if 0 < self._depth <= NESTED_MAX and self.random.random() < 0.06:
            plan, count = self.faults.plan, self.faults.count
            self._step(faulty=False)
            self.faults.plan, self.faults.count = plan, count

    def _called(self, faulty: bool, ask: Any) -> Any:
        """The answer of a use case, None if it failed; an instance that is killed is replaced."""
        self.faults.begin({self.random.randrange(8): self.random.choice(KINDS)} if faulty and self._chance(0.3) else {})
        at, self._depth = self.random.randrange(2), self._depth + 1
        try:
            return ask(self.instances[at])
        except (RetryableError, RequestError):
            return None
        except KilledError:
            self.instances[at] = self._instance()
            return None
        finally:
            self._depth -= 1

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _publish(self, *, faulty: bool) -> None:
        first, self._bodies = self._bodies, self._bodies + self.random.randint(1, 3)
        bodies, delay_ms = range(first, self._bodies), self.random.choice(DELAYS_MS)
        key = self._chance(0.3)
        messages = [NewMessage(b"%d" % body, delay_ms, str(body) if key else "") for body in bodies]
        self.maybe.update(bodies)
        begun, self._events = self._events, self._events + 1
        self.due_ms |= dict.fromkeys(bodies, self.world.now_ms + delay_ms)
        ids = self._called(faulty, lambda queues: queues.publish(QUEUE, messages))
        if ids is None and key and self._chance(0.5):
            ids = self._called(False, lambda queues: queues.publish(QUEUE, messages))
        if ids is not None and not self._is_undecided():
            self._events += 1
            due_ms = self.world.now_ms + delay_ms
            self.published |= dict.fromkeys(bodies, (due_ms, begun, self._events))

    def _is_undecided(self) -> bool:
        """A delete that died is at its end when a sweep goes on with it: it deletes what is published until then."""
        return self._is_unanswered and self.world.table.notes.get(QUEUE, QueueNote()).deleted_s > 0

    def _take(self, *, faulty: bool) -> None:
        lease_s, most, begun_ms = self.random.choice(LEASES_S), self.random.choice((1, 3, 9)), self.world.now_ms
        free, losses, events = self._free(begun_ms), self._losses, self._events
        before, done, deletes = dict(self.held), self.done | self.gone, self._deletes
        self._events += 1
        taken = self._called(faulty, lambda queues: queues.take(QUEUE, most, 0, lease_s))
        if taken is None:
            # Whatever was leased is leased for so long.
            self.lost_until_ms = max(self.lost_until_ms, self.world.now_ms + max(LEASES_S) * 1000)
            return
        is_alone = self._depth == 0 and self._events == events + 1 and self._losses == losses and self.held == before
        bodies = [int(message.body) for message in taken]
        self._check(taken, bodies, free if is_alone else set(), done)
        span_ms = lease_s * 1000
        for message, body in zip(taken, bodies, strict=True):
            self.tries[body] = max(self.tries.get(body, 0) + 1, message.tries)
            self.held[message.lease] = Held(
                body, message.lease, begun_ms + span_ms, self.world.now_ms + span_ms, self._deletes == deletes
            )

    def _check(self, taken: Any, bodies: list[int], free: set[int], done: set[int]) -> None:
        """``done``: what was acknowledged, or deleted, before the take began."""
        for body in bodies:
            if body not in self.maybe:
                raise QueueBrokenError(f"{body} was never published")
            if body in done:
                raise QueueBrokenError(f"{body} came after its acknowledgement, or after its queue was deleted")
            if any(
                each.body == body and each.until_ms > self.world.now_ms and each.is_alive for each in self.held.values()
            ):
                raise QueueBrokenError(f"{body} came while a living taker has it")
            if self.due_ms[body] > self.world.now_ms:
                raise QueueBrokenError(f"{body} came before it was due")
        if len(set(bodies)) < len(bodies):
            raise QueueBrokenError(f"a message twice in one take: {bodies}")
        missed = free - set(bodies)
        if missed and not bodies:
            raise QueueBrokenError(f"{sorted(missed)} were free, and the take gave none")
        for body in missed - self.unordered:
            later = [
                each for each in bodies if each in self.published and self.published[each][1] >= self.published[body][2]
            ]
            if later:
                raise QueueBrokenError(f"{later} came before {body}")

    def _free(self, now_ms: int) -> set[int]:
        """Acknowledged messages that a take must find: due, not leased, not given up."""
        hands = {each.body for each in self.held.values() if each.latest_ms > now_ms}
        # What is due later is in the table until a sweep, so nothing is said of it here; the end says that it came.
        worn = {body for body, tries in self.tries.items() if tries >= MESSAGE_TRIES_MAX}
        due = {body for body, (due_ms, _, _) in self.published.items() if due_ms <= now_ms}
        late = {body for body in due if body in self._later()}
        return due - self.asked - hands - worn - late - self._unclear(now_ms)

    def _unclear(self, now_ms: int) -> set[int]:
        """After a loss, or a take that failed: what may have been taken waits until no lease can be left.  The queue
        counts from when it noticed the loss, which may be any time later."""
        state = self.world.redis.values.get(QUEUE.state.encode(), {})
        is_lost = state.get(b"m") != self.world.nodes.master(QUEUE.lane).id.encode()
        held_until_ms = int(state.get(b"b", 0)) + max(LEASES_S) * 1000
        if now_ms >= max(self.lost_until_ms, held_until_ms) and not is_lost:
            return set()
        taken = self.world.table.notes.get(QUEUE, QueueNote()).taken
        return {int(each.body) for each in self.world.table.messages.values() if number_of(each.id) <= taken}

    def _later(self) -> set[int]:
        return {int(message.body) for message in self.world.table.later.values()}

    def _pick(self) -> Held | None:
        alive = [each for each in self.held.values() if each.is_alive]
        return self.random.choice(alive) if alive else None

    def _finish(self, *, faulty: bool) -> None:
        if mine := self._pick():
            self.asked.add(mine.body)
            done = self._called(faulty, lambda queues: queues.acknowledge(QUEUE, [mine.lease]) or True)
            if done:
                self.done.add(mine.body)
                self.held.pop(mine.lease, None)

    def _keep(self, *, faulty: bool) -> None:
        mine = self._pick()
        if mine and mine.until_ms > self.world.now_ms:
            lease_s, begun_ms = self.random.choice(LEASES_S), self.world.now_ms
            lost = self._called(faulty, lambda queues: queues.extend(QUEUE, [mine.lease], lease_s))
            until_ms, latest_ms = begun_ms + lease_s * 1000, self.world.now_ms + lease_s * 1000
            if mine.lease not in self.held:
                return
            if lost is None:  # either of both
                until_ms, latest_ms = min(mine.until_ms, until_ms), max(mine.latest_ms, latest_ms)
            elif lost and mine.until_ms > self.world.now_ms and mine.body not in self.asked:
                raise QueueBrokenError(f"the lease of {mine.body} was taken away")
            if not lost:
                self.held[mine.lease] = mine._replace(until_ms=until_ms, latest_ms=latest_ms)

    def _release(self, *, faulty: bool) -> None:
        if mine := self._pick():
            self.held.pop(mine.lease)
            if self._called(faulty, lambda queues: queues.extend(QUEUE, [mine.lease], 0)) is None:
                self.held[mine.lease] = mine._replace(is_alive=False)

    def _die(self, *, faulty: bool) -> None:
        if mine := self._pick():
            self.held[mine.lease] = mine._replace(is_alive=False)

    def _delete(self, *, faulty: bool) -> None:
        """Whatever was published before goes; a publish that ends later is acknowledged only if it is not lost."""
        before, is_first = set(self.published), not self._is_deleting
        self._events, self._deletes, self._is_deleting = self._events + 1, self._deletes + 1, True
        deleted = self._called(faulty, lambda queues: queues.delete(QUEUE))
        self._events, self._deletes, self._is_deleting = self._events + 1, self._deletes + 1, not is_first
        for body in list(self.published):
            del self.published[body]
        self.held.clear()
        self._after_a_loss()
        self._is_unanswered = deleted is None
        if deleted and not deleted[1]:
            self.gone |= before

    def _time(self, *, faulty: bool) -> None:
        """Not while a queue is being deleted: a request ends long before another queue of that name is made."""
        if self._is_deleting:
            return
        self.world.sleep(self.random.choice((0.1, 1, 6, 31, 200)))

    def _sweep(self, *, faulty: bool) -> None:
        self._called(faulty, lambda _: self._swept())

    def _swept(self) -> int:
        order, table = (
            RedisQueues(FaultyNodes(self.world.nodes, self.faults)),
            FaultyStore(self.world.table, self.faults),
        )
        time = self.world.time
        return Sweep(order, table, time.now_ms, time.monotonic).run(lambda: 60.0)

    def _flush(self, *, faulty: bool) -> None:
        self.world.flush()
        self._after_a_loss()

    def _fail_over(self, *, faulty: bool) -> None:
        """The successor may have what the master had some time ago."""
        redis = self.world.redis
        if self._copy and self._chance(0.5):
            redis.values, redis.expiries_ms = self._copy
        self.world.nodes.promote(QUEUE.lane)
        self._after_a_loss()
        self._copy = ({key: _copied(value) for key, value in redis.values.items()}, dict(redis.expiries_ms))

    def _after_a_loss(self) -> None:
        """Until whoever may have had a message has it no longer, a take may find less."""
        self._losses += 1
        self.unordered |= self._later()
        self.lost_until_ms = self.world.now_ms + 400_000

    def _drain(self) -> None:
        """Without faults everything comes to an end: what was acknowledged was done, or is dead."""
        for pause_s in [31] * 60 + [3_600]:
            self.world.sleep(pause_s)
            self.world.sweep()
            for message in iter(self._last, None):
                if int(message.body) in self.done | self.gone:
                    raise QueueBrokenError(f"{message.body!r} came after its acknowledgement")
                self.world.queues.acknowledge(QUEUE, [message.lease])
                self.done.add(int(message.body))
        dead = {int(letter.body) for letter in self.world.table.letters.values()}
        if lacking := self.published.keys() - self.done - self.asked - dead:
            raise QueueBrokenError(f"{sorted(lacking)} were acknowledged and never came")
        if self.world.table.notes.get(QUEUE):
            state = self.world.queues.state(QUEUE)
            if state[:3] != (0, 0, 0) or self.world.table.messages or self.world.table.later:
                raise QueueBrokenError(f"left at the end: {state}, {sorted(self.world.table.messages)}")

    def _last(self) -> TakenMessage | None:
        """None as well if the queue is deleted."""
        with suppress(RequestError):
            return next(iter(self.world.queues.take(QUEUE, 1, 0, 5)), None)
        return None


def _copied(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value
