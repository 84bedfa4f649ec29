"""``carbyne redis`` in full size: 200 hosts, on Valkey and on Debian's Redis 7."""

import pytest

from servers.valkey import Cluster
from tests.integration.test_redis_tool import SERVERS, grow_and_shrink


@pytest.mark.nightly
@pytest.mark.parametrize("server", SERVERS)
def test_a_cluster_grows_shrinks_and_changes_under_200_hosts(server, monkeypatch):
    grow_and_shrink(server, 200, monkeypatch)


@pytest.mark.nightly
@pytest.mark.parametrize("server", SERVERS)
def test_the_cluster_of_make_run_does_the_same(server, monkeypatch):
    if server:
        monkeypatch.setenv("REDIS_SERVER", server)
    with Cluster(masters=3, replicas=1) as ours:
        grow_and_shrink(server, 200, monkeypatch, ours)
