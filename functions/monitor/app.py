"""Lambda function that is the probe's destination: figures of Redis nodes become samples of the operator's tenant."""

from collections.abc import Callable
from typing import Any

from carbyne.monitor.monitor import Monitor
from carbyne.wiring.monitor import monitor


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Entry point of Lambda; raises if a store is away: Lambda tries it twice again, then the next minute's comes."""
    return handle(event, monitor)


def handle(event: dict[str, Any], deps: Callable[[], Monitor]) -> dict[str, int]:
    """Store what the probe answered; how many samples that were."""
    return {"samples": deps().take(event["responsePayload"])}
