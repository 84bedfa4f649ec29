"""Lambda function that the scheduler calls: makes the external checks of this minute."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.checks.worker import CheckWorker
from carbyne.wiring.worker import worker

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, int]:
    """Entry point of Lambda; raises if the queue is away: checks come again after their leases."""
    return handle(worker, lambda: context.get_remaining_time_in_millis() / 1000)


def handle(deps: Callable[[], CheckWorker], seconds_left: Callable[[], float]) -> dict[str, int]:
    """How many checks were made."""
    return {"made": deps().run(seconds_left)}
