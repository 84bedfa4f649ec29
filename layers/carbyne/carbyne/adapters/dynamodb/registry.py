"""The registry table: ``pk``, ``sk``, ``body`` (JSON text) and ``version``; ``ttl`` of items that expire."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from carbyne.adapters.aws import retryable
from carbyne.core.limits import PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX
from carbyne.registry.store import Key, RegistryChange, RegistryItem

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

    Attributes = dict[str, AttributeValueTypeDef]

_UNCHANGED = "version = :now"
_NEW = "attribute_not_exists(pk)"
_APPLIED = "(version = :next AND body = :body)"
_LOST_RACES = frozenset(
    {
        "ConditionalCheckFailed",
        "ConditionalCheckFailedException",
        "TransactionConflict",
        "TransactionConflictException",
    }
)
"""Of a part of a transaction, and of a single write."""


class DynamoRegistry:
    """A registry Store in DynamoDB."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def get(self, key: Key) -> RegistryItem | None:
        if not _is_possible(key):
            return None
        with retryable("registry GetItem"):
            answer = self._client.get_item(TableName=self._table, Key=_key(key), ConsistentRead=True)
        return _item(answer["Item"]) if "Item" in answer else None

    def items(self, pk: str, prefix: str = "") -> list[RegistryItem]:
        if len(pk.encode()) > PARTITION_KEY_BYTES_MAX or len(prefix.encode()) > SORT_KEY_BYTES_MAX:
            return []
        condition = "pk = :pk AND begins_with(sk, :prefix)" if prefix else "pk = :pk"
        values: Attributes = {":pk": {"S": pk}, **({":prefix": {"S": prefix}} if prefix else {})}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
        )
        with retryable("registry Query"):
            return [_item(row) for page in pages for row in page["Items"]]

    def scan(self, pk: str, after: str = "") -> Iterator[RegistryItem]:
        if len(pk.encode()) > PARTITION_KEY_BYTES_MAX or len(after.encode()) > SORT_KEY_BYTES_MAX:
            return
        values: Attributes = {":pk": {"S": pk}, **({":after": {"S": after}} if after else {})}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND sk > :after" if after else "pk = :pk",
            ExpressionAttributeValues=values,
            ConsistentRead=True,
        )
        with retryable("registry Query"):
            for page in pages:
                yield from map(_item, page["Items"])

    def write(self, *changes: RegistryChange) -> bool:
        with retryable("registry write"):
            try:
                self._write([self._part(change) for change in changes])
            except ClientError as error:
                if not _is_lost_race(error):
                    raise
                return False
        return True

    def _write(self, parts: "list[TransactWriteItemTypeDef]") -> None:
        """One part alone costs half of what it costs in a transaction."""
        if len(parts) > 1:
            self._client.transact_write_items(TransactItems=parts)
        elif "Put" in parts[0]:
            self._client.put_item(**parts[0]["Put"])
        else:
            self._client.delete_item(**parts[0]["Delete"])

    def _part(self, change: RegistryChange) -> "TransactWriteItemTypeDef":
        now: AttributeValueTypeDef = {"N": str(change.version)}
        if change.body is None:
            condition = f"{_NEW} OR {_UNCHANGED}"
            return {
                "Delete": {
                    "TableName": self._table,
                    "Key": _key(change.key),
                    "ConditionExpression": condition,
                    "ExpressionAttributeValues": {":now": now},
                }
            }
        item: Attributes = {"body": {"S": change.body.decode()}, "version": {"N": str(change.version + 1)}}
        if change.expires_s is not None:
            item["ttl"] = {"N": str(change.expires_s)}
        values: Attributes = {":body": item["body"], ":next": item["version"]}
        return {
            "Put": {
                "TableName": self._table,
                "Item": {**_key(change.key), **item},
                "ConditionExpression": f"{_UNCHANGED if change.version else _NEW} OR {_APPLIED}",
                "ExpressionAttributeValues": {**values, **({":now": now} if change.version else {})},
            }
        }


def _is_possible(key: Key) -> bool:
    return 0 < len(key.sk.encode()) <= SORT_KEY_BYTES_MAX and len(key.pk.encode()) <= PARTITION_KEY_BYTES_MAX


def _key(key: Key) -> "Attributes":
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def _item(row: "Attributes") -> RegistryItem:
    return RegistryItem(Key(row["pk"]["S"], row["sk"]["S"]), row["body"]["S"].encode(), int(row["version"]["N"]))


def _is_lost_race(error: ClientError) -> bool:
    """Whether conditions, or other transactions on the same items, are all that stood against a write."""
    cancelled = error.response.get("CancellationReasons")
    reasons = {str(reason.get("Code")) for reason in cancelled or ()} - {"None"} or {error.response["Error"]["Code"]}
    return reasons <= _LOST_RACES
