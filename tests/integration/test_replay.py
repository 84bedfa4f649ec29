"""Replay: what Redis lost comes back from the stream, without anyone asking, and no read differs."""

import random

import pytest
from carbyne.adapters.redis.windows import Due, HotWindows
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, lane_state
from carbyne.core.limits import REPLAY_STUCK_S
from carbyne.hot.jobs import Jobs, demand
from carbyne.hot.replay import Replayer, Supervisor
from redis.cluster import RedisCluster

from harness.pipeline import APPS, LENGTH_S, Pipeline, kinesis_event

START_S = 1_700_006_400  # where a window begins
assert START_S % LENGTH_S == 0
NAMES = [f"m{i}" for i in range(5)]
HOSTS = [f"web{i}" for i in range(12)]


class Readers:
    """Notes whether a second reader runs."""

    def __init__(self):
        self.running = False

    def start(self, start_s):
        self.running = True
        return "reader"

    def stop(self, name):
        assert name == "reader"
        self.running = False


class System(Pipeline):
    """The pipeline with its supervisor and replayer."""

    def __init__(self, cluster):
        super().__init__(cluster, START_S + 600)
        self.hot_windows = HotWindows(self._nodes())
        self.readers = Readers()
        self.jobs = Jobs(self.table)
        self.supervisor = Supervisor(self.jobs, self.readers, self.stream, lambda: self.now_s, [])
        self.replayer = Replayer(self.new_ingester(self._nodes()), self.hot_windows, self.meter)
        self.ingested = 0

    def post_minute(self, minute, salt=0.0):
        time_s = START_S + 60 * minute
        self.now_s = max(self.now_s, time_s + 60)
        body = [
            (host, name, time_s, salt + minute + i / 8 + j)
            for i, host in enumerate(HOSTS)
            for j, name in enumerate(NAMES)
        ]
        answer = self.post(body)
        assert answer["statusCode"] == 200 and "Carbyne-Skipped" not in answer["headers"]

    def ingest_new(self):
        records, self.ingested = self.stream.records[self.ingested :], len(self.stream.records)
        self.deliver(records)

    def replay(self, batch=17, between=lambda: None):
        """Hand the whole stream to the replayer, as a mapping from its oldest record does, until its end."""
        at = 0
        while at < len(self.stream.records):
            records = self.stream.records[at : at + batch]
            answer = APPS["replayer"].handle(kinesis_event(records), lambda: self.replayer)
            failures = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
            order = [sequence for sequence, *_ in records]
            at += order.index(failures[0]) if failures else len(records)
            between()

    def reads(self):
        """Every sample of every series, or the status of a read that is refused."""
        result = {}
        for host in HOSTS:
            for name in NAMES:
                status, _, points = self.get_metric(host, name)
                result[host, name] = points if status == 200 else status
        assert 404 not in result.values()
        return result


def flush_all(cluster):
    for node in cluster.nodes:
        with node.client as client:
            if client.info("replication")["role"] == "master":
                client.flushall()


@pytest.fixture
def system(cluster):
    flush_all(cluster)
    running = System(cluster)
    yield running
    running.close()


def test_flushed_nodes_are_filled_again_and_no_read_differs(system, cluster):
    """Sealed windows, open ones, and posts that arrive while the replay runs."""
    for minute in range(0, 30):
        system.post_minute(minute)
    system.ingest_new()
    system.now_s = START_S + LENGTH_S + 2_000
    assert system.seal() == len(HOSTS)
    for minute in range(241, 251):
        system.post_minute(minute)
    system.post_minute(7, salt=0.5)  # late, over what is sealed
    system.ingest_new()
    before = system.reads()
    assert all(len(points) == 40 for points in before.values())
    flush_all(cluster)
    assert set(system.reads().values()) == {503}
    system.post_minute(251)
    system.ingest_new()
    assert system.counts["LanesLost"] > 0
    system.seal()
    job, _ = system.jobs.load()
    assert job.left == len(job.lanes) == 1024
    system.supervisor.tick()
    assert system.readers.running
    live = random.Random(1)

    def goes_on():
        if live.random() < 0.3:
            system.ingest_new()

    system.replay(between=goes_on)
    system.ingest_new()
    after = system.reads()
    for key, points in before.items():
        assert after[key][:40] == points and len(after[key]) == 41
    system.now_s += 60
    system.seal()
    system.supervisor.tick()
    assert not system.readers.running and system.jobs.load()[0].left == 0
    assert system.counts["RecordsReplayed"] > 0


def test_a_lane_that_is_lost_again_during_its_replay_needs_another(system, cluster):
    for minute in range(5):
        system.post_minute(minute)
    system.ingest_new()
    expected = system.reads()
    flush_all(cluster)
    system.seal()
    system.supervisor.tick()
    lane = SourceKey("acme", f"host/{HOSTS[0]}").lane
    half = []

    def lose_once():
        if not half and system.counts["RecordsReplayed"] > 20:
            half.append(True)
            with master(cluster, lane) as client:
                client.flushall()

    system.replay(between=lose_once)
    assert system.reads()[HOSTS[0], "m0"] == 503
    for _ in range(4):
        system.now_s += 60
        system.seal()
        system.supervisor.tick()
        system.replay()
        system.ingest_new()
        if 503 not in system.reads().values():
            break
        system.now_s += REPLAY_STUCK_S
    assert system.reads() == expected


def test_a_new_stack_is_not_replayed(cluster):
    system = System(cluster)
    flush_all(cluster)
    try:
        rebuilding = dict.fromkeys(range(3), "")
        lanes = Due([], rebuilding, rebuilding, {})
        system.new_watch(initialised=False).begin_look()(lanes)
        assert system.jobs.load()[0] is None
        system.new_watch(initialised=True).begin_look()(lanes)
        assert system.jobs.load()[0].lanes == [0, 1, 2]
    finally:
        system.close()


def test_an_operator_may_have_whole_lanes_replayed(system):
    for minute in range(3):
        system.post_minute(minute)
    system.ingest_new()
    expected = system.reads()
    demand(system.jobs, range(1024), "asked", system.now_s)
    system.supervisor.tick()
    assert not system.readers.running, "the lanes do not know yet"
    with pytest.raises(RetryableError, match="asked runs"):
        demand(system.jobs, [1], "again", system.now_s)
    system.seal()
    system.supervisor.tick()
    assert system.readers.running and set(system.reads().values()) == {503}
    system.replay()
    assert system.reads() == expected
    system.now_s += 60
    system.seal()
    system.supervisor.tick()
    assert not system.readers.running


def test_a_full_redis_holds_the_replay_up(system, cluster):
    for minute in range(3):
        system.post_minute(minute)
    system.ingest_new()
    flush_all(cluster)
    system.seal()
    system.supervisor.tick()
    system.hot_windows.fill = lambda: 0.71
    answer = APPS["replayer"].handle(kinesis_event(system.stream.records[:4]), lambda: system.replayer)
    assert answer == {"batchItemFailures": [{"itemIdentifier": system.stream.records[0][0]}]}


def test_fill_is_that_of_the_fullest_master(system, cluster):
    assert system.hot_windows.fill() == 0.0
    with master(cluster, 1) as client:
        client.config_set("maxmemory", 2 * client.info("memory")["used_memory"])
        try:
            assert 0.4 < system.hot_windows.fill() < 0.7
        finally:
            client.config_set("maxmemory", 0)


def master(cluster, lane):
    """A connection to the master that serves a lane."""
    host, _, port = cluster.endpoint.rpartition(":")
    with RedisCluster(host=host, port=int(port)) as client:
        serving = client.get_node_from_key(lane_state(lane))
        return next(node for node in cluster.nodes if node.port == serving.port).client
