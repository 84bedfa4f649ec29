"""Lambda's stream events: batches in, partial batch responses out."""

import logging
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from carbyne.archive.archiver import Archiver, Image
from carbyne.core.errors import RetryableError
from carbyne.core.keys import BlockKey, is_block
from carbyne.hot.ingester import Entry, Ingester
from carbyne.hot.replay import Replayer

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

_log = logging.getLogger(__name__)

BY_TTL: Final = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
"""Who removed an item that had expired."""


def kinesis_entries(event: Mapping[str, Any]) -> list[Entry]:
    """The records of a Kinesis event, in stream order."""
    return [
        Entry(
            one["sequenceNumber"],
            b64decode(one["data"]),
            one["partitionKey"],
            one.get("approximateArrivalTimestamp", 0.0),
        )
        for one in (record["kinesis"] for record in event["Records"])
    ]


def images(event: Mapping[str, Any]) -> list[Image]:
    """The blocks that a DynamoDB stream event shows: put, or removed by their TTL; a deliberate delete is none."""
    return [image for record in event["Records"] if (image := _image(record))]


def _image(record: Mapping[str, Any]) -> Image | None:
    change = record["dynamodb"]
    removed = record["eventName"] == "REMOVE"
    row = change.get("OldImage" if removed else "NewImage")
    if not row or not is_block(row["pk"]["S"]) or (removed and record.get("userIdentity") != BY_TTL):
        return None
    try:
        key = BlockKey.of_item(row["pk"]["S"], row["sk"]["S"])
        return Image(change["SequenceNumber"], key, b64decode(row["b"]["B"]), removed)
    except (KeyError, ValueError) as error:  # put by hand: it must not hold up the blocks behind it
        _log.error("item %s is no block of ours: %r", change.get("Keys"), error)
        return None


def answer_records(event: Mapping[str, Any], ingester: Callable[[], Ingester]) -> "PartialItemFailureResponse":
    """Ingest a batch of stream records."""
    entries = kinesis_entries(event)
    return _answer(lambda: ingester().ingest(entries), entries[0].sequence)


def answer_records_again(event: Mapping[str, Any], replayer: Callable[[], Replayer]) -> "PartialItemFailureResponse":
    """Replay a batch of stream records, which are of one shard."""
    entries, shard = kinesis_entries(event), event["Records"][0]["eventID"].partition(":")[0]
    return _answer(lambda: replayer().ingest(entries, shard), entries[0].sequence)


def answer_changes(event: Mapping[str, Any], archiver: Callable[[], Archiver]) -> "PartialItemFailureResponse":
    """Archive a batch of changes of the blocks table."""
    first = event["Records"][0]["dynamodb"]["SequenceNumber"]
    return _answer(lambda: archiver().take(images(event)), first)


def _answer(work: Callable[[], str | None], first: str) -> "PartialItemFailureResponse":
    """Name the record from which the batch is to be sent again, if any: all of it if ``work`` raises RetryableError."""
    try:
        failed = work()
    except RetryableError as error:
        _log.warning("the batch stays in the stream: %s", error)
        failed = first
    return {"batchItemFailures": [] if failed is None else [{"itemIdentifier": failed}]}
