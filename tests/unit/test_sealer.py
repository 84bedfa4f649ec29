"""The sealer: the order of its steps, and what holds up what."""

from collections import Counter
from uuid import uuid4

import numpy as np
import pytest
from carbyne.adapters.dynamodb.table import WarmBlocks
from carbyne.adapters.redis.windows import Due, WindowRows
from carbyne.core import stamps
from carbyne.core.errors import CorruptDataError, InvariantError, RetryableError, UnknownVersionError
from carbyne.core.items import Item
from carbyne.core.keys import BlockKey, SourceKey, Window
from carbyne.core.limits import SEAL_RESERVE_S
from carbyne.samples import blocks
from carbyne.samples.columns import EMPTY, Rows, from_rows
from carbyne.samples.schedule import SealSchedule
from carbyne.seal.sealer import Retention, SealDuties, Sealer, SealStores, SealTimes
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import SeriesSpan, Windows
from carbyne.store.worklist import Worklist

from tests.support.fakes import FakeBlocks, FakeTable

WINDOW = Window(1_699_992_000, 14_400)
START_MS, END_MS = WINDOW.start_s * 1000, WINDOW.end_s * 1000
END_OF_DAY_MS = START_MS // 86_400_000 * 86_400_000 + 86_399_999
SCHEDULE = SealSchedule(120, 1800)
RETENTION = Retention(hot_s=3600, warm_raw_s=604_800)


def source(name):
    return SourceKey("acme", f"host/{name}")


A, B, C = (source(name) for name in "abc")


def rows(sequence=1, series="a"):
    """One row of one series at the window's start."""
    stamp = stamps.pack(1, str(sequence))
    values = np.array([[1.5]]).view(np.uint64)
    columns = from_rows([Rows((series,), np.array([START_MS]), [stamp], values)])
    return WindowRows([(b"field", stamp)], columns, [], 100)


class Hot:
    """Due windows with their rows, or the error that reading them raises.  ``steps``: what was asked, in order."""

    def __init__(self, steps, rows_of):
        self.steps = steps
        self.held = rows_of
        self.claimed = set()
        self.confirmed = {}
        self.rebuilding = {}

    def due(self, now_ms, closed_s):
        assert closed_s == now_ms // 1000 - SCHEDULE.grace_s
        return Due([(END_MS, due_source, WINDOW) for due_source in self.held], self.rebuilding, self.rebuilding, {})

    def claim(self, of, window):
        self.steps.append("claim")
        return of not in self.claimed

    def rows(self, of, window):
        self.steps.append("rows")
        if isinstance(self.held[of], Exception):
            raise self.held[of]
        return self.held[of]

    def shards(self):
        return []

    def confirm(self, of, window, pairs, *, expiry_ms, again_ms, early=False):
        self.steps.append("confirm")
        self.confirmed[of] = pairs, expiry_ms, again_ms
        return True


class Table(FakeTable):
    """Notes each put by the kind of its item."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def put(self, partition, sort, item, replaces):
        self.steps.append(partition.partition(":")[0])
        return super().put(partition, sort, item, replaces)


class Rollups:
    def __init__(self, steps):
        self.steps = steps

    def roll(self, of, window, series, markers):
        self.steps.append(f"roll {' '.join(series)}")
        return 3


class Meter:
    def __init__(self):
        self.counts = Counter()

    def add(self, name, amount=1):
        self.counts[name] += amount

    def peak(self, name, amount):
        self.counts[name] = max(self.counts[name], amount)

    def flush_due(self):
        pass


class World:
    def __init__(self, rows_of, now_ms=END_MS + 600_000, retention=RETENTION):
        self.steps = []
        self.watched, self.watching_fails = None, ""
        self.now_ms = now_ms
        self.hot, self.table, self.meter = Hot(self.steps, rows_of), Table(self.steps), Meter()
        self.warm, self.catalogue = WarmBlocks(self.table), Catalogue(self.table)
        self.sealer = Sealer(
            SealStores(self.hot, self.warm, FakeBlocks(), self.catalogue),
            SealDuties(Rollups(self.steps), Worklist(self.table, lambda: uuid4().hex), None, self),
            SealTimes(SCHEDULE, retention, lambda: self.now_ms),
            self.meter,
        )

    def begin_look(self):
        if self.watching_fails == "before":
            raise RetryableError("the job can't be read")
        return self.look

    def look(self, lanes):
        self.watched = lanes.rebuilding
        if self.watching_fails:
            raise RetryableError("the job can't be saved")

    def run(self, seconds_left=lambda: 300.0):
        return self.sealer.run(seconds_left)

    def block(self, of):
        return self.warm.get(BlockKey(of, "raw", WINDOW))


def test_rows_leave_only_after_block_and_catalogue_have_them():
    world = World({A: rows()})
    assert world.run() == 1
    assert world.steps == ["claim", "rows", "windows", "raw", "series", "roll a", "windows", "confirm"]
    assert blocks.decode(world.block(A).data) == rows().columns
    assert world.catalogue.of(A).series() == {"a": SeriesSpan(START_MS, END_OF_DAY_MS)}
    assert world.catalogue.of(A).windows("raw") == Windows({WINDOW}, set())
    assert world.hot.confirmed[A][0] == rows().pairs
    assert world.meter.counts == {
        "LanesRebuilding": 0, "OldestDueSeconds": 600, "WindowsSealed": 1, "BlocksWritten": 1, "SamplesSealed": 1,
        "RollupsWritten": 3,
    }  # fmt: skip


def test_a_second_seal_of_the_same_rows_writes_nothing_and_confirms():
    world = World({A: rows()})
    world.run()
    del world.steps[:]
    assert world.run() == 1
    assert world.steps == ["claim", "rows", "roll a", "confirm"], "rollups also when raw did not change"
    assert world.meter.counts["BlocksWritten"] == 1


def test_a_late_row_merges_into_the_block():
    world = World({A: rows()})
    world.run()
    world.hot.held[A] = rows(2, "b")
    world.run()
    assert blocks.decode(world.block(A).data).series == ["a", "b"]
    assert world.catalogue.of(A).windows("raw").again == set()


def test_a_block_that_had_been_removed_is_marked_before_it_is_made_again():
    world = World({A: rows()})
    world.run()
    assert world.table.expire(2**40)
    del world.steps[:]
    world.run()
    assert world.steps == ["claim", "rows", "windows", "raw", "roll a", "confirm"]
    assert world.catalogue.of(A).windows("raw") == Windows({WINDOW}, {WINDOW})


def test_a_window_without_rows_is_confirmed_and_makes_no_block():
    world = World({A: WindowRows([], EMPTY, [], 0)})
    assert world.run() == 1
    assert world.steps == ["claim", "rows", "confirm"]
    assert not world.table.items


@pytest.mark.parametrize(
    ("hot_s", "late_s", "expiry_ms"),
    [
        (3600, 600, END_MS + 3_600_000),
        (3600, 3599, END_MS + 3_600_000),
        (3600, 3600, 0),
        (3600, 10**6, 0),
        (0, 0, 0),
        (0, 600, 0),
    ],
)
def test_sealed_rows_stay_until_hot_s_after_the_windows_end(hot_s, late_s, expiry_ms):
    world = World({A: rows()}, END_MS + late_s * 1000, Retention(hot_s, 604_800))
    world.run()
    assert world.hot.confirmed[A][1] == expiry_ms


@pytest.mark.parametrize(("late_s", "expires_s"), [(600, 600), (-50, 0), (10**6, 10**6)])
def test_a_block_stays_warm_from_its_seal_or_its_windows_end(late_s, expires_s):
    world = World({A: rows()}, END_MS + late_s * 1000)
    world.run()
    assert world.block(A).expires_s == WINDOW.end_s + expires_s + 604_800


def test_rows_that_come_in_between_are_due_again_by_the_schedule():
    world = World({A: rows()})
    world.run()
    assert world.hot.confirmed[A][2] == SCHEDULE.due_ms(A, WINDOW, world.now_ms) >= world.now_ms


def test_a_claimed_window_is_left_alone():
    world = World({A: rows(), B: rows()})
    world.hot.claimed = {A}
    assert world.run() == 1
    assert world.hot.confirmed.keys() == {B}
    assert world.block(A) is None


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (RetryableError("Redis is away"), 0),
        (CorruptDataError("checksum differs"), 1),
        (InvariantError("BUG: a series must fit a block"), 1),
    ],
)
def test_a_window_that_fails_holds_up_no_other(error, failed):
    world = World({A: rows(), B: error, C: rows()})
    assert world.run() == 2
    assert world.hot.confirmed.keys() == {A, C}
    assert world.meter.counts["SealsFailed"] == failed


def test_an_unreadable_block_is_not_overwritten_and_its_rows_stay():
    world = World({A: rows(), B: rows()})
    key = BlockKey(A, "raw", WINDOW)
    world.warm.put(key, Item(b"\x01 not a block at all"), None)
    assert world.run() == 1
    assert world.hot.confirmed.keys() == {B}
    assert world.meter.counts["SealsFailed"] == 1
    assert world.block(A) == Item(b"\x01 not a block at all")


@pytest.mark.parametrize("method", ["get", "put", "query"])
def test_a_table_that_is_away_confirms_nothing(method, monkeypatch):
    def away(*_):
        raise RetryableError("the table is away")

    world = World({A: rows(), B: rows()})
    monkeypatch.setattr(world.table, method, away)
    assert world.run() == 0
    assert world.hot.confirmed == {}
    monkeypatch.undo()
    assert world.run() == 2


def test_out_of_time_leaves_the_rest():
    left = iter([300.0, SEAL_RESERVE_S, SEAL_RESERVE_S - 1])
    world = World({A: rows(), B: rows(), C: rows()})
    assert world.run(lambda: next(left)) == 2
    assert world.hot.confirmed.keys() == {A, B}
    assert world.run() == 3, "the next run does it"


def test_redis_away_is_the_runs_own_error(monkeypatch):
    def away(*_):
        raise RetryableError("Redis is away")

    world = World({A: rows()})
    monkeypatch.setattr(world.hot, "due", away)
    with pytest.raises(RetryableError):
        world.run()


def test_lanes_that_are_rebuilding_are_counted():
    world = World({})
    world.hot.rebuilding = {1: "", 2: "", 3: ""}
    assert world.run() == 0
    assert world.meter.counts == {"LanesRebuilding": 3, "WindowsSealed": 0}


@pytest.mark.parametrize("fails", ["", "before", "after"])
def test_lanes_that_are_not_whole_are_handed_on_and_hold_up_no_seal(fails):
    world = World({A: rows()})
    world.hot.rebuilding, world.watching_fails = {7: "", 9: "token"}, fails
    assert world.run() == 1
    assert world.watched == (None if fails == "before" else {7: "", 9: "token"})
    assert world.meter.counts["LanesRebuilding"] == 2


def test_the_job_of_a_replay_is_read_before_redis_is_asked(monkeypatch):
    """Or a run that stood still between the two would take what it knows for newer than the job."""
    world, order = World({}), []
    due = world.hot.due
    monkeypatch.setattr(world, "begin_look", lambda: order.append("job") or (lambda lanes: order.append("lanes")))
    monkeypatch.setattr(world.hot, "due", lambda *asked: order.append("due") or due(*asked))
    world.run()
    assert order == ["job", "due", "lanes"]


@pytest.mark.parametrize("error", [CorruptDataError("a damaged note"), UnknownVersionError("a note of later code")])
def test_a_note_of_lanes_that_cannot_be_read_holds_up_no_window_and_is_alarmed(error, monkeypatch):
    world = World({A: rows()})

    def look(lanes):
        raise error

    monkeypatch.setattr(world, "look", look)
    assert world.run() == 1 and world.block(A)
    assert world.meter.counts["SealsFailed"] == 1
