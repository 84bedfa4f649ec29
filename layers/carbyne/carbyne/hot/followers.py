"""Which replicas have every write that counts: so a promotion proves that it lost nothing.

The sealer notes the replicas of each master, with the id of their process, which ends with what it has in memory.  A
write counts when all of them have it; who goes on without one strikes it out of the note first.  So whoever is in the
note, and is promoted, has all that was acknowledged.

Two steps lead into the note.  A replica that is listed must have what is written from then on.  It counts for a proof
when FOLLOWER_JOIN_S later, when each instance goes by that list, it has all that was written until then.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

import msgspec

from carbyne.core.documents import Document
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import REPLAY_ITEM
from carbyne.core.limits import FOLLOWER_JOIN_S, FOLLOWERS_KNOWN_S, HANDOVER_S, LANES, NOTE_BYTES_MAX, WRITE_TRIES_MAX

_SORT: Final = "masters"
_NOWHERE: Final = -1


class Follower(msgspec.Struct, frozen=True, array_like=True):
    """A replica: ``name`` is host:port as its master calls it, ``process`` the id of its process, ``since_s`` when it
    was listed; ``counts``: it has everything that was acknowledged."""

    name: str
    process: str
    since_s: int
    counts: bool = False


class ShardNote(msgspec.Struct, frozen=True, array_like=True):
    """Of the master with this replication ``id``.  ``closed_s``: when another one was taken for it, 0 if none was: no
    write of it counts from then on; ``heir``: the other one's id, if that was proven to have everything."""

    id: bytes
    followers: list[Follower]
    closed_s: int = 0
    heir: bytes = b""


class MastersNote(msgspec.Struct, frozen=True, array_like=True):
    """``ids``: of masters; ``lanes``: for each lane the index of its master's id, -1 if it was never seen."""

    ids: list[bytes]
    lanes: list[int]
    shards: list[ShardNote] = []

    def of_lanes(self) -> dict[int, str]:
        """{lane: replication id}."""
        return {lane: self.ids[at].hex() for lane, at in enumerate(self.lanes) if at != _NOWHERE}

    def shard(self, master: str) -> ShardNote | None:
        return next((shard for shard in self.shards if shard.id.hex() == master), None)


EMPTY_NOTE: Final = MastersNote([], [])
_NOTE = Document(
    "note of masters", MastersNote, version=1, level=3, bytes_max=NOTE_BYTES_MAX, inflated_max=NOTE_BYTES_MAX
)


class MastersItem:
    """The note, in the blocks table.  Methods raise RetryableError if it can't be asked."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def load(self) -> tuple[MastersNote, Item | None]:
        item = self._table.get(REPLAY_ITEM, _SORT)
        return (_NOTE.unpack(item.data), item) if item else (EMPTY_NOTE, None)

    def save(self, note: MastersNote, replaces: Item | None) -> bool:
        """Whether the note was unchanged meanwhile."""
        return self._table.put(REPLAY_ITEM, _SORT, Item(_NOTE.pack(note)), replaces)


class Followers:
    """The side of whoever writes.  ``now_s``: a clock that goes on while the instance stands still."""

    def __init__(self, item: MastersItem, now_s: Callable[[], float]) -> None:
        self._item = item
        self._now_s = now_s
        self._note = EMPTY_NOTE
        self._asked_s = -float("inf")

    def required(self, master: str) -> Collection[str] | None:
        """The names of the replicas that must have a write of this master before it counts; None if it is not noted.

        RetryableError if no write of it counts any more, or the note can't be asked.
        """
        now_s = self._now_s()
        if not 0 <= now_s - self._asked_s <= FOLLOWERS_KNOWN_S:
            self._note, self._asked_s = self._item.load()[0], now_s
        shard = self._open(self._note, master)
        return {follower.name for follower in shard.followers} if shard else None

    def leave(self, master: str, names: Collection[str]) -> None:
        """Strike replicas out of the note, before a write that they lack counts.  RetryableError as of ``required``."""
        for _ in range(WRITE_TRIES_MAX):
            asked_s = self._now_s()
            note, item = self._item.load()
            self._note, self._asked_s = note, asked_s
            shard = self._open(note, master)
            if shard is None or not any(follower.name in names for follower in shard.followers):
                return
            kept = [follower for follower in shard.followers if follower.name not in names]
            changed = msgspec.structs.replace(shard, followers=kept)
            shards = [changed if other is shard else other for other in note.shards]
            self._asked_s = -float("inf")
            if self._item.save(msgspec.structs.replace(note, shards=shards), item):
                return
        raise RetryableError("the note of replicas keeps changing under us")

    @staticmethod
    def _open(note: MastersNote, master: str) -> ShardNote | None:
        shard = note.shard(master)
        if shard and shard.closed_s:
            raise RetryableError(f"another master was taken for {master}: no write of it counts")
        return shard


class Serving(Protocol):
    """``id``: a master's replication id, hexadecimal; ``before``: that of the master which it followed before, empty if
    it never followed one; ``process``: the id of its process."""

    @property
    def id(self) -> str: ...
    @property
    def before(self) -> str: ...
    @property
    def process(self) -> str: ...


class ServedShard(Serving, Protocol):
    """``offset``: of the master's last write; ``replicas``: names of those that follow it, by its account."""

    @property
    def offset(self) -> int: ...
    @property
    def replicas(self) -> Collection[str]: ...


class Following(Protocol):
    """A replica by its own account: the process that it is, the id of its master, and how far it has followed."""

    @property
    def process(self) -> str: ...
    @property
    def master(self) -> str: ...
    @property
    def offset(self) -> int: ...


def proves(shard: ShardNote | None, master: Serving) -> bool:
    """Whether a master has everything that was acknowledged by that of the note: it followed it until it took over, as
    a process that missed nothing."""
    if shard is None or shard.closed_s:
        return shard is not None and shard.heir.hex() == master.id
    counting = {follower.process for follower in shard.followers if follower.counts}
    return master.before == shard.id.hex() and master.process in counting


def note_of(
    note: MastersNote,
    ids: Mapping[int, str],
    served: Mapping[int, ServedShard],
    replicas: Mapping[str, Following],
    heirs: Mapping[str, str],
    asked_s: int,
    now_s: int,
) -> MastersNote:
    """The note after a look.  ``ids``: of each lane; ``served``: the masters as they were asked, and then
    ``replicas``; ``heirs``: {id of a master that was replaced: id of the one that has everything, else empty};
    ``asked_s``: before any of them was."""
    order = {id_: at for at, id_ in enumerate(sorted(set(ids.values())))}
    of_lane = [order[ids[lane]] if lane in ids else _NOWHERE for lane in range(LANES)]
    noted = note.of_lanes()
    grown = {ids[lane] for lane in ids if noted.get(lane) != ids[lane]}  # keys move without a WAIT
    masters = {master.id: master for master in served.values()}
    shards = []
    for id_ in order:
        noted_shard = note.shard(id_)
        followers = noted_shard.followers if noted_shard and not noted_shard.closed_s else []
        if master := masters.get(id_):
            followers = _followers(followers, master, replicas, (asked_s, now_s), grown=id_ in grown)
        shards.append(ShardNote(bytes.fromhex(id_), followers))
    shards += [shard for shard in note.shards if shard.closed_s > now_s - HANDOVER_S and shard.id.hex() not in order]
    shards += [
        ShardNote(bytes.fromhex(old), [], now_s, bytes.fromhex(heir)) for old, heir in heirs.items() if old not in order
    ]
    return MastersNote([bytes.fromhex(id_) for id_ in order], of_lane, shards)


def _followers(
    noted: Collection[Follower],
    master: ServedShard,
    replicas: Mapping[str, Following],
    times_s: tuple[int, int],
    *,
    grown: bool,
) -> list[Follower]:
    """The replicas of a master from now on: those that counted go on to, whatever became of them."""
    asked_s, now_s = times_s
    known = {follower.name: follower for follower in noted}
    result = []
    for name in sorted(known.keys() | set(master.replicas)):
        old, now = known.get(name), replicas.get(name)
        follows = now is not None and now.master == master.id and now.offset >= master.offset
        if old and old.counts and not grown and (now is None or now.process == old.process):
            result.append(old)
        elif now is None or not follows or name not in master.replicas:
            continue  # nothing is lost by striking it out
        elif old is None or grown or old.process != now.process:
            result.append(Follower(name, now.process, now_s))
        else:
            result.append(msgspec.structs.replace(old, counts=asked_s >= old.since_s + FOLLOWER_JOIN_S))
    return result
