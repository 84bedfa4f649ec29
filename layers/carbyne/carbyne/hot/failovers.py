"""Lost tails: a master that was replaced may have acknowledged writes that its successor never got.

The old master can't be asked, and no instance need remember what was acknowledged.  So the replication id under which
each lane is served is noted in the blocks table; a lane that is served under another one is not whole any more, and is
replayed.  Whether the tail was lost does not show; that it was not does in three cases: the new master is a replica
that had every write that counts (``followers``), the lane moved to another shard, or the operator's tool noted that it
handed the lane over (``handovers``).
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from carbyne.core.errors import RetryableError
from carbyne.core.items import Table
from carbyne.core.limits import WRITE_TRIES_MAX
from carbyne.hot.followers import EMPTY_NOTE, Following, MastersItem, MastersNote, ServedShard, Serving, note_of, proves
from carbyne.hot.handovers import Handover, Handovers, is_open, leads

_log = logging.getLogger(__name__)


class ServedLanes(Protocol):
    """Lanes in Redis.  ``masters``: of the lanes whose master answers; ``followers``: by name, of the replicas that
    answer; ``begin``: see ``replay.ReplayLanes``.  RetryableError if they can't be asked."""

    def masters(self) -> Mapping[int, ServedShard]: ...
    def followers(self, names: Collection[str]) -> Mapping[str, Following]: ...
    def begin(self, known: Mapping[int, str], token: str, *, force: bool = False) -> Sequence[int]: ...


class Look(NamedTuple):
    """``lost``: lanes that may lack a tail; ``steady``: those that the master serves which was noted before, with its
    id."""

    lost: list[int]
    steady: dict[int, str]


class Failovers:
    """The sealer's look at the masters.  ``table``: the blocks table, which keeps the note beside the replay job;
    ``now_s``: seconds since 1970."""

    def __init__(self, table: Table, lanes: ServedLanes, now_s: Callable[[], int] = lambda: int(time.time())) -> None:
        self._item = MastersItem(table)
        self._lanes = lanes
        self._now_s = now_s
        self._handovers = Handovers(table, now_s)

    def look(self, tokens: Mapping[int, str]) -> Look:
        """The lanes that may lack a tail are rebuilding now, and in no replay.  RetryableError if Redis or the table
        can't be asked, or other instances are at the same work.

        ``tokens``: of each lane that answered before this call.  A lane that has another one now is left alone: another
        run of the sealer noted its master and has it replayed, and taken out of that replay it would need a second one.

        The note follows the lanes: a crash in between repeats the work, and no change goes by.  Lost lanes are looked
        at again if another instance noted something meanwhile: a replay would begin, and the next look end it.
        """
        for _ in range(WRITE_TRIES_MAX):
            look, is_noted = self._look_once(tokens)
            if is_noted or not look.lost:
                return look
            tokens = {**tokens, **dict.fromkeys(look.lost, "")}
        raise RetryableError("the note of masters keeps changing under us")

    def _look_once(self, tokens: Mapping[int, str]) -> tuple[Look, bool]:
        """A look, and whether the note has what it saw."""
        asked_s = self._now_s()
        note, item = self._item.load()
        noted, seen = note.of_lanes(), self._lanes.masters()
        replicas = self._lanes.followers({name for master in seen.values() for name in master.replicas})
        handed = self._handovers.noted()  # after Redis was asked: each change that shows may be among them
        changed = failed_over(noted, seen, handed, note)
        waiting = [lane for lane in changed if lane not in tokens or is_open(handed, lane, noted[lane])]
        seen = {lane: master for lane, master in seen.items() if lane not in waiting}
        lost = failed_over(noted, seen, handed, note)
        if lost:
            _log.error("another master serves %d lanes, which may lack what was acknowledged last", len(lost))
            if others := self._lanes.begin({lane: tokens[lane] for lane in lost}, "", force=True):
                raise RetryableError(f"another instance is at work on {len(others)} of {len(lost)} lost lanes")
        ids = {**noted, **{lane: master.id for lane, master in seen.items()}}
        after = note_of(note, ids, seen, replicas, _heirs(note, seen, lost), asked_s, self._now_s())
        is_noted = after == note or self._item.save(after, item)
        steady = {lane: master.id for lane, master in seen.items() if noted.get(lane) == master.id}
        return Look(lost, steady), is_noted

    def masters(self) -> dict[int, str]:
        """The replication id that is noted for each lane; empty before the first look."""
        return self._item.load()[0].of_lanes()

    def lost(self, noted: Mapping[int, str], seen: Mapping[int, Serving]) -> list[int]:
        """The lanes that may lack a tail by what is noted of replicas and handovers now; ``seen``: asked before."""
        return failed_over(noted, seen, self._handovers.noted(), self._item.load()[0])


def _heirs(note: MastersNote, seen: Mapping[int, Serving], lost: Collection[int]) -> dict[str, str]:
    """{id of a master that was replaced: id of the one that has everything, empty if none has}."""
    noted = note.of_lanes()
    heirs = {noted[lane]: "" for lane in lost}
    for lane, master in seen.items():
        if lane in noted and noted[lane] != master.id and proves(note.shard(noted[lane]), master):
            heirs[noted[lane]] = master.id
    return heirs


def failed_over(
    noted: Mapping[int, str],
    seen: Mapping[int, Serving],
    handed: Sequence[Handover] = (),
    note: MastersNote = EMPTY_NOTE,
) -> list[int]:
    """The lanes of which acknowledged writes may be missing, as their master has another replication id than noted, no
    handover led to it, and it was no replica that had every write.

    A lane that was never seen has lost nothing.  One that moved to another shard has brought its data along: its old
    master is one still, and the new one did not follow it, and was a master at the last look or never followed any.
    """
    known, now = set(noted.values()), {master.id for master in seen.values()}

    def moved(lane: int) -> bool:
        before = seen[lane].before
        return noted[lane] in now and before != noted[lane] and (seen[lane].id in known or not before)

    def is_harmless(lane: int) -> bool:
        handed_over = leads(handed, lane, noted[lane], seen[lane].id)
        return moved(lane) or handed_over or proves(note.shard(noted[lane]), seen[lane])

    changed = [lane for lane in seen if seen[lane].id != noted.get(lane, seen[lane].id)]
    return sorted(lane for lane in changed if not is_harmless(lane))
