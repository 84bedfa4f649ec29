"""Records of streams as Lambda hands them to a function, and the patterns that let some of them through."""

import json
from base64 import b64encode
from datetime import datetime
from typing import Any

from servers.aws import REGION

Record = dict[str, Any]


def as_sent(record: Record, stream_arn: str, shard_id: str, function: str) -> Record:
    """A record that a stream's own interface gave, as it is in the event of the function with this name."""
    if "dynamodb" not in record:
        number, role = record["SequenceNumber"], f"arn:aws:iam::123456789012:role/{function}"
        kinesis = {"kinesisSchemaVersion": "1.0", **lower(record)}
        record = {"eventID": f"{shard_id}:{number}", "eventName": "aws:kinesis:record", "kinesis": kinesis}
        record |= {"eventSource": "aws:kinesis", "eventVersion": "1.0", "invokeIdentityArn": role}
    if "userIdentity" in record:
        record = {**record, "userIdentity": lower(record["userIdentity"])}
    text = json.dumps({**record, "awsRegion": REGION, "eventSourceARN": stream_arn}, default=plain)
    return json.loads(text)  # type: ignore[no-any-return]


def is_known(pattern: Any) -> bool:  # noqa: ANN401
    """Whether a filter has only objects that end in lists of strings and prefixes."""
    if isinstance(pattern, dict):
        return all(map(is_known, pattern.values()))
    return all(isinstance(choice, str) or list(choice) == ["prefix"] for choice in pattern)


def fits(pattern: Any, value: Any) -> bool:  # noqa: ANN401
    """Whether a record, or a part of it, is what a filter lets through."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(fits(pattern[key], value.get(key)) for key in pattern)
    return any(
        str(value).startswith(choice["prefix"]) if isinstance(choice, dict) else value == choice for choice in pattern
    )


def lower(members: Record) -> Record:
    """Names as events have them."""
    return {f"{name[0].lower()}{name[1:]}": value for name, value in members.items()}


def plain(value: bytes | datetime) -> str | float:
    """As JSON has it: base64, seconds."""
    return b64encode(value).decode() if isinstance(value, bytes) else value.timestamp()


def of_record(record: Record) -> tuple[str, float]:
    """(sequence number, time of arrival in seconds)."""
    if "kinesis" in record:
        return record["kinesis"]["sequenceNumber"], record["kinesis"]["approximateArrivalTimestamp"]
    return record["dynamodb"]["SequenceNumber"], record["dynamodb"]["ApproximateCreationDateTime"]
