"""Lambda function behind the minute's schedule: due windows out of Redis into blocks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.seal.sealer import Sealer
from carbyne.wiring.sealer import sealer

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> None:
    """Entry point of Lambda; raises if Redis can't be asked: the next minute tries again."""
    handle(sealer, lambda: context.get_remaining_time_in_millis() / 1000)


def handle(deps: Callable[[], Sealer], seconds_left: Callable[[], float]) -> int:
    """The number of windows sealed."""
    return deps().run(seconds_left)
