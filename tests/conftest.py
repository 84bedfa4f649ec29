"""Real servers on loopback, started once for each pytest process (each xdist worker has its own)."""

from collections.abc import Iterator

import pytest
from carbyne.adapters.redis.nodes import Nodes
from carbyne.core.settings import RedisSettings
from carbyne.wiring.redis import nodes

from servers.aws import Aws
from servers.valkey import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three masters with a replica each; whoever kills a node restarts it and calls ``wait_until_ok``."""
    with Cluster(masters=3, replicas=1, node_timeout_ms=2000) as running:
        yield running


@pytest.fixture(scope="module")
def redis(cluster: Cluster) -> Iterator[Nodes]:
    """The nodes of the cluster, as functions use them."""
    connected = nodes(RedisSettings(cluster.endpoint, redis_tls=False))
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """The embedded AWS: ``aws.client("kinesis")``, ``aws.endpoint``, ``aws.environment``; choose names of your own."""
    with Aws() as running:
        yield running
