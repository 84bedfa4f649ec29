"""Figures of Redis nodes: INFO into metrics by the rules of mackerel-plugin-redis, the probe's answer, its samples."""

import json
from collections import Counter

import pytest
from carbyne.cluster.figures import FIGURES, GAP_S_MAX, PREFIX, Figures, figures, metrics
from carbyne.cluster.probe import Probe, Reading
from carbyne.core.errors import InvariantError, RetryableError
from carbyne.core.limits import PROBE_NODES_MAX
from carbyne.core.names import OPERATOR
from carbyne.monitor.monitor import ROLE, SPACE, Monitor, definitions
from carbyne.registry import graphs, hosts, metadata
from carbyne.registry.store import Registry
from carbyne.stream import records

from tests.support.registry_store import MemoryStore

NOW_S = 1_700_000_045
INFO = {
    "role": "master",
    "used_memory": "3000000",
    "used_memory_rss": "4000000",
    "maxmemory": "12000000",
    "maxclients": "10000",
    "connected_clients": "25",
    "total_commands_processed": "1000",
    "expired_keys": "7",
    "evicted_keys": "0",
    "master_repl_offset": "500",
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=470,lag=1",
    "slave1": "ip=10.0.0.3,port=6379,state=online,offset=500,lag=0,type=replica",
    "db0": "keys=12,expires=3,avg_ttl=0,keys_with_volatile_items=0",
    "latest_fork_usec": "2500",
    "used_cpu_sys_main_thread": "1.0",
    "used_cpu_user_main_thread": "2.0",
    "latency_percentiles_usec_evalsha": "p50=100.5,p99=2000.0,p99.9=2500.0",
    "redis_version": "7.0.15",
    "uptime_in_seconds": "100",
}
CLUSTER = {"cluster_state": "ok", "cluster_known_nodes": "6", "cluster_stats_messages_ping_sent": "10"}


def figures_of(at_s=NOW_S, cluster=CLUSTER, **changed):
    return figures(at_s, INFO | changed, cluster, {"fork": 3.0, "command": 12.0}, 5461, 341)


def test_what_a_node_says_has_the_plugins_names():
    values = metrics(figures_of(), None)
    assert values[f"{PREFIX}.memory.used_memory"] == 3_000_000
    assert values[f"{PREFIX}.capacity.percentage_of_memory"] == 25
    assert values[f"{PREFIX}.capacity.percentage_of_clients"] == 0.25
    assert values[f"{PREFIX}.keys.keys"] == 12 and values[f"{PREFIX}.keys.expires"] == 3
    assert values[f"{PREFIX}.offset_delay.slave0_offset_delay"] == 30
    assert values[f"{PREFIX}.offset_delay.slave1_offset_delay"] == 0
    assert values[f"{PREFIX}.lag.slave0_lag"] == 1
    assert values[f"{PREFIX}.cluster_state.cluster_state"] == 1 and values[f"{PREFIX}.uptime.uptime_in_seconds"] == 100
    assert values[f"{PREFIX}.latency.evalsha_p99_9"] == 2.5 and values[f"{PREFIX}.fork.latest_fork_ms"] == 2.5
    assert values[f"{PREFIX}.latency_events.worst_ms"] == 12
    assert values[f"{PREFIX}.spread.lanes"] == 341 and values[f"{PREFIX}.spread.slots"] == 5461


def test_counters_are_changes_per_minute():
    before, after = figures_of(), figures_of(NOW_S + 30, total_commands_processed="1500", expired_keys="8")
    assert f"{PREFIX}.queries.total_commands_processed" not in metrics(before, None), "no change is known yet"
    values = metrics(after, before)
    assert values[f"{PREFIX}.queries.total_commands_processed"] == 1000
    assert values[f"{PREFIX}.keys.expired"] == 2
    assert values[f"{PREFIX}.cluster_stats.cluster_stats_messages_ping_sent"] == 0


@pytest.mark.parametrize(("later_s", "count"), [(60, "999"), (GAP_S_MAX + 1, "5000"), (0, "5000")])
def test_a_counter_that_went_back_or_a_long_gap_is_no_change(later_s, count):
    """A restart; an instance that slept; the same look twice."""
    values = metrics(figures_of(NOW_S + later_s, total_commands_processed=count), figures_of())
    assert f"{PREFIX}.queries.total_commands_processed" not in values
    assert f"{PREFIX}.memory.used_memory" in values


def test_the_main_threads_part_of_a_core():
    busy = {"used_cpu_sys_main_thread": "10", "used_cpu_user_main_thread": "23"}
    values = metrics(figures_of(NOW_S + 60, **busy), figures_of())
    assert values[f"{PREFIX}.cpu.main_thread_percentage"] == 50


def test_a_node_that_tells_little_is_drawn_as_far_as_it_goes():
    """ElastiCache leaves lines out; nothing is made up for them."""
    values = metrics(figures(NOW_S, {"used_memory": "5", "redis_version": "7"}, {}, {}, 0, 0), None)
    assert values[f"{PREFIX}.memory.used_memory"] == 5 and f"{PREFIX}.clients.connected_clients" not in values
    assert f"{PREFIX}.capacity.percentage_of_clients" not in values
    assert values[f"{PREFIX}.capacity.percentage_of_memory"] == 0, "no limit, as the plugin has it"


class ProbedNodes:
    """``probe.ProbedNodes`` of given readings."""

    def __init__(self, *readings):
        self.readings_now = readings

    def readings(self):
        if not self.readings_now:
            raise RetryableError("no node answers")
        return self.readings_now


class Meter:
    def __init__(self):
        self.peaks, self.flushed = {}, 0

    def peak(self, name, amount):
        self.peaks[name] = amount

    def flush_due(self):
        self.flushed += 1


def reading(name="10.0.0.1:6379", role="master", shard=1, at_s=NOW_S, **changed):
    return Reading(name, role, shard, figures_of(at_s, **changed))


AWAY = Reading("10.0.0.2:6379", "replica", 1, None)


def test_the_probe_tells_all_nodes_and_measures_the_worst():
    nodes, meter = ProbedNodes(reading(), AWAY, reading("10.0.0.3:6379", shard=2, maxmemory="3000000")), Meter()
    probe = Probe(nodes, meter)
    answer = json.loads(json.dumps(probe.run(NOW_S)))
    assert [node[:4] for node in answer["nodes"]] == [
        ["10.0.0.1:6379", "master", 1, False],
        ["10.0.0.2:6379", "replica", 1, True],
        ["10.0.0.3:6379", "master", 2, False],
    ]
    assert set(answer["nodes"][1][4]) == {None}
    assert meter.peaks["RedisNodesAway"] == 1 and meter.peaks["RedisMemoryPercent"] == 100
    assert meter.peaks["RedisDelaySeconds"] == 1 and meter.flushed == 1
    assert meter.peaks["RedisBusyPercent"] == 0, "told, though not known yet: silence means that the probe does not run"
    later = [reading(at_s=NOW_S + 60, used_cpu_user_main_thread="20"), AWAY]
    nodes.readings_now = [*later, reading("10.0.0.3:6379", at_s=NOW_S + 60, shard=2)]
    answer = probe.run(NOW_S + 60)
    assert meter.peaks["RedisBusyPercent"] == 30
    assert f"{PREFIX}.queries.total_commands_processed" in answer["names"]


def test_a_replica_that_lost_its_master_is_behind():
    meter = Meter()
    lost = reading(role="replica", master_link_status="down", master_link_down_since_seconds="44", slave0="", slave1="")
    Probe(ProbedNodes(lost), meter).run(NOW_S)
    assert meter.peaks["RedisDelaySeconds"] == 44


def test_the_answer_fits_what_lambda_hands_over():
    nodes = [reading(f"node-{at}.some-cache.abcdef.use1.cache.amazonaws.com:6379") for at in range(PROBE_NODES_MAX + 3)]
    meter = Meter()
    answer = Probe(ProbedNodes(*nodes), meter).run(NOW_S)
    assert len(answer["nodes"]) == PROBE_NODES_MAX and meter.peaks["RedisNodesUnwatched"] == 3
    full = {**answer, "nodes": [[*node[:4], [123456789.125] * 90] for node in answer["nodes"]]}
    assert len(json.dumps(full, separators=(",", ":"))) < 1_000_000


def test_no_node_is_an_error():
    with pytest.raises(RetryableError):
        Probe(ProbedNodes(), Meter()).run(NOW_S)


class World:
    """A monitor with its registry in memory; ``put`` holds the stream."""

    def __init__(self):
        self.store, self.put, self.tenants, self.ids = MemoryStore(), [], Counter(), iter(range(1000))
        registry = Registry(self.store, lambda: NOW_S, lambda: f"h{next(self.ids)}", self.put.extend)
        self.registry = registry
        self.monitor = Monitor(registry, lambda: self.tenants.update([OPERATOR]))

    def take(self, *readings, at_s=NOW_S):
        return self.monitor.take(json.loads(json.dumps(Probe(ProbedNodes(*readings), Meter()).run(at_s))))

    def rows(self):
        for _, data in self.put:
            record = records.decode(data)
            assert record.tenant == OPERATOR
            yield from record.rows

    def names(self):
        return {host.name: host.id for host in hosts.everyone(self.store, OPERATOR)}


def test_each_node_is_a_host_of_the_operators_tenant():
    world = World()
    assert world.take(reading(), AWAY) > 20
    assert world.names() == {"10.0.0.1:6379": "h0", "10.0.0.2:6379": "h1"}
    host = hosts.get(world.store, OPERATOR, "h0")
    assert host.roles == {"redis": ["nodes"]} and ROLE == "redis:nodes"
    document = metadata.get(world.registry, OPERATOR, ("host", "h0"), SPACE)
    assert json.loads(bytes(document.data)) == {"role": "master", "shard": 1}
    [row] = world.rows()
    assert (row.source, row.ts_ms) == ("host/h0", NOW_S // 60 * 60_000), "one that is away has no sample"
    assert world.tenants == {OPERATOR: 1}


def test_a_second_minute_and_another_instance_make_nothing_twice():
    world = World()
    world.take(reading(), AWAY)
    written = dict(world.store.table)
    world.take(reading(), AWAY, at_s=NOW_S + 60)
    world.monitor = Monitor(world.registry, lambda: None)
    world.take(reading(), AWAY, at_s=NOW_S + 120)
    assert world.store.table.keys() == written.keys()
    assert len(list(world.rows())) == 3


def test_a_role_that_changes_is_told_and_a_node_that_left_is_retired():
    world = World()
    world.take(reading(), AWAY)
    world.take(reading(role="replica"), at_s=NOW_S + 60)
    document = metadata.get(world.registry, OPERATOR, ("host", "h0"), SPACE)
    assert json.loads(bytes(document.data))["role"] == "replica"
    assert world.names() == {"10.0.0.1:6379": "h0"}
    world.take(reading(), AWAY, at_s=NOW_S + 120)
    assert "10.0.0.2:6379" in world.names(), "and may come back"


def test_a_node_whose_host_was_retired_by_others_is_registered_again():
    world = World()
    world.take(reading())
    hosts.retire(world.registry, OPERATOR, "h0")
    world.take(reading(), at_s=NOW_S + 60)
    assert world.names() == {"10.0.0.1:6379": "h1"}
    assert [row.source for row in world.rows()] == ["host/h0", "host/h1"]
    document = metadata.get(world.registry, OPERATOR, ("host", "h1"), SPACE)
    assert json.loads(bytes(document.data)) == {"role": "master", "shard": 1}


@pytest.mark.parametrize("payload", [None, {}, {"at_s": 1, "names": [], "nodes": [["a"]]}, "text"])
def test_another_payload_is_a_bug(payload):
    with pytest.raises(InvariantError, match="not an answer of the probe"):
        World().monitor.take(payload)


def test_a_store_that_is_away_is_tried_again():
    world = World()
    world.store.away = True
    with pytest.raises(RetryableError):
        world.take(reading())
    world.store.away = False
    assert world.take(reading()) > 20


def test_every_metric_has_a_graph():
    world = World()
    world.take(reading())
    defined = {graph.name: {line.name for line in graph.metrics} for graph in graphs.find(world.store, OPERATOR)}
    assert defined.keys() == {f"{PREFIX}.{name}" for name in FIGURES} == {graph.name for graph in definitions()}
    now, before = figures_of(NOW_S + 60), figures_of()
    everything = {name: 1.0 for figure in FIGURES.values() for line in figure.lines for name in [line.metric]}
    numbers = before.numbers | {k: v for k, v in everything.items() if k not in before.numbers}
    values = metrics(Figures(NOW_S + 60, now.numbers | numbers), Figures(NOW_S, numbers))
    for name in values:
        graph = name.rpartition(".")[0]
        assert name in defined[graph] or graph.endswith((".lag", ".offset_delay")), name
    lines = {name for lines in defined.values() for name in lines}
    assert lines <= values.keys(), "and every line has a metric"
