"""Secrets in the parameter store of Systems Manager, encrypted by its key."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from carbyne.adapters.aws import retryable

_NONE = ("ParameterNotFound",)


class SecretParameters:
    """A SecretStore below a prefix, ``/carbyne/<stack>/``.  ``connect`` is called at the first use."""

    def __init__(self, connect: Callable[[], Any], prefix: str) -> None:
        self._connect = connect
        self._prefix = prefix

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - made at run time by boto3
        return self._connect()

    def put(self, name: str, text: str) -> None:
        with retryable("ssm PutParameter"):
            self._client.put_parameter(Name=f"{self._prefix}{name}", Value=text, Type="SecureString", Overwrite=True)

    def get(self, name: str) -> str | None:
        try:
            with retryable("ssm GetParameter", passing=_NONE):
                answer = self._client.get_parameter(Name=f"{self._prefix}{name}", WithDecryption=True)
        except ClientError:
            return None
        return str(answer["Parameter"]["Value"])

    def delete(self, name: str) -> None:
        try:
            with retryable("ssm DeleteParameter", passing=_NONE):
                self._client.delete_parameter(Name=f"{self._prefix}{name}")
        except ClientError:
            return
