"""The local event source retries, gives up and batches as Lambda's event source mapping does."""

import json
import threading
import time
import uuid
from base64 import b64decode

import pytest

from local.sources import shards_of
from local.template import ARNS
from servers.lambdas import FunctionError


class Script:
    """A function that answers each batch by the next step of a list, then with success; keeps what it saw."""

    name = "Script"

    def __init__(self, *steps):
        self.steps, self.seen, self.done = list(steps), [], threading.Event()

    def invoke(self, event):
        self.seen.append([b64decode(record["kinesis"]["data"]).decode() for record in event["Records"]])
        self.event = event
        answer = self.steps.pop(0) if self.steps else None
        if answer is FunctionError:
            raise FunctionError("told so")
        if isinstance(answer, int):
            answer = {"batchItemFailures": [{"itemIdentifier": event["Records"][answer]["kinesis"]["sequenceNumber"]}]}
        if answer is None and not self.steps:
            self.done.set()
        return answer


@pytest.fixture
def follow(aws):
    """Put the records, run the source until the function had its last step, and give the function back."""
    sources = []

    def run(records, *steps, wait_s=15, **settings):
        name = f"stream-{uuid.uuid4()}"
        aws.client("kinesis").create_stream(StreamName=name, ShardCount=1)
        entries = [{"Data": record.encode(), "PartitionKey": "p"} for record in records]
        aws.client("kinesis").put_records(StreamName=name, Records=entries)
        function = Script(*steps)
        destination = {"OnFailure": {"Type": "S3", "Destination": "arn:aws:s3:::failures-of-streams"}}
        partial = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
        given = {"Stream": ARNS["AWS::Kinesis::Stream"] + name, "DestinationConfig": destination, **partial, **settings}
        sources.extend(shards_of(aws, function, given))
        sources[-1].start()
        function.done.wait(wait_s)
        return function

    aws.client("s3").create_bucket(Bucket="failures-of-streams")
    yield run
    for source in sources:
        source.stopping.set()


def test_a_batch_is_a_kinesis_event(follow):
    record = follow(["a"]).event["Records"][0]
    assert b64decode(record["kinesis"]["data"]) == b"a"
    assert record["eventSource"] == "aws:kinesis"
    assert record["eventID"] == f"shardId-000000000000:{record['kinesis']['sequenceNumber']}"
    assert record["eventSourceARN"].startswith("arn:aws:kinesis:")
    assert isinstance(record["kinesis"]["approximateArrivalTimestamp"], float)


def test_batches_are_cut_by_size(follow):
    function = follow("abcde", {}, {}, None, BatchSize="2")
    assert function.seen == [["a", "b"], ["c", "d"], ["e"]]


def test_the_lowest_failed_record_and_all_after_it_come_again(follow):
    assert follow("abcd", 1, 2, None).seen == [list("abcd"), list("bcd"), ["d"]]


@pytest.mark.parametrize("identifier", ["", None, "no such number"])
def test_an_unusable_identifier_fails_the_whole_batch(follow, identifier):
    assert follow("ab", {"batchItemFailures": [{"itemIdentifier": identifier}]}, None).seen == [["a", "b"], ["a", "b"]]


def test_a_function_that_fails_gets_the_same_batch_again(follow):
    assert follow("ab", FunctionError, FunctionError, None).seen == [["a", "b"]] * 3


def test_retries_are_told_at_powers_of_two(follow, capsys):
    follow("ab", *[FunctionError] * 4, None)
    told = [line for line in capsys.readouterr().out.splitlines() if "come again" in line]
    assert told == [f"[Script] 2 records come again, retry {number}: told so" for number in (1, 2, 4)]


def test_bisecting_only_when_configured(follow):
    function = follow("abcd", FunctionError, {}, None, BisectBatchOnFunctionError=True)
    assert function.seen == [list("abcd"), ["a", "b"], ["c", "d"]]


def test_given_up_batches_are_in_the_bucket_whole(follow, aws):
    follow("ab", FunctionError, FunctionError, MaximumRetryAttempts="1", wait_s=2)
    s3 = aws.client("s3")
    object_keys = [item["Key"] for item in s3.list_objects_v2(Bucket="failures-of-streams")["Contents"]]
    bodies = [json.loads(s3.get_object(Bucket="failures-of-streams", Key=key)["Body"].read()) for key in object_keys]
    body = next(body for body in bodies if body["requestContext"]["condition"] == "RetryAttemptsExhausted")
    assert body["KinesisBatchInfo"]["batchSize"] == 2
    payload = json.loads(body["payload"])
    assert [b64decode(record["kinesis"]["data"]) for record in payload["Records"]] == [b"a", b"b"]


def test_records_past_their_age_are_given_up_and_the_others_go_on(follow, aws):
    function = follow("a", *[FunctionError] * 50, MaximumRecordAgeInSeconds="4", wait_s=8)
    tries = len(function.seen)
    assert tries > 1
    threading.Event().wait(2)
    assert len(function.seen) == tries
    keys = [item["Key"] for item in aws.client("s3").list_objects_v2(Bucket="failures-of-streams")["Contents"]]
    bodies = [aws.client("s3").get_object(Bucket="failures-of-streams", Key=key)["Body"].read() for key in keys]
    assert any(b"RecordAgeExceeded" in body for body in bodies)


FILTERS = {
    "Filters": [
        {"Pattern": '{"eventName":["INSERT","MODIFY"],"dynamodb":{"Keys":{"pk":{"S":[{"prefix":"raw:"}]}}}}'},
        {"Pattern": '{"eventName":["REMOVE"],"userIdentity":{"type":["Service"]}}'},
    ]
}


class Changes(Script):
    """A function that keeps (event name, partition key) of what it saw."""

    def invoke(self, event):
        self.seen += [(record["eventName"], record["dynamodb"]["Keys"]["pk"]["S"]) for record in event["Records"]]
        self.event = event
        if self.steps:
            raise FunctionError("told so")


@pytest.fixture
def table(aws):
    """(client, name, ARN of the stream) of a table with a time to live."""
    client, name = aws.client("dynamodb"), f"table-{uuid.uuid4()}"
    made = client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    ttl = {"AttributeName": "ttl", "Enabled": True}
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
    return client, name, made["TableDescription"]["LatestStreamArn"]


@pytest.fixture
def watch(aws, table):
    """Run a source on the table's stream until the condition on its function holds."""
    sources = []

    def run(function, until, **settings):
        destination = {"OnFailure": {"Type": "S3", "Destination": "arn:aws:s3:::failures-of-streams"}}
        given = {"Stream": table[2], "DestinationConfig": destination, "FilterCriteria": FILTERS, **settings}
        sources.extend(shards_of(aws, function, given))
        sources[-1].start()
        end_s = time.monotonic() + 30
        while not until(function):
            assert time.monotonic() < end_s, function.seen
            time.sleep(0.1)

    aws.client("s3").create_bucket(Bucket="failures-of-streams")
    yield run
    for source in sources:
        source.stopping.set()


def test_changes_of_a_table_come_as_lambda_sends_them(table, watch):
    client, name, arn = table
    client.put_item(TableName=name, Item={"pk": {"S": "other"}})
    client.put_item(TableName=name, Item={"pk": {"S": "raw:a"}, "b": {"B": b"\x00\xff"}})
    client.put_item(TableName=name, Item={"pk": {"S": "raw:a"}, "b": {"B": b"\x01"}})
    client.delete_item(TableName=name, Key={"pk": {"S": "raw:a"}})  # deliberate: the filter keeps it out
    client.put_item(TableName=name, Item={"pk": {"S": "raw:end"}})
    function = Changes()
    watch(function, lambda function: ("INSERT", "raw:end") in function.seen)
    assert function.seen == [("INSERT", "raw:a"), ("MODIFY", "raw:a"), ("INSERT", "raw:end")]
    change = function.event["Records"][1]
    assert change["dynamodb"]["OldImage"]["b"] == {"B": "AP8="}
    assert change["dynamodb"]["NewImage"]["b"] == {"B": "AQ=="}
    assert isinstance(change["dynamodb"]["ApproximateCreationDateTime"], float)
    assert (change["eventSource"], change["eventSourceARN"]) == ("aws:dynamodb", arn)


def test_what_expires_is_removed_and_told_with_its_image_at_least_once(table, watch):
    client, name, _ = table
    past, future = ({"N": str(int(time.time()) + seconds)} for seconds in (-5, 3600))
    for index in range(20):
        item = {"pk": {"S": f"raw:{index}"}, "b": {"B": b"x"}, "ttl": future if index % 4 == 0 else past}
        client.put_item(TableName=name, Item=item)
    client.put_item(TableName=name, Item={"pk": {"S": "raw:for-ever"}})
    expired = {("REMOVE", f"raw:{index}") for index in range(20) if index % 4}
    function = Changes()
    watch(function, lambda function: expired <= set(function.seen))
    removals = [change for change in function.seen if change[0] == "REMOVE"]
    assert set(removals) == expired
    last = function.event["Records"][-1]
    assert last["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert last["dynamodb"]["OldImage"]["b"] == {"B": "eA=="}
    left = {item["pk"]["S"] for item in client.scan(TableName=name)["Items"]}
    assert left == {"raw:for-ever", *(f"raw:{index}" for index in range(0, 20, 4))}


def test_given_up_changes_are_in_the_bucket_whole(table, watch, aws):
    client, name, arn = table
    client.put_item(TableName=name, Item={"pk": {"S": "raw:a"}, "b": {"B": b"x"}})
    s3 = aws.client("s3")

    def bodies(_):
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket="failures-of-streams").get("Contents", [])]
        bodies_read = [json.loads(s3.get_object(Bucket="failures-of-streams", Key=key)["Body"].read()) for key in keys]
        return [body for body in bodies_read if body.get("DDBStreamBatchInfo", {}).get("streamArn") == arn]

    watch(Changes(FunctionError), bodies, MaximumRetryAttempts=0)
    (body,) = bodies(None)
    assert json.loads(body["payload"])["Records"][0]["dynamodb"]["NewImage"]["b"] == {"B": "eA=="}


def test_a_filter_that_is_not_known_stops_the_start(aws, table):
    unknown = {"Filters": [{"Pattern": '{"eventName":[{"anything-but":["REMOVE"]}]}'}]}
    with pytest.raises(ValueError, match="filter"):
        shards_of(aws, Changes(), {"Stream": table[2], "FilterCriteria": unknown})
