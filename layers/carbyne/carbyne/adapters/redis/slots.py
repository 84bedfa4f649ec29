"""Slots move from one master to another with their keys: by the server itself, or key by key."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from redis import RedisError, ResponseError
from redis.credentials import CredentialProvider

from carbyne.adapters.redis.view import Client, as_job, parse_info, running
from carbyne.cluster.topology import Node, Topology, lanes_of_slots, spans
from carbyne.core.limits import MIGRATE_KEYS, MIGRATE_MS, MIGRATE_SLOTS

Told = Callable[[str], None]
"""Told what is done of a step that takes long."""

_PAUSE_S: Final = 0.05
_MIGRATE_TRIES: Final = 3
_ATOMIC_MOVES_SINCE: Final = 9
"""The first version of Valkey that moves slots at once, in jobs of its own."""


class SlotMoves:
    """``client_of``: the client of a node; ``login``: by which masters log in at each other; ``sleep`` in seconds."""

    def __init__(
        self, client_of: Callable[[Node], Client], login: CredentialProvider | None, sleep: Callable[[float], None]
    ) -> None:
        self._client_of = client_of
        self._login = login
        self._sleep = sleep

    def is_atomic(self, node: Node) -> bool:
        """Whether it has Valkey's CLUSTER MIGRATESLOTS."""
        return bool(self._client_of(node).execute_command("COMMAND INFO", "cluster|migrateslots")[0])

    def atomic(self, _: Topology, source: Node, target: Node, slots: Sequence[int]) -> Iterator[Sequence[int]]:
        """The server copies a set of slots behind the scenes and hands all of them over at once."""
        client = self._client_of(source)
        for first in range(0, len(slots), MIGRATE_SLOTS):
            part = slots[first : first + MIGRATE_SLOTS]
            ranges = [edge for span in spans(part) for edge in span]
            client.cluster("MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", target.id)
            self.await_others(client, lambda _: None)
            last = as_job(client.execute_command("CLUSTER GETSLOTMIGRATIONS")[0])
            if last["state"] != "success":
                raise RedisError(f"the server gave up: {last['state']}, {last['message']}")
            yield part

    def await_others(self, client: Client, progress: Told) -> None:
        """Return once no move of slots is under way at the node."""
        version = parse_info(client.execute_command("INFO", "server")).get("valkey_version", "0")
        if int(version.partition(".")[0]) < _ATOMIC_MOVES_SINCE:
            return
        while jobs := running(client.execute_command("CLUSTER GETSLOTMIGRATIONS")):
            progress(f"slots {jobs[0]['slot_ranges']} are under way: {jobs[0]['state']}")
            self._sleep(_PAUSE_S)

    def by_key(self, now: Topology, source: Node, target: Node, slots: Sequence[int]) -> Iterator[Sequence[int]]:
        """Slots of lanes one at a time, so that few scripts meet a lane that is in two places; the others together."""
        for part in _few_lanes(slots):
            self._set_slots(target, part, "IMPORTING", source)
            self._set_slots(source, part, "MIGRATING", target)
            for slot in part:
                self._move_keys(source, target, slot)
            others = [node for node in now.masters if node.alive and node not in (source, target)]
            for node in [target, source, *others]:
                self._set_slots(node, part, "NODE", target)
            yield part

    def _set_slots(self, at: Node, slots: Sequence[int], state: str, other: Node) -> None:
        pipe = self._client_of(at).pipeline(transaction=False)
        for slot in slots:
            pipe.execute_command("CLUSTER SETSLOT", slot, state, other.id)
        pipe.execute()

    def _move_keys(self, source: Node, target: Node, slot: int) -> None:
        """A key that both have is the source's: the target got it from a move that was cut off."""
        client = self._client_of(source)
        while keys := client.cluster("GETKEYSINSLOT", slot, MIGRATE_KEYS):
            for left in reversed(range(_MIGRATE_TRIES)):
                try:
                    self._migrate(client, target, keys)
                    break
                except ResponseError as error:
                    if not left or not str(error).startswith("IOERR"):
                        raise

    def _migrate(self, client: Client, target: Node, keys: Sequence[bytes]) -> None:
        shown = self._login.get_credentials() if self._login else ()
        login = ["AUTH2", *("default", *shown)[-2:]] if shown else []
        command = [target.ip, target.port, "", 0, MIGRATE_MS, "REPLACE", *login, "KEYS", *keys]
        client.execute_command("MIGRATE", *command)


def _few_lanes(slots: Iterable[int]) -> Iterator[list[int]]:
    """Slots in parts of which each ends with the only one that has a lane."""
    of_slot, part = lanes_of_slots(), list[int]()
    for slot in slots:
        part.append(slot)
        if of_slot[slot] or len(part) == MIGRATE_SLOTS:
            yield part
            part = []
    if part:
        yield part
