"""Jobs through a queue: publishers and workers as threads, some of which die, while its stores lose things."""

import itertools
import random
import secrets
import threading
import time

from carbyne.adapters.redis.commands import Command
from carbyne.core.errors import RetryableError
from carbyne.queue.queues import NewMessage, Queues, QueueTime

LEASE_S = 8
DIES = 0.05
SHARES = (1 / 3, 2 / 3)
"""Of the jobs that are published when something is lost."""


class Jobs:
    """``published``: acknowledged jobs; ``runs``: how often each was run; ``died``: jobs whose worker died with them.

    A worker that dies has run its job, and acknowledges nothing.
    """

    def __init__(self, queue, order, table, number):
        self.queue, self.number = queue, number
        times = QueueTime(
            lambda: time.time_ns() // 1_000_000,
            time.monotonic,
            time.sleep,
            lambda digits: secrets.token_hex(digits // 2),
        )
        self.make = lambda: Queues(order, table, times)
        self.published, self.died, self.runs = set(), set(), {}
        self.losses = 0
        self._lock, self._done = threading.Lock(), threading.Event()
        self._random = random.Random(1)

    def run(self, losses, workers, limit_s=120.0):
        """Until every job is published and none is left.  ``losses``: begins a generator that loses something each
        time it is asked, a third and two thirds on the way."""
        threads = [threading.Thread(target=self._publish, args=(first,)) for first in (0, 1)]
        threads += [threading.Thread(target=self._work, args=(random.Random(at),)) for at in range(workers)]
        for thread in threads:
            thread.start()
        end_s = time.monotonic() + limit_s
        losing = losses()
        while not self._is_over() and time.monotonic() < end_s:
            if self.losses < len(SHARES) and len(self.published) >= self.number * SHARES[self.losses]:
                next(losing)  # not in a thread: with it Linux would end the servers that it starts
                self.losses += 1
            time.sleep(0.05)
        self._done.set()
        for thread in threads:
            thread.join(60)

    def left(self):
        """What the queue says of itself: waiting, delayed, leased, dead."""
        return self._patiently(lambda: self.make().state(self.queue))[:4]

    def lost(self):
        """Acknowledged jobs that were never run."""
        return self.published - self.runs.keys()

    def twice(self):
        """Jobs that were run more than once."""
        return {job for job, runs in self.runs.items() if runs > 1}

    def _publish(self, first):
        queues = self.make()
        for start in itertools.count(first * 10, 20):
            jobs = range(start, min(start + 10, self.number))
            if not jobs or self._done.is_set():
                return
            messages = [NewMessage(b"%d" % job, key=str(job)) for job in jobs]
            self._patiently(lambda: queues.publish(self.queue, messages))  # noqa: B023 - called at once
            with self._lock:
                self.published.update(jobs)
            time.sleep(0.02)

    def _work(self, chance):
        queues = self.make()
        while not self._done.is_set():
            try:
                taken = queues.take(self.queue, 4, 0.3, LEASE_S)
            except Exception:  # noqa: BLE001 - not there yet, or away
                time.sleep(0.05)
                continue
            jobs = [int(message.body) for message in taken]
            dies = chance.random() < DIES
            with self._lock:
                self.runs.update({job: self.runs.get(job, 0) + 1 for job in jobs})
                self.died.update(jobs if dies else ())
            leases = [message.lease for message in taken]
            if leases and not dies:  # at once, since a lease runs on while Redis is away
                self._patiently(lambda: queues.acknowledge(self.queue, leases))  # noqa: B023 - called at once

    def _patiently(self, ask):
        end_s = time.monotonic() + 60
        while True:
            try:
                return ask()
            except RetryableError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.1)

    def _is_over(self):
        is_published = len(self.published) == self.number and self.losses == len(SHARES)
        return is_published and self.published <= self.runs.keys() and not any(self.left())


def lose(cluster, redis, queue):
    """What ``Jobs.run`` loses: first the master of the queue dies, then its successor is flushed."""
    cluster.wait_until_ok()
    redis._refresh(None)
    node = redis._client.nodes_manager.get_node_from_slot(redis._slots[queue.lane])
    master = next(each for each in cluster.nodes if each.port == node.port)
    master.kill()
    yield
    master.restart()
    cluster.wait_until_ok()
    redis._refresh(None)
    redis.run([Command(queue.lane, ("FLUSHALL",))])
    yield
