"""Lambda function behind the minute's schedule: figures of all Redis nodes, which Lambda hands to the monitor."""

import time
from collections.abc import Callable
from typing import Any

from carbyne.cluster.probe import Probe
from carbyne.wiring.probe import probe


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Entry point of Lambda; raises if no node answers: the next minute tries again."""
    return handle(probe)


def handle(deps: Callable[[], Probe]) -> dict[str, Any]:
    """The figures of now."""
    return deps().run(int(time.time()))
