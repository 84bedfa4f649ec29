"""The local event source retries, gives up and batches as Lambda's event source mapping does."""

import json
import threading
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


def test_bisecting_only_when_configured(follow):
    function = follow("abcd", FunctionError, {}, None, BisectBatchOnFunctionError=True)
    assert function.seen == [list("abcd"), ["a", "b"], ["c", "d"]]


def test_given_up_batches_are_in_the_bucket_whole(follow, aws):
    follow("ab", FunctionError, FunctionError, MaximumRetryAttempts="1", wait_s=2)
    s3 = aws.client("s3")
    found = [item["Key"] for item in s3.list_objects_v2(Bucket="failures-of-streams")["Contents"]]
    bodies = [json.loads(s3.get_object(Bucket="failures-of-streams", Key=key)["Body"].read()) for key in found]
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
