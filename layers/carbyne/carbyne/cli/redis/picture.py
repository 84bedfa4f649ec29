"""A cluster as text and as JSON."""

from typing import Any, Final

from carbyne.cluster.topology import SLOTS, Node, Topology, lanes_in, spans
from carbyne.core.limits import LANES

_WIDTH: Final = 64
_BAR: Final = 20
_MARKS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def picture(topology: Topology) -> str:
    """One line a node, grouped by shard, below a map of all slots in which each shard has its own mark."""
    shards = topology.shards
    lanes = LANES - lanes_in(topology.unserved)
    state = "" if topology.agreed else "; the nodes do not agree yet"
    lines = [f"{len(shards)} shards, {len(topology.nodes)} nodes, {lanes:,} of {LANES:,} lanes are served{state}"]
    lines += [f"slots  [{_map(topology)}]", ""]
    wide = max(len(node.name) for node in topology.nodes)
    for mark, shard in zip(_marks(topology), shards, strict=True):
        part = shard.master.lanes / LANES
        bar = "█" * round(part * _BAR)
        lines.append(f"shard {mark}  {bar:░<{_BAR}}  {shard.master.lanes:,} lanes, {len(shard.master.slots):,} slots")
        lines.append(f"  ● {shard.master.name:<{wide}}  master   {_state(shard.master, None)}")
        lines += [f"  ○ {node.name:<{wide}}  replica  {_state(node, shard.master)}" for node in shard.replicas]
    lost = [node for node in topology.nodes if node.master_id and topology.by_id(node.master_id) is None]
    lines += [f"  ? {node.name:<{wide}}  replica of no node that is known" for node in lost]
    return "\n".join(lines)


def as_json(topology: Topology) -> dict[str, Any]:
    """The same for scripts; sizes in bytes."""
    return {
        "agreed": topology.agreed,
        "lanes": LANES - lanes_in(topology.unserved),
        "slots": SLOTS - len(topology.unserved),
        "shards": [
            {
                "lanes": shard.master.lanes,
                "slots": [list(span) for span in spans(shard.master.slots)],
                "master": _node(shard.master, None),
                "replicas": [_node(node, shard.master) for node in shard.replicas],
            }
            for shard in topology.shards
        ],
    }


def _node(node: Node, master: Node | None) -> dict[str, Any]:
    known: dict[str, Any] = {"name": node.name, "state": _health(node)}
    if node.open_slots or node.exports:
        known["moving"] = len(node.open_slots) or node.exports
    if node.figures:
        known |= {
            "version": node.figures.version,
            "memory": node.figures.memory_bytes,
            "memoryMax": node.figures.memory_max_bytes,
            "opsPerSecond": node.figures.ops_per_s,
        }
        if master:
            known |= {"delay": _delay(node, master), "linkUp": node.figures.link_up}
    return known


def _health(node: Node) -> str:
    if node.failed:
        return "failed"
    return "up" if node.figures else "silent"


def _delay(node: Node, master: Node) -> int | None:
    """Bytes of replication that a replica has not got; None if either is silent."""
    return max(0, master.figures.offset - node.figures.offset) if master.figures and node.figures else None


def _state(node: Node, master: Node | None) -> str:
    if node.figures is None:
        return "FAILED" if node.failed else "does not answer"
    vitals = node.figures
    limit = f" of {size(vitals.memory_max_bytes)}" if vitals.memory_max_bytes else ""
    text = f"{size(vitals.memory_bytes) + limit:<17}{vitals.ops_per_s:>8,} ops/s  {vitals.version}"
    if master:
        delay = _delay(node, master)
        text += "" if delay is None else f"  {size(delay)} behind"
        text += "" if vitals.link_up else "  LINK DOWN"
    text += "  FAILED" if node.failed else ""
    if node.open_slots or node.exports:
        text += f"  {len(node.open_slots) or node.exports} moves under way"
    return text


def size(size_bytes: int) -> str:
    """Bytes for people."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _marks(topology: Topology) -> list[str]:
    return [_MARKS[at % len(_MARKS)] for at in range(len(topology.shards))]


def _map(topology: Topology) -> str:
    """For each 256 slots the shard that has most of them, ``.`` where most are served by none."""
    span = SLOTS // _WIDTH
    result = ""
    for first in range(0, SLOTS, span):
        cell = range(first, first + span)
        counts = [sum(slot in shard.master.slots for slot in cell) for shard in topology.shards]
        unserved = span - sum(counts)
        most = max(range(len(counts)), key=counts.__getitem__)
        result += "." if unserved > counts[most] else _marks(topology)[most]
    return result
