"""Takes checks from their queue, makes them, keeps what they found, and acknowledges."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from carbyne.checks.asking import Asking
from carbyne.checks.scheduler import CheckJob, CheckQueue, CheckTaken
from carbyne.checks.verdicts import after, judge, times_after
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.limits import CHECK_LATE_MINUTES, CHECK_LEASE_S, CHECK_PAUSE_S, CHECK_RESERVE_S, CHECKS_AT_ONCE
from carbyne.intake.packing import entries_of
from carbyne.registry import monitors
from carbyne.registry.store import Registry

_log = logging.getLogger(__name__)
METRIC = "__externalhttp.responsetime."
"""Prefix of the service metric with a monitor's response times, in ms."""


class CheckWorker:
    """``registry``: monitors, their states, and the way to the stream."""

    def __init__(self, registry: Registry, queue: CheckQueue, asking: Asking, sleep: Callable[[float], None]) -> None:
        self._registry = registry
        self._queue = queue
        self._asking = asking
        self._sleep = sleep

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many checks were made, until the time is over.  What fails comes again after its lease."""
        made = 0
        with ThreadPoolExecutor(CHECKS_AT_ONCE) as threads:
            while seconds_left() > CHECK_RESERVE_S:
                taken = self._queue.take(CHECKS_AT_ONCE, CHECK_LEASE_S)
                if not taken:
                    self._sleep(CHECK_PAUSE_S)
                    continue
                done = [lease for lease in threads.map(self._make, taken) if lease]
                if done:
                    self._queue.acknowledge(done)
                made += len(done)
        return made

    def _make(self, taken: CheckTaken) -> str:
        """The lease if the check is done, empty if it must come again."""
        try:
            self._check(taken.body)
        except RetryableError as error:
            _log.warning("a check of %s comes again: %s", taken.body.tenant, error)
            return ""
        return taken.lease

    def _check(self, job: CheckJob) -> None:
        store = self._registry.store
        if self._registry.now_s() // 60 - job.minute > CHECK_LATE_MINUTES:
            _log.error("workers are behind: a check of %s is skipped", job.tenant)
            return
        try:
            monitor = monitors.external(store, job.tenant, job.monitor)
        except RequestError:  # it was deleted
            return
        before = monitors.state(store, job.tenant, job.monitor)
        if before and before.minute >= job.minute:  # made already, or a later one was
            return
        asked = self._asking.ask(monitor)
        times_ms = times_after(before, asked)
        verdict = judge(monitor, asked, times_ms, self._registry.now_s())
        if monitor.service and not asked.problem:
            source, value = f"service/{monitor.service}", {f"{METRIC}{monitor.id}": asked.seconds * 1000}
            self._registry.put(entries_of(job.tenant, {(source, job.minute * 60_000): value}))
        state = after(before, verdict, times_ms, job.minute, monitor.max_check_attempts or 1)
        monitors.keep_state(self._registry, job.tenant, job.monitor, state)
