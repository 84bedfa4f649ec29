"""Sends deliveries until their channels took them; channels that do not answer make their own tenant wait.

A tenant has a share of what is sent at once.  What it has beyond that while its channels hang, and what is for a
channel that timed out again and again, is put away: published again with a delay, and counts as no try.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from carbyne.core.errors import CarbyneError, RetryableError
from carbyne.core.limits import (
    CHANNEL_REST_S,
    CHANNEL_TIMEOUTS,
    DELIVERY_KEPT_S,
    SEND_HANGS_S,
    SEND_LEASE_S,
    SEND_PAUSES_S,
    SEND_RESERVE_S,
    SEND_SLOW_S,
    SENT_AT_ONCE,
    SENT_PER_TENANT,
    SENT_WAITING,
)
from carbyne.notify.deliveries import Delivery, DeliveryQueue, TakenDelivery, in_calls

_log = logging.getLogger(__name__)


class _Running(NamedTuple):
    """``begun_s``: by the monotonic clock."""

    taken: TakenDelivery
    begun_s: float


class Sender:
    """``deliver``: why a channel did not take it, empty if it did; ``now_s`` since 1970, ``monotonic`` in seconds."""

    def __init__(
        self,
        queue: DeliveryQueue,
        deliver: Callable[[Delivery], str],
        now_s: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._queue, self._deliver = queue, deliver
        self._now_s, self._monotonic = now_s, monotonic
        self._timeouts: dict[str, int] = {}
        self._resting_until_s: dict[str, int] = {}

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many deliveries were taken by their channels."""
        sends = _Sends(self, seconds_left)
        with ThreadPoolExecutor(SENT_AT_ONCE) as threads:
            try:
                while sends.goes_on():
                    sends.take()
                    sends.begin(threads)
                    sends.finish()
            finally:
                sends.leave()
        return sends.sent

    def take(self) -> list[TakenDelivery]:
        return self._queue.take(SENT_AT_ONCE, SEND_LEASE_S)

    def attempt(self, taken: TakenDelivery) -> str:
        """As ``deliver``; a bug of ours that one delivery meets is a failed try of it alone."""
        begun_s = self._monotonic()
        try:
            problem = self._deliver(taken.body)
        except CarbyneError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - see above; its text may hold secrets
            problem = f"BUG: {type(error).__name__}"
        self._note(taken.body, problem, self._monotonic() - begun_s)
        return problem

    def rest_s(self, delivery: Delivery) -> int:
        """How long its channel is left alone, 0 if it is not, or if the delivery waited too long already."""
        left_s = self._resting_until_s.get(_channel(delivery), 0) - self._now_s()
        return max(0, left_s) if self.may_wait(delivery) else 0

    def may_wait(self, delivery: Delivery) -> bool:
        return self._now_s() - delivery.since_s < DELIVERY_KEPT_S

    def settle(self, done: Sequence[tuple[TakenDelivery, str]]) -> int:
        """Acknowledge what was taken by its channel; the rest comes again, later each time."""
        leases = [taken.lease for taken, problem in done if not problem]
        if leases:
            self._queue.acknowledge(leases)
        for taken, problem in done:
            if problem:
                _log.error("%s of %s was not told: %s", taken.body.channel, taken.body.tenant, problem[:300])
                self._pause(taken)
        return len(leases)

    def put_away(self, some: Sequence[TakenDelivery], delay_s: int) -> None:
        """Publish some again, then acknowledge them: what was not tried must not count as a try."""
        if not some:
            return
        try:
            for part in in_calls((each.body, f"again:{each.lease}") for each in some):
                self._queue.publish(part, delay_s)
            self._queue.acknowledge([each.lease for each in some])
        except CarbyneError as error:
            _log.warning("%d deliveries come after their leases: %s", len(some), error)

    def hangs(self, running: Iterable[_Running]) -> set[str]:
        """Tenants with a channel that is slow to answer now."""
        since_s = self._monotonic() - SEND_HANGS_S
        return {each.taken.body.tenant for each in running if each.begun_s < since_s}

    def started(self, taken: TakenDelivery) -> _Running:
        return _Running(taken, self._monotonic())

    def _pause(self, taken: TakenDelivery) -> None:
        try:
            self._queue.extend(taken.lease, SEND_PAUSES_S[min(taken.tries, len(SEND_PAUSES_S)) - 1])
        except RetryableError:
            _log.warning("the next try comes after the lease")

    def _note(self, delivery: Delivery, problem: str, took_s: float) -> None:
        channel = _channel(delivery)
        if not problem or took_s < SEND_SLOW_S:
            self._timeouts.pop(channel, None)
            self._resting_until_s.pop(channel, None)
            return
        timeouts = self._timeouts[channel] = self._timeouts.get(channel, 0) + 1
        if timeouts >= CHANNEL_TIMEOUTS:
            self._resting_until_s[channel] = self._now_s() + CHANNEL_REST_S


class _Sends:
    """One run: what was taken from the queue and is sent, or waits for its tenant's share."""

    def __init__(self, sender: Sender, seconds_left: Callable[[], float]) -> None:
        self._sender, self._seconds_left = sender, seconds_left
        self._running: dict[Future[str], _Running] = {}
        self._waiting: dict[str, deque[TakenDelivery]] = {}
        self._is_empty = False
        self.sent = 0

    def goes_on(self) -> bool:
        if self._seconds_left() <= SEND_RESERVE_S:
            return False
        return bool(self._running or any(self._waiting.values()) or not self._is_empty)

    def take(self) -> None:
        """More, while there are threads that nothing here may use; what can't be sent soon is put away."""
        while not self._is_empty and len(self._running) < SENT_AT_ONCE and not self._next() and self._has_room():
            taken = self._sender.take()
            self._is_empty = not taken
            resting: dict[int, list[TakenDelivery]] = {}
            for each in taken:
                if rest_s := self._sender.rest_s(each.body):
                    resting.setdefault(rest_s, []).append(each)
                else:
                    self._waiting.setdefault(each.body.tenant, deque()).append(each)
            for rest_s, some in resting.items():
                self._sender.put_away(some, rest_s)
            self._trim()

    def begin(self, threads: ThreadPoolExecutor) -> None:
        while len(self._running) < SENT_AT_ONCE and (tenant := self._next()):
            running = self._sender.started(self._waiting[tenant].popleft())
            self._running[threads.submit(self._sender.attempt, running.taken)] = running

    def finish(self) -> None:
        """Wait until something is done, or hangs."""
        done, _ = wait(self._running, SEND_HANGS_S, FIRST_COMPLETED)
        self.sent += self._sender.settle([(self._running.pop(each).taken, each.result()) for each in done])

    def leave(self) -> None:
        """What is running ends within its time; the rest is put away."""
        while self._running:
            self.finish()
        left = [each for waiting in self._waiting.values() for each in waiting]
        self._sender.put_away([each for each in left if self._sender.may_wait(each.body)], 0)

    def _next(self) -> str:
        """The tenant whose delivery is sent next: the one with the fewest that are sent now, empty for none."""
        running = [each.taken.body.tenant for each in self._running.values()]
        shares = {tenant: running.count(tenant) for tenant, waiting in self._waiting.items() if waiting}
        tenant = min(shares, key=lambda tenant: shares[tenant], default="")
        return tenant if shares.get(tenant, SENT_PER_TENANT) < SENT_PER_TENANT else ""

    def _has_room(self) -> bool:
        """Deliveries of a tenant that hangs are put away, so they take no room."""
        hanging = self._sender.hangs(self._running.values())
        return sum(len(each) for tenant, each in self._waiting.items() if tenant not in hanging) < SENT_WAITING

    def _trim(self) -> None:
        """Put away what a tenant has too much of while its channels hang, the youngest first."""
        for tenant in self._sender.hangs(self._running.values()):
            waiting, away = self._waiting.get(tenant, deque()), list[TakenDelivery]()
            while len(waiting) > SENT_PER_TENANT and self._sender.may_wait(waiting[-1].body):
                away.append(waiting.pop())
            self._sender.put_away(away[::-1], SEND_PAUSES_S[0])


def _channel(delivery: Delivery) -> str:
    return f"{delivery.tenant}:{delivery.channel}"
