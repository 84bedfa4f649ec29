"""A Redis with little room is filled through the functions' own handlers: it empties itself, and nothing is lost."""

import random

import pytest
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core.limits import ADMIT_MINUTES, EARLY_FILL_MAX

from harness.pipeline import LENGTH_S, Pipeline, flush
from servers.valkey import Cluster

START_S = 1_700_006_400
ROOM_BYTES = 2_500_000
LOUD = [f"h{number}" for number in range(40)]
NAMES = [f"custom.m{number:02d}" for number in range(100)]


@pytest.fixture(scope="module")
def alone():
    """One master without a replica, whose buffers would take more than the rows."""
    with Cluster(masters=1, replicas=0) as running:
        yield running


class System:
    """Two tenants, of which one fills Redis; ``accepted``: what was acknowledged."""

    def __init__(self, cluster, monkeypatch):
        monkeypatch.setattr("carbyne.tenants.accounts.TENANT_CACHE_S", 0)
        flush(cluster)
        [self.node] = cluster.nodes
        self.path = Pipeline(cluster, START_S, tenants={"loud": "loud", "quiet": "quiet"})
        self.dice, self.accepted, self.delivered = random.Random(7), {}, 0
        used = int(self.node.client.info("memory")["used_memory"])
        self.node.ask("CONFIG", "SET", "maxmemory", used + ROOM_BYTES)

    def close(self):
        self.node.ask("CONFIG", "SET", "maxmemory", 0)
        self.path.close()

    def minute(self):
        """A minute of all agents."""
        self.path.now_s += 60
        self.post("loud", LOUD, NAMES)
        self.post("quiet", ["q"], NAMES[:3])

    def post(self, tenant, hosts, names):
        """A minute's samples; the status."""
        now_s = self.path.now_s
        samples = [(host, name, now_s, self.dice.random()) for host in hosts for name in names]
        answer = self.path.post(samples, api_key=tenant)
        if answer["statusCode"] == 200:
            self.accepted |= {(tenant, host, name, time_s): value for host, name, time_s, value in samples}
        return answer["statusCode"], answer["body"]

    def ingest(self):
        """One event with all that is new; whether all of it was taken."""
        new = self.path.stream.records[self.delivered :]
        failed = self.path.ingest(new) if new else None
        while self.delivered < len(self.path.stream.records):
            if self.path.stream.records[self.delivered][0] == failed:
                return False
            self.delivered += 1
        return True

    def fill(self):
        return HotStore(self.path.ingester_nodes)._nodes.fill()

    def expect_all(self, resolution="raw"):
        """Every sample of some series reads back, of all of them a part at each call."""
        loud = [("loud", host, self.dice.choice(NAMES)) for host in LOUD]
        for tenant, host, name in [*loud, ("quiet", "q", NAMES[0])]:
            expected = {at[3]: value for at, value in self.accepted.items() if at[:3] == (tenant, host, name)}
            how = {"api_key": tenant, "resolution": resolution}
            status, _, points = self.path.get_metric(host, name, START_S, START_S + 2 * LENGTH_S, **how)
            assert status == 200
            if resolution == "raw":
                assert dict(points) == expected, (tenant, host, name)
            else:
                assert len(points) == len({time_s // 300 for time_s in expected})


@pytest.fixture
def system(alone, monkeypatch):
    running = System(alone, monkeypatch)
    yield running
    running.close()


def test_a_full_redis_empties_itself_and_all_that_was_acknowledged_reads_back(system):
    """No window ends meanwhile, so nothing would be due for hours."""
    while system.ingest():
        assert system.path.now_s < START_S + LENGTH_S // 2, "Redis has more room than this test means"
        system.minute()
    assert system.fill() > 0.95
    assert not HotWindows(system.path.store._nodes).due(system.path.now_s * 1000).windows, "nothing is due"
    assert system.path.seal() == system.path.counts["WindowsSealedEarly"] > 5
    assert system.fill() < EARLY_FILL_MAX
    assert system.ingest()
    system.expect_all()
    status, body = system.post("loud", LOUD, NAMES)
    assert status == 503 and "over the limit redis-memory" in body
    assert system.post("quiet", ["q"], NAMES)[0] == 200, "who does not fill Redis is let in"
    system.path.now_s += 60 * ADMIT_MINUTES
    before = system.path.now_s
    while system.path.now_s < before + 1_200:
        system.minute()
        assert system.ingest(), "the sealer keeps room in it"
        system.path.seal()
    assert ("loud", LOUD[0], NAMES[0], system.path.now_s) in system.accepted, "and no tenant is refused any more"
    system.expect_all()
    system.expect_all("5m")
    system.path.now_s = START_S + 2 * LENGTH_S
    system.path.seal()
    system.expect_all()
    system.expect_all("5m")
