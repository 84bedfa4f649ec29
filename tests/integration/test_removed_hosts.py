"""A host that is removed takes its samples along, through the real handlers and Redis, in whatever tier they are."""

import pytest

from harness.pipeline import LENGTH_S, Pipeline, flush
from tests.support.registry_system import System

START_S = 1_700_006_400  # where a window begins
assert START_S % LENGTH_S == 0


class Whole(Pipeline):
    """The pipeline with a registry that puts onto its stream, both by the same clock."""

    def __init__(self, cluster):
        super().__init__(cluster, START_S + 600, tenants={"key-a": "a"})
        self.registry = System()
        self.registry.registry = self.registry.registry._replace(put=self.stream.put, now_s=lambda: self.now_s)

    def post_of(self, host, times, value):
        assert self.post([(host, "m", time_s, value) for time_s in times], "key-a")["statusCode"] == 200

    def read(self, host, **more):
        status, _, points = self.get_metric(host, "m", api_key="key-a", **more)
        return points if status == 200 else status


@pytest.fixture
def whole(cluster):
    flush(cluster)
    running = Whole(cluster)
    yield running
    running.close()


def test_sealed_and_hot_samples_go_and_those_of_others_and_later_ones_stay(whole):
    gone, stays = whole.registry.host(), whole.registry.host()
    sealed, hot = [START_S, START_S + 60], [START_S + LENGTH_S]
    for host in (gone, stays):
        whole.post_of(host, sealed, 1.0)
    whole.deliver()
    whole.now_s = START_S + LENGTH_S + 2_000
    assert whole.seal() == 2
    for host in (gone, stays):
        whole.post_of(host, hot, 2.0)
    whole.registry.ok("DELETE", f"/carbyne/v1/hosts/{gone}")
    whole.post_of(gone, [START_S + 60], 3.0)
    everything = [(START_S, 1.0), (START_S + 60, 1.0), (START_S + LENGTH_S, 2.0)]
    for _ in range(2):  # the stream once, and once more
        whole.deliver()
        assert whole.read(gone) == [(START_S + 60, 3.0)]
        assert whole.read(gone, resolution="5m") == [(START_S, 3.0)]
        assert whole.read(stays) == everything
    whole.now_s = START_S + 3 * LENGTH_S
    assert whole.seal() > 0
    assert whole.read(gone) == [(START_S + 60, 3.0)]
    assert whole.read(gone, resolution="5m") == [(START_S, 3.0)]
    assert whole.read(stays) == everything
    whole.registry.refused(404, "GET", f"/api/v0/hosts/{gone}")
