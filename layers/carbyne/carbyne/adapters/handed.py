"""A function of the stack that answers HTTP in the place of another one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from carbyne.adapters.aws import retryable
from carbyne.core.errors import RetryableError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class InvokedFunction:
    """A ``HandOn``: the answer of a function of the stack to an event of HTTP."""

    def __init__(self, client: "LambdaClient", function: str) -> None:
        self._client = client
        self._function = function

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        with retryable("function Invoke"):
            answer = self._client.invoke(FunctionName=self._function, Payload=msgspec.json.encode(event))
            told: dict[str, Any] = msgspec.json.decode(answer["Payload"].read())
        if "FunctionError" in answer:
            raise RetryableError(f"{self._function}: {str(told)[:300]}")
        return told
