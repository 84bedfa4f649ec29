"""The accounts table: ``pk`` is ``key#<sha256>``, ``tenant#<tenant>`` or ``pair#<tenant>#<sha256 of a cluster>``.

A key's attributes: ``tenant``, ``name``, ``read``, ``write``, ``created_s``.  A missing permission to read
or write is granted: keys made before there were permissions may do both.  A tenant's are of its limits and use: see
``adapters.usage``.  A pair's say which ``replica`` of it is elected and when that posted (``seen_ms``).  Two more
items have what is signed with: tokens of sessions, and pictures.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from carbyne.adapters.aws import retryable
from carbyne.adapters.dynamodb import usage
from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.tenants.accounts import BOTH, Elected, Grant, Permission
from carbyne.tenants.usage import Standing

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = dict[str, AttributeValueTypeDef]


class DynamoAccounts:
    """An AccountStore in DynamoDB."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def grant_of(self, api_key: str) -> Grant | None:
        return self.grant_at(keys.api_key_item(api_key))

    def grant_at(self, item: str) -> Grant | None:
        return self._grant(self._item(item))

    def token_secret(self) -> bytes | None:
        return self.secret(keys.TOKEN_SECRET_ITEM)

    def secret(self, pk: str) -> bytes | None:
        """What is signed with the secret of an item, None before it was made."""
        item = self._item(pk)
        return None if item is None else item["secret"]["B"]

    def made_secret(self, pk: str, secret: Callable[[], bytes]) -> bytes:
        """The same; the first call makes it."""
        if made := self.secret(pk):
            return made
        _put_new(self._client, self._table, {"pk": {"S": pk}, "secret": {"B": secret()}})
        if made := self.secret(pk):
            return made
        raise RetryableError(f"{pk} was deleted while it was made")

    def _grant(self, item: "Item | None") -> Grant | None:
        return None if item is None else Grant(item["tenant"]["S"], permission_of(item))

    def has_tenant(self, tenant: str) -> bool:
        return self._item(keys.tenant_item(tenant)) is not None

    def standing_of(self, tenant: str) -> Standing | None:
        item = self._item(keys.tenant_item(tenant))
        return None if item is None else usage.standing(item)

    def spend(self, tenant: str, limit: str, minute: int, number: int) -> int:
        return usage.spend(self._client, self._table, tenant, limit, minute, number)

    def note_taken(self, tenant: str, body: str, taken: int, minute: int) -> None:
        usage.note_taken(self._client, self._table, tenant, body, taken, minute)

    def elect(self, tenant: str, cluster: str, replica: str, now_ms: int, silent_ms: int) -> Elected:
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": {"pk": {"S": keys.pair_item(tenant, cluster)}},
            "UpdateExpression": "SET replica = :replica, seen_ms = :now",
            "ConditionExpression": "attribute_not_exists(pk) OR replica = :replica OR seen_ms <= :silent",
            "ExpressionAttributeValues": {
                ":replica": {"S": replica},
                ":now": {"N": str(now_ms)},
                ":silent": {"N": str(now_ms - silent_ms)},
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        with retryable("pair UpdateItem", passing=[usage.FAILED_CONDITION]):
            try:
                self._client.update_item(**request)
            except ClientError as error:
                if error.response["Error"]["Code"] != usage.FAILED_CONDITION:
                    raise
                item: Any = error.response.get("Item") or self._item(keys.pair_item(tenant, cluster))
                return Elected(item["replica"]["S"], int(item["seen_ms"]["N"]))
        return Elected(replica, now_ms)

    def _item(self, pk: str) -> "Item | None":
        with retryable("accounts GetItem"):
            answer = self._client.get_item(TableName=self._table, Key={"pk": {"S": pk}}, ConsistentRead=True)
        return answer.get("Item")


def permission_of(item: "Item") -> Permission:
    """What a key's item grants."""
    read = Permission.READ if item.get("read", {}).get("BOOL", True) else Permission(0)
    write = Permission.WRITE if item.get("write", {}).get("BOOL", True) else Permission(0)
    return read | write


def add_tenant(client: "DynamoDBClient", table: str, tenant: str) -> bool:
    """Make a tenant known; False if it was.  RetryableError if the table can't be written."""
    return _put_new(client, table, {"pk": {"S": keys.tenant_item(tenant)}})


def add_key(
    client: "DynamoDBClient",
    table: str,
    api_key: str,
    tenant: str,
    *,
    permission: Permission = BOTH,
    name: str = "",
    created_s: int = 0,
) -> str:
    """Let ``api_key`` speak for ``tenant``; only the key's hash is stored.  Its id."""
    pk = keys.api_key_item(api_key)
    item: Item = {
        "pk": {"S": pk},
        "tenant": {"S": tenant},
        "name": {"S": name},
        "read": {"BOOL": Permission.READ in permission},
        "write": {"BOOL": Permission.WRITE in permission},
        "created_s": {"N": str(created_s)},
    }
    _put_new(client, table, item)
    return keys.api_key_id(pk)


def _put_new(client: "DynamoDBClient", table: str, item: "Item") -> bool:
    with retryable("accounts PutItem"):
        try:
            client.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(pk)")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
    return True
