"""Lambda function behind the minute's schedule: judges the monitors and rules of all tenants."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.evaluate.minute import MinuteEvaluator
from carbyne.wiring.evaluator import evaluator

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, int]:
    """Entry point of Lambda; raises if no tenant could be looked at: the next minute looks again."""
    return handle(evaluator, lambda: context.get_remaining_time_in_millis() / 1000)


def handle(deps: Callable[[], MinuteEvaluator], seconds_left: Callable[[], float]) -> dict[str, int]:
    """How many tenants were looked at."""
    return {"tenants": deps().run(seconds_left)}
