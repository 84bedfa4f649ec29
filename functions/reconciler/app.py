"""Lambda function behind the daily schedule: what will expire is in the archive."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.archive.reconciler import Reconciled, Reconciler
from carbyne.wiring.reconciler import reconciler

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> None:
    """Entry point of Lambda; raises if blocks could not be compared, so that the alarm on errors says so."""
    handle(reconciler, lambda: context.get_remaining_time_in_millis() / 1000)


def handle(deps: Callable[[], Reconciler], seconds_left: Callable[[], float]) -> Reconciled:
    """What was compared and copied."""
    return deps().run(seconds_left)
