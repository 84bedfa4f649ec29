"""Publishes the integrations that are due in a minute, each once in CLOUD_EVERY_MINUTES, and calls workers for them."""

from collections.abc import Callable
from itertools import islice
from typing import Final
from zlib import crc32

import msgspec

from carbyne.clouds.ports import CloudQueue
from carbyne.core.limits import CLOUD_EVERY_MINUTES, CLOUD_JOBS_PER_WORKER, CLOUD_WORKERS_MAX, MESSAGES_PER_CALL_MAX
from carbyne.registry import integrations
from carbyne.registry.integrations import CloudJob
from carbyne.registry.store import Store

QUEUE: Final = "cloud-integrations"
"""The queue's name, among those of the operator's tenant."""


class CloudScheduler:
    """``call_worker``: lets one more worker begin."""

    def __init__(
        self, store: Store, queue: CloudQueue, call_worker: Callable[[], None], now_s: Callable[[], int]
    ) -> None:
        self._store = store
        self._queue = queue
        self._call_worker = call_worker
        self._now_s = now_s

    def run(self) -> int:
        """How many integrations are due in this minute.  Safe to repeat: the queue takes each once by its key."""
        minute, published = self._now_s() // 60, 0
        jobs = (job for job in integrations.jobs(self._store) if _is_due(job, minute))
        while some := list(islice(jobs, MESSAGES_PER_CALL_MAX)):
            self._queue.publish([(msgspec.structs.replace(job, minute=minute), 0, _key(job, minute)) for job in some])
            published += len(some)
        for _ in range(min(CLOUD_WORKERS_MAX, -(-published // CLOUD_JOBS_PER_WORKER))):
            self._call_worker()
        return published


def _is_due(job: CloudJob, minute: int) -> bool:
    return (minute - crc32(f"{job.tenant}/{job.integration}".encode())) % CLOUD_EVERY_MINUTES == 0


def _key(job: CloudJob, minute: int) -> str:
    return f"{job.tenant}/{job.integration}/{minute}"
