"""Replay: lanes of Redis that lost something are filled again from the stream, without anyone asking.

    sealer (each minute)      finds lanes that are not whole, and lanes whose master has another replication id: a tail
                              that was acknowledged may be missing; writes the job, then gives each lane its token
    supervisor (each minute)  starts a second reader of the stream for the job, from the lanes' marks on, and puts a
                              fence of each lane behind it
    replayer                  stores the records of those lanes once more; at a lane's fence the lane is whole
    sealer, supervisor        see that no lane of the job is left, and stop the reader

A lane is whole only if it still has the token: what was lost again after the replay began needs another one.  Every
write is an overwrite by stamp, so that reads stay what they are while a replay runs.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import NamedTuple, Protocol

import msgspec

from carbyne.core.errors import RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import lane_of_tag, lane_tag
from carbyne.core.limits import LANES, PUT_RECORDS_MAX, REPLAY_FILL_MAX, REPLAY_STUCK_S, TICK_MINUTES
from carbyne.core.meter import Meter
from carbyne.hot.ingester import Ingester
from carbyne.hot.jobs import STARTING, Job, Jobs
from carbyne.hot.marks import Marks
from carbyne.hot.progress import Notes, Progress
from carbyne.samples.schedule import LaneStates
from carbyne.stream import records
from carbyne.stream.arrived import Arrived

_log = logging.getLogger(__name__)


class ReplayLanes(Protocol):
    """Lanes in Redis; every method raises RetryableError if it can't be asked.

    ``begin``: takes lanes, each with the token that it had at the caller's look, into a replay, whole ones by ``force``
    alone; gives those that have another token meanwhile, which it leaves as they are.
    """

    def begin(self, known: Mapping[int, str], token: str, *, force: bool = False) -> Sequence[int]: ...
    def make_whole(self, lane: int, token: str) -> bool: ...
    def in_replay(self, lanes: Iterable[int]) -> set[int]: ...
    def fill(self) -> float: ...


class Tails(Protocol):
    """``lost``: lanes that may lack a tail; ``steady``: those that the same master serves as before, with its id."""

    @property
    def lost(self) -> Sequence[int]: ...
    @property
    def steady(self) -> Mapping[int, str]: ...


class LostTails(Protocol):
    """``look``: takes the lanes that may lack a tail out of service, of those of which it gets the token that they had
    before; ``masters``: the ids that are noted now; RetryableError if it can't."""

    def masters(self) -> Mapping[int, str]: ...
    def look(self, tokens: Mapping[int, str]) -> Tails: ...


class ReplayRecords(NamedTuple):
    """What the table knows of replays: the job, from where each lane would be replayed, and how far readers are."""

    jobs: Jobs
    marks: Marks
    notes: Notes

    @classmethod
    def of(cls, table: Table, grace_s: int) -> "ReplayRecords":
        """``grace_s``: after its end, until a window is due."""
        return cls(Jobs(table), Marks(table, grace_s), Notes(table))


class Watch:
    """The sealer's part.  ``initialised``: whether the lanes were ever called whole, before which none can be lost;
    ``new_token``: a text that no other replay has; ``now_ms``: the clock.

    Runs of the sealer may overlap.  Each reads the job, then asks the lanes, and saves the job only if it is as it was
    read: of two that find the same loss one begins a replay.  A job is saved before its lanes get its token, so that
    none has a token that was of no job.
    """

    def __init__(
        self,
        known: ReplayRecords,
        tails: LostTails,
        lanes: ReplayLanes,
        initialised: Callable[[], bool],
        new_token: Callable[[], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._jobs, self._marks, self._notes = known
        self._tails = tails
        self._lanes = lanes
        self._initialised = initialised
        self._new_token = new_token
        self._now_ms = now_ms

    def begin_look(self) -> Callable[[LaneStates], None]:
        """Read the job, before the lanes are asked; what it gives takes what they said, and raises RetryableError."""
        job, item = self._jobs.load()
        return partial(self._look, job, item, self._tails.masters())

    def _look(self, job: Job | None, item: Item | None, masters: Mapping[int, str], lanes: LaneStates) -> None:
        """Bring the job up to date with the lanes that are not whole and the tokens that they have, those included that
        another master serves since the last look; then the marks with the arrivals of those that are whole.

        ``masters``: noted before the lanes were asked.  What a lane said moves its mark only under that one: another
        run may have noted the next one since, and have the lane replayed from the mark.
        """
        tails = self._tails.look(lanes.tokens)
        lost = dict.fromkeys(tails.lost, "")
        if job and job.demanded:
            self._enter(job, item, {**lanes.tokens, **lost})
        elif job and job.entering:
            self._enter_again(job, item, {**lanes.tokens, **lost})
        elif job and job.left:
            self._note_progress(job, item, {**lanes.rebuilding, **lost}, lanes.arrivals.keys())
        elif (lanes.rebuilding or lost) and self._initialised():
            self._begin({**lanes.tokens, **lost}, sorted({**lanes.rebuilding, **lost}), job, item)
        if self._initialised():
            steady = {lane for lane, master in tails.steady.items() if masters.get(lane) == master}
            self._marks.advance(lanes.arrivals, steady)

    def _enter(self, job: Job, item: Item | None, tokens: Mapping[int, str]) -> None:
        """Have the lanes know of the job.  Those that do not answer now are left to a later job, but for an operator's,
        which waits for them.  A lane that a reader of the last job made whole meanwhile needs no other one."""
        known = {lane: tokens[lane] for lane in job.lanes if lane in tokens}
        others = self._lanes.begin(known, job.token, force=job.demanded)
        if others or not known or (job.demanded and len(known) < len(job.lanes)):
            _log.info("%d of %d lanes do not know of replay %s yet", len(others), len(job.lanes), job.token)
            return
        joined = sorted(self._lanes.in_replay(known))
        entered = {"lanes": joined, "left": len(joined), "demanded": False, "entering": False}
        self._jobs.save(msgspec.structs.replace(job, **entered), item)

    def _enter_again(self, job: Job, item: Item | None, tokens: Mapping[int, str]) -> None:
        """Another run saved the job, and ended before it said that the lanes know.  They get another token: one that
        took rows under the last one and lost them since would be lost once more for those who saw these."""
        renewed = msgspec.structs.replace(job, token=self._new_token())
        if saved := self._jobs.save(renewed, item):
            self._enter(renewed, saved, tokens)

    def _note_progress(
        self, job: Job, item: Item | None, rebuilding: Mapping[int, str], whole: Collection[int]
    ) -> None:
        """Save how far the job is; with no lane left if it is stuck, so that another one begins.

        A replay that goes on is let go on, however long it takes: a new one would begin at the same mark.  So would one
        of lanes that can't be asked now: they are left.
        """
        left = sum(lane not in whole and rebuilding.get(lane, job.token) == job.token for lane in job.lanes)
        now_s, mark = self._now_ms() // 1000, f"{job.reader} {self._notes.mark(job.token)}"
        seen = msgspec.structs.replace(job, left=left)
        if mark != job.mark:
            seen = msgspec.structs.replace(seen, mark=mark, mark_s=now_s)
        elif left and job.reader not in ("", STARTING) and now_s - job.mark_s > REPLAY_STUCK_S:
            _log.error("replay %s has not gone on for %d s: another one begins", job.token, now_s - job.mark_s)
            seen = msgspec.structs.replace(job, left=0)
        if seen != job:
            self._jobs.save(seen, item)

    def _begin(self, tokens: Mapping[int, str], lost: Sequence[int], last: Job | None, item: Item | None) -> None:
        if last and (last.reader == STARTING or last.old):
            return  # whose reader must be known before it can be stopped
        start_s, now_s = self._marks.start_s(lost), self._now_ms() // 1000
        old = last.reader if last else ""
        job = Job(self._new_token(), list(lost), now_s, len(lost), start_s=start_s, old=old, entering=True)
        if saved := self._jobs.save(job, item):
            _log.error("%d lanes are replayed from the stream, from %d on: %s", len(lost), start_s, job.token)
            self._enter(job, saved, tokens)


class Readers(Protocol):
    """Second readers of the stream; both methods raise RetryableError if they can't be started or stopped."""

    def start(self, start_s: int) -> str:
        """Start the reader with what came at ``start_s``, 0 for the oldest record that the stream has, unless it runs;
        its name."""

    def stop(self, name: str) -> None:
        """Stop the reader if it runs."""


class FenceStream(Protocol):
    """Puts records; returns the indexes of those that failed."""

    def put(self, entries: Sequence[tuple[str, bytes]]) -> list[int]: ...


class Supervisor:
    """What happens outside of the network where Redis is.  ``now_s``: the clock; ``lanes``: those that get ticks."""

    def __init__(
        self,
        jobs: Jobs,
        readers: Readers,
        stream: FenceStream,
        now_s: Callable[[], float],
        lanes: Sequence[int] = range(LANES),
    ) -> None:
        self._jobs = jobs
        self._readers = readers
        self._stream = stream
        self._now_s = now_s
        self._tick_lanes = lanes

    def tick(self) -> None:
        """Start the reader of a job that has none, with its fences; stop that of one that is done; put the ticks of
        this minute.  Safe to repeat."""
        for _ in range(3):
            self._step()
        self._put_ticks()

    def _step(self) -> None:
        job, item = self._jobs.load()
        if job is None or job.is_new:
            return
        if job.old:
            self._readers.stop(job.old)
            self._jobs.save(msgspec.structs.replace(job, old=""), item)
        elif job.left and not job.reader:  # noted before it runs, or no run would ever stop it
            self._jobs.save(msgspec.structs.replace(job, reader=STARTING), item)
        elif job.reader == STARTING:
            named = msgspec.structs.replace(job, reader=self._readers.start(job.start_s))
            if job.left:
                self._put_fences(job)
            self._jobs.save(named, item)
        elif job.reader and not job.left:
            self._readers.stop(job.reader)
            self._jobs.save(msgspec.structs.replace(job, reader=""), item)

    def _put_ticks(self) -> None:
        """One for each lane in TICK_MINUTES; those that are not taken wait for their next turn."""
        minute = int(self._now_s() // 60)
        tick = records.encode(records.FenceRecord(records.TICK))
        entries = [(lane_tag(lane), tick) for lane in self._tick_lanes if lane % TICK_MINUTES == minute % TICK_MINUTES]
        try:
            if entries and (failed := self._stream.put(entries)):
                _log.info("%d ticks were not taken", len(failed))
        except RetryableError as error:
            _log.info("no tick was taken: %s", error)

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

    def ingest(
        self, entries: Sequence[Arrived], shard: str = "", seconds_left: Callable[[], float] = lambda: inf
    ) -> str | None:
        """Store a batch of a shard in stream order; the lowest sequence number that is not done, None if all are.
        ``seconds_left``: of this call, as of ``Ingester.ingest``.

        Raises RetryableError while Redis is fuller than REPLAY_FILL_MAX: the sealer has to empty it first.
        """
        begun_s = self._progress.now_s() if self._progress else 0.0
        lanes = [lane_of_tag(entry.key) for entry in entries]
        rebuilding = self._lanes.in_replay({lane for lane in lanes if lane is not None})
        mine = [(lane, entry) for lane, entry in zip(lanes, entries, strict=True) if lane in rebuilding]
        if mine and (fill := self._lanes.fill()) > REPLAY_FILL_MAX:
            if self._progress:
                self._progress.wait(shard)
            raise RetryableError(f"Redis is {fill:.0%} full: the replay waits until windows are sealed")
        failed = self._ingester.ingest([entry for _, entry in mine], seconds_left) if mine else None
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
        token = records.replay_of(entry.data)
        return lane is None or not token or self._lanes.make_whole(lane, token)
