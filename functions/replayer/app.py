"""Lambda function that takes the stream a second time while lanes are replayed."""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from carbyne.hot.replay import Replayer
from carbyne.stream import events
from carbyne.wiring.ingester import replayer

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Entry point of Lambda."""
    return handle(event, replayer, lambda: context.get_remaining_time_in_millis() / 1000)


def handle(
    event: dict[str, Any], deps: Callable[[], Replayer], seconds_left: Callable[[], float] = lambda: inf
) -> "PartialItemFailureResponse":
    """The partial batch response; ``deps`` is called inside, so that its failure leaves the batch in the stream."""
    shard = events.shard_of(event)
    return events.answer_records(event, lambda records: deps().ingest(records, shard, seconds_left))
