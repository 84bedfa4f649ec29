"""What a Redis cluster looks like to an operator: nodes by host:port, shards, slots and lanes.

Node ids stay in here and in the adapter: commands need them, people do not.
"""

from binascii import crc_hqx
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Final, NamedTuple

from carbyne.core.errors import RequestError
from carbyne.core.keys import lane_tag
from carbyne.core.limits import LANES

SLOTS: Final = 16_384
"""Hash slots of every Redis cluster."""
VOTERS_MIN: Final = 3
"""Masters of a cluster that can replace one of them by itself: the majority must be left to vote."""


class NodeVitals(NamedTuple):
    """A node's own account.  ``offset``: of its replication; ``link_up``: of a replica to its master, which then has
    nothing left to load; ``memory_max_bytes``: 0 for no limit."""

    version: str
    memory_bytes: int
    memory_max_bytes: int
    ops_per_s: int
    offset: int
    link_up: bool = True


class OpenSlot(NamedTuple):
    """A slot in the middle of a move, as the node at one end has it.  ``other``: id of the node at the other end."""

    slot: int
    importing: bool
    other: str


class Node(NamedTuple):
    """``id`` never leaves this package; ``host``: the name that it announces, else ``ip``; ``master_id``: of the master
    that it follows, empty for a master; ``failed``: the cluster has given it up; ``exports``: atomic moves under way;
    ``figures``: None if it does not answer us."""

    id: str
    host: str
    ip: str
    port: int
    master_id: str = ""
    slots: frozenset[int] = frozenset()
    failed: bool = False
    open_slots: tuple[OpenSlot, ...] = ()
    exports: int = 0
    figures: NodeVitals | None = None

    @property
    def name(self) -> str:
        """``host:port``, how people call it."""
        return f"{self.host}:{self.port}"

    @property
    def is_master(self) -> bool:
        return not self.master_id

    @property
    def alive(self) -> bool:
        return self.figures is not None and not self.failed

    @property
    def lanes(self) -> int:
        return lanes_in(self.slots)


class Shard(NamedTuple):
    """A master and the replicas that follow it."""

    master: Node
    replicas: tuple[Node, ...]


class Newcomer(NamedTuple):
    """A server that is to join.  ``host``: the name that it announces, else its IP address; ``peers``: other nodes that
    it knows."""

    host: str
    port: int
    peers: int
    keys: int
    slots: frozenset[int]

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"


class Topology(NamedTuple):
    """``agreed``: every node that answers has the same view of all others; ``service``: who runs the cluster if its
    commands are restricted, else empty."""

    nodes: tuple[Node, ...]
    agreed: bool = True
    service: str = ""

    @property
    def masters(self) -> list[Node]:
        """By their first slot, those without one last."""
        masters = [node for node in self.nodes if node.is_master]
        return sorted(masters, key=lambda node: (min(node.slots, default=SLOTS), node.host, node.port))

    @property
    def shards(self) -> list[Shard]:
        return [Shard(master, tuple(self.replicas_of(master))) for master in self.masters]

    @property
    def unserved(self) -> frozenset[int]:
        """Slots that no node has."""
        return frozenset(range(SLOTS)).difference(*(node.slots for node in self.nodes))

    def replicas_of(self, master: Node) -> list[Node]:
        replicas = [node for node in self.nodes if node.master_id == master.id]
        return sorted(replicas, key=lambda node: (node.host, node.port))

    def by_id(self, node_id: str) -> Node | None:
        return next((node for node in self.nodes if node.id == node_id), None)

    def find(self, name: str) -> Node | None:
        """The node of this whole name, by host or address."""
        return next((node for node in self.nodes if name in (node.name, f"{node.ip}:{node.port}")), None)

    def named(self, text: str) -> Node:
        """The node that ``text`` means: its host:port, or a part of it that no other node has.  RequestError."""
        exact = self.find(text)
        fits = [exact] if exact else [node for node in self.nodes if text in node.name]
        if not fits:
            raise RequestError(404, f"no node is called {text}; the cluster has {_listed(self.nodes)}")
        if len(fits) > 1:
            raise RequestError(400, f"{text} may be {_listed(fits)}: give more of its name")
        return fits[0]


@cache
def lanes_of_slots() -> tuple[int, ...]:
    """How many lanes each slot has."""
    counts = Counter(slots_of_lanes())
    return tuple(counts[slot] for slot in range(SLOTS))


@cache
def slots_of_lanes() -> tuple[int, ...]:
    """The slot of each lane's hash tag."""
    return tuple(crc_hqx(lane_tag(lane).encode(), 0) % SLOTS for lane in range(LANES))


def lanes_in(slots: Iterable[int]) -> int:
    """How many lanes these slots have."""
    of_slot = lanes_of_slots()
    return sum(of_slot[slot] for slot in slots)


def lanes_of(slots: Collection[int]) -> list[int]:
    """The lanes that these slots have."""
    among = set(slots)
    return [lane for lane, slot in enumerate(slots_of_lanes()) if slot in among]


def spans(slots: Iterable[int]) -> list[tuple[int, int]]:
    """Slots as (first, last) of each unbroken span."""
    result: list[tuple[int, int]] = []
    for slot in sorted(slots):
        if result and result[-1][1] == slot - 1:
            result[-1] = result[-1][0], slot
        else:
            result.append((slot, slot))
    return result


def address(text: str) -> tuple[str, int]:
    """(host, port) of ``host:port``; RequestError for another text.  IPv6 hosts may have brackets."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise RequestError(400, f"{text!r} is no node: give host:port")
    return host, int(port)


def _listed(nodes: Sequence[Node]) -> str:
    return ", ".join(sorted(node.name for node in nodes))
