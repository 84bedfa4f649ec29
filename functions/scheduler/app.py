"""Lambda function behind the minute's schedule: external checks that are due, and workers to make them."""

from collections.abc import Callable
from typing import Any

from carbyne.checks.scheduler import Scheduler
from carbyne.wiring.scheduler import scheduler


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Entry point of Lambda; raises if the queue is away: the next minute publishes its own checks."""
    return handle(scheduler)


def handle(deps: Callable[[], Scheduler]) -> dict[str, int]:
    """How many checks are due."""
    return {"due": deps().run()}
