"""One loss, one replay: every lane of a replay that begins has lost something since the last one that had it.

A replay may also begin because the last one got stuck.  It counts when its lanes know of it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
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

    def add(self, lane: int) -> None:
        """The lane lost something, or may have."""
        self._lost[lane] += 1

    def new_token(self) -> str:
        """For a replay that is about to begin; its lanes have the one of before still."""
        token = f"token{len(self._before)}"
        self._before[token] = self._lanes()
        return token

    def saved(self, job: Job, now_s: int) -> None:
        """The job was saved; AssertionError if it is a new one that nothing was lost for."""
        if job.is_new:
            return
        if job.token not in self._begun:
            for lane in job.lanes:
                before = self._before[job.token][lane]
                assert self._is_due(lane, before, now_s), f"lane {lane}, {before}, is replayed again for no loss"
                del self._lost[lane]
            self._begun.add(job.token)
            self.replays += 1
        self._last = job

    def _is_due(self, lane: int, before: Lane, now_s: int) -> bool:
        if self._lost[lane] > 0 or self._last is None:
            return self._lost[lane] > 0
        return before == Lane(False, self._last.token) and now_s - self._last.mark_s > REPLAY_STUCK_S
