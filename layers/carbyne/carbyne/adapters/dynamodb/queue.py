"""The queues table.

    pk  partition (S)   sk  sort (S)   b  body (B)   n  due, ms (N)   t  tries (N)   d  died, s (N)

Messages sort by their ids, those that are due later by their due time.  A key of a publisher has ``i``, the message's
id, and ``ttl``.  The note of a queue has ``taken``, ``lease`` (ms) and ``audited`` and ``deleted`` (s).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from carbyne.adapters.aws import retryable
from carbyne.core.errors import RetryableError
from carbyne.core.keys import QUEUES_ITEM, QueueKey, queue_prefix
from carbyne.core.limits import BATCH_WRITE_MAX, DEAD_COUNTED_MAX, MESSAGE_KEY_S, WRITE_TRIES_MAX
from carbyne.queue.ports import QueueNote, StoredMessage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CANCELLED = ("TransactionCanceledException",)
_FAILED = "ConditionalCheckFailedException"
_IS_NEW = "attribute_not_exists(pk)"
_BEHIND_TIMES = ":"
"""Sorts behind every digit."""


class DynamoQueues:
    """A QueueTable in DynamoDB."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def put(self, queue: QueueKey, messages: Sequence[StoredMessage]) -> None:
        self._write([{"PutRequest": {"Item": _item(queue.partition("m"), each.id, each)}} for each in messages])

    def put_later(self, queue: QueueKey, messages: Sequence[StoredMessage]) -> None:
        partition = queue.partition("later")
        self._write([{"PutRequest": {"Item": _item(partition, _later(each), each)}} for each in messages])

    def remove_later(self, queue: QueueKey, messages: Sequence[StoredMessage]) -> None:
        self._delete(queue.partition("later"), map(_later, messages))

    def put_once(self, queue: QueueKey, message: StoredMessage, key: str, now_s: int, *, later: bool) -> str:
        place = (queue.partition("later"), _later(message)) if later else (queue.partition("m"), message.id)
        named = {**_key(queue.partition("keys"), key), "i": {"S": message.id}, "ttl": {"N": str(now_s + MESSAGE_KEY_S)}}
        first = {
            "Put": {
                "TableName": self._table,
                "Item": named,
                "ConditionExpression": "attribute_not_exists(pk) OR #ttl <= :now",
                "ExpressionAttributeNames": {"#ttl": "ttl"},
                "ExpressionAttributeValues": {":now": {"N": str(now_s)}},
            }
        }
        second = {"Put": {"TableName": self._table, "Item": _item(*place, message)}}
        if self._transact([first, second]):
            return message.id
        with retryable("queues GetItem"):
            answer = self._client.get_item(
                TableName=self._table, Key=_key(queue.partition("keys"), key), ConsistentRead=True
            )
        if "Item" not in answer:
            raise RetryableError("the key of a message was taken by another transaction")
        return answer["Item"]["i"]["S"]

    def bodies(self, queue: QueueKey, ids: Sequence[str]) -> dict[str, bytes]:
        bodies: dict[str, bytes] = {}
        asked: dict[str, Any] = {
            self._table: {
                "Keys": [_key(queue.partition("m"), each) for each in ids],
                "ConsistentRead": True,
                "ProjectionExpression": "sk, b",
            }
        }
        for _ in range(WRITE_TRIES_MAX):
            if not asked:
                return bodies
            with retryable("queues BatchGetItem"):
                answer = self._client.batch_get_item(RequestItems=asked)
            bodies |= {row["sk"]["S"]: bytes(row["b"]["B"]) for row in answer["Responses"].get(self._table, [])}
            asked = dict(answer.get("UnprocessedKeys", {}))
        if asked:
            raise RetryableError("queues BatchGetItem: not all items are read now")
        return bodies

    def remove(self, queue: QueueKey, ids: Sequence[str]) -> None:
        self._delete(queue.partition("m"), ids)

    def page(self, queue: QueueKey, after: str, most: int) -> list[tuple[str, int]]:
        rows = self._rows(queue.partition("m"), "sk > :edge", after or " ", most, ProjectionExpression="sk, n")
        return [(row["sk"]["S"], _number(row, "n")) for row in rows]

    def due(self, queue: QueueKey, until_ms: int, most: int) -> list[StoredMessage]:
        edge = f"{until_ms:013d}{_BEHIND_TIMES}"
        rows = self._rows(queue.partition("later"), "sk < :edge", edge, most)
        return [_stored(row["sk"]["S"].partition("#")[2], row) for row in rows]

    def wake(self, queue: QueueKey, message: StoredMessage) -> bool:
        return self._move(queue, ("later", _later(message)), ("m", message.id), message)

    def count_later(self, queue: QueueKey) -> int:
        return self._count(queue.partition("later"))

    def bury(self, queue: QueueKey, message: StoredMessage) -> None:
        self._move(queue, ("m", message.id), ("dead", message.id), message)

    def dead(self, queue: QueueKey, after: str, most: int) -> list[StoredMessage]:
        rows = self._rows(queue.partition("dead"), "sk > :edge", after or " ", most)
        return [_stored(row["sk"]["S"], row) for row in rows]

    def count_dead(self, queue: QueueKey) -> int:
        return self._count(queue.partition("dead"))

    def revive(self, queue: QueueKey, message: StoredMessage) -> bool:
        return self._move(queue, ("dead", message.id), ("m", message.id), message)

    def remove_dead(self, queue: QueueKey, ids: Sequence[str]) -> None:
        self._delete(queue.partition("dead"), ids)

    def note(self, queue: QueueKey) -> QueueNote | None:
        with retryable("queues GetItem"):
            answer = self._client.get_item(
                TableName=self._table, Key=_key(QUEUES_ITEM, queue.path), ConsistentRead=True
            )
        return _note(answer["Item"]) if "Item" in answer else None

    def make(self, queue: QueueKey) -> None:
        note = _key(QUEUES_ITEM, queue.path)
        self._if(lambda: self._client.put_item(TableName=self._table, Item=note, ConditionExpression=_IS_NEW))

    def raise_note(self, queue: QueueKey, note: QueueNote) -> QueueNote | None:
        """Each number on its own: another call may have raised the other one."""
        for name, value in (("taken", note.taken), ("lease", note.lease_ms)):
            self._raise(queue, name, value)
        return self.note(queue)

    def audited(self, queue: QueueKey, now_s: int) -> None:
        self._raise(queue, "audited", now_s)

    def condemn(self, queue: QueueKey, now_s: int) -> bool:
        self._raise(queue, "deleted", now_s)
        return self.note(queue) is not None

    def clear(self, queue: QueueKey, most: int) -> int:
        """Dead letters twice: a taker, or someone who puts letters back, may move a message while this looks."""
        cleared = 0
        for partition in map(queue.partition, ("later", "dead", "m", "dead", "keys")):
            if cleared < most:
                rows = self._rows(partition, "sk >= :edge", "\0", most - cleared, ProjectionExpression="sk")
                cleared += self._delete(partition, [row["sk"]["S"] for row in rows])
        return cleared

    def end(self, queue: QueueKey, note: QueueNote) -> None:
        self._if(
            lambda: self._client.delete_item(
                TableName=self._table,
                Key=_key(QUEUES_ITEM, queue.path),
                ConditionExpression="deleted = :deleted",
                ExpressionAttributeValues={":deleted": {"N": str(note.deleted_s)}},
            )
        )

    def queues(self, tenant: str = "") -> list[tuple[QueueKey, QueueNote]]:
        prefix = queue_prefix(tenant) if tenant else " "
        condition = "begins_with(sk, :edge)" if tenant else "sk > :edge"
        rows = self._rows(QUEUES_ITEM, condition, prefix, 0)
        return [(QueueKey.of_path(row["sk"]["S"]), _note(row)) for row in rows]

    def _raise(self, queue: QueueKey, name: str, value: int) -> None:
        """A number of a note, if there is a note and the number is lower."""
        self._if(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key(QUEUES_ITEM, queue.path),
                UpdateExpression="SET #name = :value",
                ConditionExpression="attribute_exists(pk) AND (attribute_not_exists(#name) OR #name < :value)",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":value": {"N": str(value)}},
            )
        )

    def _if(self, write: Callable[[], object]) -> None:
        """A write with a condition, done or not."""
        with suppress(ClientError), retryable("queues note", passing=(_FAILED,)):
            write()

    def _move(self, queue: QueueKey, of: tuple[str, str], to: tuple[str, str], message: StoredMessage) -> bool:
        """From one partition (kind, sort key) to another, unless it is not there any more."""
        delete = {
            "Delete": {
                "TableName": self._table,
                "Key": _key(queue.partition(of[0]), of[1]),
                "ConditionExpression": "attribute_exists(pk)",
            }
        }
        put = {"Put": {"TableName": self._table, "Item": _item(queue.partition(to[0]), to[1], message)}}
        return self._transact([delete, put])

    def _transact(self, parts: Sequence[Any]) -> bool:
        """Whether it was done; False if a condition stood against it."""
        try:
            with retryable("queues TransactWriteItems", passing=_CANCELLED):
                self._client.transact_write_items(TransactItems=list(parts))
        except ClientError as error:
            reasons = {str(reason.get("Code")) for reason in error.response.get("CancellationReasons", ())}
            if "ConditionalCheckFailed" not in reasons:
                raise RetryableError(f"queues TransactWriteItems: {error}") from error
            return False
        return True

    def _rows(self, partition: str, condition: str, edge: str, most: int, **options: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        """``most`` of them at most, 0 all."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": f"pk = :pk AND {condition}",
            "ExpressionAttributeValues": {":pk": {"S": partition}, ":edge": {"S": edge}},
            "ConsistentRead": True,
            **options,
        }
        left = most
        while True:
            if most:
                request["Limit"] = left
            with retryable("queues Query"):
                answer = self._client.query(**request)
            yield from answer["Items"]
            left -= len(answer["Items"])
            if "LastEvaluatedKey" not in answer or (most and left <= 0):
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _count(self, partition: str) -> int:
        return sum(1 for _ in self._rows(partition, "sk > :edge", " ", DEAD_COUNTED_MAX, ProjectionExpression="sk"))

    def _delete(self, partition: str, sorts: Iterable[str]) -> int:
        """How many items were asked for."""
        requests = [{"DeleteRequest": {"Key": _key(partition, sort)}} for sort in sorts]
        self._write(requests)
        return len(requests)

    def _write(self, requests: list[Any]) -> None:
        for first in range(0, len(requests), BATCH_WRITE_MAX):
            self._write_batch(requests[first : first + BATCH_WRITE_MAX])

    def _write_batch(self, requests: list[Any]) -> None:
        """What is throttled comes back, and is asked for again a few times."""
        for _ in range(WRITE_TRIES_MAX):
            with retryable("queues BatchWriteItem"):
                answer = self._client.batch_write_item(RequestItems={self._table: requests})
            requests = answer.get("UnprocessedItems", {}).get(self._table, [])
            if not requests:
                return
        raise RetryableError(f"queues BatchWriteItem: {len(requests)} items are not taken now")


def _key(partition: str, sort: str) -> dict[str, Any]:
    return {"pk": {"S": partition}, "sk": {"S": sort}}


def _later(message: StoredMessage) -> str:
    return f"{message.due_ms:013d}#{message.id}"


def _item(partition: str, sort: str, message: StoredMessage) -> dict[str, Any]:
    numbers = {"n": message.due_ms, "t": message.tries, "d": message.died_s}
    given = {name: {"N": str(number)} for name, number in numbers.items() if number}
    return {**_key(partition, sort), "b": {"B": message.body}, **given}


def _stored(message_id: str, row: dict[str, Any]) -> StoredMessage:
    return StoredMessage(message_id, bytes(row["b"]["B"]), _number(row, "n"), _number(row, "t"), _number(row, "d"))


def _number(row: dict[str, Any], name: str) -> int:
    return int(row[name]["N"]) if name in row else 0


def _note(row: dict[str, Any]) -> QueueNote:
    return QueueNote(*(_number(row, name) for name in ("taken", "lease", "audited", "deleted")))
