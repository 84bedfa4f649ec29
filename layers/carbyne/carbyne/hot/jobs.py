"""The job of a replay, in the blocks table: the sealer sits where Redis is, the supervisor where AWS' own interfaces
are, and both can reach it."""

from collections.abc import Iterable
from typing import Final

import msgspec

from carbyne.core.documents import Document
from carbyne.core.errors import InvariantError, RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import REPLAY_ITEM
from carbyne.core.limits import JOB_BYTES_MAX

_SORT: Final = "job"
STARTING: Final = "starting"
"""In the place of a reader's name: it may run or not."""


class Job(msgspec.Struct, frozen=True, array_like=True):
    """``token``: of the replay; ``lanes``: those in it; ``begun_s``: when; ``left``: lanes that are not whole yet;
    ``reader``: the second reader of the stream, empty if none runs; ``demanded``: an operator asked for it, and the
    lanes do not know yet; ``start_s``: when the first record that it needs came to the stream, 0 for the oldest there
    is; ``old``: the reader of the last replay if it is to be stopped first; ``mark``, ``mark_s``: how far the replay
    was when the sealer saw that it had gone on, and when that was; ``entering``: the sealer asked for it, and the lanes
    do not know yet."""

    token: str
    lanes: list[int]
    begun_s: int
    left: int
    reader: str = ""
    demanded: bool = False
    start_s: int = 0
    old: str = ""
    mark: str = ""
    mark_s: int = 0
    entering: bool = False

    @property
    def is_new(self) -> bool:
        """Whether the lanes do not know of it yet."""
        return self.demanded or self.entering


_JOB = Document("job of a replay", Job, version=1, level=3, bytes_max=JOB_BYTES_MAX, inflated_max=JOB_BYTES_MAX)


class Jobs:
    """The one job there is, in the blocks table.  Methods raise RetryableError if it can't be asked."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def load(self) -> tuple[Job | None, Item | None]:
        """The job and the item that it is in."""
        item = self._table.get(REPLAY_ITEM, _SORT)
        return (_JOB.unpack(item.data), item) if item else (None, None)

    def running(self) -> str | None:
        """The token of the replay that runs."""
        job, _ = self.load()
        return job.token if job and job.left else None

    def save(self, job: Job, replaces: Item | None) -> Item | None:
        """The item that it is in now; None if the job changed meanwhile."""
        item = Item(_JOB.pack(job))
        return item if self._table.put(REPLAY_ITEM, _SORT, item, replaces) else None


def demand(jobs: Jobs, lanes: Iterable[int], token: str, now_s: int) -> Job:
    """Ask for a replay of lanes, whole or not, as an operator may; RetryableError while another one runs."""
    job, item = jobs.load()
    if job and (job.left or job.reader):
        raise RetryableError(f"replay {job.token} runs: {job.left} of {len(job.lanes)} lanes are left")
    asked = sorted(lanes)
    if not asked:
        raise InvariantError("BUG: a replay needs lanes")
    demanded = Job(token, asked, now_s, len(asked), demanded=True)
    if not jobs.save(demanded, item):
        raise RetryableError("another replay began just now")
    return demanded
