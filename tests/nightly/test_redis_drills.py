"""The drills in full size: 200 hosts, every master killed, a replica of half a GiB."""

import pytest

from tests.integration.test_redis_drills import drills
from tests.integration.test_redis_tool import SERVERS


@pytest.mark.nightly
@pytest.mark.parametrize("server", SERVERS)
def test_nothing_is_lost_under_200_hosts(server, monkeypatch):
    if server:
        monkeypatch.setenv("REDIS_SERVER", server)
    drills(hosts=200, masters_killed=3, fill_bytes=500_000_000, pause_s=1.0)
