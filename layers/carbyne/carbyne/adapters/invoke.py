"""Functions of the stack that others call by Invoke."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from carbyne.adapters.aws import retryable
from carbyne.checks.scheduler import CheckJob, CheckTaken
from carbyne.core.errors import RequestError, RetryableError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class _Taken(msgspec.Struct, frozen=True):
    messages: list[CheckTaken]


class InvokedMessages:
    """A queue behind the queues' function; ``tenant``: whose it is."""

    def __init__(self, client: "LambdaClient", function: str, tenant: str, name: str) -> None:
        self._client = client
        self._function = function
        self._tenant = tenant
        self._path = f"/carbyne/v1/queues/{name}"

    def acknowledge(self, leases: Sequence[str]) -> None:
        self.call("ack", {"leases": leases})

    def call(self, what: str, body: object) -> str:
        """The body of the answer; RetryableError for a 503, RequestError for any other refusal."""
        path = f"{self._path}/{what}"
        event = {
            "tenant": self._tenant,
            "rawPath": path,
            "requestContext": {"http": {"method": "POST", "path": path}},
            "body": msgspec.json.encode(body).decode(),
        }
        with retryable("queue Invoke"):
            answer = self._client.invoke(FunctionName=self._function, Payload=msgspec.json.encode(event))
            told: dict[str, Any] = msgspec.json.decode(answer["Payload"].read())
        if "FunctionError" in answer or told["statusCode"] == 503:
            raise RetryableError(f"queue {what}: {str(told)[:300]}")
        if told["statusCode"] != 200:
            raise RequestError(told["statusCode"], str(told["body"])[:300])
        return str(told["body"])


class InvokedQueue(InvokedMessages):
    """A CheckQueue."""

    def publish(self, jobs: Sequence[tuple[CheckJob, int, str]]) -> None:
        messages = [{"body": job, "delay_s": delay_s, "key": key} for job, delay_s, key in jobs]
        self.call("messages", {"messages": messages})

    def take(self, most: int, lease_s: int) -> list[CheckTaken]:
        answer = self.call("take", {"max": most, "lease_s": lease_s})
        return msgspec.json.decode(answer, type=_Taken).messages


class CalledWorker:
    """Calls a function without waiting for its end."""

    def __init__(self, client: "LambdaClient", function: str) -> None:
        self._client = client
        self._function = function

    def __call__(self) -> None:
        with retryable("worker Invoke"):
            self._client.invoke(FunctionName=self._function, InvocationType="Event", Payload=b"{}")
