"""Lambda function that takes the stream a second time while lanes are replayed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.hot.replay import Replayer
from carbyne.stream import events
from carbyne.wiring.ingester import replayer

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse


def handler(event: dict[str, Any], context: object) -> "PartialItemFailureResponse":
    """Entry point of Lambda."""
    return handle(event, replayer)


def handle(event: dict[str, Any], deps: Callable[[], Replayer]) -> "PartialItemFailureResponse":
    """The partial batch response; ``deps`` is called inside, so that its failure leaves the batch in the stream."""
    shard = events.shard_of(event)
    return events.answer_records(event, lambda records: deps().ingest(records, shard))
