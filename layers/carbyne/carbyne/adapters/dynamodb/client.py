"""A client of DynamoDB for items of texts, numbers and bytes, which is what the blocks table has."""

import time
from collections.abc import Callable
from random import random
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec
from botocore.exceptions import ClientError, HTTPClientError

from carbyne.adapters.signed import JsonDialect, Place, SignedCalls, Timeouts
from carbyne.core.limits import TABLE_PAUSE_S, TABLE_TRIES

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_dynamodb import DynamoDBClient

DYNAMODB: Final = JsonDialect("dynamodb", "1.0", "DynamoDB_20120810")
THROTTLES: Final = ("ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException")


class AttributeValue(TypedDict, total=False):
    S: str
    N: str
    B: bytes


Attributes = dict[str, AttributeValue]


class TableAnswer(TypedDict, total=False):
    """Of any of the operations here."""

    Item: Attributes
    Items: list[Attributes]
    LastEvaluatedKey: Attributes
    Responses: dict[str, list[Attributes]]
    UnprocessedKeys: dict[str, "UnreadKeys"]
    UnprocessedItems: dict[str, list["Unwritten"]]
    ConsumedCapacity: Any


class UnreadKeys(TypedDict):
    Keys: list[Attributes]


class Unwritten(TypedDict, total=False):
    PutRequest: dict[str, Attributes]
    DeleteRequest: dict[str, Attributes]


_decode = msgspec.json.Decoder(TableAnswer).decode


class BlocksClient:
    """Operations as boto3's client has them, with its errors; ``tries``: of a call that may pass the next time."""

    def __init__(self, calls: SignedCalls, tries: int, sleep: Callable[[float], None] = time.sleep) -> None:
        self._calls, self._tries, self._sleep = calls, tries, sleep

    def get_item(self, **request: object) -> TableAnswer:
        return self._ask("GetItem", request)

    def put_item(self, **request: object) -> TableAnswer:
        return self._ask("PutItem", request)

    def delete_item(self, **request: object) -> TableAnswer:
        return self._ask("DeleteItem", request)

    def query(self, **request: object) -> TableAnswer:
        return self._ask("Query", request)

    def batch_get_item(self, **request: object) -> TableAnswer:
        return self._ask("BatchGetItem", request)

    def batch_write_item(self, **request: object) -> TableAnswer:
        return self._ask("BatchWriteItem", request)

    def close(self) -> None:
        self._calls.close()

    def _ask(self, operation: str, request: object) -> TableAnswer:
        body = msgspec.json.encode(request)
        for number in range(1, self._tries):
            try:
                return self._once(operation, body)
            except (ClientError, HTTPClientError) as error:
                if not _may_pass(error):
                    raise
            self._sleep(random() * TABLE_PAUSE_S * 2 ** (number - 1))
        return self._once(operation, body)

    def _once(self, operation: str, body: bytes) -> TableAnswer:
        try:
            return _decode(self._calls.call(operation, body))
        except msgspec.DecodeError as error:
            raise HTTPClientError(error=error) from error


def _may_pass(error: ClientError | HTTPClientError) -> bool:
    if not isinstance(error, ClientError):
        return True
    is_fault = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    return is_fault or error.response["Error"]["Code"] in THROTTLES


def blocks_client(like: "DynamoDBClient", credentials: "Credentials | None") -> BlocksClient:
    """With the endpoint, the timeouts, tries and connections of boto3's client ``like``."""
    config: Any = like.meta.config
    calls = SignedCalls(
        DYNAMODB,
        credentials,
        Place(like.meta.endpoint_url, like.meta.region_name),
        Timeouts(config.connect_timeout, config.read_timeout),
        config.max_pool_connections,
    )
    return BlocksClient(calls, (config.retries or {}).get("total_max_attempts", TABLE_TRIES))
