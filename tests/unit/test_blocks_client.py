"""The lean client of the blocks table: which calls it makes again, and what it makes of answers.

That it is a table as any other is tested by the table's contract.
"""

import json

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, HTTPClientError, NoCredentialsError
from carbyne.adapters import aws
from carbyne.adapters.dynamodb.client import BlocksClient, blocks_client
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item

ITEM = Item(b"data", 5)
ANSWER = json.dumps({"Item": {"b": {"B": "ZGF0YQ=="}, "ttl": {"N": "5"}}}).encode()


def error(code, status=400):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetItem")


class Calls:
    """Answers one after another; ``asked``: operations and bodies."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def call(self, operation, body):
        self.asked.append((operation, json.loads(body)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def table_on(calls, tries=3):
    pauses = []
    return DynamoTable(BlocksClient(calls, tries, pauses.append), "blocks"), pauses


@pytest.mark.parametrize(
    "fault",
    [
        HTTPClientError(error="reset"),
        error("InternalServerError", 500),
        error("503", 503),
        error("ProvisionedThroughputExceededException"),
        error("ThrottlingException"),
        error("RequestLimitExceeded"),
        b"no JSON",
        b'{"Item": {"b": {"B": "*"}}}',
    ],
    ids=str,
)
def test_what_may_pass_is_asked_again(fault):
    calls = Calls(fault, fault, ANSWER)
    table, pauses = table_on(calls)
    assert table.get("p", "s") == ITEM
    assert len(calls.asked) == 3 and calls.asked[0] == calls.asked[2]
    assert 0 <= pauses[0] <= 0.05 and 0 <= pauses[1] <= 0.1


def test_what_does_not_pass_is_given_up_after_the_last_try():
    calls = Calls(*[error("InternalServerError", 500)] * 3)
    with pytest.raises(RetryableError, match="InternalServerError"):
        table_on(calls)[0].get("p", "s")
    assert not calls.answers


@pytest.mark.parametrize(
    "fault", [error("ValidationException"), error("AccessDeniedException"), NoCredentialsError()], ids=str
)
def test_what_can_not_pass_is_asked_once(fault):
    calls = Calls(fault)
    with pytest.raises(RetryableError):
        table_on(calls)[0].get("p", "s")
    assert len(calls.asked) == 1


def test_a_failed_condition_is_an_answer():
    calls = Calls(error("ConditionalCheckFailedException"))
    assert not table_on(calls)[0].put("p", "s", ITEM, None)
    assert calls.asked[0][1]["Item"]["b"] == {"B": "ZGF0YQ=="}


def test_endpoint_timeouts_and_tries_are_those_of_the_other_client():
    config = aws.config(1, 2, tries=2, connections=7)
    boto = boto3.client("dynamodb", region_name="eu-west-1", config=config)
    client = blocks_client(boto, Credentials("a", "b"))
    assert client._tries == 2
    pool = client._calls._connections
    assert (pool.host, pool.timeout.connect_timeout, pool.timeout.read_timeout, pool.pool.maxsize) == (
        "dynamodb.eu-west-1.amazonaws.com",
        1,
        2,
        7,
    )
    headers = client._calls._signed("GetItem", b"{}")
    assert "/eu-west-1/dynamodb/aws4_request" in headers["Authorization"]
    assert headers["X-Amz-Target"] == "DynamoDB_20120810.GetItem"
    client.close()
    boto.close()
