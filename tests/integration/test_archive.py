"""Samples on their way through Redis, DynamoDB and S3, on a real cluster and the embedded AWS: reads never change."""

import base64
import json
import random
import struct
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from carbyne.adapters.dynamodb.table import DynamoTable, attributes, expiring
from carbyne.adapters.redis.windows import HotWindows
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.adapters.s3.quarantine import S3Quarantine
from carbyne.archive.archiver import Archiver
from carbyne.core.keys import RAW, RESOLUTIONS, BlockKey, SourceKey, Window, is_block
from carbyne.core.limits import DAY_S, RECONCILE_AHEAD_DAYS
from carbyne.store.catalogue import Catalogue
from carbyne.wiring import reconciler as wiring_reconciler

from harness.pipeline import LENGTH_S, Pipeline, flush, load_app
from harness.wired import reconciler_settings
from tests.support.fakes import Crash, Steps
from tests.support.stores import create_blocks_table

ARCHIVER = load_app("archiver")
DAY_START_S = 1_800_000_000 // DAY_S * DAY_S
WINDOWS = [Window(DAY_START_S + number * LENGTH_S, LENGTH_S) for number in range(3)]
HOST = "web1"
SOURCE = SourceKey("acme", f"host/{HOST}")
NAMES = ("loadavg5", "memory.free", "odd")
MINUTES = range(0, 235, 47)
BY_TTL = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


class Changes:
    """The blocks table with the records of its stream as Lambda shows them; ``records``: not yet delivered."""

    def __init__(self, table, client, name):
        self.table, self.client, self.name = table, client, name
        self.get, self.query, self.remove, self.write = table.get, table.query, table.remove, table.write
        self.records = []
        self.sequence = 100_000_000_000_000_000_000

    def put(self, partition, sort, item, replaces):
        done = self.table.put(partition, sort, item, replaces)
        if done and is_block(partition):
            self._record("MODIFY" if replaces else "INSERT", {"NewImage": _row(partition, sort, item)})
        return done

    def expire(self, key):
        """What the TTL does."""
        item = self.table.get(key.partition, key.sort)
        where = {"pk": {"S": key.partition}, "sk": {"S": key.sort}}
        self.client.delete_item(TableName=self.name, Key=where)
        self._record("REMOVE", {"OldImage": _row(key.partition, key.sort, item)}, userIdentity=BY_TTL)

    def blocks(self):
        """The keys of all blocks, of all resolutions."""
        rows = self.client.scan(TableName=self.name, ConsistentRead=True)["Items"]
        return [BlockKey.of_item(row["pk"]["S"], row["sk"]["S"]) for row in rows if is_block(row["pk"]["S"])]

    def _record(self, name, images, **more):
        self.sequence += 1
        change = {**images, "SequenceNumber": str(self.sequence)}
        self.records.append({"eventName": name, "eventSource": "aws:dynamodb", "dynamodb": change, **more})


def _row(partition, sort, item):
    row = {"pk": {"S": partition}, "sk": {"S": sort}, **attributes(item)}
    text = {name: {"B": base64.b64encode(value["B"]).decode()} for name, value in row.items() if "B" in value}
    return {**row, **text}


class Path(Pipeline):
    """The pipeline with table and archive on the embedded AWS, and an archiver behind the table's stream."""

    def __init__(self, cluster, aws):
        self.dynamodb, self.s3 = aws.client("dynamodb"), aws.client("s3")
        self.name, self.bucket = create_blocks_table(self.dynamodb), f"archive-{uuid.uuid4().hex}"
        self.s3.create_bucket(Bucket=self.bucket)
        changes = Changes(DynamoTable(self.dynamodb, self.name), self.dynamodb, self.name)
        super().__init__(cluster, WINDOWS[-1].end_s + 600, table=changes, hot_s=0)
        self.cold = ColdBlocks(self.s3, self.bucket)
        self.reconnect()
        self.expected = {}

    def archiver(self, cold=None):
        quarantine = S3Quarantine(self.s3, self.bucket)
        return Archiver(cold or self.cold, Catalogue(self.table), quarantine, self._now_ms, self.meter)

    def archive(self, archiver=None):
        """Deliver the table's changes until all are done."""
        archiver = archiver or self.archiver()
        while self.table.records:
            answer = ARCHIVER.handle({"Records": self.table.records[:10]}, lambda: archiver)
            assert answer == {"batchItemFailures": []}
            del self.table.records[:10]

    def reconcile(self):
        find = partial(expiring, self.dynamodb, self.name)
        ports = wiring_reconciler.ReconcilerPorts(find, self.table, self.cold, self._now_ms, self.meter)
        settings = reconciler_settings(dict.fromkeys(RESOLUTIONS, self.retention.warm_raw_s))
        return wiring_reconciler.assemble(settings, ports).run(lambda: 900.0)

    def fill(self, window, seed, minutes=MINUTES):
        """Samples of one window into Redis."""
        rng = random.Random(seed)
        samples = []
        for minute in minutes:
            values = (rng.randrange(100) / 100, rng.randrange(2**40), rng.choice([-0.0, 0.1 + 0.2, 5e-324, 1e308]))
            time_s = window.start_s + 60 * minute
            samples += [(HOST, name, time_s, value) for name, value in zip(NAMES, values, strict=True)]
        start = len(self.stream.records)
        assert self.post(samples)["statusCode"] == 200
        self.deliver(self.stream.records[start:])
        self.expected |= {(name, time_s): struct.pack("<d", value) for _, name, time_s, value in samples}

    def seal_window(self, window, steps=None):
        """Raw, rollups, catalogue and confirm of one window, whoever claimed it."""
        hot, table = HotWindows(self._nodes()), self.table
        if steps:
            hot, table = steps.watched(hot), steps.watched(table)
        assert self.new_sealer(hot, table).seal(SOURCE, window)

    def expire(self, order=lambda keys: keys):
        for key in order(self.table.blocks()):
            self.table.expire(key)

    def reads(self):
        """{(name, time_s): bits of the value} of all metrics over all windows, by the API."""
        values = {}
        for name in NAMES:
            status, headers, points = self.get_metric(HOST, name, WINDOWS[0].start_s, WINDOWS[-1].end_s)
            assert status == 200 and "Carbyne-Warnings" not in headers, points
            values |= {(name, time_s): struct.pack("<d", value) for time_s, value in points}
        return values

    def check(self):
        assert self.reads() == self.expected

    def tiers(self):
        """Where the samples lie, by the API: {(window's number, tier)}."""
        query = [("source", SOURCE.source), ("from", WINDOWS[0].start_s), ("to", WINDOWS[-1].end_s)]
        placements = [
            placed
            for placed in json.loads(self.get("/carbyne/v1/storage", *query)["body"])
            if placed["resolution"] == RAW
        ]
        assert all(placed["samples"] and placed["bytes"] for placed in placements)
        return {((placed["window"]["start"] - DAY_START_S) // LENGTH_S, placed["tier"]) for placed in placements}


@pytest.fixture
def path(cluster, aws):
    flush(cluster)
    running = Path(cluster, aws)
    yield running
    running.close()


def test_one_query_has_one_answer_in_each_tier_and_over_all_three(path):
    for number, window in enumerate(WINDOWS):
        path.fill(window, number)
    assert path.tiers() == {(number, "hot") for number in range(3)}
    path.check()
    for window in WINDOWS:
        path.seal_window(window)
        path.check()
    assert path.tiers() == {(number, "warm") for number in range(3)}
    path.archive()
    path.check()
    path.expire()
    assert path.tiers() == {(number, "cold") for number in range(3)}
    path.check()


def test_over_all_three_tiers(path):
    for number, window in enumerate(WINDOWS):
        path.fill(window, number)
    path.seal_window(WINDOWS[0])
    path.archive()
    path.expire()
    path.seal_window(WINDOWS[1])
    assert path.tiers() == {(0, "cold"), (1, "warm"), (2, "hot")}
    path.check()


def test_a_reader_asks_at_each_step_of_each_move(path):
    path.fill(WINDOWS[0], 1)
    path.fill(WINDOWS[1], 2)
    moves = [lambda steps: path.seal_window(WINDOWS[0], steps)]
    moves += [lambda steps: path.archive(path.archiver(steps.watched(path.cold)))]
    for least, move in zip((30, 8), moves, strict=True):
        steps = Steps(look=path.check)
        move(steps)
        assert steps.count >= least
    keys = path.table.blocks()
    random.Random(3).shuffle(keys)
    assert len(keys) >= 3
    for key in keys:
        path.table.expire(key)
        path.check()


@pytest.mark.parametrize("offset", range(5))
def test_a_sealer_that_dies_anywhere_loses_nothing(path, offset):
    """Every fifth step, from each of five on, so that each is met once."""
    path.fill(WINDOWS[0], 0)
    for stop in range(offset, 200, 5):
        steps = Steps(stop)
        try:
            path.seal_window(WINDOWS[0], steps)
        except Crash:
            path.check()
        else:
            break
        path.fill(WINDOWS[0], stop, range(stop % 7, 200, 60))
    assert stop > 25
    path.check()
    path.archive()
    path.expire()
    path.check()


def test_an_archiver_that_dies_anywhere_loses_nothing(path):
    path.fill(WINDOWS[0], 0)
    path.seal_window(WINDOWS[0])
    for stop in range(100):
        try:
            path.archive(path.archiver(Steps(stop).watched(path.cold)))
        except Crash:
            path.check()
        else:
            break
        if stop % 4 == 0:  # the block grows meanwhile
            path.fill(WINDOWS[0], stop, range(stop, 200, 70))
            path.seal_window(WINDOWS[0])
    assert stop > 5
    path.expire()
    path.check()


def test_an_archiver_that_was_away_for_longer_than_the_stream_keeps_changes(path):
    path.fill(WINDOWS[0], 0)
    path.fill(WINDOWS[1], 1)
    for window in WINDOWS[:2]:
        path.seal_window(window)
    path.table.records.clear()
    path.now_s += path.retention.warm_raw_s - RECONCILE_AHEAD_DAYS * DAY_S
    outcome = path.reconcile()
    assert outcome.copied >= 2 and outcome.failed == 0
    assert path.reconcile().copied == 0
    path.now_s += RECONCILE_AHEAD_DAYS * DAY_S
    path.expire()
    path.table.records.clear()
    assert path.tiers() == {(0, "cold"), (1, "cold")}
    path.check()
    path.fill(WINDOWS[0], 9)
    path.seal_window(WINDOWS[0])
    path.archive()
    path.expire()
    path.check()


def test_without_reconcile_they_would_be_lost(path):
    """So the test before can fail."""
    path.fill(WINDOWS[0], 0)
    path.seal_window(WINDOWS[0])
    path.expire()
    path.table.records.clear()
    assert path.reads() == {}


def test_the_record_of_a_removal_is_a_last_copy(path):
    path.fill(WINDOWS[0], 0)
    path.seal_window(WINDOWS[0])
    path.table.records.clear()
    path.expire()
    path.archive()
    path.check()


def test_changes_come_twice_and_in_any_order(path):
    for turn in range(3):
        path.fill(WINDOWS[0], turn, range(turn, 200, 30))
        path.seal_window(WINDOWS[0])
    path.expire()
    path.table.records *= 2
    random.Random(5).shuffle(path.table.records)
    path.archive()
    path.check()


def test_two_archivers_at_once(path):
    for turn in range(3):
        path.fill(WINDOWS[0], turn, range(turn, 200, 30))
        path.seal_window(WINDOWS[0])
    records = path.table.records
    orders = [records, records[::-1]]

    def take(order):
        answer = {"batchItemFailures": [None]}
        while answer["batchItemFailures"]:  # as Lambda would: until it is done
            answer = ARCHIVER.handle({"Records": order}, path.archiver)
        return True

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(take, orders)) == [True, True]
    path.expire()
    path.check()


def test_late_samples_of_an_archived_window(path):
    path.fill(WINDOWS[0], 0)
    path.seal_window(WINDOWS[0])
    path.archive()
    path.expire()
    path.archive()
    path.fill(WINDOWS[0], 7, [MINUTES[1], 3])
    path.check()
    assert path.tiers() == {(0, "hot"), (0, "cold")}
    path.seal_window(WINDOWS[0], Steps(look=path.check))
    assert path.tiers() == {(0, "warm"), (0, "cold")}
    path.check()
    path.archive(path.archiver(Steps(look=path.check).watched(path.cold)))
    path.expire()
    assert path.tiers() == {(0, "cold")}
    path.check()


def test_an_archive_that_is_away_is_503_or_on_request_a_warning(path):
    path.fill(WINDOWS[0], 0)
    path.fill(WINDOWS[1], 1)
    path.seal_window(WINDOWS[0])
    path.archive()
    path.expire()
    path.cold = ColdBlocks(path.s3, "nowhere")
    path.reconnect()
    span = WINDOWS[0].start_s, WINDOWS[-1].end_s
    assert path.get_metric(HOST, NAMES[0], *span)[0] == 503
    status, headers, points = path.get_metric(HOST, NAMES[0], *span, partial="true")
    assert status == 200 and "cold tier" in headers["Carbyne-Warnings"]
    assert {time_s for time_s, _ in points} == {WINDOWS[1].start_s + 60 * minute for minute in MINUTES}
    assert path.get_metric(HOST, NAMES[0], WINDOWS[1].start_s, span[1])[0] == 200, "what is not there is not needed"
