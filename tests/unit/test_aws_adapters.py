"""Adapters of AWS: pages, entries without an answer, where a second reader starts.

No socket is opened: botocore's Stubber answers, and checks each request and answer against the service's own model.
"""

import boto3
import pytest
from botocore.stub import ANY, Stubber
from carbyne.adapters.dynamodb.table import DynamoTable, attributes, expiring
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.lambda_ import LambdaReaders
from carbyne.core.items import Item
from carbyne.core.keys import BlockKey, SourceKey, Window
from carbyne.core.limits import DAY_S

STREAM_ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/carbyne"
READER = "0b9c4f3e-6a0d-4f7b-9a51-2f6d6c1f7a10"
DAY = 20_000
KEYS = [BlockKey(SourceKey("acme", "host/a"), "raw", Window(14_400 * number, 14_400)) for number in range(5)]


@pytest.fixture
def answering():
    """Makes a client of a service that gives these answers, each to a request with these parameters."""
    stubbers = []

    def made(service, operation, *exchanges):
        client = boto3.client(service, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
        stubber = Stubber(client)
        for answer, parameters in exchanges:
            stubber.add_response(operation, answer, parameters)
        stubber.activate()
        stubbers.append(stubber)
        return client

    yield made
    for stubber in stubbers:
        stubber.assert_no_pending_responses()


def key_of(block):
    return {"pk": {"S": block.partition}, "sk": {"S": block.sort}}


def pages(blocks, request, key):
    """What the service answers, two items a page, and what it must be asked: the last page may be empty."""
    exchanges, start = [], {}
    for first in range(0, len(blocks) + 1, 2):
        page = blocks[first : first + 2]
        rows = [{**key_of(block), **attributes(Item(block.sort.encode(), DAY * DAY_S))} for block in page]
        more = {"LastEvaluatedKey": key(page[-1])} if first + 2 <= len(blocks) else {}
        exchanges.append(({"Items": rows, **more}, {**request, **start}))
        start = {"ExclusiveStartKey": key(page[-1])} if page else {}
    return exchanges


@pytest.mark.parametrize("count", range(len(KEYS) + 1))
def test_a_query_takes_every_page(answering, count):
    request = {
        "TableName": "blocks",
        "KeyConditionExpression": ANY,
        "ExpressionAttributeValues": ANY,
        "ConsistentRead": True,
    }
    client = answering("dynamodb", "query", *pages(KEYS[:count], request, key_of))
    found = DynamoTable(client, "blocks").query(KEYS[0].partition, "0", "9")
    assert found == [(block.sort, Item(block.sort.encode(), DAY * DAY_S)) for block in KEYS[:count]]


@pytest.mark.parametrize("count", range(len(KEYS) + 1))
def test_the_blocks_that_expire_are_those_of_every_page(answering, count):
    request = {
        "TableName": "blocks",
        "IndexName": "expiring",
        "KeyConditionExpression": ANY,
        "ExpressionAttributeValues": {":day": {"N": str(DAY)}},
    }
    exchanges = pages(KEYS[:count], request, lambda block: {**key_of(block), "d": {"N": str(DAY)}})
    client = answering("dynamodb", "query", *exchanges)
    assert list(expiring(client, "blocks", DAY)) == KEYS[:count]


DONE = {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}
REFUSED = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}


@pytest.mark.parametrize(
    ("results", "failed"),
    [
        ([DONE, DONE, DONE], []),
        ([REFUSED, DONE, DONE], [0]),
        ([DONE, {}, DONE], [1]),
        ([DONE, DONE, {"ShardId": "shardId-000000000000"}], [2]),
        ([DONE, DONE], [0, 1, 2]),
    ],
)
def test_an_entry_without_a_sequence_number_is_not_acknowledged(answering, results, failed):
    client = answering("kinesis", "put_records", ({"Records": results}, None))
    assert KinesisStream(client, "stream").put([("l0001", b"a"), ("l0002", b"b"), ("l0003", b"c")]) == failed


@pytest.mark.parametrize(("start_s", "position"), [(0, "TRIM_HORIZON"), (1_700_000_000, "AT_TIMESTAMP")])
def test_the_second_reader_misses_nothing_that_the_stream_holds(answering, start_s, position):
    """It starts from what is there already, and reports the records that failed; see the template for the first one."""
    asked = {}
    client = answering("lambda", "create_event_source_mapping", ({"UUID": READER}, None))
    client.meta.events.register("provide-client-params.lambda.*", lambda params, **_: asked.update(params))
    assert LambdaReaders(client, "replayer", STREAM_ARN).start(start_s) == READER
    assert asked["StartingPosition"] == position
    assert start_s == 0 or asked["StartingPositionTimestamp"].timestamp() == start_s
    assert asked["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert asked["EventSourceArn"] == STREAM_ARN
    assert asked.get("MaximumRetryAttempts", -1) == -1
