"""The integrations of a minute: each is due once in CLOUD_EVERY_MINUTES."""

from collections.abc import Callable, Iterator
from typing import Final
from zlib import crc32

import msgspec

from carbyne.clouds.ports import CloudQueue
from carbyne.core.limits import CLOUD_EVERY_MINUTES, CLOUD_JOBS_PER_WORKER, CLOUD_WORKERS_MAX
from carbyne.core.minutely import MinuteScheduler, Workers
from carbyne.registry import integrations
from carbyne.registry.integrations import CloudJob
from carbyne.registry.store import Store

QUEUE: Final = "cloud-integrations"
"""The queue's name, among those of the operator's tenant."""


def cloud_scheduler(
    store: Store, queue: CloudQueue, call_worker: Callable[[], None], now_s: Callable[[], int]
) -> MinuteScheduler[CloudJob]:
    """Publishes the integrations that are due; ``call_worker``: lets one more worker begin."""

    def due(minute: int) -> Iterator[tuple[CloudJob, int, str]]:
        jobs = (job for job in integrations.jobs(store) if _is_due(job, minute))
        return ((msgspec.structs.replace(job, minute=minute), 0, _key(job, minute)) for job in jobs)

    return MinuteScheduler(due, queue, Workers(call_worker, CLOUD_JOBS_PER_WORKER, CLOUD_WORKERS_MAX), now_s)


def _is_due(job: CloudJob, minute: int) -> bool:
    return (minute - crc32(f"{job.tenant}/{job.integration}".encode())) % CLOUD_EVERY_MINUTES == 0


def _key(job: CloudJob, minute: int) -> str:
    return f"{job.tenant}/{job.integration}/{minute}"
