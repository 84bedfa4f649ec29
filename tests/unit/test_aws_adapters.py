"""Adapters of AWS: pages, entries without an answer, where a second reader starts.

No socket is opened: botocore's Stubber answers, and checks each request and answer against the service's own model.
"""

from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import ANY, Stubber
from carbyne.adapters.cloudwatch import AssumedRoles, AwsAccount
from carbyne.adapters.dynamodb.table import DynamoTable, attributes, expiring
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.lambda_ import LambdaReaders
from carbyne.clouds.ports import CloudMetric, CloudRefusedError
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import BlockKey, SourceKey, Window
from carbyne.core.limits import DAY_S
from carbyne.registry.integrations import AwsIntegration

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
    rows = DynamoTable(client, "blocks").query(KEYS[0].partition, "0", "9")
    assert rows == [(block.sort, Item(block.sort.encode(), DAY * DAY_S)) for block in KEYS[:count]]


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


class Session:
    """Clients of an assumed role, by service."""

    def __init__(self, **clients):
        self._clients = clients

    def client(self, service, config):
        return self._clients[service]


SQS_METRIC = CloudMetric("sqs.message_count.sent", "AWS/SQS", "NumberOfMessagesSent", (("QueueName", "q"),), "Sum")
QUERY = {
    "Id": "m0",
    "MetricStat": {
        "Metric": {
            "Namespace": "AWS/SQS",
            "MetricName": "NumberOfMessagesSent",
            "Dimensions": [{"Name": "QueueName", "Value": "q"}],
        },
        "Period": 60,
        "Stat": "Sum",
    },
}


def test_points_of_cloudwatch_come_on_several_pages(answering):
    start, end = (datetime.fromtimestamp(time_s, UTC) for time_s in (0, 1_200))
    asked = {"MetricDataQueries": [QUERY], "StartTime": start, "EndTime": end}

    def page(status, *points):
        times = [datetime.fromtimestamp(time_s, UTC) for time_s, _ in points]
        values = [value for _, value in points]
        return {"Id": "m0", "Timestamps": times, "Values": values, "StatusCode": status}

    client = answering(
        "cloudwatch",
        "get_metric_data",
        ({"MetricDataResults": [page("PartialData", (60, 1.0))], "NextToken": "more"}, asked),
        ({"MetricDataResults": [page("Complete", (120, 2.0), (180, 3.5))]}, {**asked, "NextToken": "more"}),
    )
    account = AwsAccount(Session(cloudwatch=client))
    assert list(account.data([SQS_METRIC], 0, 1_200)) == [(0, 60_000, 1.0), (0, 120_000, 2.0), (0, 180_000, 3.5)]


def test_resources_and_metrics_come_on_several_pages(answering):
    def row(name):
        return {"ResourceARN": f"arn:aws:sqs:us-east-1:1:{name}", "Tags": [{"Key": "a", "Value": name}]}

    tagging = answering(
        "resourcegroupstaggingapi",
        "get_resources",
        ({"ResourceTagMappingList": [row("q")], "PaginationToken": "2"}, {"ResourceTypeFilters": ["sqs"]}),
        ({"ResourceTagMappingList": [row("r")]}, {"ResourceTypeFilters": ["sqs"], "PaginationToken": "2"}),
    )
    listed = {"MetricName": "M", "Dimensions": [{"Name": "QueueName", "Value": "q"}]}
    recent = {"Namespace": "AWS/SQS", "RecentlyActive": "PT3H"}
    cloudwatch = answering(
        "cloudwatch",
        "list_metrics",
        ({"Metrics": [listed], "NextToken": "2"}, recent),
        ({"Metrics": [listed]}, {**recent, "NextToken": "2"}),
    )
    account = AwsAccount(Session(resourcegroupstaggingapi=tagging, cloudwatch=cloudwatch))
    assert [tags for _, tags in account.resources(["sqs"])] == [{"a": "q"}, {"a": "r"}]
    assert list(account.metrics("AWS/SQS", is_recent=True)) == [("M", {"QueueName": "q"})] * 2


ROLE = "arn:aws:iam::123456789012:role/CarbyneIntegration"
SETTINGS = AwsIntegration(id="1", name="n", services={}, role_arn=ROLE, external_id="e1", region="eu-west-1")


def test_a_role_is_assumed_with_its_external_id_and_kept_until_shortly_before_its_end(answering):
    asked = {"RoleArn": ROLE, "RoleSessionName": "carbyne", "ExternalId": "e1", "DurationSeconds": 3_600}
    keys = {"AccessKeyId": "A" * 16, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": datetime.now(UTC)}
    sts = answering("sts", "assume_role", ({"Credentials": keys}, asked), ({"Credentials": keys}, asked))
    now_s = 0.0
    roles = AssumedRoles(sts, lambda: now_s)
    roles.api(SETTINGS)
    now_s = 3_299.0
    roles.api(SETTINGS)
    now_s = 3_300.0
    roles.api(SETTINGS)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDenied", CloudRefusedError), ("ValidationError", CloudRefusedError), ("Throttling", RetryableError)],
)
def test_a_role_that_is_refused_is_told_to_its_owner_and_a_throttle_passes(code, kind):
    client = boto3.client("sts", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        stubber.add_client_error("assume_role", code, "not you")
        with pytest.raises(kind, match="the role can't be assumed"):
            AssumedRoles(client, lambda: 0.0).api(SETTINGS)
