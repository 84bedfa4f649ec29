"""Jobs that are due each minute: they go onto a queue, each once, and as many workers are called as they need."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Generic, NamedTuple, Protocol, TypeVar

from carbyne.core.limits import MESSAGES_PER_CALL_MAX

DueJob = TypeVar("DueJob")
Job_contra = TypeVar("Job_contra", contravariant=True)
Taken_co = TypeVar("Taken_co", covariant=True)
JobsOf = Callable[[int], Iterator[tuple[DueJob, int, str]]]
"""The jobs of a minute since 1970, each with its delay in seconds and its key."""


class JobQueue(Protocol[Job_contra, Taken_co]):
    """A queue of the operator's tenant.  All methods raise RetryableError."""

    def publish(self, jobs: Sequence[tuple[Job_contra, int, str]]) -> None:
        """Jobs with their delays in seconds and their keys; of one key the queue takes one."""

    def take(self, most: int, lease_s: int) -> Sequence[Taken_co]: ...
    def acknowledge(self, leases: Sequence[str]) -> None: ...


class Workers(NamedTuple):
    """``call``: lets one more begin, for ``jobs_each`` jobs; at most ``most`` in a minute."""

    call: Callable[[], None]
    jobs_each: int
    most: int


class MinuteScheduler(Generic[DueJob]):
    """Publishes what is due."""

    def __init__(
        self, jobs: JobsOf[DueJob], queue: JobQueue[DueJob, object], workers: Workers, now_s: Callable[[], int]
    ) -> None:
        self._jobs = jobs
        self._queue = queue
        self._workers = workers
        self._now_s = now_s

    def run(self) -> int:
        """How many jobs are due in this minute.  Safe to repeat: the queue takes each once by its key."""
        published, jobs = 0, self._jobs(self._now_s() // 60)
        while some := list(islice(jobs, MESSAGES_PER_CALL_MAX)):
            self._queue.publish(some)
            published += len(some)
        for _ in range(min(self._workers.most, -(-published // self._workers.jobs_each))):
            self._workers.call()
        return published
