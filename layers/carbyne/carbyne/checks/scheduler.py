"""Publishes the checks of a minute, each with a second of its own, and calls as many workers as they need."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol
from zlib import crc32

import msgspec

from carbyne.core.limits import CHECK_SPREAD_S, CHECK_WORKERS_MAX, CHECKS_PER_WORKER, MESSAGES_PER_CALL_MAX
from carbyne.registry import monitors
from carbyne.registry.monitors import ExternalJob
from carbyne.registry.store import Store

QUEUE: Final = "external-checks"
"""The queue's name, among those of the operator's tenant."""


class CheckJob(ExternalJob, frozen=True):
    """A check to be made; ``minute``: since 1970."""

    minute: int


class CheckTaken(msgspec.Struct, frozen=True):
    """A check that a worker has under a lease."""

    lease: str
    body: CheckJob


class CheckQueue(Protocol):
    """The queue of checks, of the operator's tenant.  All methods raise RetryableError."""

    def publish(self, jobs: Sequence[tuple[CheckJob, int, str]]) -> None:
        """Checks with their delays in seconds and their keys."""

    def take(self, most: int, lease_s: int) -> list[CheckTaken]: ...
    def acknowledge(self, leases: Sequence[str]) -> None: ...


class Scheduler:
    """``call_worker``: lets one more worker begin."""

    def __init__(
        self, store: Store, queue: CheckQueue, call_worker: Callable[[], None], now_s: Callable[[], int]
    ) -> None:
        self._store = store
        self._queue = queue
        self._call_worker = call_worker
        self._now_s = now_s

    def run(self) -> int:
        """How many checks are due in this minute.  Safe to repeat: the queue takes each once by its key."""
        minute, published = self._now_s() // 60, 0
        jobs = monitors.jobs(self._store)
        while some := list(islice(jobs, MESSAGES_PER_CALL_MAX)):
            self._queue.publish([_message(job, minute) for job in some])
            published += len(some)
        for _ in range(min(CHECK_WORKERS_MAX, -(-published // CHECKS_PER_WORKER))):
            self._call_worker()
        return published


def _message(job: ExternalJob, minute: int) -> tuple[CheckJob, int, str]:
    name = f"{job.tenant}/{job.monitor}"
    return CheckJob(job.tenant, job.monitor, minute), crc32(name.encode()) % CHECK_SPREAD_S, f"{name}/{minute}"
