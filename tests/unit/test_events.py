"""Stream events of Kinesis and DynamoDB in, partial batch responses out."""

import base64

import pytest
from carbyne.core.errors import InvariantError, RetryableError
from carbyne.core.keys import BlockKey, SourceKey, Window
from carbyne.stream.arrived import Arrived, Image, records_of
from carbyne.stream.arrived import images_of as arrived_images
from carbyne.stream.events import answer_changes, answer_records


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
    assert records_of(event(("9", every_byte), ("10", b""))) == [
        Arrived("9", every_byte, "l0001"),
        Arrived("10", b"", "l0001"),
    ]


def test_a_whole_batch_done_names_nothing():
    ingester = Ingester()
    assert answer_records(event(("1", b"a"), ("2", b"b")), ingester.ingest) == {"batchItemFailures": []}
    assert ingester.taken == [Arrived("1", b"a", "l0001"), Arrived("2", b"b", "l0001")]


def test_a_failed_record_is_named():
    answer = answer_records(event(("1", b"a"), ("2", b"b")), Ingester("2").ingest)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}


@pytest.mark.parametrize("where", ["making the ingester", "ingesting"])
def test_a_store_that_is_away_leaves_the_whole_batch(where):
    error = RetryableError("Redis is away")

    def ingester():
        if where == "making the ingester":
            raise error
        return Ingester(error)

    answer = answer_records(event(("1", b"a"), ("2", b"b")), lambda records: ingester().ingest(records))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def test_a_bug_is_raised_so_that_lambda_counts_it():
    with pytest.raises(InvariantError):
        answer_records(event(("1", b"a")), Ingester(InvariantError("BUG")).ingest)


KEY = BlockKey(SourceKey("acme:b", "host/a"), "raw", Window(1_699_992_000, 14_400), "01")
BY_TTL = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
DATA = bytes(range(256))


def change(name="INSERT", sequence="7", key=None, data=DATA, **more):
    """A record as Lambda shows it: binaries in base64, the image of what was put or removed."""
    partition, sort = key or (KEY.partition, KEY.sort)
    keys = {"pk": {"S": partition}, "sk": {"S": sort}}
    image = {
        **keys,
        "b": {"B": base64.b64encode(data).decode()},
        "v": {"B": "AAAA"},
        "ttl": {"N": "9"},
        "d": {"N": "0"},
    }
    which = {"INSERT": ["NewImage"], "MODIFY": ["NewImage", "OldImage"], "REMOVE": ["OldImage"]}[name]
    old = {**image, "b": {"B": ""}} if name == "MODIFY" else image
    shown = {image_name: image if image_name == "NewImage" else old for image_name in which}
    return {
        "eventID": "c9fbe7d0261a5163fcb6940593e41797",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1.7e9,
            "Keys": keys,
            **shown,
            "SequenceNumber": sequence,
            "SizeBytes": 300,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:00.000",
        **more,
    }


def images_of(*records):
    return arrived_images({"Records": list(records)})


@pytest.mark.parametrize(
    ("record", "removed"),
    [(change("INSERT"), False), (change("MODIFY"), False), (change("REMOVE", userIdentity=BY_TTL), True)],
    ids=["INSERT", "MODIFY", "REMOVE by TTL"],
)
def test_a_block_is_shown_when_it_is_put_and_when_its_ttl_removes_it(record, removed):
    assert images_of(record) == [Image("7", KEY, DATA, removed)]


@pytest.mark.parametrize(
    "identity",
    [
        None,
        {},
        {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"},
        {"type": "Service"},
        {"type": "Service", "principalId": "replication.dynamodb.amazonaws.com"},
        {"type": "AssumedRole", "principalId": "dynamodb.amazonaws.com"},
    ],
)
def test_a_deliberate_delete_shows_no_block(identity):
    """Only the removal by TTL is, in the one spelling that Lambda has."""
    assert images_of(change("REMOVE", userIdentity=identity)) == []
    assert images_of(change("REMOVE")) == []


@pytest.mark.parametrize("name", ["INSERT", "MODIFY", "REMOVE"])
@pytest.mark.parametrize("partition", [KEY.source.windows_item, KEY.source.series_item, "rawish:a:b:"])
def test_the_catalogue_is_no_block(name, partition):
    assert images_of(change(name, key=(partition, "raw"), userIdentity=BY_TTL)) == []


@pytest.mark.parametrize("key", [("raw:a", KEY.sort), (KEY.partition, "soon"), (f"{KEY.partition}:x", KEY.sort)])
def test_an_item_put_by_hand_holds_up_nothing(key, caplog):
    assert images_of(change(key=key), change(sequence="8")) == [Image("8", KEY, DATA, False)]
    assert "no block of ours" in caplog.text


def test_blocks_keep_the_order_of_the_stream():
    records = [change(sequence=str(number), data=bytes([number])) for number in (3, 20, 100)]
    assert [(image.sequence, image.data) for image in images_of(*records)] == [
        ("3", b"\3"),
        ("20", b"\x14"),
        ("100", b"d"),
    ]


class Archiver:
    """Answers with ``failed``, or raises it."""

    def __init__(self, failed=None):
        self.failed = failed

    def take(self, given):
        if isinstance(self.failed, Exception):
            raise self.failed
        return self.failed


@pytest.mark.parametrize(
    ("failed", "named"), [(None, []), ("8", ["8"]), (RetryableError("S3 is away"), ["7"])], ids=["done", "one", "all"]
)
def test_changes_that_wait_are_named(failed, named):
    event = {"Records": [change("REMOVE"), change(sequence="8")]}
    answer = answer_changes(event, Archiver(failed).take)
    assert answer == {"batchItemFailures": [{"itemIdentifier": sequence} for sequence in named]}
