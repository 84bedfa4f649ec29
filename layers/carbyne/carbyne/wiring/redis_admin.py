"""The operator's tool for a Redis cluster with its real parts."""

import os
import time
from collections.abc import Callable, Sequence

from carbyne.adapters.redis.admin import Admin
from carbyne.adapters.redis.view import Client, View
from carbyne.core.limits import MIGRATE_MS, REDIS_TIMEOUT_S
from carbyne.core.settings import RedisSettings, Secret
from carbyne.wiring.redis import login, one_node


class NoHandover:
    """Tells nobody: a planned change of masters is then replayed like any other."""

    def promotion(self, master: Client, successor: Client) -> None:
        """Nothing."""

    def move(self, source: Client, target: Client, slots: Sequence[int]) -> None:
        """Nothing."""


def admin(endpoint: tuple[str, int], tls: bool, user: str, iam_cache: str) -> tuple[Admin, Callable[[], None]]:
    """The tool, and what closes its connections.  REDIS_PASSWORD is the password, as for the functions."""
    host, port = endpoint
    password = Secret(os.environ.get("REDIS_PASSWORD", ""))
    provider = login(RedisSettings(f"{host}:{port}", tls, user, iam_cache, password))

    connect = one_node(tls, provider, MIGRATE_MS / 1000 + REDIS_TIMEOUT_S)
    view = View(connect, endpoint, exports=True)
    return Admin(view, provider, NoHandover(), time.monotonic, time.sleep), view.close
