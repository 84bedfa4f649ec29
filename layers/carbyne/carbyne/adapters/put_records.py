"""A client of Kinesis that only puts records; the Putter does the retries."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec
from botocore.exceptions import HTTPClientError

from carbyne.adapters.signed import JsonDialect, Place, SignedCalls, Timeouts

if TYPE_CHECKING:
    from botocore.credentials import Credentials

KINESIS: Final = JsonDialect("kinesis", "1.1", "Kinesis_20131202")


class _Acknowledgement(msgspec.Struct):
    """An answer without records acknowledges none."""

    Records: list[dict[str, Any]] = []


_decode = msgspec.json.Decoder(_Acknowledgement).decode


class RecordToPut(TypedDict):
    PartitionKey: str
    Data: bytes


class PutRecordsClient:
    """``put_records`` as boto3's client has it; see ``SignedCalls``."""

    def __init__(self, credentials: "Credentials | None", place: Place, timeouts: Timeouts) -> None:
        self._calls = SignedCalls(KINESIS, credentials, place, timeouts)

    def put_records(self, *, StreamName: str, Records: Sequence[RecordToPut]) -> dict[str, Any]:
        """The answer's ``Records``; ClientError for an error, HTTPClientError if there is no answer to read."""
        body = msgspec.json.encode({"StreamName": StreamName, "Records": Records})
        try:
            return {"Records": _decode(self._calls.call("PutRecords", body)).Records}
        except msgspec.DecodeError as error:
            raise HTTPClientError(error=error) from error

    def close(self) -> None:
        self._calls.close()
