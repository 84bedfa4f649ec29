"""Lambda's stream events: a batch in, a partial batch response out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from carbyne.core.errors import RetryableError
from carbyne.stream.arrived import Arrived, Image, images_of, records_of

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

_log = logging.getLogger(__name__)


def answer_records(
    event: Mapping[str, Any], ingest: Callable[[Sequence[Arrived]], str | None]
) -> "PartialItemFailureResponse":
    """The answer to a batch of stream records: it names the first unfinished one, which ``ingest`` returns."""
    records = records_of(event)
    return _answer(lambda: ingest(records), records[0].sequence)


def shard_of(event: Mapping[str, Any]) -> str:
    """The shard of a batch of stream records; all are of the same one."""
    shard: str = event["Records"][0]["eventID"].partition(":")[0]
    return shard


def answer_changes(
    event: Mapping[str, Any], archive: Callable[[Sequence[Image]], str | None]
) -> "PartialItemFailureResponse":
    """The answer to a batch of changes of the blocks table: it names what ``archive`` returns."""
    first = event["Records"][0]["dynamodb"]["SequenceNumber"]
    return _answer(lambda: archive(images_of(event)), first)


def _answer(work: Callable[[], str | None], first: str) -> "PartialItemFailureResponse":
    """Names the record from which Lambda sends the batch again, if any: the first one if ``work`` raises
    RetryableError."""
    try:
        failed = work()
    except RetryableError as error:
        _log.warning("the batch stays in the stream: %s", error)
        failed = first
    return {"batchItemFailures": [] if failed is None else [{"itemIdentifier": failed}]}
