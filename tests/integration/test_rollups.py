"""Weeks of a host through the real handlers: every view is what the raw samples give, and what that costs."""

import json
import math
import random
import uuid
from collections import Counter, deque

import pytest
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.archive.archiver import Archiver, archive
from carbyne.core.keys import BlockKey, is_block
from carbyne.samples.rollups import choose
from carbyne.stream.arrived import Image

from harness.pipeline import LENGTH_S, SCHEDULE, Pipeline
from servers import plain
from tests.support.fakes import FakeBlocks, FakeTable, NoMarkers, write_units
from tests.support.stores import create_blocks_table

DAY_S = 86_400
START_S = 655 * 30 * DAY_S
"""A boundary of all windows, long ago: Redis drops rows as soon as they are sealed, since their expiry has passed."""
WARM_S = {"raw": 7 * DAY_S, "5m": 30 * DAY_S, "1h": 460 * DAY_S, "1d": 5 * 365 * DAY_S}
VIEWS_S = {
    "1 h": 3_600,
    "6 h": 6 * 3_600,
    "1 day": DAY_S,
    "1 week": 7 * DAY_S,
    "1 month": 30 * DAY_S,
    "1 year": 365 * DAY_S,
}
METRICS = 20
UNITS_A_DAY_MAX = 230
"""Write units of it: 195 when this was written, with two late minutes a day, each of which writes its blocks again."""
READ_METRICS = 3
"""Of which every view is compared."""


class CountingTable:
    """A table that counts write units by kind of item, keeps its changes as its stream does, and expires on demand."""

    def __init__(self, table):
        self.table = table
        self.units = Counter()
        self.changes = deque()
        self.expiry = {}
        self.get, self.query, self.remove, self.write = table.get, table.query, table.remove, table.write

    def put(self, partition, sort, item, replaces):
        done = self.table.put(partition, sort, item, replaces)
        if done:
            self.units[partition.partition(":")[0]] += write_units(partition, sort, item)
            if is_block(partition):
                self.changes.append(Image("", BlockKey.of_item(partition, sort), item.data, False))
                self.expiry[partition, sort] = item.expires_s
        return done


class Source:
    """A host of ``metrics`` metrics that posts each minute.  ``posted``: {name: {ts_ms: value}}."""

    def __init__(self, metrics, seed=1):
        self.rng = random.Random(seed)
        self.names = [f"custom.m{number}" for number in range(metrics)]
        self.posted = {name: {} for name in self.names}

    def rows(self, minutes):
        """[(host, name, time_s, value)] of some minutes."""
        return [
            ("a", name, time_s, self._value(number, time_s))
            for number, name in enumerate(self.names)
            for time_s in minutes
        ]

    def _value(self, number, time_s):
        """Gauges of two decimals, counters, pages, flags: what agents post."""
        kinds = (
            lambda: round(50 + 40 * math.sin(time_s / 20_000 + number) + self.rng.gauss(0, 3), 2),
            lambda: 4096 * (10**6 + self.rng.randrange(1000)),
            lambda: int(time_s * (1 + number) / 60),
            self.rng.random,
            lambda: 1.0 if self.rng.random() < 0.001 else 0.0,
        )
        value = float(kinds[number % len(kinds)]())
        self.posted[self.names[number]][time_s * 1000] = value
        return value


class Weeks:
    """Posts, seals, archives and expires as days go by."""

    def __init__(self, pipeline, cold):
        self.pipeline = pipeline
        self.table = pipeline.table
        self.cold = cold
        self.source = Source(METRICS)
        self.archiver = Archiver(cold, NoMarkers(), None, lambda: pipeline.now_s * 1000, pipeline.meter)
        self.delivered = 0

    def post(self, minutes):
        assert self.pipeline.post(self.source.rows(minutes))["statusCode"] == 200
        self.pipeline.deliver(self.pipeline.stream.records[self.delivered :])
        self.delivered = len(self.pipeline.stream.records)

    def window(self, start_s):
        """A window's samples arrive, some of them late; what is due is sealed; the archiver follows."""
        missing = set(self.source.rng.sample(range(start_s, start_s + LENGTH_S, 60), 5))
        self.pipeline.now_s = start_s + LENGTH_S
        self.post([time_s for time_s in range(start_s, start_s + LENGTH_S, 60) if time_s not in missing])
        self.pipeline.now_s += SCHEDULE.grace_s + SCHEDULE.jitter_s
        self.pipeline.seal()
        self.archive()

    def late(self, count):
        """Samples of some minute in the past arrive, new ones and other values of known ones."""
        minutes = sorted(self.source.rng.randrange(START_S, self.pipeline.now_s - LENGTH_S, 60) for _ in range(count))
        self.post(minutes)
        self.pipeline.now_s += SCHEDULE.grace_s + SCHEDULE.jitter_s
        self.pipeline.seal()
        self.archive()

    def archive(self):
        changes = self.table.changes
        assert self.archiver.take([changes.popleft() for _ in range(len(changes))]) is None
        self.expire()

    def expire(self):
        for key in [key for key, expires_s in self.table.expiry.items() if expires_s <= self.pipeline.now_s]:
            block, item = BlockKey.of_item(*key), self.table.get(*key)
            archive(self.cold, NoMarkers(), block, item.data)
            self.remove(key)
            del self.table.expiry[key]

    def remove(self, key):
        self.table.table.items.pop(key)

    def days(self, count):
        for start_s in range(START_S, START_S + count * DAY_S, LENGTH_S):
            self.window(start_s)
            if start_s % DAY_S == 0 and start_s > START_S:
                self.late(2)
        self.pipeline.now_s += 600
        self.post(range(self.pipeline.now_s // 60 * 60 - 540, self.pipeline.now_s, 60))

    def check_views(self):
        """Each view up to now, the open window included, of some metrics; the aggregates by turns."""
        now_s = self.pipeline.now_s
        for number, name in enumerate(self.source.names[:READ_METRICS]):
            rolled = {resolution: plain.rolled(self.source.posted[name], resolution) for resolution in plain.BUCKET_MS}
            for length_s in VIEWS_S.values():
                for aggregate in plain.AGGREGATES if number == 0 else plain.AGGREGATES[:1]:
                    self.check_view(name, now_s - length_s, now_s, aggregate, rolled)

    def check_view(self, name, from_s, to_s, aggregate, rolled):
        resolution = choose(from_s * 1000, to_s * 1000)
        asked = [("name", name), ("from", from_s), ("to", to_s)]
        asked += [("agg", aggregate)] if resolution != "raw" else []
        answer = self.pipeline.get("/api/v0/hosts/a/metrics", *asked)
        assert answer["statusCode"] == 200, answer
        assert answer["headers"]["Carbyne-Resolution"] == resolution
        seen = {m["time"] * 1000: plain.bits(m["value"]) for m in json.loads(answer["body"])["metrics"]}
        expected = plain.view(self.source.posted[name], resolution, aggregate, from_s * 1000, to_s * 1000, rolled)
        assert seen == expected, f"{aggregate} of {name} over {(to_s - from_s) / 3600} h"

    def report(self, days, requests):
        units = {kind: round(count / days, 1) for kind, count in sorted(self.table.units.items())}
        assert sum(units.values()) < UNITS_A_DAY_MAX, units
        print(f"\n{days} days of {METRICS} metrics: write units a day {units}, S3 requests a day {requests / days:.1f}")


def weeks_in_memory(cluster):
    cold = FakeBlocks()
    pipeline = Pipeline(cluster, START_S, table=CountingTable(FakeTable()))
    pipeline.cold, pipeline.warm_s = cold, WARM_S
    pipeline.reconnect()
    return Weeks(pipeline, cold)


@pytest.fixture
def weeks(cluster):
    made = weeks_in_memory(cluster)
    yield made
    made.pipeline.close()


def run(weeks, days):
    weeks.days(days)
    weeks.check_views()
    weeks.report(days, sum(weeks.cold.calls.values()))


def test_a_month_of_a_host_in_every_view(weeks):
    run(weeks, 30)
    kinds = {BlockKey.of_item(*key).resolution for key in weeks.table.table.items if is_block(key[0])}
    assert kinds == {"raw", "5m", "1h", "1d"}
    raw_s = min(BlockKey.of_item(*key).window.start_s for key in weeks.table.expiry if key[0].startswith("raw:"))
    assert {key.resolution for key in weeks.cold.items} >= {"raw", "5m", "1h"} and raw_s >= START_S


@pytest.mark.nightly
def test_a_year_of_a_host_in_every_view(weeks):
    run(weeks, 365)


def test_some_days_of_a_host_on_the_embedded_aws(cluster, aws):
    """The table and the archive as AWS has them; the counts are those of requests, by the client's own events."""
    dynamodb, s3 = aws.client("dynamodb"), aws.client("s3")
    name, bucket, requests = create_blocks_table(dynamodb), f"blocks-{uuid.uuid4().hex}", Counter()
    s3.create_bucket(Bucket=bucket)
    s3.meta.events.register("before-call.s3", lambda model, **_: requests.update([model.name]))
    table = CountingTable(DynamoTable(dynamodb, name))
    pipeline = Pipeline(cluster, START_S, table=table)
    pipeline.cold, pipeline.warm_s = ColdBlocks(s3, bucket), {**WARM_S, "raw": DAY_S, "5m": 2 * DAY_S}
    pipeline.retention = pipeline.retention._replace(warm_raw_s=DAY_S)
    pipeline.reconnect()
    weeks = Weeks(pipeline, pipeline.cold)
    weeks.remove = lambda key: dynamodb.delete_item(TableName=name, Key={"pk": {"S": key[0]}, "sk": {"S": key[1]}})
    try:
        run_on_aws(weeks, requests)
    finally:
        pipeline.close()


def run_on_aws(weeks, requests):
    weeks.days(3)
    archived = sum(requests.values())
    weeks.check_views()
    print(f"\nS3 requests of writing: {archived}, then of reading views: {sum(requests.values()) - archived}")
    weeks.report(3, archived)
    assert requests["PutObject"] > 3 * 6 * 2
