"""A failover that lost acknowledged writes, noticed by instances that remember nothing."""

import signal
import time

import pytest
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core.keys import SourceKey, lane_tag
from carbyne.hot.replay import Replayer
from redis.crc import key_slot

from harness.pipeline import LENGTH_S, _slots, master_of, replica_of
from servers.valkey import Cluster
from tests.integration.test_replay import HOSTS, START_S, System

PROMOTED_S = 20


@pytest.fixture
def own_cluster():
    with Cluster(masters=3, replicas=1, node_timeout_ms=1000) as running:
        yield running


@pytest.fixture
def system(own_cluster):
    running = System(own_cluster)
    yield running
    running.close()


def start_new_instances(system, endpoint):
    """New instances of every function: none remembers a stamp that it saw acknowledged."""
    system.endpoint = endpoint
    system.reconnect()
    system.hot_windows = HotWindows(system._nodes())
    system.replayer = Replayer(system.new_ingester(system._nodes()), system.hot_windows, system.meter)


def lose_the_tail(system, cluster, master, write):
    """``write`` is acknowledged by a master whose replica hangs; the master dies, and the replica takes over."""
    replica = replica_of(cluster, master)
    replica.process.send_signal(signal.SIGSTOP)
    master.ask("CLIENT", "KILL", "TYPE", "replica")  # or what is written waits in the replica's socket
    write()
    master.kill()
    replica.process.send_signal(signal.SIGCONT)
    end_s = time.monotonic() + PROMOTED_S
    while "role:master" not in replica.ask("INFO", "replication"):
        assert time.monotonic() < end_s, "the replica was not promoted"
        replica.ask("CLUSTER", "FAILOVER", "TAKEOVER")
        time.sleep(0.2)
    while any("cluster_state:ok" not in node.ask("CLUSTER", "INFO") for node in cluster.nodes if node.alive):
        assert time.monotonic() < end_s, "the cluster does not serve all slots"
        time.sleep(0.2)
    return replica


def refused(system):
    return {host for (host, _), answer in system.reads().items() if answer == 503}


def slot_of(lane):
    return key_slot(lane_tag(lane).encode())


def lanes_of(master):
    slots = _slots(master)
    return [lane for lane in range(1024) if slot_of(lane) in slots]


def test_a_tail_that_a_failover_lost_is_replayed_though_no_function_remembers_it(system, own_cluster):
    for minute in range(5):
        system.post_minute(minute)
    system.ingest_new()
    assert system.seal() == 0
    assert system.jobs.load()[0] is None, "the first look notes the masters"
    victim = master_of(own_cluster, SourceKey("acme", f"host/{HOSTS[0]}").lane)
    for minute in range(5, 10):
        system.post_minute(minute)
    promoted = lose_the_tail(system, own_cluster, victim, system.ingest_new)
    assert system.counts["WritesWithoutReplica"] > 0, "acknowledged by the master alone"

    start_new_instances(system, f"127.0.0.1:{promoted.port}")
    system.post_minute(10)
    system.ingest_new()
    assert system.counts["LanesLost"] == 0, "no ingester knows better"
    mine = lanes_of(promoted)
    hosts = [host for host in HOSTS if SourceKey("acme", f"host/{host}").lane in mine]
    assert hosts and refused(system) == set(hosts), "never a shorter answer, before any sealer looked"

    system.seal()
    job, _ = system.jobs.load()
    assert job.lanes == mine and job.left == len(mine)
    assert refused(system) == set(hosts)
    system.supervisor.tick()
    system.replay()
    after = system.reads()
    assert set(map(len, after.values())) == {11}, "every acknowledged sample is back"
    for (host, name), points in after.items():
        i, j = HOSTS.index(host), int(name[1:])
        assert points == [(START_S + 60 * minute, minute + i / 8 + j) for minute in range(11)]
    system.now_s += 60
    system.seal()
    system.supervisor.tick()
    assert system.jobs.load()[0].left == 0 and not system.readers.running
    system.now_s = START_S + LENGTH_S + 2_000
    assert system.seal() == len(HOSTS), "and what was replayed is sealed"
    assert system.jobs.load()[0].token == job.token, "once"


def test_masters_that_stay_are_not_replayed(system, own_cluster):
    for _ in range(3):
        system.seal()
    masters = system.hot_windows.masters()
    assert set(masters) == set(range(1024)) and len(set(masters.values())) == 3
    assert all(len(master.id) == 40 and master.before == "" for master in masters.values())
    system.post_minute(1)
    system.ingest_new()
    assert system.seal() == 0 and system.jobs.load()[0] is None
    assert 503 not in system.reads().values()


def test_lanes_that_move_to_another_shard_are_not_replayed(system, own_cluster):
    for minute in range(3):
        system.post_minute(minute)
    system.ingest_new()
    system.seal()
    before, expected = system.hot_windows.masters(), system.reads()
    lane = SourceKey("acme", f"host/{HOSTS[0]}").lane
    source = master_of(own_cluster, lane)
    target = next(node for node in own_cluster.nodes[:3] if node is not source)
    move_slot(own_cluster, slot_of(lane), source, target)
    system.seal()
    after = system.hot_windows.masters()
    assert after[lane].id != before[lane].id
    assert system.jobs.load()[0] is None and system.reads() == expected


def move_slot(cluster, slot, source, target):
    """As redis-cli reshards: keys one by one, then the new owner is told to everybody."""
    ids = {node: node.ask("CLUSTER", "MYID") for node in (source, target)}
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    with source.client as client:
        while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source, *cluster.nodes[:3]):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
