"""Lambda's stream events: batches in, partial batch responses out."""

import logging
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from carbyne.errors import RetryableError
from carbyne.ingester import Entry, Ingester

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

_log = logging.getLogger(__name__)


def kinesis_entries(event: Mapping[str, Any]) -> list[Entry]:
    """The records of a Kinesis event, in stream order."""
    return [
        Entry(record["kinesis"]["sequenceNumber"], b64decode(record["kinesis"]["data"])) for record in event["Records"]
    ]


def answer_batch(event: Mapping[str, Any], ingester: Callable[[], Ingester]) -> "PartialItemFailureResponse":
    """Ingest a batch and name the record from which it is to be sent again, if any.

    ``ingester`` may raise RetryableError (a store is away): then the whole batch stays in the stream.
    """
    entries = kinesis_entries(event)
    try:
        failed = ingester().ingest(entries)
    except RetryableError as error:
        _log.warning("the batch stays in the stream: %s", error)
        failed = entries[0].sequence
    return {"batchItemFailures": [] if failed is None else [{"itemIdentifier": failed}]}
