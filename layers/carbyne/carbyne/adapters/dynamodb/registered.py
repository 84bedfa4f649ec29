"""Which hosts and services the registry knows, for functions that only ask this of it."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from carbyne.adapters.aws import retryable
from carbyne.core import keys
from carbyne.core.keys import SourceKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Registered:
    """Look-ups in the registry table; all methods raise RetryableError if it is away.

    Reads may be a second old, which costs half: an agent posts a minute after it registered.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def live_hosts(self, tenant: str, host_ids: Collection[str]) -> set[str]:
        """Those of at most 100 host ids that are registered and not retired, or were not looked up by DynamoDB."""
        return self._there([(keys.registry_partition(tenant, "hosts"), host_id) for host_id in host_ids])

    def has(self, source: SourceKey) -> bool:
        """Whether a host, live or retired, or a service is registered."""
        kind, _, name = source.source.partition("/")
        kinds = ("hosts", "retired") if kind == "host" else ("services",)
        name = name if kind == "host" else keys.escape(name)
        return bool(self._there([(keys.registry_partition(source.tenant, kind), name) for kind in kinds]))

    def _there(self, items: Sequence[tuple[str, str]]) -> set[str]:
        """The sort keys of the items that are there, and of those for which DynamoDB had no time."""
        asked = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in items]
        with retryable("registry BatchGetItem"):
            answer = self._client.batch_get_item(
                RequestItems={self._table: {"Keys": asked, "ProjectionExpression": "sk"}}
            )
        left = answer.get("UnprocessedKeys", {}).get(self._table, {"Keys": []})["Keys"]
        rows = answer["Responses"].get(self._table, [])
        return {item["sk"]["S"] for item in rows} | {str(key["sk"]["S"]) for key in left}
