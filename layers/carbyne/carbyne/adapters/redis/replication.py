"""What masters and replicas say of each other in INFO: who follows whom, and how far."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, Protocol

from redis import exceptions

NO_ID: Final = "0" * 40
WHO: Final = ("INFO", "replication")


class Replication(NamedTuple):
    """``id``: a master's replication id; ``before``: that of the master which it followed before, else empty;
    ``process``: the id of its process, empty if it tells none; ``offset``: of its last write; ``replicas``: names of
    those that follow it."""

    id: str
    before: str
    process: str = ""
    offset: int = 0
    replicas: frozenset[str] = frozenset()


class Followed(NamedTuple):
    """A replica by its own account: its process, the replication id of its master, and how far it has followed."""

    process: str
    master: str
    offset: int


class RequiredReplicas(Protocol):
    """See ``hot.followers.Followers``."""

    def required(self, master: str) -> Collection[str] | None: ...
    def leave(self, master: str, names: Collection[str]) -> None: ...


class Acks(NamedTuple):
    """What a master says: its replication id, its offset, and for each replica, by name, what it has received."""

    master: str
    offset: int
    got: Mapping[str, int]


def _id(value: str | int) -> str:
    return str(value).zfill(len(NO_ID))  # of digits alone: an int


def _process(info: Mapping[str, Any]) -> str:
    """The id of a node's process, empty if it tells none."""
    process = str(info.get("run_id", ""))
    return process if process.strip("0") else ""


def acks(info: Mapping[str, Any] | Exception) -> Acks:
    """What a master's INFO says; an error if it is none, or none any more."""
    if isinstance(info, Exception):
        raise info
    if info.get("role") != "master":
        raise exceptions.ReadOnlyError("the node is no master any more")
    replicas = [replica for key, replica in info.items() if key[:5] == "slave" and key[5:].isdigit()]
    got = {
        f"{replica['ip']}:{replica['port']}": int(replica["offset"])
        for replica in replicas
        if replica["state"] == "online"
    }
    return Acks(_id(info["master_replid"]), int(info["master_repl_offset"]), got)


def lacking_of(required: Collection[str], before: Acks, after: Acks) -> list[str]:
    """Those of the replicas that have not got all that was written ``before``."""
    if after.master != before.master:
        raise exceptions.ReadOnlyError("the node is another master now")
    return [name for name in required if after.got.get(name, -1) < before.offset]


def replication_of(info: Mapping[str, Any]) -> Replication | None:
    """What a master's whole INFO says, None for a replica's."""
    if info["role"] != "master":
        return None
    before, told = _id(info["master_replid2"]), acks(info)
    return Replication(told.master, "" if before == NO_ID else before, _process(info), told.offset, frozenset(told.got))


def followed_of(info: Mapping[str, Any]) -> Followed | None:
    """What the whole INFO of a replica says, None for one that does not follow, or tells no process."""
    if info["role"] != "slave" or info["master_link_status"] != "up" or not _process(info):
        return None
    return Followed(_process(info), _id(info["master_replid"]), info["slave_repl_offset"])
