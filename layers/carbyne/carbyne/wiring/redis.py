"""The Redis client of the functions inside the VPC."""

import time
from collections.abc import Callable

from redis.cluster import RedisCluster

from carbyne.adapters.nodes import UNREACHABLE, Nodes
from carbyne.errors import RetryableError
from carbyne.limits import REDIS_TIMEOUT_S
from carbyne.settings import RedisSettings


def nodes(settings: RedisSettings, alone: Callable[[int], None] = lambda _: None) -> Nodes:
    """Connected to the cluster of ``settings``; RetryableError if no node answers.  ``alone``: see ``Nodes``."""
    host, _, port = settings.redis_endpoint.rpartition(":")
    try:
        client = RedisCluster(
            host=host,
            port=int(port),
            ssl=settings.redis_tls,
            protocol=2,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            require_full_coverage=False,
        )
    except UNREACHABLE as error:
        raise RetryableError(f"Redis at {settings.redis_endpoint}: {error}") from error
    return Nodes(client, (host, int(port)), time.monotonic, time.sleep, alone)
