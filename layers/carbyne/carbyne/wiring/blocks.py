"""The blocks table with its real client."""

from typing import TYPE_CHECKING

import boto3

from carbyne.adapters.dynamodb.client import blocks_client
from carbyne.adapters.dynamodb.table import DynamoTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def blocks_table(dynamodb: "DynamoDBClient", name: str) -> DynamoTable:
    """On the endpoint and with the timeouts of ``dynamodb``, and the credentials of the session that made it."""
    session = boto3.DEFAULT_SESSION or boto3.Session()
    return DynamoTable(blocks_client(dynamodb, session.get_credentials()), name)
