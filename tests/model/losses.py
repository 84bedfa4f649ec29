"""One loss, one replay: every lane of a replay that begins has lost something since the last one that had it.

A replay may also begin because the last one got stuck, or because it never began: lanes got its token, and its job was
not saved, as the sealer died or another one was quicker.  While runs of the sealer overlap, one may take lanes out of
service after the other one has begun to replay them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from carbyne.core.limits import REPLAY_STUCK_S
from carbyne.hot.jobs import Job


class Lane(NamedTuple):
    """``whole``, and the ``token`` of its last replay; None for a lane without a state."""

    whole: bool
    token: str | None


class Losses:
    """``lanes``: what each of them says of itself now; ``replays``: how many began."""

    def __init__(self, lanes: Callable[[], Mapping[int, Lane]]) -> None:
        self.replays = 0
        self._lanes = lanes
        self._lost: Counter[int] = Counter()
        self._before: dict[str, Mapping[int, Lane]] = {}
        self._last: Job | None = None
        self._begun: set[str] = set()
        self._overlapping = 0
        self._overlapped = False

    def add(self, lane: int) -> None:
        """The lane lost something, or may have."""
        self._lost[lane] += 1

    @contextmanager
    def overlap(self) -> Iterator[None]:
        """Runs of the sealer may overlap in here."""
        self._overlapping += 1
        self._overlapped = True
        try:
            yield
        finally:
            self._overlapping -= 1

    def new_token(self) -> str:
        """For a replay that is about to begin; its lanes have the one of before still."""
        token = f"token{len(self._before)}"
        self._before[token] = self._lanes()
        return token

    def saved(self, job: Job, now_s: int) -> None:
        """The job was saved; AssertionError if it is a new one that nothing was lost for."""
        if job.token not in self._begun and not job.demanded:
            for lane in job.lanes:
                before = self._before[job.token][lane]
                assert self._is_due(lane, before, now_s), f"lane {lane}, {before}, is replayed again for no loss"
                del self._lost[lane]
            self._begun.add(job.token)
            self._overlapped = self._overlapping > 0
            self.replays += 1
        self._last = job

    def _is_due(self, lane: int, before: Lane, now_s: int) -> bool:
        if self._lost[lane] > 0:
            return True
        if self._last and before == Lane(False, self._last.token):
            return now_s - self._last.mark_s > REPLAY_STUCK_S
        if self._overlapped and before == Lane(False, ""):
            return True
        return not before.whole and before.token in self._before and before.token not in self._begun
