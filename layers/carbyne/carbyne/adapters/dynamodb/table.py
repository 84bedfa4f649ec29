"""The blocks table in DynamoDB.

    pk  partition (S)    sk  sort (S)    b  data (B)    v  version (B)    ttl  expiry, seconds (N)
    d  expiry, days since the epoch (N): the partition key of the index ``expiring``, which holds keys alone

Attribute names are short, since an item pays for them each time it is written.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from carbyne.adapters.aws import retryable
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import RAW, BlockKey, SourceKey, Window, block_sort, is_block
from carbyne.core.limits import BATCH_GET_MAX, BATCH_WRITE_MAX, DAY_S, RAW_WINDOW_S_MAX, WRITE_TRIES_MAX
from carbyne.samples.rollups import BY_NAME

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from carbyne.adapters.dynamodb.client import BlocksClient

CONFLICTS = ("ConditionalCheckFailedException",)
EXPIRING = "expiring"
"""The index of blocks by the day on which they expire."""


class DynamoTable:
    """``items.Table`` on a DynamoDB client.  ``units``: write units used so far, as the service counts them."""

    def __init__(self, client: "DynamoDBClient | BlocksClient", name: str) -> None:
        self._client = client
        self._name = name
        self.units = 0.0

    def get(self, partition: str, sort: str) -> Item | None:
        key = {"pk": {"S": partition}, "sk": {"S": sort}}
        with retryable("blocks GetItem"):
            answer = self._client.get_item(TableName=self._name, Key=key, ConsistentRead=True)
        return of_attributes(answer["Item"]) if "Item" in answer else None

    def put(self, partition: str, sort: str, item: Item, replaces: Item | None) -> bool:
        request: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if replaces is not None:
            values = {":v": {"B": replaces.version}}
            request = {"ConditionExpression": "v = :v", "ExpressionAttributeValues": values}
        request["Item"] = {"pk": {"S": partition}, "sk": {"S": sort}, **attributes(item)}
        try:
            with retryable("blocks PutItem", passing=CONFLICTS):
                answer = self._client.put_item(TableName=self._name, ReturnConsumedCapacity="TOTAL", **request)
        except ClientError:
            return False
        used: Any = answer.get("ConsumedCapacity", {})
        self.units += float(used.get("CapacityUnits", 0))
        return True

    def remove(self, partition: str, sort: str, item: Item) -> bool:
        request: dict[str, Any] = {
            "Key": {"pk": {"S": partition}, "sk": {"S": sort}},
            "ConditionExpression": "v = :v",
            "ExpressionAttributeValues": {":v": {"B": item.version}},
        }
        try:
            with retryable("blocks DeleteItem", passing=CONFLICTS):
                self._client.delete_item(TableName=self._name, **request)
        except ClientError:
            return False
        return True

    def write(self, puts: Sequence[tuple[str, str, Item]], removals: Sequence[tuple[str, str]]) -> None:
        requests: list[Any] = [
            {"PutRequest": {"Item": {"pk": {"S": partition}, "sk": {"S": sort}, **attributes(item)}}}
            for partition, sort, item in puts
        ]
        requests += [
            {"DeleteRequest": {"Key": {"pk": {"S": partition}, "sk": {"S": sort}}}} for partition, sort in removals
        ]
        for first in range(0, len(requests), BATCH_WRITE_MAX):
            self._write_batch(requests[first : first + BATCH_WRITE_MAX])

    def _write_batch(self, requests: list[Any]) -> None:
        """What is throttled comes back, and is asked for again a few times."""
        for _ in range(WRITE_TRIES_MAX):
            with retryable("blocks BatchWriteItem"):
                answer = self._client.batch_write_item(
                    RequestItems={self._name: requests}, ReturnConsumedCapacity="TOTAL"
                )
            self.units += sum(float(used["CapacityUnits"]) for used in answer.get("ConsumedCapacity", ()))
            requests = answer.get("UnprocessedItems", {}).get(self._name, [])
            if not requests:
                return
        raise RetryableError(f"blocks BatchWriteItem: {len(requests)} items are not taken now")

    def get_each(self, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Item]:
        left: list[Any] = [{"pk": {"S": partition}, "sk": {"S": sort}} for partition, sort in places]
        items: dict[tuple[str, str], Item] = {}
        tries = 0
        while left:
            before, asked, left = len(left), left[:BATCH_GET_MAX], left[BATCH_GET_MAX:]
            with retryable("blocks BatchGetItem"):
                answer = self._client.batch_get_item(RequestItems={self._name: {"Keys": asked, "ConsistentRead": True}})
            rows = answer["Responses"].get(self._name, [])
            items |= {(row["pk"]["S"], row["sk"]["S"]): of_attributes(row) for row in rows}
            left += answer.get("UnprocessedKeys", {}).get(self._name, {"Keys": []})["Keys"]
            tries += len(left) == before
            if tries == WRITE_TRIES_MAX:
                raise RetryableError(f"blocks BatchGetItem: {len(left)} items are not given now")
        return items

    def query(self, partition: str, first: str, last: str) -> list[tuple[str, Item]]:
        items: list[tuple[str, Item]] = []
        page: dict[str, Any] = {}
        while True:
            with retryable("blocks Query"):
                answer = self._client.query(
                    TableName=self._name,
                    KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
                    ExpressionAttributeValues={":pk": {"S": partition}, ":first": {"S": first}, ":last": {"S": last}},
                    ConsistentRead=True,
                    **page,
                )
            items += [(row["sk"]["S"], of_attributes(row)) for row in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return items
            page = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def expiring(client: "DynamoDBClient", table: str, day: int, after: BlockKey | None = None) -> Iterator[BlockKey]:
    """Every block, or stub of a split one, that expires on that day since the epoch, by the index of expiries; those
    alone that it has behind ``after``, which may be gone."""
    request: dict[str, Any] = {
        "TableName": table,
        "IndexName": EXPIRING,
        "KeyConditionExpression": "d = :day",
        "ExpressionAttributeValues": {":day": {"N": str(day)}},
    }
    if after:
        start = {"d": {"N": str(day)}, "pk": {"S": after.partition}, "sk": {"S": after.sort}}
        request["ExclusiveStartKey"] = start
    while True:
        with retryable("blocks Query by expiry"):
            answer = client.query(**request)
        for row in answer["Items"]:
            if is_block(row["pk"]["S"]):
                yield BlockKey.of_item(row["pk"]["S"], row["sk"]["S"])
        if "LastEvaluatedKey" not in answer:
            return
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


class WarmBlocks:
    """``items.RangedBlocks`` in the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, key: BlockKey) -> Item | None:
        return self._table.get(key.partition, key.sort)

    def put(self, key: BlockKey, item: Item, replaces: Item | None) -> bool:
        return self._table.put(key.partition, key.sort, item, replaces)

    def between(
        self, source: SourceKey, resolution: str, from_ms: int, to_ms: int, raw_s: int = RAW_WINDOW_S_MAX
    ) -> list[tuple[BlockKey, Item]]:
        longest_s = raw_s if resolution == RAW else BY_NAME[resolution].window_s
        first = block_sort(Window(max(0, from_ms // 1000 - longest_s + 1), 0))
        last = block_sort(Window(max(0, to_ms // 1000 + 1), 0))
        partition = BlockKey(source, resolution, Window(0, 1)).partition
        windows = ((Window.parse(sort), item) for sort, item in self._table.query(partition, first, last))
        return [
            (BlockKey(source, resolution, window), item) for window, item in windows if window.overlaps(from_ms, to_ms)
        ]


def attributes(item: Item) -> dict[str, Any]:
    """The attributes of an item but for its key."""
    row: dict[str, Any] = {"b": {"B": item.data}, "v": {"B": item.version}}
    if item.expires_s:
        row |= {"ttl": {"N": str(item.expires_s)}, "d": {"N": str(item.expires_s // DAY_S)}}
    return row


def of_attributes(row: dict[str, Any]) -> Item:
    """The mirror of ``attributes``."""
    return Item(bytes(row["b"]["B"]), int(row["ttl"]["N"]) if "ttl" in row else 0)
