"""Several jobs that take turns at every step, in an order that a test chooses: races that repeat."""

import threading
from collections.abc import Callable, Sequence


class Turns:
    """``choose``: given how many jobs are not done, the index of the one that goes on; ``after``: called after each
    turn, while every job stands still."""

    def __init__(self, choose: Callable[[int], int], after: Callable[[], None] = lambda: None) -> None:
        self._choose = choose
        self._after = after
        self._mine = threading.local()

    def run(self, *jobs: Callable[[], object]) -> None:
        """All jobs to their ends; the first error of one of them is raised when all have ended."""
        ready = [_Job(job, self._mine) for job in jobs]
        errors = []
        while ready:
            job = ready[self._choose(len(ready)) % len(ready)]
            job.go()
            if job.done:
                ready.remove(job)
                errors += [job.error] if job.error else []
            self._after()
        if errors:
            raise errors[0]

    def step(self) -> None:
        """Called by a job where others may come in between; of no effect outside of jobs."""
        if job := getattr(self._mine, "job", None):
            job.rest()


class _Job:
    def __init__(self, run: Callable[[], object], mine: threading.local) -> None:
        self.done = False
        self.error: BaseException | None = None
        self._go, self._rests = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(run, mine), daemon=True)
        self._thread.start()

    def go(self) -> None:
        """Let the job run until its next step or its end."""
        self._go.release()
        assert self._rests.acquire(timeout=60), "the job does not come to its next step"

    def rest(self) -> None:
        self._rests.release()
        self._go.acquire()

    def _run(self, run: Callable[[], object], mine: threading.local) -> None:
        self._go.acquire()
        mine.job = self
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread of the test
            self.error = error
        self.done = True
        self._rests.release()


def by(order: Sequence[int]) -> Callable[[int], int]:
    """Chooses by the numbers of ``order``, over and over."""
    numbers = iter(range(10**9))
    return lambda ready: order[next(numbers) % len(order)] if order else 0
