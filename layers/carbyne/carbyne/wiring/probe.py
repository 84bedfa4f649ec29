"""The probe with its real parts."""

import os
import time
from functools import cache

from carbyne.adapters import telemetry
from carbyne.adapters.redis.probe import RedisNodes
from carbyne.adapters.redis.view import View
from carbyne.cluster.probe import Probe
from carbyne.core.limits import REDIS_TIMEOUT_S
from carbyne.core.meter import Meter
from carbyne.core.settings import ProbeSettings, load
from carbyne.wiring.redis import login, one_node


@cache
def probe() -> Probe:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("probe")
    settings = load(ProbeSettings, os.environ)
    host, _, port = settings.redis_endpoint.rpartition(":")
    view = View(one_node(settings.redis_tls, login(settings), REDIS_TIMEOUT_S), (host, int(port)))
    return Probe(RedisNodes(view), Meter(time.monotonic, telemetry.emf("probe", settings.stack)))
