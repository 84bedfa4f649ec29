"""Fixed schedules: what random ones meet too seldom, step by step through the functions as their wiring makes them."""

import json
import logging

import pytest
from carbyne.core.keys import BlockKey, SourceKey, Window
from carbyne.core.limits import DAY_S
from carbyne.http.message import Request
from carbyne.read.reader import How
from carbyne.samples import blocks
from carbyne.stream.arrived import Arrived

from tests.model.faults import Faults
from tests.model.simulation import HOSTS, START_S
from tests.model.world import MemoryStores, World, bounds

LENGTH_S = 14_400
SOURCE = SourceKey("acme", HOSTS[0])
OPEN = Window.holding(START_S * 1000, LENGTH_S)
MINUTE_S = 60


class Story:
    """What one agent does, and the functions one after the other; times in seconds since the open window began."""

    def __init__(self, at_s, hot_s=2 * DAY_S):
        warm_s = {"raw": DAY_S, "5m": 2 * DAY_S, "1h": 3 * DAY_S, "1d": 6 * DAY_S}
        start_s = OPEN.start_s + at_s
        self.world = World(MemoryStores, ["acme"], start_s=start_s, length_s=LENGTH_S, hot_s=hot_s, warm_s=warm_s)
        self.ingester = self.world.ingester(Faults())

    def post(self, at_s, value):
        point = {
            "hostId": SOURCE.source.removeprefix("host/"),
            "name": "m",
            "time": OPEN.start_s + at_s,
            "value": value,
        }
        self._ask("POST", "/api/v0/tsdb", {}, json.dumps([point]).encode())

    def delete(self, from_s, to_s):
        span = {"from": [str(OPEN.start_s + from_s)], "to": [str(OPEN.start_s + to_s)]}
        self._ask("DELETE", "/carbyne/v1/samples", {"source": [SOURCE.source], **span}, b"")

    def _ask(self, method, path, query, body):
        self.world.writer().route(Request(method, path, query, {"x-api-key": "key-acme"}, body))

    def deliver(self, *numbers):
        """Records of the stream by their number, each a batch of its own; all of them if none is given."""
        for number in numbers or range(len(self.world.stream.records)):
            assert self.ingester.ingest([Arrived(*self.world.stream.records[number])]) is None

    def wait(self, seconds):
        self.world.now_s += seconds

    def seal(self):
        self.world.sealer(Faults()).run(lambda: 300.0)

    def archive(self):
        """The table's stream of changes, as far as it is."""
        changes = [change.image for change in self.world.changes]
        self.world.changes.clear()
        assert self.world.archiver(Faults()).take(changes) is None

    def read(self, reader=None):
        """{seconds since the open window began: value} of all raw samples."""
        now_ms = self.world.now_ms()
        answer = (reader or self.world.asked).read(SOURCE, "m", 0, now_ms + DAY_S * 1000, How("raw"))
        return {ts_ms // 1000 - OPEN.start_s: v for ts_ms, v in zip(answer.ts_ms.tolist(), answer.values, strict=True)}

    def latest(self):
        found = self.world.asked.latest([SOURCE], ["m"])[SOURCE].samples
        return {name: (ts_ms // 1000 - OPEN.start_s, value) for name, (ts_ms, value) in found.items()}

    def archived(self):
        """How many raw samples of the open window S3 has."""
        item = self.world.stores.cold.get(BlockKey(SOURCE, "raw", OPEN))
        return blocks.decode(item.data).samples if item else 0


@pytest.fixture(autouse=True)
def small():
    logging.disable(logging.CRITICAL)
    with bounds(crowded=False, leases=True):
        yield
    logging.disable(logging.NOTSET)


def test_the_latest_sample_is_the_one_before_those_that_were_deleted():
    """All of it lies in Redis, and the delete among it."""
    story = Story(at_s=0)
    for minute in range(10):
        story.post(minute * MINUTE_S, float(minute))
    story.wait(10 * MINUTE_S)
    story.delete(8 * MINUTE_S, 9 * MINUTE_S)
    story.deliver()
    assert story.latest() == {"m": (7 * MINUTE_S, 7.0)}


@pytest.mark.parametrize("ahead_s", [60, 300, 600])
def test_what_was_deleted_ahead_of_the_clock_stays_deleted_when_its_record_comes_late(ahead_s):
    """The record lies in the next window, of which Redis has nothing when the delete arrives, and all from then on."""
    story = Story(at_s=LENGTH_S - 60)
    story.post(LENGTH_S - 60 + ahead_s, 1.0)
    story.delete(0, LENGTH_S + 3600)
    story.deliver(1, 0)
    assert story.read() == {} and story.latest() == {}
    story.wait(2 * LENGTH_S)
    story.seal()
    assert story.read() == {}


def test_a_delete_leaves_nothing_in_the_archive():
    """Nobody changes the table's block any more, whose copy in S3 was made when it was sealed."""
    story = Story(at_s=0, hot_s=0)
    for minute in range(10):
        story.post(minute * MINUTE_S, float(minute))
    story.deliver()
    story.wait(2 * LENGTH_S)
    story.seal()
    story.archive()
    assert story.archived() == 10
    story.delete(0, 4 * MINUTE_S)
    story.deliver(10)
    story.wait(2 * LENGTH_S)
    story.seal()
    assert story.archived() == 5
    assert story.read() == {minute * MINUTE_S: float(minute) for minute in range(5, 10)}
