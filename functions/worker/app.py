"""Lambda function that the scheduler calls: makes external checks, or reads integrations of clouds."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.checks.worker import CheckWorker
from carbyne.wiring.worker import worker

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from carbyne.clouds.worker import CloudWorker


def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, int]:
    """Entry point of Lambda; raises if the queue is away: what was taken comes again after its lease."""
    deps = cloud_worker if "clouds" in event else worker
    return handle(deps, lambda: context.get_remaining_time_in_millis() / 1000)


def handle(deps: "Callable[[], CheckWorker | CloudWorker]", seconds_left: Callable[[], float]) -> dict[str, int]:
    """How many checks were made, or integrations read."""
    return {"made": deps().run(seconds_left)}


def cloud_worker() -> "CloudWorker":
    """Loaded by the instances that need it: checks come each minute and clients of clouds take their time."""
    from carbyne.wiring import clouds  # noqa: PLC0415

    return clouds.worker()
