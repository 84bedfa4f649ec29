"""Moves of slots that give each master its share of the lanes."""

from collections.abc import Mapping, Sequence

from carbyne.cluster.steps import Move, Step
from carbyne.cluster.topology import Node, Topology, lanes_in, lanes_of_slots
from carbyne.core.errors import RequestError
from carbyne.core.limits import LANES


def spread(topology: Topology, masters: Sequence[Node], weights: Mapping[str, float] | None = None) -> list[Step]:
    """Moves until each of ``masters`` has its share of the lanes, and the others no slot."""
    share = _shares(masters, weights or {})
    need = {node.name: share[node.name] - node.lanes for node in masters}
    steps: list[Step] = []
    for source in topology.masters:
        gives = source.lanes - share.get(source.name, 0)
        empties = source.name not in share
        left = sorted(source.slots) if gives > 0 or empties else []
        for target in sorted(need, key=lambda name: -need[name]):
            lanes = min(gives, need[target])
            if lanes <= 0:
                continue
            taken = _run(left, lanes)
            moved = lanes_in(taken)
            gives, need[target] = gives - moved, need[target] - moved
            left = [slot for slot in left if slot not in taken]
            if moved:
                steps.append(Move(source.name, target, tuple(sorted(taken))))
        if empties and left:
            target, taken = max(need, key=lambda name: need[name]), set(left)
            if steps and isinstance(last := steps[-1], Move) and last.source == source.name:
                steps.pop()
                target, taken = last.target, taken | set(last.slots)
            steps.append(Move(source.name, target, tuple(sorted(taken))))
    return steps


def _run(slots: Sequence[int], lanes: int) -> set[int]:
    """The last of ``slots`` that have so many lanes together, those between them without any included."""
    of_slot, taken, between = lanes_of_slots(), set[int](), set[int]()
    for slot in reversed(slots):
        if not lanes:
            break
        if not of_slot[slot]:
            between.add(slot)
        elif of_slot[slot] <= lanes:
            lanes -= of_slot[slot]
            taken |= between | {slot}
            between = set()
    return taken


def _shares(masters: Sequence[Node], weights: Mapping[str, float]) -> dict[str, int]:
    """Lanes that each master is to have; what does not divide stays where most lanes are."""
    if unknown := set(weights) - {node.name for node in masters}:
        raise RequestError(400, f"no master that answers is called {', '.join(sorted(unknown))}")
    limits = {node.name: node.figures.memory_max_bytes if node.figures else 0 for node in masters}
    by_memory = all(limits.values())
    weight = {name: float(weights.get(name, 1) * (limit if by_memory else 1)) for name, limit in limits.items()}
    total = sum(weight.values())
    if total <= 0:
        raise RequestError(400, "some master must have a weight above 0")
    share = {node.name: int(LANES * weight[node.name] / total) for node in masters}
    most = sorted(masters, key=lambda node: (share[node.name] - node.lanes, node.name))
    for node in [master for master in most if weight[master.name]][: LANES - sum(share.values())]:
        share[node.name] += 1
    return share
