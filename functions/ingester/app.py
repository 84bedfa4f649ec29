"""Lambda function behind the stream: batches of records into Redis."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.hot.marks import Ticking
from carbyne.stream import events
from carbyne.wiring.ingester import ingester

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Entry point of Lambda."""
    return handle(event, ingester, lambda: context.get_remaining_time_in_millis() / 1000)


def handle(
    event: dict[str, Any], deps: Callable[[], Ticking], seconds_left: Callable[[], float]
) -> "PartialItemFailureResponse":
    """The partial batch response; ``deps`` is called inside, so that its failure leaves the batch in the stream."""
    return events.answer_records(event, lambda records: deps().ingest(records, seconds_left))
