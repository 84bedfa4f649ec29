"""Lambda function behind the evaluator: what changed of alerts, and what was not told yet, goes to its channels."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.notify.notifier import Notifier
from carbyne.wiring.notifier import notifier

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, int]:
    """Entry point of Lambda; raises if table or queue are away: the next minute tells what was left."""
    return handle(notifier, lambda: context.get_remaining_time_in_millis() / 1000)


def handle(deps: Callable[[], Notifier], seconds_left: Callable[[], float]) -> dict[str, int]:
    """How many deliveries were taken."""
    return {"sent": deps().run(seconds_left)}
