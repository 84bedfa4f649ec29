"""The checks of a minute, each with a second of its own."""

from collections.abc import Callable
from typing import Final
from zlib import crc32

import msgspec

from carbyne.core.limits import CHECK_SPREAD_S, CHECK_WORKERS_MAX, CHECKS_PER_WORKER
from carbyne.core.minutely import JobQueue, MinuteScheduler, Workers
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


CheckQueue = JobQueue[CheckJob, CheckTaken]


def check_scheduler(
    store: Store, queue: CheckQueue, call_worker: Callable[[], None], now_s: Callable[[], int]
) -> MinuteScheduler[CheckJob]:
    """Publishes every check each minute; ``call_worker``: lets one more worker begin."""
    workers = Workers(call_worker, CHECKS_PER_WORKER, CHECK_WORKERS_MAX)
    return MinuteScheduler(
        lambda minute: (_message(job, minute) for job in monitors.jobs(store)), queue, workers, now_s
    )


def _message(job: ExternalJob, minute: int) -> tuple[CheckJob, int, str]:
    name = f"{job.tenant}/{job.monitor}"
    return CheckJob(job.tenant, job.monitor, minute), crc32(name.encode()) % CHECK_SPREAD_S, f"{name}/{minute}"
