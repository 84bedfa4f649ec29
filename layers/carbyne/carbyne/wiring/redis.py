"""The Redis client of the functions inside the VPC."""

import time
from collections.abc import Callable
from functools import cache

import botocore.session
from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError
from redis.retry import Retry

from carbyne.adapters.redis import auth
from carbyne.adapters.redis.nodes import UNREACHABLE, Nodes
from carbyne.adapters.redis.replication import RequiredReplicas
from carbyne.core.errors import RetryableError
from carbyne.core.limits import REDIS_TIMEOUT_S
from carbyne.core.settings import RedisSettings


def login(settings: RedisSettings) -> CredentialProvider | None:
    """How to log in at the cluster of ``settings``; None if it asks for nothing."""
    session = cache(botocore.session.get_session)  # made for IAM alone: it takes longer than to connect
    return auth.provider(
        settings,
        lambda: session().get_credentials(),
        lambda: str(session().get_config_variable("region")),
        time.time,
    )


def one_node(tls: bool, provider: CredentialProvider | None, timeout_s: float) -> Callable[[str, int], Redis]:
    """Makes clients of single nodes, by host and port.  A connection that broke while it was idle is made once more;
    a node that hangs is not asked twice."""

    def connect(host: str, port: int) -> Redis:
        return Redis(
            host,
            port,
            ssl=tls,
            credential_provider=provider,
            protocol=2,
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
            socket_connect_timeout=REDIS_TIMEOUT_S,
            socket_timeout=timeout_s,
        )

    return connect


def nodes(
    settings: RedisSettings,
    alone: Callable[[int], None] = lambda _: None,
    followers: RequiredReplicas | None = None,
) -> Nodes:
    """Connected to the cluster of ``settings``; RetryableError if no node answers.  The rest: see ``Nodes``."""
    host, _, port = settings.redis_endpoint.rpartition(":")
    try:
        client = RedisCluster(
            host=host,
            port=int(port),
            ssl=settings.redis_tls,
            credential_provider=login(settings),
            protocol=2,
            driver_info=None,  # else each connection reads the library's version from disk, and tells it
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            require_full_coverage=False,
        )
    except UNREACHABLE as error:
        raise RetryableError(f"Redis at {settings.redis_endpoint}: {error}") from error
    return Nodes(client, (host, int(port)), time.monotonic, time.sleep, alone, followers)
