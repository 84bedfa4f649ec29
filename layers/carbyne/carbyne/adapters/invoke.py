"""Functions of the stack that others call by Invoke."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from carbyne.adapters.aws import retryable
from carbyne.core.errors import OverLimitError, RequestError, RetryableError
from carbyne.core.names import OPERATOR, OVER_LIMIT_HEADER

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


UNKNOWN = 404
"""What the queues' function answers for a queue before its first message."""

TakenJob = TypeVar("TakenJob", bound=msgspec.Struct)


class InvokedQueues:
    """The queues of the operator's tenant, behind the queues' function."""

    def __init__(self, client: "LambdaClient", function: str) -> None:
        self._client = client
        self._function = function

    def ready(self) -> list[str]:
        """Names of those that may have a message to take."""
        names: list[str] = msgspec.json.decode(self.call("GET", "", query="ready=true"))["queues"]
        return names

    def call(self, method: str, path: str, body: object = None, query: str = "") -> str:
        """The body of the answer; RetryableError for a 503, OverLimitError if it says so, RequestError for any other
        refusal."""
        path = f"/carbyne/v1/queues{path}"
        event = {
            "tenant": OPERATOR,
            "rawPath": path,
            "rawQueryString": query,
            "requestContext": {"http": {"method": method, "path": path}},
            "body": msgspec.json.encode(body).decode(),
        }
        with retryable("queue Invoke"):
            answer = self._client.invoke(FunctionName=self._function, Payload=msgspec.json.encode(event))
            told: dict[str, Any] = msgspec.json.decode(answer["Payload"].read())
        if over := told.get("headers", {}).get(OVER_LIMIT_HEADER):
            limit, used, allowed = over.split()
            raise OverLimitError(limit, int(used), int(allowed))
        if "FunctionError" in answer or told["statusCode"] == 503:
            raise RetryableError(f"{method} {path}: {str(told)[:300]}")
        if told["statusCode"] != 200:
            raise RequestError(told["statusCode"], str(told["body"])[:300])
        return str(told["body"])


class InvokedMessages:
    """One of the queues."""

    def __init__(self, queues: InvokedQueues, name: str) -> None:
        self._queues = queues
        self._name = name

    def acknowledge(self, leases: Sequence[str]) -> None:
        self.call("ack", {"leases": leases})

    def leased(self, most: int, lease_s: int) -> list[Any]:
        """Messages as the queue gives them; none where nothing was ever published."""
        try:
            answer = self.call("take", {"max": most, "lease_s": lease_s})
        except RequestError as error:
            if error.status != UNKNOWN:
                raise
            return []
        messages: list[Any] = msgspec.json.decode(answer)["messages"]
        return messages

    def call(self, what: str, body: object) -> str:
        return self._queues.call("POST", f"/{self._name}/{what}", body)


class InvokedQueue(InvokedMessages, Generic[TakenJob]):
    """A CheckQueue or CloudQueue; ``taken``: the type of its messages, with lease and body."""

    def __init__(self, queues: InvokedQueues, name: str, taken: type[TakenJob]) -> None:
        super().__init__(queues, name)
        self._taken = taken

    def publish(self, jobs: Sequence[tuple[msgspec.Struct, int, str]]) -> None:
        messages = [{"body": job, "delay_s": delay_s, "key": key} for job, delay_s, key in jobs]
        self.call("messages", {"messages": messages})

    def take(self, most: int, lease_s: int) -> list[TakenJob]:
        return [msgspec.convert(message, self._taken) for message in self.leased(most, lease_s)]


class CalledWorker:
    """Calls a function without waiting for its end."""

    def __init__(self, client: "LambdaClient", function: str, event: bytes = b"{}") -> None:
        self._client = client
        self._function = function
        self._event = event

    def __call__(self) -> None:
        with retryable("worker Invoke"):
            self._client.invoke(FunctionName=self._function, InvocationType="Event", Payload=self._event)
