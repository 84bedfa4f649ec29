"""How far a replay is: the replayer notes it now and then, and ``carbyne replay`` shows it.

A note is an item beside the job for each shard of the stream, since each has a reader of its own.  It counts until the
shard's first fence: what comes behind it is the live stream, read at its own pace.  Notes are for people; no lane is
whole by them, and a replay goes on where one can't be put.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from carbyne.core.documents import Document
from carbyne.core.errors import CarbyneError, UnknownVersionError
from carbyne.core.items import Item, Table
from carbyne.core.keys import REPLAY_ITEM
from carbyne.core.limits import JOB_BYTES_MAX
from carbyne.stream import records
from carbyne.stream.arrived import Arrived

_log = logging.getLogger(__name__)

NOTE_S: Final = 5.0
"""Between two notes of one reader: a person looks on."""
_SORT: Final = "progress#"
_SORT_END: Final = "progress$"


class Note(msgspec.Struct, frozen=True, array_like=True):
    """``token``: of the replay; ``begun_s``, ``noted_s``: by the clock; ``first_s``, ``last_s``: when the first and the
    last record that are done arrived in the stream; ``records``: how many are; ``ended``: the fences were met."""

    token: str
    begun_s: float
    noted_s: float
    first_s: float
    last_s: float
    records: int
    ended: bool = False


class Speed(NamedTuple):
    """Of all shards together.  ``first_s``, ``upto_s``: arrival of the oldest record, and of the newest that is done by
    every reader; ``records_per_s``; ``times``: seconds of the stream for each second, 0 before any passed."""

    first_s: float
    upto_s: float
    records_per_s: float
    times: float


_NOTE = Document("note of progress", Note, version=1, level=3, bytes_max=JOB_BYTES_MAX, inflated_max=JOB_BYTES_MAX)


class _Since(NamedTuple):
    """What one instance has done of a shard since its last note."""

    begun_s: float
    first_s: float
    last_s: float
    records: int


class Notes:
    """The notes of all shards, in the blocks table.  Methods raise RetryableError if it can't be asked."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def of(self, token: str) -> list[Note]:
        """Those of one replay."""
        items = self._table.query(REPLAY_ITEM, _SORT, _SORT_END)
        return [note for _, item in items if (note := _decoded(item)) and note.token == token]

    def mark(self, token: str) -> str:
        """A text that changes while the replay goes on, or waits for Redis to be emptied."""
        notes = self.of(token)
        return f"{sum(note.records for note in notes)} {sum(note.noted_s for note in notes):.0f}"

    def load(self, shard: str) -> tuple[Note | None, Item | None]:
        """The shard's last note, of whichever replay, and the item that it is in."""
        item = self._table.get(REPLAY_ITEM, _SORT + shard)
        return (_decoded(item), item) if item else (None, None)

    def save(self, shard: str, note: Note, replaces: Item | None) -> None:
        """Not put if another instance did so meanwhile: the next note says more."""
        self._table.put(REPLAY_ITEM, _SORT + shard, Item(_NOTE.pack(note)), replaces)


class Progress:
    """Takes notes for one instance of the replayer.  ``token``: of the replay that runs, None if none does;
    ``now_s``: the clock."""

    def __init__(self, notes: Notes, token: Callable[[], str | None], now_s: Callable[[], float]) -> None:
        self._notes = notes
        self._token = token
        self._now_s = now_s
        self._noted_s = 0.0
        self._since: dict[str, _Since] = {}

    def now_s(self) -> float:
        return self._now_s()

    def add(self, shard: str, begun_s: float, done: Sequence[Arrived]) -> None:
        """Records of a batch, taken at ``begun_s``, are done; they are noted if it is time."""
        if not done:
            return
        since = self._since.get(shard)
        if since is None or done[0].arrived_s < since.last_s:  # another reader, from the oldest record again
            since = _Since(begun_s, done[0].arrived_s, 0.0, 0)
        self._since[shard] = since._replace(last_s=done[-1].arrived_s, records=since.records + len(done))
        fenced = any(records.replay_of(entry.data) for entry in done)
        if fenced or self._now_s() >= self._noted_s + NOTE_S:
            try:
                self._note(shard, fenced)
            except CarbyneError as error:
                _log.warning("how far the replay is can't be noted: %s", error)

    def wait(self, shard: str) -> None:
        """The reader waits for Redis to be emptied: it is not stuck, though it does nothing."""
        now_s = self._now_s()
        if now_s < self._noted_s + NOTE_S:
            return
        self._noted_s = now_s
        try:
            last, item = self._notes.load(shard)
            if last and last.token == self._token():
                self._notes.save(shard, msgspec.structs.replace(last, noted_s=now_s), item)
        except CarbyneError as error:
            _log.warning("that the replay waits can't be noted: %s", error)

    def _note(self, shard: str, fenced: bool) -> None:
        since, now_s = self._since.pop(shard), self._now_s()
        self._noted_s = now_s
        if (token := self._token()) is None:
            return
        last, item = self._notes.load(shard)
        if not last or last.token != token:
            last = Note(token, since.begun_s, now_s, since.first_s, since.last_s, 0)
        if not last.ended:
            count = last.records + since.records
            self._notes.save(shard, Note(token, last.begun_s, now_s, last.first_s, since.last_s, count, fenced), item)


def speed(notes: Sequence[Note]) -> Speed | None:
    """None before a reader has noted anything."""
    if not notes:
        return None
    seconds = max(note.noted_s for note in notes) - min(note.begun_s for note in notes)
    first_s, upto_s = min(note.first_s for note in notes), min(note.last_s for note in notes)
    if seconds <= 0:
        return Speed(first_s, upto_s, 0.0, 0.0)
    return Speed(first_s, upto_s, sum(note.records for note in notes) / seconds, max(0.0, upto_s - first_s) / seconds)


def _decoded(item: Item) -> Note | None:
    """None for the note of a later version, which only later code puts."""
    try:
        return _NOTE.unpack(item.data)
    except UnknownVersionError:
        return None
