"""Lambda function behind the minute's schedule: checks and integrations that are due, and workers for them."""

from collections.abc import Callable
from typing import Any

from carbyne.wiring.scheduler import SchedulerDeps, scheduler


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Entry point of Lambda; raises if the queue is away: the next minute publishes what is due then."""
    return handle(scheduler)


def handle(deps: Callable[[], SchedulerDeps]) -> dict[str, int]:
    """How many checks and integrations are due."""
    return {"due": deps().checks.run(), "integrations": deps().clouds.run()}
