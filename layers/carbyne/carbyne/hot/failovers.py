"""Lost tails: a master that was replaced may have acknowledged writes that its successor never got.

Nobody can ask the old master, and no instance need remember what was acknowledged.  So the replication id under which
each lane is served is noted in the blocks table; a lane that is served under another one is not whole any more, and is
replayed.  Whether the tail was lost does not show; that it was not does in two cases: the lane moved to another shard,
or the operator's tool noted that it handed the lane over (``handovers``).
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from carbyne.core.documents import Document
from carbyne.core.items import Item, Table
from carbyne.core.keys import REPLAY_ITEM
from carbyne.core.limits import JOB_BYTES_MAX, LANES
from carbyne.hot.handovers import Handover, Handovers, is_open, leads

_log = logging.getLogger(__name__)

_SORT: Final = "masters"
_NOWHERE: Final = -1


class Serving(Protocol):
    """``id``: a master's replication id, hexadecimal; ``before``: that of the master which it followed before, empty if
    it never followed one."""

    @property
    def id(self) -> str: ...
    @property
    def before(self) -> str: ...


class ServedLanes(Protocol):
    """Lanes in Redis.  ``masters``: of the lanes whose master answers.  RetryableError if they can't be asked."""

    def masters(self) -> Mapping[int, Serving]: ...
    def begin(self, lanes: Iterable[int], token: str, *, force: bool = False) -> None: ...


class _Note(msgspec.Struct, frozen=True, array_like=True):
    """``ids``: of masters; ``lanes``: for each lane the index of its master's id, -1 if it was never seen."""

    ids: list[bytes]
    lanes: list[int]


_NOTE = Document("note of masters", _Note, version=1, level=3, bytes_max=JOB_BYTES_MAX, inflated_max=JOB_BYTES_MAX)


class Look(NamedTuple):
    """``lost``: lanes that may lack a tail; ``steady``: those that the master serves which was noted before."""

    lost: list[int]
    steady: set[int]


class Failovers:
    """The sealer's look at the masters.  ``table``: the blocks table, which keeps the note beside the replay job;
    ``now_s``: seconds since 1970."""

    def __init__(self, table: Table, lanes: ServedLanes, now_s: Callable[[], int] = lambda: int(time.time())) -> None:
        self._table = table
        self._lanes = lanes
        self._handovers = Handovers(table, now_s)

    def look(self) -> Look:
        """The lanes that may lack a tail are rebuilding now, and in no replay.  RetryableError if Redis or the table
        can't be asked.

        The note follows the lanes: a crash in between repeats the work, and no change goes by.
        """
        noted, item = self.noted()
        seen = self._lanes.masters()
        handed = self._handovers.noted()  # after Redis was asked: each change that shows may be among them
        waiting = [lane for lane in failed_over(noted, seen, handed) if is_open(handed, lane, noted[lane])]
        seen = {lane: master for lane, master in seen.items() if lane not in waiting}
        lost = failed_over(noted, seen, handed)
        if lost:
            _log.error("another master serves %d lanes, which may lack what was acknowledged last", len(lost))
            self._lanes.begin(lost, "", force=True)
        ids = {**noted, **{lane: master.id for lane, master in seen.items()}}
        if ids != noted:
            self._save(ids, item)
        return Look(lost, {lane for lane, master in seen.items() if noted.get(lane) == master.id})

    def masters(self) -> dict[int, str]:
        """The replication id that is noted for each lane; empty before the first look."""
        return self.noted()[0]

    def lost(self, noted: Mapping[int, str], seen: Mapping[int, Serving]) -> list[int]:
        """The lanes that may lack a tail by what is noted of masters and handovers; ``seen``: asked before."""
        return failed_over(noted, seen, self._handovers.noted())

    def noted(self) -> tuple[dict[int, str], Item | None]:
        """{lane: replication id} and the item that it is in; empty before the first look."""
        item = self._table.get(REPLAY_ITEM, _SORT)
        if item is None:
            return {}, None
        note = _NOTE.unpack(item.data)
        ids = [id_.hex() for id_ in note.ids]
        return {lane: ids[at] for lane, at in enumerate(note.lanes) if at != _NOWHERE}, item

    def _save(self, ids: Mapping[int, str], replaces: Item | None) -> None:
        """Unless another sealer noted something meanwhile: then the next look compares with that."""
        order = {id_: at for at, id_ in enumerate(sorted(set(ids.values())))}
        of_lane = [order[ids[lane]] if lane in ids else _NOWHERE for lane in range(LANES)]
        note = _Note([bytes.fromhex(id_) for id_ in order], of_lane)
        self._table.put(REPLAY_ITEM, _SORT, Item(_NOTE.pack(note)), replaces)


def failed_over(noted: Mapping[int, str], seen: Mapping[int, Serving], handed: Sequence[Handover] = ()) -> list[int]:
    """The lanes of which acknowledged writes may be missing, as their master has another replication id than noted, and
    no handover led to it.

    A lane that was never seen has lost nothing.  One that moved to another shard has brought its data along: its old
    master is one still, and the new one did not follow it, and was a master at the last look or never followed any.
    """
    known, now = set(noted.values()), {master.id for master in seen.values()}

    def moved(lane: int) -> bool:
        before = seen[lane].before
        return noted[lane] in now and before != noted[lane] and (seen[lane].id in known or not before)

    changed = [lane for lane in seen if seen[lane].id != noted.get(lane, seen[lane].id)]
    return sorted(lane for lane in changed if not moved(lane) and not leads(handed, lane, noted[lane], seen[lane].id))
