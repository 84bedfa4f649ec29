"""Sends deliveries until their channels took them; channels that do not answer make their own tenant wait.

Each tenant has a queue.  A thread takes a few deliveries of the tenant that the fewest threads send for, sends them
one after the other, and chooses again.  What is for a channel that timed out again and again, or goes through a host
that answers no tenant, is put away: published again with a delay, which counts as no try.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Condition
from typing import NamedTuple

from carbyne.core.errors import CarbyneError, RestingError
from carbyne.core.limits import (
    CHANNEL_REST_S,
    CHANNEL_TIMEOUTS,
    DELIVERY_KEPT_S,
    SEND_LEASE_S,
    SEND_PAUSES_S,
    SEND_RESERVE_S,
    SEND_SLOW_S,
    SENT_AT_ONCE,
    SENT_PER_TENANT,
    SENT_TOGETHER,
)
from carbyne.notify.deliveries import Deliveries, Delivery, DeliveryQueue, TakenDelivery
from carbyne.notify.failures import TenantFailures

_log = logging.getLogger(__name__)


class Turns:
    """For whom a thread sends next; each tenant until its queue is empty."""

    def __init__(self, tenants: Sequence[str]) -> None:
        self._threads = dict.fromkeys(tenants, 0)
        self._over: set[str] = set()
        self._turn_over = Condition()

    def begin(self, wait_s: float) -> str:
        """The tenant with the fewest threads, of these the one whose turn was longest ago.  While each has all its
        threads, or had nothing more, it waits: a turn that goes on may give something back.  Empty if none goes on, or
        after ``wait_s``."""
        with self._turn_over:
            self._turn_over.wait_for(lambda: self._next() or not any(self._threads.values()), wait_s)
            if tenant := self._next():
                self._threads[tenant] = self._threads.pop(tenant) + 1
            return tenant

    def end(self, tenant: str, *, is_over: bool) -> None:
        """``is_over``: nothing more is in the tenant's queue; another thread may give back what it took from there."""
        with self._turn_over:
            self._threads[tenant] -= 1
            (self._over.add if is_over else self._over.discard)(tenant)
            self._turn_over.notify_all()

    def _next(self) -> str:
        going_on = (tenant for tenant in self._threads if tenant not in self._over)
        tenant = min(going_on, key=self._threads.__getitem__, default="")
        return tenant if self._threads.get(tenant, SENT_PER_TENANT) < SENT_PER_TENANT else ""


class _Silence(NamedTuple):
    """Of a channel: tries in a row that it did not answer, and when the last one was."""

    timeouts: int
    last_s: int


class Sender:
    """``deliver``: why a channel did not take it, empty if it did; RestingError if it was not tried, as its host rests;
    ``now_s`` since 1970, ``monotonic`` in seconds."""

    def __init__(
        self,
        deliveries: Deliveries,
        deliver: Callable[[Delivery], str],
        now_s: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._deliveries, self._deliver = deliveries, deliver
        self._now_s, self._monotonic = now_s, monotonic
        self._silent: dict[str, _Silence] = {}

    def run(self, seconds_left: Callable[[], float], failures: TenantFailures) -> int:
        """How many deliveries were taken by their channels; a queue that can't be asked is a failure of its tenant."""
        self._forget()
        tenants = self._deliveries.ready()
        Random(self._now_s()).shuffle(tenants)  # none is always the last one
        turns = Turns(tenants)
        with ThreadPoolExecutor(SENT_AT_ONCE) as threads:
            works = [threads.submit(self._work, turns, seconds_left, failures) for _ in range(SENT_AT_ONCE)]
        return sum(work.result() for work in works)

    def _work(self, turns: Turns, seconds_left: Callable[[], float], failures: TenantFailures) -> int:
        """What a thread does; how many deliveries were taken by their channels."""
        sent = 0
        while (left_s := seconds_left() - SEND_RESERVE_S) > 0 and (tenant := turns.begin(left_s)):
            more = False
            with failures.of(tenant):
                more, taken = self._serve(self._deliveries.of(tenant), seconds_left)
                sent += taken
            turns.end(tenant, is_over=not more)
        return sent

    def _serve(self, queue: DeliveryQueue, seconds_left: Callable[[], float]) -> tuple[bool, int]:
        """Take and send a few deliveries; whether there may be more, and how many were taken by their channels."""
        some = queue.take(SENT_TOGETHER, SEND_LEASE_S)
        end_s = self._monotonic() + SEND_SLOW_S
        more = bool(some)  # a take may give fewer than there are: of those that may be taken, or are no dead letters
        done: list[tuple[TakenDelivery, str]] = []
        for each in some:
            rest_s = self._rest_s(each.body)
            if rest_s:
                self._put_away(queue, each, rest_s)
            elif self._monotonic() > end_s or seconds_left() <= SEND_RESERVE_S:
                self._put_away(queue, each, 0)
                more = True
            else:
                done += self._send(queue, each)
        return more, self._settle(queue, done)

    def _send(self, queue: DeliveryQueue, taken: TakenDelivery) -> list[tuple[TakenDelivery, str]]:
        """What was tried, with its problem; nothing if it waits for its host.  For what waited too long already the
        tries of others stand for its own, so that they end and cost no threads."""
        try:
            return [(taken, self._attempt(taken))]
        except RestingError as resting:
            if not self._may_wait(taken.body):
                return [(taken, str(resting))]
            self._put_away(queue, taken, resting.rest_s)
            return []

    def _attempt(self, taken: TakenDelivery) -> str:
        """As ``deliver``; a bug of ours that one delivery meets is a failed try of it alone."""
        begun_s = self._monotonic()
        try:
            problem = self._deliver(taken.body)
        except RestingError:
            raise
        except CarbyneError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - see above; its text may hold secrets
            problem = f"BUG: {type(error).__name__}"
        self._note(taken.body, problem, self._monotonic() - begun_s)
        return problem

    def _settle(self, queue: DeliveryQueue, done: Sequence[tuple[TakenDelivery, str]]) -> int:
        """Acknowledge what was taken by its channel; the rest comes again, later each time."""
        leases = [taken.lease for taken, problem in done if not problem]
        if leases:
            queue.acknowledge(leases)
        for taken, problem in done:
            if problem:
                _log.error("%s of %s was not told: %s", taken.body.channel, taken.body.tenant, problem[:300])
                self._pause(queue, taken)
        return len(leases)

    def _pause(self, queue: DeliveryQueue, taken: TakenDelivery) -> None:
        try:
            queue.extend(taken.lease, SEND_PAUSES_S[min(taken.tries, len(SEND_PAUSES_S)) - 1])
        except CarbyneError:
            _log.warning("the next try comes after the lease")

    def _put_away(self, queue: DeliveryQueue, taken: TakenDelivery, delay_s: int) -> None:
        """Publish a delivery again, then acknowledge it: what was not tried must not count as a try.  One that waited
        too long already comes after its lease, so that its tries end.  One that can't be published, as the queue is
        full, has the pauses of a try: with its lease alone it would be a dead letter within five minutes."""
        if not self._may_wait(taken.body):
            return
        try:
            queue.publish([(taken.body, f"again:{taken.lease}")], delay_s)
            queue.acknowledge([taken.lease])
        except CarbyneError as error:
            _log.warning("a delivery waits as after a try: %s", error)
            self._pause(queue, taken)

    def _rest_s(self, delivery: Delivery) -> int:
        """How long its channel is left alone, 0 if it is not, or if the delivery waited too long already."""
        silence = self._silent.get(_channel(delivery))
        if silence is None or silence.timeouts < CHANNEL_TIMEOUTS or not self._may_wait(delivery):
            return 0
        return max(0, silence.last_s + CHANNEL_REST_S - self._now_s())

    def _may_wait(self, delivery: Delivery) -> bool:
        return self._now_s() - delivery.since_s < DELIVERY_KEPT_S

    def _note(self, delivery: Delivery, problem: str, took_s: float) -> None:
        channel = _channel(delivery)
        if not problem or took_s < SEND_SLOW_S:
            self._silent.pop(channel, None)
            return
        known = self._silent.get(channel)
        self._silent[channel] = _Silence((known.timeouts if known else 0) + 1, self._now_s())

    def _forget(self) -> None:
        """Channels that were silent before anything that is in a queue now."""
        since_s = self._now_s() - DELIVERY_KEPT_S
        self._silent = {channel: each for channel, each in self._silent.items() if each.last_s > since_s}


def _channel(delivery: Delivery) -> str:
    return f"{delivery.tenant}:{delivery.channel}"
