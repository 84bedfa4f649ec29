"""What the operator's commands do in the accounts table: tenants with their limits, and API keys."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from carbyne.adapters.aws import retryable
from carbyne.adapters.dynamodb import usage
from carbyne.adapters.dynamodb.accounts import DynamoAccounts, add_key, add_tenant, permission_of
from carbyne.core import keys
from carbyne.tenants.accounts import Permission
from carbyne.tenants.admin import ApiKey
from carbyne.tenants.usage import Standing

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = dict[str, AttributeValueTypeDef]


class DynamoTenants:
    """``Tenancies``.  Lists read the whole table, as the operator's commands may."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table
        self._accounts = DynamoAccounts(client, table)

    def add(self, tenant: str) -> bool:
        return add_tenant(self._client, self._table, tenant)

    def has(self, tenant: str) -> bool:
        return self._accounts.has_tenant(tenant)

    def all(self) -> list[str]:
        prefix = keys.tenant_item("")
        return sorted(item["pk"]["S"].removeprefix(prefix) for item in self._scan(prefix))

    def standing_of(self, tenant: str) -> Standing | None:
        return self._accounts.standing_of(tenant)

    def set_limits(self, tenant: str, limits: Mapping[str, int | None]) -> bool:
        return usage.set_limits(self._client, self._table, tenant, limits)

    def set_pair_labels(self, tenant: str, names: Sequence[str]) -> bool:
        return usage.set_pair_labels(self._client, self._table, tenant, names)

    def add_key(self, api_key: str, tenant: str, permission: Permission, name: str, created_s: int) -> str:
        return add_key(
            self._client, self._table, api_key, tenant, permission=permission, name=name, created_s=created_s
        )

    def api_keys(self, key_id: str = "") -> list[ApiKey]:
        return sorted(map(_api_key, self._scan(f"key#{key_id}")), key=lambda key: (key.created_s, key.key_id))

    def revoke(self, key_id: str) -> None:
        for item in self._scan(f"key#{key_id}"):
            with retryable("accounts DeleteItem"):
                self._client.delete_item(TableName=self._table, Key={"pk": item["pk"]})

    def _scan(self, prefix: str) -> "Iterator[Item]":
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ConsistentRead=True,
            FilterExpression="begins_with(pk, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": prefix}},
        )
        with retryable("accounts Scan"):
            for page in pages:
                yield from page["Items"]


def _api_key(item: "Item") -> ApiKey:
    return ApiKey(
        key_id=keys.api_key_id(item["pk"]["S"]),
        name=item.get("name", {}).get("S", ""),
        tenant=item["tenant"]["S"],
        permission=permission_of(item),
        created_s=int(item.get("created_s", {}).get("N", "0")),
    )
