"""The system's own items in the accounts table."""

from typing import TYPE_CHECKING

from carbyne.adapters.aws import retryable
from carbyne.core.keys import LANES_INITIALISED_ITEM

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class LanesMark:
    """The mark that the lanes were called whole once."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def is_set(self) -> bool:
        key = {"pk": {"S": LANES_INITIALISED_ITEM}}
        with retryable("lanes mark GetItem"):
            return "Item" in self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)

    def set(self) -> None:
        with retryable("lanes mark PutItem"):
            self._client.put_item(TableName=self._table, Item={"pk": {"S": LANES_INITIALISED_ITEM}})
