"""What arrives through a stream, in its order: records of Kinesis, changes of the blocks table.

Batches have the form that Lambda passes to a function, and that it stores when it gives a batch up.
"""

import logging
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from carbyne.core.keys import BlockKey, is_block

_log = logging.getLogger(__name__)

BY_TTL: Final = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
"""The identity that removes expired items."""


class Arrived(NamedTuple):
    """A record of the stream: its decimal sequence number, bytes, partition key, and arrival time (s)."""

    sequence: str
    data: bytes
    key: str = ""
    arrived_s: float = 0.0


class Image(NamedTuple):
    """A block in a change of the table: ``sequence`` of the change; ``data`` was put, or ``removed`` by its TTL."""

    sequence: str
    key: BlockKey
    data: bytes
    removed: bool


def records_of(batch: Mapping[str, Any]) -> list[Arrived]:
    """The records of a Kinesis batch, in stream order."""
    return [
        Arrived(
            record["sequenceNumber"],
            b64decode(record["data"]),
            record["partitionKey"],
            record.get("approximateArrivalTimestamp", 0.0),
        )
        for record in (entry["kinesis"] for entry in batch["Records"])
    ]


def images_of(batch: Mapping[str, Any]) -> list[Image]:
    """The blocks in a batch of a DynamoDB stream: put, or removed by their TTL.  Other deletes are left out."""
    return [image for record in batch["Records"] if (image := _image(record))]


def _image(record: Mapping[str, Any]) -> Image | None:
    change = record["dynamodb"]
    removed = record["eventName"] == "REMOVE"
    row = change.get("OldImage" if removed else "NewImage")
    if not row or not is_block(row["pk"]["S"]) or (removed and record.get("userIdentity") != BY_TTL):
        return None
    try:
        key = BlockKey.of_item(row["pk"]["S"], row["sk"]["S"])
        return Image(change["SequenceNumber"], key, b64decode(row["b"]["B"]), removed)
    except (KeyError, ValueError) as error:  # put by hand: it must not block what follows
        _log.error("item %s is no block of ours: %r", change.get("Keys"), error)
        return None
