"""Redriving: what goes back with which stamp, what stays and why, and what a crash or a refusal changes: nothing."""

import base64
import json
import random
import struct

import pytest
from carbyne.archive.archiver import archive
from carbyne.archive.redrive import BlockRedriver, Kept, Origin, Outcome, RecordRedriver
from carbyne.core import keys, stamps
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import METADATA, BlockKey, SourceKey, Window
from carbyne.core.limits import (
    BLOCK_BYTES_MAX,
    GIVEN_UP_BYTES_MAX,
    RECORD_BYTES_MAX,
    REDRIVE_BATCH,
    REDRIVE_BYTES_PER_S,
    REDRIVE_RECORDS_PER_S,
)
from carbyne.samples import blocks
from carbyne.samples.columns import merge
from carbyne.stream import records
from carbyne.stream.putter import Putter, Time
from carbyne.stream.records import DeleteRecord, FactsRecord, FenceRecord, RedrivenRecord, Row, SamplesRecord
from hypothesis import given
from hypothesis import strategies as st

from tests.support import strategies
from tests.support.blocks import KEY, ONE, TWO
from tests.support.fakes import Crash, FakeBlocks, NoMarkers, Steps

EPOCH = 3
STREAM = "metrics"
ARN = f"arn:aws:kinesis:eu-west-1:123456789012:stream/{STREAM}"
GIVEN_UP = "aws/lambda/6dae4c42/shardId-000000000000/2026/11/22/2026-11-22T15.00.00-1"


class Bucket:
    """A failure bucket in memory; ``away`` makes it fail."""

    def __init__(self, objects=()):
        self.objects = dict(objects)
        self.away = False
        self.read = []

    def kept(self, prefix):
        names = sorted(name for name in self.objects if name.startswith(prefix))
        return (Kept(name, len(self.objects[name])) for name in names)

    def get(self, name):
        if self.away:
            raise RetryableError("the failure bucket is away")
        self.read.append(name)
        return self.objects.get(name)

    def remove(self, name):
        self.objects.pop(name, None)


class World:
    """``records``: (partition key, record) that the stream took; ``slept``: seconds in all."""

    def __init__(self, objects, tenants=("acme",), stream=STREAM):
        self.bucket = Bucket(objects)
        self.tenants = set(tenants)
        self.puts = []
        self.slept = 0.0
        self.origin = Origin(stream, EPOCH)

    def put(self, entries):
        self.puts += entries

    def sleep(self, seconds):
        self.slept += seconds

    def run(self, bucket=None, put=None):
        redriver = RecordRedriver(
            bucket or self.bucket, put or self.put, self.tenants.__contains__, self.origin, self.sleep
        )
        return list(redriver.run())

    @property
    def records(self):
        return [(key, records.decode(data)) for key, data in self.puts]


def stamp(number):
    return stamps.pack(EPOCH, str(number))


def samples(value=1.0, tenant="acme", source="host/a"):
    row = Row(source, 1_700_000_000_000, 0, struct.pack("<d", value))
    return records.encode(SamplesRecord(tenant, [b"m"], [row]))


def corrupt(number):
    return keys.corrupt_record_object(stamp(number))


def lane(tenant="acme", source="host/a"):
    return keys.lane_tag(keys.lane_of(tenant, source))


def given_up(*entries, arn=ARN, **more):
    """What AWS documents for a Kinesis batch in an S3 destination; an entry is (sequence number, data)."""
    event = {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": lane(),
                    "sequenceNumber": str(number),
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": 1_700_000_000.0,
                },
                "eventSource": "aws:kinesis",
                "eventID": f"shardId-000000000000:{number}",
                "eventName": "aws:kinesis:record",
                "eventSourceARN": arn,
            }
            for number, data in entries
        ]
    }
    return kept_batch("KinesisBatchInfo", event, **more)


def kept_batch(kind, event, **more):
    body = {
        "requestContext": {"condition": "RecordAgeExceeded", "approximateInvokeCount": 7},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2026-11-22T15:00:00.000Z",
        kind: {"batchSize": len(event["Records"])},
        "payload": json.dumps(event),
    }
    return json.dumps(body | more).encode()


def test_a_record_goes_back_with_the_stamp_of_its_name():
    world = World({corrupt(7): samples()})
    assert world.run() == [Outcome(corrupt(7), 1)]
    assert world.records == [(lane(), RedrivenRecord(stamp(7), samples()))]
    assert world.bucket.objects == {}


def test_a_delete_goes_into_the_lane_of_its_source():
    data = records.encode(DeleteRecord("acme", "host/b", "", 0, 1))
    world = World({corrupt(7): data})
    world.run()
    assert world.records == [(lane(source="host/b"), RedrivenRecord(stamp(7), data))]


def test_what_was_redriven_before_keeps_its_first_stamp():
    once = records.encode(RedrivenRecord(stamp(7), samples()))
    world = World({corrupt(9): once})
    assert world.run() == [Outcome(corrupt(9), 1)]
    assert world.puts == [(lane(), once)]


def test_order_is_that_of_arrival():
    world = World({corrupt(number): samples(number) for number in (30, 4, 200)})
    world.run()
    assert [record.stamp for _, record in world.records] == [stamp(4), stamp(30), stamp(200)]


NEWER = bytes((records.TYPE_SAMPLES, records.VERSION + 1))
KEPT_FOR = {
    "unknown tenant 'nobody'": samples(tenant="nobody"),
    "checksum differs": samples()[:-1] + b"x",
    "size not within": b"",
    "a redriven record within": records.encode(
        RedrivenRecord(stamp(1), records.encode(RedrivenRecord(stamp(1), samples())))
    ),
    "unknown tenant 'other'": records.encode(RedrivenRecord(stamp(1), samples(tenant="other"))),
    "redrive with the newer code": records.frame.pack(NEWER, b"", 1),
    "can be ours": bytes(RECORD_BYTES_MAX + 1),
}


@pytest.mark.parametrize("reason", KEPT_FOR)
def test_what_can_not_be_stored_stays_and_says_why(reason):
    objects = {corrupt(6): samples(6.0), corrupt(7): KEPT_FOR[reason], corrupt(8): samples(8.0)}
    world = World(objects)
    outcomes = {outcome.name: outcome for outcome in world.run()}
    assert outcomes[corrupt(6)].left == outcomes[corrupt(8)].left == ""
    assert outcomes[corrupt(7)].redriven == 0 and reason in outcomes[corrupt(7)].left
    assert world.bucket.objects == {corrupt(7): KEPT_FOR[reason]}
    assert [record.stamp for _, record in world.records] == [stamp(6), stamp(8)]


def test_what_is_too_large_is_not_even_read():
    world = World({corrupt(7): bytes(RECORD_BYTES_MAX + 1), GIVEN_UP: bytes(GIVEN_UP_BYTES_MAX + 1)})
    assert [bool(outcome.left) for outcome in world.run()] == [True, True]
    assert world.bucket.read == [] and len(world.bucket.objects) == 2


@pytest.mark.parametrize("name", ["corrupt/", "corrupt/zz", f"corrupt/{stamp(1).hex()}0", f"corrupt/{'AB' * 26}"])
def test_a_name_that_is_no_stamp_stays(name):
    world = World({name: samples()})
    [outcome] = world.run()
    assert outcome.left and world.bucket.objects and not world.puts


def test_what_says_nothing_goes_without_a_record():
    empty = records.encode(SamplesRecord("acme", [], []))
    world = World({corrupt(1): empty, corrupt(2): records.encode(FenceRecord("t"))})
    assert world.run() == [Outcome(corrupt(1), 0), Outcome(corrupt(2), 0)]
    assert world.bucket.objects == {} and world.puts == []


@pytest.mark.parametrize(("targets", "source"), [({"prom/a": ""}, "prom/a"), ({}, METADATA)])
def test_facts_go_back_into_their_lane(targets, source):
    facts = records.encode(FactsRecord("acme", targets, {}))
    world = World({corrupt(1): facts})
    assert world.run() == [Outcome(corrupt(1), 1)]
    assert world.records == [(keys.lane_tag(keys.lane_of("acme", source)), RedrivenRecord(stamp(1), facts))]


def test_a_batch_that_lambda_gave_up_goes_back_in_order_with_its_own_stamps():
    world = World({GIVEN_UP: given_up((5, samples(5.0)), (6, samples(6.0)), (10, samples(10.0)))})
    assert world.run() == [Outcome(GIVEN_UP, 3)]
    assert world.records == [(lane(), RedrivenRecord(stamp(n), samples(float(n)))) for n in (5, 6, 10)]
    assert world.bucket.objects == {}


def test_of_a_given_up_batch_fences_are_left_out_and_redriven_records_keep_their_stamps():
    once = records.encode(RedrivenRecord(stamp(1), samples()))
    world = World({GIVEN_UP: given_up((5, once), (6, records.encode(FenceRecord("t"))), (7, b"\4rubbish"))})
    assert world.run() == [Outcome(GIVEN_UP, 2)]
    assert world.puts == [(lane(), once), (lane(), records.encode(RedrivenRecord(stamp(7), b"\4rubbish")))]


REFUSED = {
    "not JSON": b"{",
    "not an object": b"[]",
    "no payload": json.dumps({"version": "1.0"}).encode(),
    "a payload that is no text": json.dumps({"payload": 1}).encode(),
    "a payload without records": json.dumps({"payload": "{}"}).encode(),
    "a record without data": json.dumps({"payload": '{"Records": [{"eventSourceARN": "a/metrics"}]}'}).encode(),
    "a record that is none": json.dumps({"payload": '{"Records": [1]}'}).encode(),
    "a sequence number that is none": given_up(("x", samples())),
    "another stream": given_up((5, samples()), arn=ARN + "-old"),
    "a later version within a redriven record": given_up(
        (5, samples()), (6, records.encode(RedrivenRecord(stamp(1), records.frame.pack(NEWER, b"", 1))))
    ),
    "a later version": given_up((5, samples()), (6, records.frame.pack(NEWER, b"", 1))),
    "a record too large to be wrapped": given_up((5, random.Random(1).randbytes(RECORD_BYTES_MAX))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_batch_that_is_not_understood_stays_whole(case):
    world = World({GIVEN_UP: REFUSED[case], corrupt(1): samples()})
    outcomes = {outcome.name: outcome for outcome in world.run()}
    assert outcomes[GIVEN_UP].left and world.bucket.objects == {GIVEN_UP: REFUSED[case]}
    assert len(world.puts) == 1


def test_a_replaced_stream_has_an_epoch_of_its_own():
    world = World({GIVEN_UP: given_up((5, samples()), arn=ARN + "-old")})
    assert "'metrics-old': give it as --origin" in world.run()[0].left
    world.origin = Origin(f"{STREAM}-old", EPOCH - 1)
    assert world.run() == [Outcome(GIVEN_UP, 1)]
    assert world.records[0][1].stamp == stamps.pack(EPOCH - 1, "5")


def test_nothing_goes_before_the_stream_has_it():
    objects = {corrupt(number): samples(number) for number in range(REDRIVE_BATCH + 3)}
    world = World(objects)

    def refuse(_):
        raise RetryableError("throttled")

    with pytest.raises(RetryableError):
        world.run(put=refuse)
    assert world.bucket.objects == objects
    world.run()
    assert world.bucket.objects == {} and len(world.puts) == len(objects)


def test_failed_entries_are_put_again_alone_until_all_are_acknowledged():
    """Through the real Putter: every second entry of a call fails at first."""
    clock = [0.0]
    calls = []

    class Stream:
        def put(self, entries):
            calls.append(list(entries))
            clock[0] += 0.01
            return [index for index in range(len(entries)) if index % 2] if len(calls) < 4 else []

    def sleep(seconds):
        clock[0] += seconds

    putter = Putter(Stream(), Time(lambda: 0, lambda: clock[0], sleep, lambda: 0.5))
    objects = {corrupt(number): samples(number) for number in range(8)}
    world = World(objects)
    world.run(put=putter.put)
    assert [len(call) for call in calls] == [8, 4, 2, 1] and world.bucket.objects == {}


def test_an_entry_that_is_never_acknowledged_keeps_the_objects():
    clock = [0.0]

    class Stream:
        def put(self, entries):
            clock[0] += 0.5
            return [0]

    putter = Putter(Stream(), Time(lambda: 0, lambda: clock[0], lambda s: None, lambda: 0.5), budget_s=6.0)
    objects = {corrupt(number): samples(number) for number in range(4)}
    world = World(objects)
    with pytest.raises(RetryableError, match=r"1 of 4 records not acknowledged within 6.0 s"):
        world.run(put=putter.put)
    assert world.bucket.objects == objects


def test_the_stream_keeps_room_for_posts():
    world = World({corrupt(number): samples(number) for number in range(3 * REDRIVE_RECORDS_PER_S)})
    world.run()
    assert world.slept == pytest.approx(3.0)
    large = [(number, random.Random(number).randbytes(400_000)) for number in range(4)]
    world = World({GIVEN_UP: given_up(*large)})
    calls = []
    world.run(put=lambda entries: calls.append(len(entries)))
    assert calls == [1, 1, 1, 1] and world.slept > 4 * 400_000 / REDRIVE_BYTES_PER_S


@given(st.data())
def test_a_crash_anywhere_repeats_and_never_loses(data):
    """Whatever is not on the stream is in the bucket; a second run brings the rest, and stamps make repeats one."""
    objects = {corrupt(number): samples(float(number)) for number in range(5)}
    objects[GIVEN_UP] = given_up((50, samples(50.0)), (51, samples(51.0)))
    everything = {(stamp(n), samples(float(n))) for n in (*range(5), 50, 51)}
    world = World(objects)
    steps = Steps(stop=data.draw(st.integers(0, 12)))

    class Stepping(Bucket):
        def __init__(self):
            self.objects, self.away, self.read = world.bucket.objects, False, []

        def remove(self, name):
            steps.step()
            super().remove(name)

    def put(entries):
        steps.step()
        world.put(entries)
        steps.step()

    try:
        world.run(Stepping(), put)
    except Crash:
        taken = {(record.stamp, record.data) for _, record in world.records}
        numbers = {stamps.unpack(bytes.fromhex(name[8:]))[1] for name in world.bucket.objects if name[0] == "c"}
        left = {
            record_left
            for record_left in everything
            if stamps.unpack(record_left[0])[1] in numbers or GIVEN_UP in world.bucket.objects
        }
        assert everything <= taken | left
    world.run()
    assert {(record.stamp, record.data) for _, record in world.records} == everything
    assert world.bucket.objects == {}


def test_a_bucket_that_is_away_is_said_so():
    world = World({corrupt(1): samples()})
    world.bucket.away = True
    with pytest.raises(RetryableError):
        world.run()
    assert world.puts == [] and world.bucket.objects


class Archive:
    """A failure bucket of the archive and the archive itself."""

    def __init__(self, objects):
        self.bucket, self.cold = Bucket(objects), FakeBlocks()

    def run(self):
        return list(BlockRedriver(self.bucket, lambda *of: archive(self.cold, NoMarkers(), *of)).run())


def block_object(columns, key=KEY):
    data = blocks.encode(columns)
    return keys.corrupt_block_object(key, Item(data).version), data


def change(key, data, number=1, removed=False):
    image = {"pk": {"S": key.partition}, "sk": {"S": key.sort}, "b": {"B": base64.b64encode(data).decode()}}
    record = {
        "eventName": "REMOVE" if removed else "MODIFY",
        "eventSource": "aws:dynamodb",
        "dynamodb": {"SequenceNumber": str(number), ("OldImage" if removed else "NewImage"): image},
    }
    if removed:
        record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    return record


def test_blocks_are_archived_after_all():
    first, second = block_object(ONE), block_object(TWO)
    world = Archive([first, second])
    assert {outcome.redriven for outcome in world.run()} == {1}
    assert world.bucket.objects == {}
    assert blocks.decode(world.cold.get(KEY).data) == merge([ONE, TWO])


def test_a_block_that_is_still_corrupt_stays_and_says_why():
    name, data = block_object(ONE)
    world = Archive({name: data[:-1] + b"?"})
    [outcome] = world.run()
    assert outcome.redriven == 0 and outcome.left and list(world.bucket.objects) == [name] and not world.cold.items


def test_a_block_that_the_archive_can_not_take_stays_until_the_archive_is_mended():
    name, data = block_object(ONE)
    world = Archive({name: data})
    world.cold.put(KEY, Item(b"\1nonsense"), None)
    [outcome] = world.run()
    assert "what the archive has of its window is not" in outcome.left and world.bucket.objects
    world.cold.items.clear()
    assert world.run() == [Outcome(name, 1)]


@pytest.mark.parametrize(
    "name", ["corrupt/x", "corrupt/raw/a/b/c/all/0", "corrupt/2d/acme/host%2Fa/0000000000+60/all/0"]
)
def test_a_name_that_is_no_block_stays(name):
    world = Archive({name: blocks.encode(ONE)})
    assert world.run()[0].left and world.bucket.objects and not world.cold.items


def test_a_block_too_large_is_not_read():
    name, _ = block_object(ONE)
    world = Archive({name: bytes(BLOCK_BYTES_MAX + 1)})
    assert world.run()[0].left and world.bucket.read == []


def test_changes_that_lambda_gave_up_are_archived():
    other = KEY._replace(source=SourceKey("acme", "host/b"))
    event = {"Records": [change(KEY, blocks.encode(ONE)), change(other, blocks.encode(TWO), 2, removed=True)]}
    world = Archive({GIVEN_UP: kept_batch("DDBStreamBatchInfo", event)})
    assert world.run() == [Outcome(GIVEN_UP, 2)]
    assert set(world.cold.items) == {KEY, other} and world.bucket.objects == {}


def test_one_bad_change_keeps_the_batch_and_holds_up_no_other():
    other = KEY._replace(source=SourceKey("acme", "host/b"))
    event = {"Records": [change(KEY, b"\1nonsense"), change(other, blocks.encode(TWO), 2)]}
    world = Archive({GIVEN_UP: kept_batch("DDBStreamBatchInfo", event)})
    [outcome] = world.run()
    assert outcome.left.startswith(f"1 of 2 blocks: {KEY.object}: ")
    assert set(world.cold.items) == {other} and GIVEN_UP in world.bucket.objects


block_keys = st.builds(
    BlockKey,
    st.builds(SourceKey, strategies.part_texts, strategies.part_texts),
    st.sampled_from(keys.RESOLUTIONS),
    st.builds(Window, st.integers(0, 10**10 - 1), st.integers(1, 10**7)),
    st.text("01", max_size=8),
)


@given(block_keys, st.binary(min_size=8, max_size=8))
def test_a_block_comes_back_from_its_objects_names(key, version):
    assert BlockKey.of_object(key.object) == key
    assert keys.key_of_corrupt_block(keys.corrupt_block_object(key, version)) == key


@given(st.text(max_size=30) | strategies.part_texts)
def test_other_names_are_refused(name):
    for parse in (BlockKey.of_object, keys.key_of_corrupt_block, keys.stamp_of_corrupt_record):
        with pytest.raises(ValueError):
            parse(name)
