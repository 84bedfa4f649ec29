"""Which node of a new cluster is to be what: masters with their slots, and replicas apart from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from carbyne.cluster.topology import SLOTS, VOTERS_MIN, lanes_of_slots
from carbyne.core.errors import RequestError
from carbyne.core.limits import LANES


class NodeRoles(NamedTuple):
    """``masters``: name -> its slots; ``follows``: replica -> its master."""

    masters: Mapping[str, tuple[int, ...]]
    follows: Mapping[str, str]


def roles(names: Sequence[tuple[str, int]], replicas: int) -> NodeRoles:
    """Masters over all hosts in turn, and ``replicas`` of each on other hosts where there are any.

    RequestError if the nodes are too few, don't divide into shards, or can't be kept apart on their hosts.
    """
    if len(names) % (1 + replicas):
        raise RequestError(400, f"{len(names)} nodes do not divide into shards of {1 + replicas}")
    count = len(names) // (1 + replicas)
    if count < VOTERS_MIN:
        need = VOTERS_MIN * (1 + replicas)
        raise RequestError(400, f"give {need} nodes or more: with under {VOTERS_MIN} masters none is ever replaced")
    if len(set(names)) != len(names):
        raise RequestError(400, "a node is named twice")
    hosts: dict[str, list[tuple[str, int]]] = {}
    for node in names:
        hosts.setdefault(node[0], []).append(node)
    in_turn = [node for row in zip_longest(*hosts.values()) for node in row if node]
    masters, rest = in_turn[:count], in_turn[count:]
    follows: dict[tuple[str, int], tuple[str, int]] = {}
    for _ in range(replicas):
        left = Counter(node[0] for node in rest if node not in follows)
        free = sorted(
            (node for node in rest if node not in follows), key=lambda node: -left[node[0]]
        )  # fullest hosts first
        chosen = _apart(masters, free, follows, alone=len(hosts) == 1)
        follows |= {replica: master for master, replica in chosen.items()}
    slots = _even_spans(count)
    return NodeRoles(
        {_name(node): slots[at] for at, node in enumerate(masters)},
        {_name(replica): _name(master) for replica, master in follows.items()},
    )


def _even_spans(count: int) -> list[tuple[int, ...]]:
    """All slots as ``count`` unbroken spans with as many lanes each."""
    spans: list[list[int]] = [[]]
    lanes, of_slot = 0, lanes_of_slots()
    for slot in range(SLOTS):
        if lanes * count >= LANES * len(spans) and len(spans) < count:
            spans.append([])
        spans[-1].append(slot)
        lanes += of_slot[slot]
    return [tuple(span) for span in spans]


def _apart(
    masters: Sequence[tuple[str, int]],
    free: Sequence[tuple[str, int]],
    follows: Mapping[tuple[str, int], tuple[str, int]],
    *,
    alone: bool,
) -> dict[tuple[str, int], tuple[str, int]]:
    """master -> a replica on a host that has no copy of its lanes yet: a matching by augmenting paths."""
    hosts = {
        master: {master[0]} | {replica[0] for replica, of in follows.items() if of == master} for master in masters
    }
    taken: dict[tuple[str, int], tuple[str, int]] = {}

    def place(master: tuple[str, int], tried: set[tuple[str, int]]) -> bool:
        for replica in free:
            if replica in tried or (not alone and replica[0] in hosts[master]):
                continue
            tried.add(replica)
            if replica not in taken or place(taken[replica], tried):
                taken[replica] = master
                return True
        return False

    for master in masters:
        if not place(master, set()):
            raise RequestError(
                409, f"no host is left for a replica of {_name(master)} that has no copy of it: spread the nodes"
            )
    return {master: replica for replica, master in taken.items()}


def _name(node: tuple[str, int]) -> str:
    return f"{node[0]}:{node[1]}"
