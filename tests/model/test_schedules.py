"""Fixed schedules: what random ones meet too seldom, step by step through the functions as their wiring makes them."""

import itertools
import json
import logging
from collections import Counter
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
        latest = self.world.asked.latest([SOURCE], ["m"])[SOURCE].samples
        return {name: (ts_ms // 1000 - OPEN.start_s, value) for name, (ts_ms, value) in latest.items()}

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
        story.world.fail_over(SOURCE.lane, restarted=restarted)
        looked = story.seal(killed_at)
        assert story.read() in (None, {0: 1.0, MINUTE_S: 2.0}), killed_at
        if looked:
            break
    assert killed_at > 5 and story.read() is None


class Scrapes(Story):
    """The same of a labelled source, whose windows change their length; ``samples``: what a read must say."""

    source = SourceKey("acme", LABELLED)

    def __init__(self, at_s, steps, hot_s=0):
        super().__init__(at_s, hot_s)
        self.stale = self.ingester
        self.samples = {}
        self.put(at_s, 0.0)
        self.deliver(0)  # this instance has looked the tenant up, and never does again
        self.change(steps)

    def change(self, steps):
        """From now on another instance knows of these steps."""
        self.world.set_steps("acme", steps)
        self.ingester = self.world.ticking(self.world.ingester(Faults()), Faults())

    def put(self, at_s, value):
        """Times in seconds since the open window began."""
        ts_ms = 1000 * (OPEN.start_s + at_s)
        (data,) = records.pack("acme", [(LABELLED, ts_ms, b"m", pack("<d", value))], 10**6)
        self.world.stream.append(data, lane_tag(self.source.lane))
        self.samples[ts_ms] = value

    def erase(self, from_s, to_s):
        span = 1000 * (OPEN.start_s + from_s), 1000 * (OPEN.start_s + to_s)
        record = records.DeleteRecord("acme", LABELLED, "m", *span)
        self.world.stream.append(records.encode(record), lane_tag(self.source.lane))
        self.samples = {ts_ms: value for ts_ms, value in self.samples.items() if not span[0] <= ts_ms <= span[1]}

    def deliver_new(self, first, *ingesters):
        """The records from this number on, by these instances in turn."""
        for number, record in enumerate(self.world.stream.records[first:]):
            assert ingesters[number % len(ingesters)].ingest([Arrived(*record)]) is None

    def check(self):
        """All samples and their hourly sums, then those of short spans, of which Redis may claim to have all."""
        now_ms = self.world.now_ms()
        assert self._read(0, now_ms + 1000 * DAY_S, How("raw")) == self.samples
        hourly = Counter()
        for ts_ms, value in self.samples.items():
            hourly[ts_ms // 3_600_000 * 3_600_000] += value
        assert self._read(0, now_ms + 1000 * DAY_S, How("1h", "sum")) == hourly
        for back_s in (5 * MINUTE_S, HOUR_S, 2 * HOUR_S, LENGTH_S):
            from_ms = now_ms - 1000 * back_s
            samples = {ts_ms: value for ts_ms, value in self.samples.items() if from_ms <= ts_ms <= now_ms}
            assert self._read(from_ms, now_ms, How("raw")) == samples

    def end(self):
        """All windows close and are sealed; what reads say stays the same, also when later runs find nothing to do."""
        self.wait(2 * LENGTH_S)
        for _ in range(3):
            self.seal()
            self.check()
            self.wait(LENGTH_S)

    def _read(self, from_ms, to_ms, how):
        answer = self.world.asked.read(self.source, "m", from_ms, to_ms, how)
        return dict(zip(answer.ts_ms.tolist(), answer.values.tolist(), strict=True))

    @property
    def sealed(self):
        return sorted(Catalogue(self.world.stores.table).of(self.source).windows("raw").sealed)


@pytest.mark.parametrize("killed_at", [-1, 9])
def test_labelled_samples_stay_whole_while_the_length_of_their_windows_changes(killed_at):
    """Rows come from both sides of each boundary, in no order, and a sealer may stop anywhere."""
    last_s = 3 * LENGTH_S
    steps = LengthStep(OPEN.start_s, True), LengthStep(OPEN.start_s + last_s, False)
    story = Scrapes(-20 * MINUTE_S, steps)
    value = 0.0
    while (at_s := story.world.now_s - OPEN.start_s) < last_s + 2 * LENGTH_S:
        first = len(story.world.stream.records)
        for back_s in (0, 90, -300, 2_000):
            value += 1.0
            story.put(at_s - back_s, value)
        story.deliver_new(first, story.ingester)
        story.check()
        story.seal(killed_at)
        story.check()
        story.wait(40 * MINUTE_S)
    story.end()
    for window in story.sealed:
        is_short = OPEN.start_s <= window.start_s < OPEN.start_s + last_s
        assert window.length_s == (HOUR_S if is_short else LENGTH_S), window
    assert len(story.sealed) == 1 + 12 + 2


@pytest.mark.parametrize("killed_at", [-1, 17])
@pytest.mark.parametrize("hot_s", [0, 2 * DAY_S])
def test_instances_that_disagree_on_the_length_of_windows_lose_nothing(hot_s, killed_at):
    """It can't happen while STEP_AHEAD_S holds.  Each writes newer values of the other's samples, and deletes."""
    story = Scrapes(0, (LengthStep(OPEN.start_s, True),), hot_s)
    value = 0.0
    while (at_s := story.world.now_s - OPEN.start_s) < 2 * LENGTH_S:
        first = len(story.world.stream.records)
        for back_s in (0, 0, 600, 1_500, 1_500, 4_000):
            value += 1.0
            story.put(at_s - back_s, value)
        if at_s // (25 * MINUTE_S) % 5 == 3:
            story.erase(at_s - 1_800, at_s - 1_200)
        instances = (story.stale, story.ingester)
        story.deliver_new(first, *instances[:: 1 if at_s % (50 * MINUTE_S) else -1])
        story.check()
        story.seal(killed_at)
        story.check()
        story.wait(25 * MINUTE_S)
    story.end()
    assert {window.length_s for window in story.sealed} == {HOUR_S, LENGTH_S}


@pytest.mark.parametrize("length_s", [HOUR_S // 2, 3 * HOUR_S, 6 * HOUR_S])
def test_short_windows_stay_whole_when_the_usual_length_changes(length_s):
    """A deployment with another RawWindowSeconds, in the middle of windows of both lengths; late rows and deletes after
    it concern times before it."""
    steps = LengthStep(OPEN.start_s + LENGTH_S, True), LengthStep(OPEN.start_s + 3 * LENGTH_S, False)
    story = Scrapes(0, steps)
    value, changed = 0.0, False
    while (at_s := story.world.now_s - OPEN.start_s) < 4 * LENGTH_S:
        if at_s > 2 * LENGTH_S and not changed:
            story.world.length_s, changed = length_s, True
            story.change(steps)
            story.world.asked = story.world.reader(Faults())
        first = len(story.world.stream.records)
        for back_s in (0, 90, 4_000, 2 * LENGTH_S):
            value += 1.0
            story.put(at_s - back_s, value)
        if at_s // (45 * MINUTE_S) % 7 == 5:
            story.erase(at_s - LENGTH_S, at_s - LENGTH_S + 3_000)
        story.deliver_new(first, story.ingester)
        story.seal()
        story.check()
        story.wait(45 * MINUTE_S)
    story.end()
