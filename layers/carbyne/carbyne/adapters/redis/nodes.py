"""Commands to the masters of a Redis Cluster, pipelined per node; WAIT speaks for the writes before it.

redis-py's own cluster pipeline follows a redirect on its own, and the WAIT that was sent to the first node would then
vouch for a write that another node took.  So the calls go over the client's plain node connections, and a call counts
only together with the WAIT behind it on the same connection.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

from redis import exceptions
from redis.cluster import ClusterNode, RedisCluster

from carbyne.adapters.redis.acknowledgements import Acknowledgements
from carbyne.adapters.redis.commands import REROUTED, Command, Reply, as_lost, final
from carbyne.adapters.redis.replication import Followed, Replication, RequiredReplicas, followed_of, replication_of
from carbyne.cluster.topology import slots_of_lanes
from carbyne.core.errors import RetryableError
from carbyne.core.limits import LANES, REDIS_BUDGET_S

_log = logging.getLogger(__name__)

RETRY_PAUSE_S = 0.1
SILENT = (exceptions.ConnectionError, exceptions.TimeoutError)
UNREACHABLE = (exceptions.RedisError, exceptions.RedisClusterException, OSError, IndexError)
"""What redis-py raises when it can't learn the topology: two families, and IndexError for a node without a cluster."""


class MasterMemory(NamedTuple):
    """The lanes that a master serves, the bytes that it uses, and its maxmemory, 0 for none."""

    lanes: frozenset[int]
    used_bytes: int
    max_bytes: int

    @property
    def fill(self) -> float:
        """Used memory as a part of maxmemory, 0 where there is none."""
        return self.used_bytes / self.max_bytes if self.max_bytes else 0.0


class Member(NamedTuple):
    """A node: ``name`` is host:port, ``flags`` those of CLUSTER NODES, ``memory`` its INFO, None without an answer."""

    name: str
    flags: frozenset[str]
    slots: int
    replicas: int
    memory: Mapping[str, Any] | None


class Nodes:
    """Runs calls on the masters that serve their lanes.

    ``endpoint``: (host, port) that leads to the cluster even when every node known so far is gone.  ``monotonic`` and
    ``sleep`` in seconds.  ``alone`` and ``followers``: see ``Acknowledgements``.
    """

    def __init__(
        self,
        client: RedisCluster,
        endpoint: tuple[str, int],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        alone: Callable[[int], None] = lambda _: None,
        followers: RequiredReplicas | None = None,
    ) -> None:
        self._client = cast(Any, client)  # redis-py's methods are only half typed
        self._monotonic = monotonic
        self._sleep = sleep
        self._endpoint = endpoint
        self._slots = slots_of_lanes()
        self._threads = ThreadPoolExecutor(max_workers=16)
        self._acknowledgements = Acknowledgements(self._client, alone, followers)

    def run(self, calls: Sequence[Command], *, replicated: bool = False) -> list[Reply]:
        """The reply of each call, in order; a call that failed until the budget was spent has a RetryableError.

        ``replicated``: a call counts only when the replicas that must have it do, or are struck out of the note.
        """
        replies: list[Reply] = [None] * len(calls)
        open_calls = list(range(len(calls)))
        end_s = self._monotonic() + REDIS_BUDGET_S
        while open_calls:
            silent = self._round(calls, open_calls, replies, replicated)
            open_calls = [i for i in open_calls if isinstance(replies[i], REROUTED)]
            if not open_calls or self._monotonic() + RETRY_PAUSE_S > end_s:
                break
            self._sleep(RETRY_PAUSE_S)
            self._refresh(silent)
            if self._monotonic() > end_s:  # nodes that hang made even the question long
                break
        return [final(reply) for reply in replies]

    def shards(self) -> list[MasterMemory]:
        """Every master; RetryableError if one can't be asked."""
        by_node: dict[ClusterNode, set[int]] = {node: set() for node in self._client.get_primaries()}
        for lane in range(LANES):
            if node := self._master_of(lane):
                by_node.setdefault(node, set()).add(lane)
        try:
            return [self._shard(node, lanes) for node, lanes in by_node.items()]
        except UNREACHABLE as error:
            raise RetryableError(f"Redis memory: {error}") from error

    def fill(self) -> float:
        """The fill of the fullest master; RetryableError if one can't be asked."""
        return max((shard.fill for shard in self.shards()), default=0.0)

    def _shard(self, node: ClusterNode, lanes: set[int]) -> MasterMemory:
        memory = self._client.get_redis_connection(node).info("memory")
        return MasterMemory(frozenset(lanes), int(memory["used_memory"]), int(memory.get("maxmemory", 0)))

    def members(self) -> list[Member]:
        """Every node of the cluster, as the first that answers sees them; RetryableError if none does."""
        self._refresh(None)
        nodes = {node.name: node for node in [*self._client.get_primaries(), *self._client.get_nodes()]}
        table = next(filter(None, (self._asked(node, "CLUSTER NODES") for node in nodes.values())), None)
        if table is None:
            raise RetryableError("no node of the Redis cluster answers")
        replicas = Counter(entry["master_id"] for entry in table.values())
        return [
            Member(
                name=name,
                flags=frozenset(entry["flags"].split(",")),
                slots=sum(int(slots[-1]) - int(slots[0]) + 1 for slots in entry["slots"]),
                replicas=replicas[entry["node_id"]],
                # The client's topology leaves out a replica that is copying: it is asked at its address.
                memory=self._asked(nodes.get(name) or _node_at(name), "INFO", "memory"),
            )
            for name, entry in sorted(table.items())
        ]

    def _asked(self, node: ClusterNode, *command: str) -> Any:  # noqa: ANN401 - redis-py's form of the reply
        """The reply of one node, None if it does not answer."""
        try:
            return self._client.get_redis_connection(node).execute_command(*command)
        except (exceptions.RedisError, OSError):
            return None

    def masters(self) -> dict[int, Replication]:
        """The master of each lane; lanes of a node that does not answer, or is none now, are left out."""
        self._refresh(None)
        by_node: dict[ClusterNode, list[int]] = {}
        for lane in range(LANES):
            if node := self._master_of(lane):
                by_node.setdefault(node, []).append(lane)
        by_master = {node: self._replication(node) for node in by_node}
        return {lane: master for node, lanes in by_node.items() if (master := by_master[node]) for lane in lanes}

    def close(self) -> None:
        """Close the threads and the connections."""
        self._threads.shutdown()
        self._client.close()

    def _round(
        self, calls: Sequence[Command], numbers: list[int], replies: list[Reply], replicated: bool
    ) -> str | None:
        """Try the calls of these numbers once, all nodes at the same time; the name of a node that did not answer."""
        by_node: dict[ClusterNode, list[int]] = {}
        for number in numbers:
            if node := self._master_of(calls[number].lane):
                by_node.setdefault(node, []).append(number)
            else:
                replies[number] = exceptions.ClusterDownError(f"no node serves the slot of lane {calls[number].lane}")
        jobs = [(node, [calls[i] for i in mine], replicated) for node, mine in by_node.items()]
        # A thread for a single node would cost more than what is asked of it.
        each = self._threads.map if len(jobs) > 1 else map
        for mine, got in zip(by_node.values(), each(lambda job: self._on_node(*job), jobs), strict=True):
            for number, reply in zip(mine, got, strict=True):
                replies[number] = reply
        return next((node.name for node, mine in by_node.items() if isinstance(replies[mine[0]], SILENT)), None)

    def _master_of(self, lane: int) -> ClusterNode | None:
        """By the topology that is known; None if no node serves the lane.  A look at every lane asks 1,024 times, and
        the client's own method takes thirty times as long."""
        serving = self._client.nodes_manager.slots_cache.get(self._slots[lane])
        return serving[0] if serving else None

    def _on_node(self, node: ClusterNode, calls: list[Command], replicated: bool) -> list[Reply]:
        replies = self._pipeline(node, calls, replicated)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
        if unknown:  # the node is new, or its scripts were flushed
            loads = {("SCRIPT LOAD", script.text) for i in unknown if (script := calls[i].script)}
            again = self._pipeline(node, [calls[i] for i in unknown], replicated, before=loads)
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        return [self._ask(call, reply, replicated) for call, reply in zip(calls, replies, strict=True)]

    def _ask(self, call: Command, reply: Reply, replicated: bool) -> Reply:
        """The reply, or if it is ASK that of the node which imports the slot."""
        if not isinstance(reply, exceptions.AskError) or isinstance(reply, exceptions.MovedError):
            return reply  # MOVED, redis-py's subclass of ASK, is for the next round, which knows the new topology
        node = self._client.get_node(host=reply.host, port=reply.port)
        if node is None:
            return exceptions.TryAgainError(f"unknown node: {reply}")
        loads = [("SCRIPT LOAD", call.script.text)] if call.script else []
        return self._pipeline(node, [call], replicated, before=[*loads, ("ASKING",)])[0]

    def _pipeline(
        self, node: ClusterNode, calls: list[Command], replicated: bool, before: Iterable[tuple[str, ...]] = ()
    ) -> list[Reply]:
        pipe = self._client.get_redis_connection(node).pipeline(transaction=False)
        first = len([pipe.execute_command(*command) for command in before])
        for call in calls:
            pipe.execute_command(*call.words)
        behind = self._acknowledgements.behind(node) if replicated else []
        for command in behind:
            pipe.execute_command(*command)
        try:
            replies: list[Reply] = pipe.execute(raise_on_error=False)[first:]
        except (exceptions.RedisError, OSError) as error:
            return [as_lost(error)] * len(calls)
        told: list[Reply] = replies[len(calls) :]
        replies = replies[: len(calls)]
        if not replicated:
            return replies
        return self._acknowledgements.counted(node, calls[-1], replies, told)

    def _info(self, node: ClusterNode) -> dict[str, Any] | None:
        """All that a node says of itself, None if it does not answer."""
        try:
            info: dict[str, Any] = self._client.get_redis_connection(node).info()
        except (exceptions.RedisError, OSError) as error:
            _log.warning("%s does not tell whose replication it has: %s", node.name, error)
            return None
        return info

    def _replication(self, node: ClusterNode) -> Replication | None:
        info = self._info(node)
        return replication_of(info) if info else None

    def followers(self, names: Collection[str]) -> dict[str, Followed]:
        """What the replicas with these names say of themselves; without those that do not answer, or are unknown."""
        nodes = [
            self._client.get_node(host=host, port=int(port)) for host, _, port in (n.rpartition(":") for n in names)
        ]
        infos = {name: self._info(node) for name, node in zip(names, nodes, strict=True) if node}
        return {name: followed for name, info in infos.items() if info and (followed := followed_of(info))}

    def _refresh(self, silent: str | None) -> None:
        """Learn the topology again: from a known node, last of them the ``silent`` one, else from the endpoint."""
        try:
            self._client.nodes_manager.initialize([self._endpoint], last_failed_node_name=silent)
        except UNREACHABLE as error:
            _log.warning("no node tells the topology of the Redis cluster: %s", error)


def _node_at(name: str) -> ClusterNode:
    host, _, port = name.rpartition(":")
    return ClusterNode(host, int(port))  # type: ignore[no-untyped-call]
