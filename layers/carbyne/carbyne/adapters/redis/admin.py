"""Carries out the steps of a plan on a Redis cluster, and waits until every node has seen each.

Every step first looks at what is done already, so it can be repeated after any interruption.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

from redis import RedisError, ResponseError
from redis.credentials import CredentialProvider

from carbyne.adapters.redis.slots import SlotMoves, Told
from carbyne.adapters.redis.view import Client, Info, View, ip_of, parse_info
from carbyne.cluster.steps import Await, Follow, Forget, Meet, Move, Own, Promote, Settle, Step
from carbyne.cluster.topology import Newcomer, Node, Topology, address, lanes_in, lanes_of, spans
from carbyne.core.errors import RetryableError
from carbyne.core.limits import FAILOVER_PAUSE_MS, REDIS_STEP_S, REDIS_SYNC_S

_PAUSE_S: Final = 0.1
_ID: Final = re.compile(r"\b[0-9a-f]{40}\b")


class HandoverNotes(Protocol):
    """Where planned changes of masters are noted, so that no reader takes them for a loss; ids are of replications."""

    def opened(self, before: str, lanes: Iterable[int]) -> None: ...
    def proven(self, before: str, after: str, lanes: Iterable[int]) -> None: ...


class Admin:
    """``view``: the clients of all nodes; ``login``: as they have it; ``monotonic`` and ``sleep`` in seconds."""

    def __init__(
        self,
        view: View,
        login: CredentialProvider | None,
        handovers: HandoverNotes,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._view = view
        self._slots = SlotMoves(self._client, login, sleep)
        self._handovers = handovers
        self._monotonic = monotonic
        self._sleep = sleep

    def look(self) -> Topology:
        """The cluster as it is now."""
        return self._view.look()

    def agreed(self) -> Topology:
        """The cluster once all of its nodes agree what it is; RetryableError if they don't in time."""
        self._until("the nodes agree on who serves what", lambda: self.look().agreed)
        return self.look()

    def newcomer(self, host: str, port: int) -> Newcomer:
        """A server that is to join; RetryableError if it does not answer."""
        return self._view.newcomer(host, port)

    def do(self, step: Step, progress: Told) -> None:
        """Carry out one step; RetryableError, which names nodes by host:port, if it fails or does not end in time."""
        now = self.look()
        try:
            match step:
                case Meet():
                    self._meet(now, step)
                case Own():
                    self._own(now, step)
                case Follow():
                    self._follow(step, progress)
                case Move():
                    self._move(now, step, progress)
                case Settle():
                    self._settle(now, step)
                case Await():
                    self._slots.await_others(self._of(now, step.node), progress)
                case Promote():
                    self._promote(now, step)
                case Forget():
                    self._forget(now, step)
        except (RedisError, OSError) as error:
            raise RetryableError(f"{step}: {plainly(str(error), now)}") from error

    def _meet(self, now: Topology, step: Meet) -> None:
        for name in step.nodes:
            host, port = address(name)
            bus = self._view.client(host, port).config_get("cluster-port").get("cluster-port", "0")
            self._of(now, step.by).cluster("MEET", ip_of(host), port, *([int(bus)] if int(bus) else []))

        def known() -> bool:
            topology = self.look()
            return topology.agreed and all(map(topology.find, step.nodes))

        self._until(f"all nodes know {', '.join(step.nodes)}", known)

    def _own(self, now: Topology, step: Own) -> None:
        node = now.find(step.node)
        client = self._of(now, step.node)
        missing = [slot for slot in step.slots if node is None or slot not in node.slots]
        if node is None or len(now.nodes) == 1:
            with suppress(ResponseError):  # taken only while a node is alone; without one, nodes settle it in seconds
                client.cluster("SET-CONFIG-EPOCH", min(step.slots) + 1)
        client.cluster("ADDSLOTSRANGE", *(edge for span in spans(missing) for edge in span))
        self._until("all nodes know who serves the slots", lambda: self.look().agreed)

    def _follow(self, step: Follow, progress: Told) -> None:
        def both() -> tuple[Node | None, Node | None]:
            topology = self.look()
            return topology.find(step.node), topology.find(step.master)

        self._until(f"{step.node} and {step.master} know each other", lambda: all(both()) and self.look().agreed)
        node, master = both()
        assert node and master
        client = self._client(node)
        if node.master_id != master.id:
            client.cluster("REPLICATE", master.id)
        self._until_copied(client, step, progress)
        self._until("all nodes know the new replica", lambda: self.look().agreed)

    def _until_copied(self, client: Client, step: Follow, progress: Told) -> None:
        """A large master takes long: it is given up only when nothing moves for REDIS_SYNC_S."""
        end_s, before = self._monotonic() + REDIS_SYNC_S, ""
        while (info := parse_info(client.execute_command("INFO"))).get("master_link_status") != "up":
            now = info.get("master_sync_read_bytes", "") + info.get("loading_loaded_bytes", "")
            if now != before:
                end_s, before = self._monotonic() + REDIS_SYNC_S, now
                left = int(info.get("master_sync_left_bytes", -1))
                progress(f"{step.node} copies {step.master}" + (f": {left:,} bytes are left" if left > 0 else ""))
            if self._monotonic() > end_s:
                raise RetryableError(f"{step.node} does not copy {step.master}: nothing came for {REDIS_SYNC_S:.0f} s")
            self._sleep(_PAUSE_S)

    def _move(self, now: Topology, step: Move, progress: Told) -> None:
        source, target = self._node(now, step.source), self._node(now, step.target)
        slots = [slot for slot in step.slots if slot in source.slots]
        self._slots.await_others(self._client(source), progress)
        self._until(f"{step.target} takes part", lambda: self._is_ready(self._client(target)))
        before, after = (self._replication(self._client(node))["master_replid"] for node in (source, target))
        self._handovers.proven(before, after, lanes_of(slots))
        has_atomic = self._slots.is_atomic(source) and self._slots.is_atomic(target)
        moves = self._slots.atomic if has_atomic else self._slots.by_key
        is_open = {opened.slot for node in (source, target) for opened in node.open_slots}
        if is_open & set(slots):
            moves = self._slots.by_key  # begun so, to be ended so
        done = 0
        for part in moves(now, source, target, slots):
            done += len(part)
            progress(f"{done:,} of {len(slots):,} slots, {lanes_in(slots[:done]):,} of {lanes_in(slots):,} lanes")
        self._until("all nodes know where the slots are", lambda: self.look().agreed)

    @staticmethod
    def _is_ready(client: Client) -> bool:
        """Whether a node serves its cluster, which a new one does after some seconds."""
        return bool(client.cluster("INFO")["cluster_state"] == "ok")

    def _settle(self, now: Topology, step: Settle) -> None:
        client = self._of(now, step.node)
        for slot in step.slots:
            client.cluster("SETSLOT", slot, "STABLE")

    def _promote(self, now: Topology, step: Promote) -> None:
        """The server's own planned failover, while the master holds writes: so it shows whether the successor has all
        that was acknowledged before."""
        node, master = self._node(now, step.node), self._node(now, step.master)
        client, old = self._client(node), self._client(master)
        old.execute_command("CLIENT PAUSE", FAILOVER_PAUSE_MS, "WRITE")
        end_s = self._monotonic() + FAILOVER_PAUSE_MS / 1000
        try:
            before = self._replication(old)
            self._handovers.opened(before["master_replid"], lanes_of(master.slots))
            client.cluster("FAILOVER")
            self._until(f"{step.node} takes over", lambda: self._replication(client)["role"] == "master")
            after = self._replication(client)
            in_time = self._monotonic() < end_s  # else writes may have been acknowledged after the look at the offset
        finally:
            with suppress(RedisError, OSError):
                old.execute_command("CLIENT UNPAUSE")
        if in_time and has_all(before, after):
            self._handovers.proven(before["master_replid"], after["master_replid"], lanes_of(master.slots))

        def done() -> bool:
            topology = self.look()
            heir, left = topology.find(step.node), topology.find(step.master)
            followed = left and heir and left.master_id == heir.id and left.figures
            return bool(heir and heir.is_master and followed and followed.link_up and topology.agreed)

        self._until(f"{step.master} follows {step.node}", done)

    @staticmethod
    def _replication(client: Client) -> Info:
        return parse_info(client.execute_command("INFO", "replication"))

    def _forget(self, now: Topology, step: Forget) -> None:
        node = self._node(now, step.node)
        if node.alive and node.slots:  # it took over since the plan was made
            raise RetryableError(f"{step.node} serves slots now, which would be lost with it: see status")
        self._view.leave_out((node.host, node.port))
        for other in now.nodes:
            if other.id != node.id and other.figures:
                self._forget_at(other, node)
        if node.figures:
            self._client(node).cluster("RESET", "HARD")
        self._until(f"all nodes forget {step.node}", lambda: self.look().find(step.node) is None)

    def _forget_at(self, other: Node, node: Node) -> None:
        try:
            self._client(other).cluster("FORGET", node.id)
        except ResponseError as error:
            if "unknown node" not in str(error).lower():
                raise

    def _of(self, now: Topology, name: str) -> Client:
        """The client of a node of the cluster, or of one that is to join."""
        node = now.find(name)
        return self._client(node) if node else self._view.client(*address(name))

    def _client(self, node: Node) -> Client:
        return self._view.client(node.host, node.port)

    def _node(self, now: Topology, name: str) -> Node:
        if (node := now.find(name)) is None:
            raise RetryableError(f"{name} has left the cluster meanwhile")
        return node

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        end_s = self._monotonic() + REDIS_STEP_S
        while not condition():
            if self._monotonic() > end_s:
                raise RetryableError(f"it takes over {REDIS_STEP_S:.0f} s until {what}: see status, then try again")
            self._sleep(_PAUSE_S)


def has_all(before: Info, after: Info) -> bool:
    """Whether a new master took over all that the old one's replication had when it told ``before``."""
    followed = after["master_replid2"] == before["master_replid"]
    return followed and int(after["second_repl_offset"]) > int(before["master_repl_offset"])


def plainly(text: str, now: Topology) -> str:
    """A server's message with names of nodes in the place of ids."""

    def name(match: re.Match[str]) -> str:
        node = now.by_id(match[0])
        return node.name if node else "a node"

    return _ID.sub(name, text)
