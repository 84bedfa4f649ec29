"""Replay: lanes of Redis that lost something are filled again from the stream, without anyone asking.

    sealer (each minute)      finds lanes that are not whole, and lanes whose master has another replication id: a tail
                              that was acknowledged may be missing; gives each the token of a new replay, writes the job
    supervisor (each minute)  starts a second reader of the stream for the job, and puts a fence of each lane behind it
    replayer                  stores the records of those lanes once more; at a lane's fence the lane is whole
    sealer, supervisor        see that no lane of the job is left, and stop the reader

A lane is whole only if it still has the token: what was lost again after the replay began needs another one.  Every
write is an overwrite by stamp, so that reads stay what they are while a replay runs.  The sealer sits where Redis is,
the supervisor where AWS' own interfaces are; the job is an item of the blocks table that both can reach.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from carbyne.core.documents import Document
from carbyne.core.errors import CorruptDataError, InvariantError, RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import REPLAY_ITEM, lane_of_tag, lane_tag
from carbyne.core.limits import JOB_BYTES_MAX, PUT_RECORDS_MAX, REPLAY_FILL_MAX, REPLAY_TRIES_S
from carbyne.core.meter import Meter
from carbyne.hot.ingester import Ingester
from carbyne.hot.progress import Progress
from carbyne.stream import records
from carbyne.stream.arrived import Arrived

_log = logging.getLogger(__name__)

_SORT: Final = "job"
_FENCE: Final = bytes((records.TYPE_FENCE,))
STARTING: Final = "starting"
"""In the place of a reader's name: it may run or not."""


class Job(msgspec.Struct, frozen=True, array_like=True):
    """``token``: of the replay; ``lanes``: those in it; ``begun_s``: when; ``left``: lanes that are not whole yet;
    ``reader``: the second reader of the stream, empty if none runs; ``wanted``: an operator asked for it, and the lanes
    do not know yet."""

    token: str
    lanes: list[int]
    begun_s: int
    left: int
    reader: str = ""
    wanted: bool = False


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

    def save(self, job: Job, replaces: Item | None) -> bool:
        """Whether nobody else had changed the job meanwhile."""
        return self._table.put(REPLAY_ITEM, _SORT, Item(_JOB.pack(job)), replaces)


class ReplayLanes(Protocol):
    """Lanes in Redis; every method raises RetryableError if it can't be asked."""

    def begin(self, lanes: Iterable[int], token: str, *, force: bool = False) -> None: ...
    def make_whole(self, lane: int, token: str) -> bool: ...
    def in_replay(self, lanes: Iterable[int]) -> set[int]: ...
    def fill(self) -> float: ...


class LostTails(Protocol):
    """``look``: takes the lanes that may lack a tail out of service and returns them; RetryableError if it can't."""

    def look(self) -> Sequence[int]: ...


class Watch:
    """The sealer's part.  ``initialised``: whether the lanes were ever called whole, before which none can be lost;
    ``new_token``: a text that no other replay has; ``now_ms``: the clock."""

    def __init__(
        self,
        jobs: Jobs,
        tails: LostTails,
        lanes: ReplayLanes,
        initialised: Callable[[], bool],
        new_token: Callable[[], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._jobs = jobs
        self._tails = tails
        self._lanes = lanes
        self._initialised = initialised
        self._new_token = new_token
        self._now_ms = now_ms

    def look(self, rebuilding: Mapping[int, str]) -> None:
        """Bring the job up to date with the lanes that are not whole and the tokens that they have, those included that
        another master serves since the last look."""
        rebuilding = {**rebuilding, **dict.fromkeys(self._tails.look(), "")}
        job, item = self._jobs.load()
        if job and job.wanted:
            self._lanes.begin(job.lanes, job.token, force=True)
            self._jobs.save(msgspec.structs.replace(job, wanted=False), item)
        elif job and job.left:
            left = sum(token == job.token for token in rebuilding.values())
            if self._now_ms() // 1000 - job.begun_s > REPLAY_TRIES_S:
                _log.error("replay %s has not ended in %d s: it is given up and begun anew", job.token, REPLAY_TRIES_S)
                left = 0
            if left != job.left:
                self._jobs.save(msgspec.structs.replace(job, left=left), item)
        elif rebuilding and not (job and job.reader) and self._initialised():
            self._begin(sorted(rebuilding), item)

    def _begin(self, lanes: Sequence[int], item: Item | None) -> None:
        job = Job(self._new_token(), list(lanes), self._now_ms() // 1000, len(lanes))
        self._lanes.begin(lanes, job.token)
        if self._jobs.save(job, item):
            _log.error("%d lanes are replayed from the stream: %s", len(lanes), job.token)


class Readers(Protocol):
    """Second readers of the stream; both methods raise RetryableError if they can't be started or stopped."""

    def start(self) -> str:
        """Start the reader from the oldest record that the stream has, unless it runs; its name."""

    def stop(self, name: str) -> None:
        """Stop the reader if it runs."""


class FenceStream(Protocol):
    """Puts records; returns the indexes of those that failed."""

    def put(self, entries: Sequence[tuple[str, bytes]]) -> list[int]: ...


class Supervisor:
    """What happens outside of the network where Redis is."""

    def __init__(self, jobs: Jobs, readers: Readers, stream: FenceStream) -> None:
        self._jobs = jobs
        self._readers = readers
        self._stream = stream

    def tick(self) -> None:
        """Start the reader of a job that has none, with its fences; stop that of one that is done.  Safe to repeat."""
        for _ in range(2):
            self._step()

    def _step(self) -> None:
        job, item = self._jobs.load()
        if job is None or job.wanted:
            return
        if job.left and not job.reader:  # noted before it runs, or nobody would ever stop it
            self._jobs.save(msgspec.structs.replace(job, reader=STARTING), item)
        elif job.reader == STARTING:
            named = msgspec.structs.replace(job, reader=self._readers.start())
            if job.left:
                self._put_fences(job)
            self._jobs.save(named, item)
        elif job.reader and not job.left:
            self._readers.stop(job.reader)
            self._jobs.save(msgspec.structs.replace(job, reader=""), item)

    def _put_fences(self, job: Job) -> None:
        """One fence for each lane, behind all that was lost; a fence that is put twice does no harm."""
        fence = records.encode(records.FenceRecord(job.token))
        entries = [(lane_tag(lane), fence) for lane in job.lanes]
        for first in range(0, len(entries), PUT_RECORDS_MAX):
            if failed := self._stream.put(entries[first : first + PUT_RECORDS_MAX]):
                raise RetryableError(f"{len(failed)} fences of replay {job.token} were not taken")


class Replayer:
    """Takes the stream's records a second time, those of lanes that are not whole."""

    def __init__(self, ingester: Ingester, lanes: ReplayLanes, meter: Meter, progress: Progress | None = None) -> None:
        self._ingester = ingester
        self._lanes = lanes
        self._meter = meter
        self._progress = progress

    def ingest(self, entries: Sequence[Arrived], shard: str = "") -> str | None:
        """Store a batch of a shard in stream order; the lowest sequence number that is not done, None if all are.

        Raises RetryableError while Redis is fuller than REPLAY_FILL_MAX: the sealer has to empty it first.
        """
        begun_s = self._progress.now_s() if self._progress else 0.0
        lanes = [lane_of_tag(entry.key) for entry in entries]
        rebuilding = self._lanes.in_replay({lane for lane in lanes if lane is not None})
        mine = [(lane, entry) for lane, entry in zip(lanes, entries, strict=True) if lane in rebuilding]
        if mine and (fill := self._lanes.fill()) > REPLAY_FILL_MAX:
            raise RetryableError(f"Redis is {fill:.0%} full: the replay waits until windows are sealed")
        failed = self._ingester.ingest([entry for _, entry in mine]) if mine else None
        done = [(lane, entry) for lane, entry in mine if failed is None or int(entry.sequence) < int(failed)]
        again = [lane for lane, entry in done if not self._pass_fence(lane, entry)]
        if again:
            _log.info(
                "%d lanes are past a fence and not whole: it is an older one, or they were lost again", len(again)
            )
        if self._progress and rebuilding:
            passed = [entry for entry in entries if failed is None or int(entry.sequence) < int(failed)]
            self._progress.add(shard, begun_s, passed)
        self._meter.add("RecordsReplayed", len(mine))
        self._meter.flush_due()
        return failed

    def _pass_fence(self, lane: int | None, entry: Arrived) -> bool:
        """False if the record is a fence and its lane is not whole behind it."""
        if entry.data[:1] != _FENCE:
            return True
        try:
            record = records.decode(entry.data)
        except CorruptDataError:
            return True  # the ingester has dealt with it
        if lane is None or not isinstance(record, records.FenceRecord):
            return True
        return self._lanes.make_whole(lane, record.token)


def demand(jobs: Jobs, lanes: Iterable[int], token: str, now_s: int) -> Job:
    """Ask for a replay of lanes, whole or not, as an operator may; RetryableError while another one runs."""
    job, item = jobs.load()
    if job and (job.left or job.reader):
        raise RetryableError(f"replay {job.token} runs: {job.left} of {len(job.lanes)} lanes are left")
    asked = sorted(lanes)
    if not asked:
        raise InvariantError("BUG: a replay needs lanes")
    demanded = Job(token, asked, now_s, len(asked), wanted=True)
    if not jobs.save(demanded, item):
        raise RetryableError("somebody else began a replay just now")
    return demanded
