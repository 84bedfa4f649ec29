"""All hosts and services of a tenant that the registry knows, for queries."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from carbyne.adapters.aws import retryable
from carbyne.core import keys
from carbyne.read.registered import PastInfo, RegisteredSource

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class _Past(msgspec.Struct):
    """What a host was."""

    until_s: int
    name: str
    status: str
    roles: dict[str, list[str]]


class _Host(msgspec.Struct):
    """What queries need of a host."""

    id: str
    created_s: int
    name: str = ""
    status: str = "working"
    roles: dict[str, list[str]] = {}
    past: list[_Past] = []


def host_source(body: str | bytes) -> RegisteredSource:
    """A host, of the registry's document."""
    host = msgspec.json.decode(body, type=_Host)
    past = [PastInfo(1000 * each.until_s, each.name, each.status, each.roles) for each in host.past]
    return RegisteredSource(f"host/{host.id}", host.name, host.status, host.roles, 1000 * host.created_s, past)


def service_source(sort_key: str) -> RegisteredSource:
    """A service, of the sort key of its item."""
    return RegisteredSource(f"service/{unquote(sort_key)}")


class DynamoSources:
    """Reads partitions of the registry table, which may be a second old; RetryableError if it is away."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def of(self, tenant: str) -> list[RegisteredSource]:
        """All live hosts, then all services."""
        hosts = [host_source(body) for _, body in self._items(tenant, "hosts")]
        return hosts + [service_source(sk) for sk, _ in self._items(tenant, "services") if ":" not in sk]

    def _items(self, tenant: str, kind: str) -> Iterator[tuple[str, str]]:
        """(sort key, body) of a partition."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": keys.registry_partition(tenant, kind)}},
            ProjectionExpression="sk, body",
        )
        with retryable("registry Query"):
            for page in pages:
                yield from ((item["sk"]["S"], item["body"]["S"]) for item in page["Items"])
