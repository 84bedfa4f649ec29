"""The accounts table: ``pk`` is ``key#<sha256>`` with attribute ``tenant``, or ``tenant#<tenant>``."""

from typing import TYPE_CHECKING

from carbyne import keys
from carbyne.adapters.aws import retryable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


class DynamoAccounts:
    """An AccountStore in DynamoDB."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def tenant_of(self, api_key: str) -> str | None:
        item = self._item(keys.api_key_item(api_key))
        return None if item is None else item["tenant"]["S"]

    def has_tenant(self, tenant: str) -> bool:
        return self._item(keys.tenant_item(tenant)) is not None

    def _item(self, pk: str) -> "dict[str, AttributeValueTypeDef] | None":
        with retryable("accounts GetItem"):
            answer = self._client.get_item(TableName=self._table, Key={"pk": {"S": pk}}, ConsistentRead=True)
        return answer.get("Item")


def add_tenant(client: "DynamoDBClient", table: str, tenant: str) -> None:
    """Make a tenant known; RetryableError if the table can't be written."""
    with retryable("accounts PutItem"):
        client.put_item(TableName=table, Item={"pk": {"S": keys.tenant_item(tenant)}})


def add_key(client: "DynamoDBClient", table: str, api_key: str, tenant: str) -> None:
    """Let ``api_key`` speak for ``tenant``; only the key's hash is stored."""
    with retryable("accounts PutItem"):
        client.put_item(TableName=table, Item={"pk": {"S": keys.api_key_item(api_key)}, "tenant": {"S": tenant}})
