"""A client of Kinesis that only puts records, with a fraction of the CPU that boto3's client takes for a call.

The signature is botocore's own, and so are the errors; connections are kept by urllib3, as botocore's are.  What is
left out costs most: hooks, models of request and answer, endpoints by rule, retries (the Putter does these).
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypedDict

import msgspec
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, HTTPClientError
from botocore.httpsession import get_cert_path

OPERATION: Final = "PutRecords"
HEADERS: Final = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Kinesis_20131202.{OPERATION}"}


class _Acknowledgement(msgspec.Struct):
    """An answer without records acknowledges none."""

    Records: list[dict[str, Any]] = []


_decode = msgspec.json.Decoder(_Acknowledgement).decode


class Place(NamedTuple):
    """Where a service is asked: ``url`` without a path; ``authorities``: file of the certificates that are trusted,
    botocore's if empty."""

    url: str
    region: str
    authorities: str = ""


class RecordToPut(TypedDict):
    PartitionKey: str
    Data: bytes


class PutRecordsClient:
    """``put_records`` as boto3's client has it; without credentials each call raises NoCredentialsError."""

    def __init__(
        self, credentials: Credentials | None, place: Place, connect_timeout_s: float, read_timeout_s: float
    ) -> None:
        self._auth = SigV4Auth(credentials, "kinesis", place.region)  # type: ignore[arg-type]
        self._url = f"{place.url}/"
        pools = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s),
            ca_certs=place.authorities or get_cert_path(True),
        )
        self._connections = pools.connection_from_url(place.url)

    def put_records(self, *, StreamName: str, Records: Sequence[RecordToPut]) -> dict[str, Any]:
        """The answer's ``Records``; ClientError for an error, HTTPClientError if there is no answer to read."""
        body = msgspec.json.encode({"StreamName": StreamName, "Records": Records})
        try:
            answer = self._connections.urlopen("POST", "/", body=body, headers=self._signed(body), retries=False)
            if answer.status != 200:
                raise ClientError(_error_of(answer.data, answer.status), OPERATION)
            return {"Records": _decode(answer.data).Records}
        except (urllib3.exceptions.HTTPError, msgspec.DecodeError) as error:
            raise HTTPClientError(error=error) from error

    def close(self) -> None:
        self._connections.close()

    def _signed(self, body: bytes) -> dict[str, str]:
        request = AWSRequest("POST", self._url, headers=dict(HEADERS), data=body)
        self._auth.add_auth(request)
        return dict(request.headers.items())


def _error_of(data: bytes, status: int) -> Any:  # noqa: ANN401 - botocore's own dict
    """The error as botocore has it: its code is the type without a namespace, or the status."""
    try:
        said = json.loads(data)
        kind, message = str(said["__type"]), str(said.get("message", said.get("Message", "")))
    except (ValueError, TypeError, KeyError):
        kind, message = str(status), data[:200].decode(errors="replace")
    return {
        "Error": {"Code": kind.rpartition("#")[2], "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
