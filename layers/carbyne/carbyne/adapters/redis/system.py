"""What Redis says of the system as a whole: a ``page.system.RedisView``."""

from collections.abc import Callable

from carbyne.adapters.redis.commands import Command, Reply, checked
from carbyne.adapters.redis.nodes import Member, Nodes
from carbyne.core.keys import CACHE_COUNTS, lane_due, lane_state
from carbyne.core.limits import LANES
from carbyne.page.system import Cache, Lanes, RedisNode, Seals
from carbyne.samples.rows import WHOLE

FAILING = frozenset(("fail", "fail?", "noaddr", "handshake"))


class RedisSystem:
    """Asks all lanes at once: three short commands for each, in one round trip to each master."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def nodes(self) -> list[RedisNode]:
        return [_node(member) for member in self._nodes.members()]

    def lanes(self, now_ms: int) -> tuple[Lanes, Seals]:
        states = self._of_all(lambda lane: ("GETRANGE", lane_state(lane), 0, 0))
        opened = self._of_all(lambda lane: ("ZCARD", lane_due(lane)))
        due = self._of_all(lambda lane: ("ZCOUNT", lane_due(lane), "-inf", now_ms))
        first = self._of_all(lambda lane: ("ZRANGE", lane_due(lane), 0, 0, "WITHSCORES"))
        oldest_ms = min((float(entry[1]) for entry in first if entry), default=float(now_ms))
        whole, unset = states.count(WHOLE), states.count(b"")
        waiting_s = int((now_ms - oldest_ms) / 1000)
        return (
            Lanes(whole, LANES - whole - unset, unset),
            Seals(sum(opened), sum(due), waiting_s if waiting_s > 0 else None),
        )

    def cache(self) -> Cache:
        counts = checked(self._nodes.run([Command(0, ("HMGET", CACHE_COUNTS, "hits", "misses"))])[0])
        return Cache(*(int(number or 0) for number in counts))

    def _of_all(self, command: Callable[[int], tuple[str | int, ...]]) -> list[Reply]:
        return [checked(reply) for reply in self._nodes.run([Command(lane, command(lane)) for lane in range(LANES)])]


def _node(member: Member) -> RedisNode:
    memory = member.memory
    return RedisNode(
        node=member.name,
        role="master" if "master" in member.flags else "replica",
        is_healthy=memory is not None and not member.flags & FAILING,
        slots=member.slots,
        replicas=member.replicas,
        used_bytes=None if memory is None else int(memory["used_memory"]),
        max_bytes=None if memory is None else int(memory.get("maxmemory", 0)),
    )
