"""The operator's tool for a Redis cluster with its real parts."""

import os
import time
from collections.abc import Callable, Iterable

from carbyne.adapters.redis.admin import Admin, HandoverNotes
from carbyne.adapters.redis.view import View
from carbyne.core.limits import MIGRATE_MS, REDIS_TIMEOUT_S
from carbyne.core.settings import RedisSettings, Secret
from carbyne.wiring.redis import login, one_node


class Unnoted:
    """``HandoverNotes`` of a cluster whose deployment is not named: a planned change is replayed like any other."""

    def opened(self, before: str, lanes: Iterable[int]) -> None:
        """Nothing."""

    def proven(self, before: str, after: str, lanes: Iterable[int]) -> None:
        """Nothing."""


def admin(
    endpoint: tuple[str, int], tls: bool, user: str, iam_cache: str, handovers: HandoverNotes
) -> tuple[Admin, Callable[[], None]]:
    """The tool, and what closes its connections.  REDIS_PASSWORD is the password, as for the functions."""
    host, port = endpoint
    password = Secret(os.environ.get("REDIS_PASSWORD", ""))
    provider = login(RedisSettings(f"{host}:{port}", tls, user, iam_cache, password))

    connect = one_node(tls, provider, MIGRATE_MS / 1000 + REDIS_TIMEOUT_S)
    view = View(connect, endpoint, exports=True)
    return Admin(view, provider, handovers, time.monotonic, time.sleep), view.close
