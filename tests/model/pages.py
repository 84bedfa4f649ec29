"""A table that answers queries as DynamoDB does: a page at a time, through the adapter."""

from typing import Any, cast

from carbyne.adapters.dynamodb.table import DynamoTable, attributes
from carbyne.core.items import Item

from tests.support.fakes import FakeTable

PAGE_ITEMS = 2


class PagedTable(FakeTable):
    """A FakeTable whose queries the adapter asks of a service with short pages, of which the last may be empty."""

    def query(self, partition: str, first: str, last: str) -> list[tuple[str, Item]]:
        service = _Service(super().query(partition, first, last))
        return DynamoTable(cast(Any, service), "blocks").query(partition, first, last)


class _Service:
    """DynamoDB's client with what a query finds."""

    def __init__(self, items: list[tuple[str, Item]]) -> None:
        self._rows = [{"sk": {"S": sort}, **attributes(item)} for sort, item in items]

    def query(self, *, ExclusiveStartKey: int = 0, **_: Any) -> dict[str, Any]:
        """The rows behind the key, which here is a number of rows."""
        end = ExclusiveStartKey + PAGE_ITEMS
        more = {"LastEvaluatedKey": end} if end <= len(self._rows) else {}
        return {"Items": self._rows[ExclusiveStartKey:end], **more}
