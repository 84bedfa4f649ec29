"""Kinesis events in, partial batch responses out."""

import base64

import pytest
from carbyne.errors import InvariantError, RetryableError
from carbyne.events import answer_records, kinesis_entries
from carbyne.ingester import Entry


def event(*records):
    return {
        "Records": [
            {"kinesis": {"sequenceNumber": sequence, "data": base64.b64encode(data).decode(), "partitionKey": "l0001"}}
            for sequence, data in records
        ]
    }


class Ingester:
    """Answers with ``failed``, or raises it."""

    def __init__(self, failed=None):
        self.failed = failed
        self.taken = []

    def ingest(self, entries):
        self.taken += entries
        if isinstance(self.failed, Exception):
            raise self.failed
        return self.failed


def test_entries_keep_order_and_bytes():
    every_byte = bytes(range(256))
    assert kinesis_entries(event(("9", every_byte), ("10", b""))) == [Entry("9", every_byte), Entry("10", b"")]


def test_a_whole_batch_done_names_nothing():
    ingester = Ingester()
    assert answer_records(event(("1", b"a"), ("2", b"b")), lambda: ingester) == {"batchItemFailures": []}
    assert ingester.taken == [Entry("1", b"a"), Entry("2", b"b")]


def test_a_failed_record_is_named():
    answer = answer_records(event(("1", b"a"), ("2", b"b")), lambda: Ingester("2"))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}


@pytest.mark.parametrize("where", ["making the ingester", "ingesting"])
def test_a_store_that_is_away_leaves_the_whole_batch(where):
    error = RetryableError("Redis is away")

    def ingester():
        if where == "making the ingester":
            raise error
        return Ingester(error)

    answer = answer_records(event(("1", b"a"), ("2", b"b")), ingester)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def test_a_bug_is_raised_so_that_lambda_counts_it():
    with pytest.raises(InvariantError):
        answer_records(event(("1", b"a")), lambda: Ingester(InvariantError("BUG")))
