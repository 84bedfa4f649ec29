"""Calls of an AWS service that speaks JSON, with a fraction of the CPU that boto3's client takes for a call.

The signature is botocore's own, and so are the errors; connections are kept by urllib3, as botocore's are.  What is
left out costs most: hooks, models of request and answer, endpoints by rule, retries.
"""

import json
import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, HTTPClientError
from botocore.httpsession import get_cert_path
from urllib3.connection import HTTPConnection

if TYPE_CHECKING:
    from botocore.credentials import Credentials

SOCKET_OPTIONS: Final = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]


class Place(NamedTuple):
    """Where a service is asked: ``url`` without a path; ``authorities``: file of the certificates that are trusted,
    botocore's if empty."""

    url: str
    region: str
    authorities: str = ""


class JsonDialect(NamedTuple):
    """What calls of a service look like: ``service``: its name in a signature; ``version`` of its JSON; ``target``:
    what its operations' names begin with."""

    service: str
    version: str
    target: str


class Timeouts(NamedTuple):
    """Seconds."""

    connect_s: float
    read_s: float


class SignedCalls:
    """``connections``: kept open at most; without credentials each call raises NoCredentialsError."""

    def __init__(
        self,
        dialect: JsonDialect,
        credentials: "Credentials | None",
        place: Place,
        timeouts: Timeouts,
        connections: int = 1,
    ) -> None:
        self._auth = SigV4Auth(credentials, dialect.service, place.region)  # type: ignore[arg-type]
        self._type, self._target = f"application/x-amz-json-{dialect.version}", dialect.target
        self._url = f"{place.url}/"
        pools = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=timeouts.connect_s, read=timeouts.read_s),
            ca_certs=place.authorities or get_cert_path(True),
            maxsize=connections,
            socket_options=SOCKET_OPTIONS,
        )
        self._connections = pools.connection_from_url(place.url)

    def call(self, operation: str, body: bytes) -> bytes:
        """The answer; ClientError for an error, HTTPClientError if there is no answer to read."""
        try:
            headers = self._signed(operation, body)
            answer = self._connections.urlopen("POST", "/", body=body, headers=headers, retries=False)
            if answer.status != 200:
                raise ClientError(_error_of(answer.data, answer.status), operation)
            return answer.data
        except urllib3.exceptions.HTTPError as error:
            raise HTTPClientError(error=error) from error

    def close(self) -> None:
        self._connections.close()

    def _signed(self, operation: str, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": self._type, "X-Amz-Target": f"{self._target}.{operation}"}
        request = AWSRequest("POST", self._url, headers=headers, data=body)
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
