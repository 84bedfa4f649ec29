"""Figures of every node of a Redis cluster, all nodes at the same time."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from redis import RedisError

from carbyne.adapters.redis.view import Account, Client, Info, View, parse_info, topology
from carbyne.cluster.figures import Figures, figures
from carbyne.cluster.probe import MASTER, REPLICA, Reading
from carbyne.cluster.topology import Node


class RedisNodes:
    """A ``probe.ProbedNodes``."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._threads = ThreadPoolExecutor(16)

    def readings(self) -> list[Reading]:
        """RetryableError if no node answers."""
        accounts = self._view.accounts()
        now = topology(accounts)
        shards = {shard.master.id: number for number, shard in enumerate(now.shards, start=1) if shard.master.slots}
        asked = self._threads.map(lambda node: self._figures(node, accounts[node.id]), now.nodes)
        return [
            Reading(
                node.name, MASTER if node.is_master else REPLICA, shards.get(node.master_id or node.id, 0), node_figures
            )
            for node, node_figures in zip(now.nodes, asked, strict=True)
        ]

    def _figures(self, node: Node, account: Account | None) -> Figures | None:
        if account is None:
            return None
        client = self._view.client(node.host, node.port)
        try:
            cluster = client.cluster("INFO")
        except (RedisError, OSError):
            return None
        return figures(
            time.time(), {**account.info, **_latencies(client)}, cluster, _events(client), len(node.slots), node.lanes
        )


def _latencies(client: Client) -> Info:
    """Percentiles of commands, which INFO gives only when asked for them; none from a server that has none."""
    try:
        return parse_info(client.execute_command("INFO", "latencystats"))
    except (RedisError, OSError):
        return {}


def _events(client: Client) -> Mapping[str, float]:
    """event -> ms of its latest; none where the monitoring of latency is off or not permitted."""
    try:
        return {str(name): float(latest_ms) for name, _, latest_ms, _, *_ in client.execute_command("LATENCY LATEST")}
    except (RedisError, OSError):
        return {}
