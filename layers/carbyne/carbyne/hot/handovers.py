"""Planned changes of masters, which lost nothing: noted by the operator's tool, so that no lane is replayed for them.

A move of lanes is noted before it begins: only the target has the replication id under which they are served then.  A
promotion is noted twice: that it is under way, for which the sealer waits a little, and which id the successor has,
when the tool saw that it has everything that its master acknowledged.  What is not noted so is replayed.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from carbyne.core.documents import Document
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import REPLAY_ITEM
from carbyne.core.limits import HANDOVER_OPEN_S, HANDOVER_S, HANDOVERS_MAX, JOB_BYTES_MAX, LANES, WRITE_TRIES_MAX

_SORT = "handovers"


class Handover(msgspec.Struct, frozen=True, array_like=True):
    """``before`` and ``after``: replication ids under which ``lanes`` (a bit each) were and are served; ``after`` is
    empty while a promotion is under way.  It counts until ``until_s``, seconds since 1970."""

    before: bytes
    after: bytes
    lanes: bytes
    until_s: int


_NOTES = Document(
    "handovers", list[Handover], version=1, level=3, bytes_max=JOB_BYTES_MAX, inflated_max=2 * JOB_BYTES_MAX
)


class Handovers:
    """The notes, in the blocks table beside the job of a replay.  RetryableError if it can't be asked."""

    def __init__(self, table: Table, now_s: Callable[[], int]) -> None:
        self._table = table
        self._now_s = now_s

    def noted(self) -> list[Handover]:
        """Those that count now, oldest first."""
        return self._load()[0]

    def opened(self, before: str, lanes: Iterable[int]) -> None:
        """A promotion begins; ``before``: replication id of the master."""
        self._add(Handover(bytes.fromhex(before), b"", _bits(lanes), self._now_s() + HANDOVER_OPEN_S))

    def proven(self, before: str, after: str, lanes: Iterable[int]) -> None:
        """Whoever has the replication id ``after`` has all that was acknowledged of ``lanes`` under ``before``."""
        self._add(Handover(bytes.fromhex(before), bytes.fromhex(after), _bits(lanes), self._now_s() + HANDOVER_S))

    def _load(self) -> tuple[list[Handover], Item | None]:
        item = self._table.get(REPLAY_ITEM, _SORT)
        notes = _NOTES.unpack(item.data) if item else []
        return [note for note in notes if note.until_s > self._now_s()], item

    def _add(self, note: Handover) -> None:
        for _ in range(WRITE_TRIES_MAX):
            notes, item = self._load()
            if note in notes:
                return
            notes = [*(left for old in notes if (left := _besides(old, note))), note]
            if self._table.put(REPLAY_ITEM, _SORT, Item(_NOTES.pack(notes[-HANDOVERS_MAX:])), item):
                return
        raise RetryableError("the notes of handovers keep changing under us")


def leads(notes: Sequence[Handover], lane: int, before: str, after: str) -> bool:
    """Whether a lane that was served under ``before`` came under ``after`` by handovers that lost nothing."""
    reached, todo = {bytes.fromhex(before)}, [bytes.fromhex(before)]
    while todo:
        at = todo.pop()
        successors = {note.after for note in notes if note.before == at and note.after and _has(note.lanes, lane)}
        todo += successors - reached
        reached |= successors
    return bytes.fromhex(after) in reached


def is_open(notes: Sequence[Handover], lane: int, before: str) -> bool:
    """Whether a promotion is under way of which is not known yet what it lost: the next look decides."""
    now = bytes.fromhex(before)
    return any(note.before == now and not note.after and _has(note.lanes, lane) for note in notes)


def _besides(old: Handover, new: Handover) -> Handover | None:
    """What an older note still says beside a new one, None if nothing.  A lane that comes to ``after`` now had not come
    there from elsewhere: that move was cut off, and what became of its master since then may have lost something."""
    if not new.after or old.after != new.after or old.before == new.before:
        return old
    lanes = bytes(had & ~comes & 0xFF for had, comes in zip(old.lanes, new.lanes, strict=True))
    return msgspec.structs.replace(old, lanes=lanes) if any(lanes) else None


def _bits(lanes: Iterable[int]) -> bytes:
    return sum(1 << lane for lane in set(lanes)).to_bytes(LANES // 8, "little")


def _has(bits: bytes, lane: int) -> bool:
    return len(bits) > lane // 8 and bool(bits[lane // 8] >> lane % 8 & 1)
