"""Fixed schedules: what random ones meet too seldom, step by step through the functions as their wiring makes them."""

import itertools
import json
import logging
from struct import pack

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.keys import BlockKey, SourceKey, Window, lane_tag
from carbyne.core.limits import DAY_S
from carbyne.http.message import Request
from carbyne.read.reader import How
from carbyne.samples import blocks
from carbyne.store.catalogue import Catalogue
from carbyne.stream import records
from carbyne.stream.arrived import Arrived
from carbyne.tenants.windows import LengthStep

from tests.model.faults import Faults, KilledError
from tests.model.simulation import HOSTS, LABELLED, START_S
from tests.model.world import MemoryStores, World, bounds

LENGTH_S = 14_400
SOURCE = SourceKey("acme", HOSTS[0])
OPEN = Window.holding(START_S * 1000, LENGTH_S)
MINUTE_S, HOUR_S = 60, 3_600


class Story:
    """What one agent does, and the functions one after the other; times in seconds since the open window began."""

    def __init__(self, at_s, hot_s=2 * DAY_S, lanes=()):
        warm_s = {"raw": DAY_S, "5m": 2 * DAY_S, "1h": 3 * DAY_S, "1d": 6 * DAY_S}
        start_s = OPEN.start_s + at_s
        self.world = World(
            MemoryStores, ["acme"], start_s=start_s, length_s=LENGTH_S, hot_s=hot_s, warm_s=warm_s, lanes=lanes
        )
        self.ingester = self.world.ticking(self.world.ingester(Faults()), Faults())

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

    def seal(self, killed_at=-1):
        """Whether a sealer came to its end, which is killed before one of its calls."""
        faults = Faults()
        faults.begin({killed_at: "kill before"})
        try:
            self.world.sealer(faults).run(lambda: 300.0)
        except KilledError:
            return False
        return True

    def archive(self):
        """The table's stream of changes, as far as it is."""
        changes = [change.image for change in self.world.changes]
        self.world.changes.clear()
        assert self.world.archiver(Faults()).take(changes) is None

    def read(self, reader=None, to_s=0):
        """{seconds since the open window began: value} of all raw samples, or those until ``to_s``; None if refused."""
        now_ms = self.world.now_ms()
        try:
            answer = (reader or self.world.asked).read(
                SOURCE, "m", 0, (to_s or now_ms // 1000 + DAY_S) * 1000, How("raw")
            )
        except RetryableError:
            return None
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
    """The table's block never changes again, whose copy in S3 was made when it was sealed."""
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


def test_a_window_counts_as_sealed_only_when_it_is_wherever_the_sealer_stops():
    """Then Redis loses the lane: what is read is all of the window, or refused, and all of it once it is sealed."""
    samples = {-LENGTH_S: 1.0, HOUR_S: 2.0}
    for killed_at in itertools.count():
        story = Story(at_s=-LENGTH_S, lanes=[SOURCE.lane])
        for at_s, value in samples.items():
            first = len(story.world.stream.records)
            story.post(at_s, value)
            story.deliver(first)
            story.wait(LENGTH_S + HOUR_S)
            story.world.supervisor(Faults()).tick()
            story.deliver(*range(first + 1, len(story.world.stream.records)))
            sealed = story.seal(killed_at if at_s > 0 else -1)
        if sealed:
            story.wait(MINUTE_S)
            story.seal()
        story.world.lose(SOURCE.lane)
        assert story.read(to_s=OPEN.end_s - 1) in ([samples] if sealed else [samples, None]), killed_at
        assert story.read() is None, "the open window may have had rows"
        if sealed:
            break
    assert killed_at > 20


@pytest.mark.parametrize("restarted", [False, True])
def test_no_read_misses_what_a_new_master_lacks_wherever_the_sealer_stops(restarted):
    """``restarted``: the replica that takes over was noted as one that has everything, as another process."""
    for killed_at in itertools.count():
        story = Story(at_s=0)
        story.post(0, 1.0)
        story.deliver()
        story.world.stores.follow()
        for _ in range(2):
            story.seal()
            story.wait(MINUTE_S)
        if not restarted:
            story.world.stores.remember()
        story.post(MINUTE_S, 2.0)
        story.deliver(1)
        story.world.stores.fail_over(SOURCE.lane, restarted=restarted)
        looked = story.seal(killed_at)
        assert story.read() in (None, {0: 1.0, MINUTE_S: 2.0}), killed_at
        if looked:
            break
    assert killed_at > 5 and story.read() is None


@pytest.mark.parametrize("killed_at", [-1, 3, 9, 20])
def test_labelled_samples_stay_whole_while_the_length_of_their_windows_changes(killed_at):
    """Rows come from both sides of each boundary, in no order, and a sealer may stop anywhere."""
    source = SourceKey("acme", LABELLED)
    story = Story(at_s=-20 * MINUTE_S, hot_s=0)
    world, samples = story.world, {}
    boundaries = [OPEN.start_s, OPEN.start_s + 3 * LENGTH_S]
    world.set_steps("acme", (LengthStep(boundaries[0], True), LengthStep(boundaries[1], False)))

    def put(at_s, value):
        rows = [(LABELLED, 1000 * at_s, b"m", pack("<d", value))]
        (data,) = records.pack("acme", rows, 10**6)
        world.stream.append(data, lane_tag(source.lane))
        samples[1000 * at_s] = value

    def check():
        answer = world.asked.read(source, "m", 0, 1000 * (world.now_s + DAY_S), How("raw"))
        assert dict(zip(answer.ts_ms.tolist(), answer.values.tolist(), strict=True)) == samples

    value = 0.0
    while world.now_s < boundaries[1] + 2 * LENGTH_S:
        first = len(world.stream.records)
        for back_s in (0, 90, -300, 2_000):
            value += 1.0
            put(world.now_s - back_s, value)
        story.deliver(*range(first, first + 4))
        check()
        story.seal(killed_at)
        check()
        story.wait(40 * MINUTE_S)
    story.wait(2 * LENGTH_S)
    story.seal()
    check()
    sealed = Catalogue(world.stores.table).windows(source, "raw").sealed
    for window in sealed:
        is_short = boundaries[0] <= window.start_s < boundaries[1]
        assert window.length_s == (HOUR_S if is_short else LENGTH_S), window
    assert len(sealed) == 1 + 12 + 2
