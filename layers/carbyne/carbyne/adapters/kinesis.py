"""The stream of records in Kinesis."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from carbyne.adapters.aws import AWS_ERRORS, is_transient, retryable

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import PutRecordsResultEntryTypeDef

    from carbyne.adapters.put_records import PutRecordsClient

_log = logging.getLogger(__name__)


class KinesisStream:
    """A Stream for a Putter.  The client need not retry: the Putter does, entry by entry, within its budget."""

    def __init__(self, client: "KinesisClient | PutRecordsClient", stream_name: str) -> None:
        self._client = client
        self._stream_name = stream_name

    def put(self, entries: Sequence[tuple[str, bytes]]) -> list[int]:
        """See ``putter.Stream``."""
        with retryable("kinesis PutRecords"):
            results = self._put(entries)
        failed = [index for index, result in enumerate(results) if not _is_acknowledged(result)]
        if failed:
            codes = Counter(results[index].get("ErrorCode", "no answer") for index in failed)
            _log.warning("%d of %d stream records failed: %s", len(failed), len(entries), dict(codes))
        return failed

    def _put(self, entries: Sequence[tuple[str, bytes]]) -> "Sequence[PutRecordsResultEntryTypeDef]":
        """A result for each entry, an empty one if there is none."""
        try:
            answer = self._client.put_records(
                StreamName=self._stream_name, Records=[{"PartitionKey": key, "Data": data} for key, data in entries]
            )
        except AWS_ERRORS as error:
            if not is_transient(error):
                raise
            _log.warning("PutRecords failed as a whole: %s", error)
            return [{} for _ in entries]
        results = answer["Records"]
        return results if len(results) == len(entries) else [{} for _ in entries]


def _is_acknowledged(result: "PutRecordsResultEntryTypeDef") -> bool:
    return "SequenceNumber" in result and "ErrorCode" not in result
