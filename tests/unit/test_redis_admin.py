"""Steps on a cluster that changed since its plan was made."""

import pytest
from carbyne.adapters.redis.admin import Admin
from carbyne.cluster.steps import Forget
from carbyne.core.errors import RetryableError

from tests.unit.test_redis_plan import cluster


class View:
    """Nodes that note what they are told."""

    def __init__(self, topology):
        self.topology, self.told = topology, []

    def look(self):
        return self.topology

    def leave_out(self, address):
        self.told.append(address)

    def client(self, host, port):
        self.told.append((host, port))
        return self


def test_a_replica_that_took_over_meanwhile_is_not_forgotten():
    """All others would drop it, and with it the only copy of its lanes."""
    topology = cluster()
    view = View(topology)
    admin = Admin(view, None, None, lambda: 0.0, lambda _: None)
    with pytest.raises(RetryableError, match="serves slots now"):
        admin.do(Forget(topology.masters[0].name), lambda _: None)
    assert view.told == []
