"""The deletes of a source in the blocks table, counted without what the table's other code imports."""

from typing import TYPE_CHECKING

from carbyne.adapters.aws import retryable
from carbyne.core.keys import MARKERS, SourceKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class MarkerCount:
    """How many deletes of a source are kept."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def of(self, source: SourceKey) -> int:
        """At least that of the first MB of them; RetryableError if the table can't be asked."""
        with retryable("deletes Query"):
            answer = self._client.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :first)",
                ExpressionAttributeValues={":pk": {"S": source.windows_item}, ":first": {"S": MARKERS}},
                Select="COUNT",
            )
        return answer["Count"]
