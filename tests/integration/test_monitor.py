"""The store watches its Redis: a real cluster's figures through probe, monitor, stream, ingester and reader."""

import json
import signal
import time
from uuid import uuid4

import pytest
from carbyne.adapters.redis.probe import RedisNodes
from carbyne.adapters.redis.view import View
from carbyne.cluster.figures import PREFIX
from carbyne.cluster.probe import Probe
from carbyne.core.limits import REDIS_TIMEOUT_S
from carbyne.core.meter import Meter
from carbyne.core.names import OPERATOR
from carbyne.monitor.monitor import Monitor
from carbyne.registry import hosts, metadata
from carbyne.registry.store import Registry
from carbyne.wiring.redis import one_node

from harness.pipeline import Pipeline, load_app, replica_of, with_role
from tests.support.registry_store import MemoryStore

NOW_S = 1_700_000_000 // 60 * 60
APPS = {function: load_app(function) for function in ("probe", "monitor")}


class Watched(Pipeline):
    """The pipeline with probe and monitor, which write into its stream; ``minute`` is one turn of theirs."""

    def __init__(self, cluster):
        super().__init__(cluster, NOW_S, tenants={"secret": "acme", "operator": OPERATOR})
        host, _, port = self.endpoint.rpartition(":")
        self.view = View(one_node(False, None, REDIS_TIMEOUT_S), (host, int(port)))
        self.measured = {}
        self.probe = Probe(RedisNodes(self.view), Meter(time.monotonic, self.measured.update))
        self.registry = Registry(MemoryStore(), lambda: self.now_s, lambda: uuid4().hex, self._put)
        self.monitor = Monitor(self.registry, lambda: None)

    def _put(self, entries):
        assert self.stream.put(entries) == []

    def minute(self):
        self.now_s += 60
        first = len(self.stream.records)
        answer = self.probe.run(self.now_s)
        assert APPS["monitor"].handle({"responsePayload": answer}, lambda: self.monitor)["samples"] > 100
        self.deliver(self.stream.records[first:])

    def host_of(self, node):
        [named] = [
            host for host in hosts.everyone(self.registry.store, OPERATOR) if host.name == f"127.0.0.1:{node.port}"
        ]
        return named.id

    def value(self, node, name):
        """(time, value) of the last sample of a node's metric."""
        status, _, points = self.get_metric(self.host_of(node), f"{PREFIX}.{name}", api_key="operator")
        assert status == 200, points
        return points[-1]

    def stop(self):
        self.view.close()
        self.close()


@pytest.fixture
def watched(cluster):
    running = Watched(cluster)
    yield running
    running.stop()


def test_figures_of_every_node_can_be_read_by_the_operators_key(watched, cluster):
    watched.minute()
    before = {node: int(said(node, "stats")["total_commands_processed"]) for node in cluster.nodes}
    watched.minute()
    for node in cluster.nodes:
        assert watched.value(node, "cluster.cluster_known_nodes") == (watched.now_s, len(cluster.nodes))
        assert watched.value(node, "cluster_state.cluster_state")[1] == 1
        assert watched.value(node, "memory.used_memory")[1] == pytest.approx(memory_of(node), rel=0.2)
        after = int(said(node, "stats")["total_commands_processed"])
        assert watched.value(node, "queries.total_commands_processed")[1] > 0, (before[node], after)
    masters = with_role(cluster, "master")
    assert sum(watched.value(node, "spread.lanes")[1] for node in masters) == 1024
    assert sum(watched.value(node, "spread.slots")[1] for node in masters) == 16_384
    shards = set()
    for node in masters:
        assert watched.value(node, "offset_delay.slave0_offset_delay")[1] >= 0
        owner = ("host", watched.host_of(node))
        shard = json.loads(bytes(metadata.get(watched.registry, OPERATOR, owner, "redis").data))["shard"]
        shards.add(shard)
        replica = watched.host_of(replica_of(cluster, node))
        document = bytes(metadata.get(watched.registry, OPERATOR, ("host", replica), "redis").data)
        assert json.loads(document) == {"role": "replica", "shard": shard}
    assert shards == {1, 2, 3}
    status, _, _ = watched.get_metric(watched.host_of(masters[0]), f"{PREFIX}.memory.used_memory", api_key="secret")
    assert status == 404, "other tenants see nothing of it"


def said(node, section):
    return dict(line.split(":", 1) for line in node.ask("INFO", section).split("\r\n") if ":" in line)


def memory_of(node):
    return int(said(node, "memory")["used_memory"])


def test_it_goes_on_when_a_node_is_away(watched, cluster):
    watched.minute()
    assert watched.measured["RedisNodesAway"] == 0
    paused = replica_of(cluster, with_role(cluster, "master")[0])
    paused.process.send_signal(signal.SIGSTOP)
    try:
        watched.measured.clear()
        watched.probe._meter._due_s = 0
        watched.minute()
    finally:
        paused.process.send_signal(signal.SIGCONT)
    cluster.wait_until_ok()
    assert watched.measured["RedisNodesAway"] == 1
    at_s, _ = watched.value(paused, "memory.used_memory")
    assert at_s == watched.now_s - 60, "of this one the last sample is older"
    others = [node for node in cluster.nodes if node is not paused]
    assert all(watched.value(node, "memory.used_memory")[0] == watched.now_s for node in others)
