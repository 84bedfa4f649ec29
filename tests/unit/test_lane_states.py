"""The states of a lane, by the real scripts on a Redis in memory: losses, replays, and what they leave complete."""

import struct
from copy import deepcopy

import pytest
from carbyne.adapters.redis.commands import Command, checked
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import Arrivals, HotWindows
from carbyne.core import stamps
from carbyne.core.keys import SourceKey, Window, join_series, lane_since, list_identity
from carbyne.samples.rows import HotQuery, HotRow, RowGroup

from tests.model.redis import MemoryNodes, MemoryRedis

SOURCE = SourceKey("acme", "host/a")
LANE = SOURCE.lane
WINDOW = Window(1_700_006_400, 14_400)
BLOB = join_series(["m"])
GRACE_S = 120


class Lane:
    """One lane, and whoever asks it.  ``now_s``: the clock, which is the server's as well."""

    def __init__(self):
        self.now_s = WINDOW.start_s
        self.redis = MemoryRedis(lambda: self.now_s * 1000)
        self.nodes = MemoryNodes(self.redis)
        self.windows = HotWindows(self.nodes)
        self.new_store().init()

    def new_store(self):
        return HotStore(self.nodes)

    def write(self, store, number, window=WINDOW, *, fresh=False):
        """The row of a minute, out of the record with this number; whether the lane had lost something."""
        ts_ms = (window.start_s + 60 * number) * 1000
        stamp, value = stamps.pack(1, str(number)), struct.pack("<d", number)
        row = HotRow(ts_ms, list_identity(BLOB), BLOB, stamp, value)
        group = RowGroup(SOURCE, window, (window.end_s + 1800) * 1000, fresh, [row], 1000 * number)
        return store.write({LANE: [group]})[LANE].lost

    def complete(self):
        from_ms, to_ms = WINDOW.start_s * 1000, WINDOW.end_s * 1000 - 1
        query = HotQuery(from_ms, to_ms, WINDOW.length_s, ["m"])
        return checked(self.new_store().read_each([SOURCE], query)[SOURCE]).complete

    def due(self):
        return [window for _, _, window in self.windows.due(self.now_s * 1000, self.now_s - GRACE_S).windows]

    def arrivals(self):
        return self.windows.due(self.now_s * 1000).arrivals.get(LANE)

    def lose(self):
        self.redis.values.clear()

    def kept(self):
        return deepcopy(self.redis.values)

    def go_back(self, kept):
        self.redis.values = deepcopy(kept)

    def seal(self, window=WINDOW, expiry_ms=0):
        pairs = self.windows.rows(SOURCE, window).pairs
        return self.windows.confirm(SOURCE, window, pairs, expiry_ms=expiry_ms, again_ms=0)


@pytest.fixture
def lane():
    return Lane()


def test_a_stamp_that_an_instance_remembers_from_before_the_loss_needs_no_second_replay(lane):
    mine, other, replayer = (lane.new_store() for _ in range(3))
    lane.write(mine, 100)
    lane.lose()
    assert lane.write(other, 101)
    lane.windows.begin({LANE: ""}, "first")
    lane.write(replayer, 1)
    lane.lose()
    lane.windows.begin({LANE: ""}, "second")
    lane.write(replayer, 1)
    assert not lane.write(mine, 102), "what it remembers is of another replay"
    assert lane.windows.make_whole(LANE, "second")
    assert not lane.write(mine, 103) and not lane.write(other, 104)


def test_a_lane_with_another_token_than_the_caller_saw_is_left_as_it_is(lane):
    """Two runs of the sealer overlap: the later one would end the replay that the other one has begun."""
    lane.lose()
    assert lane.windows.begin({LANE: ""}, "first") == []
    for token, force in [("second", False), ("", True)]:
        assert lane.windows.begin({LANE: ""}, token, force=force) == [LANE]
        assert lane.windows.due(0).rebuilding[LANE] == "first"
    assert lane.windows.make_whole(LANE, "first")
    assert lane.windows.begin({LANE: ""}, "", force=True) == [LANE] and lane.windows.in_replay([LANE]) == set()
    assert lane.windows.begin({LANE: "first"}, "second") == [] and lane.windows.in_replay([LANE]) == set()
    assert lane.windows.begin({LANE: "first"}, "second", force=True) == []
    assert lane.windows.due(0).rebuilding[LANE] == "second"


def test_a_lane_is_taken_into_a_replay_once(lane):
    """A run that stood still behind the job and goes on when the lane is whole already."""
    lane.lose()
    for _ in range(2):
        assert lane.windows.begin({LANE: ""}, "first", force=True) == []
        assert lane.windows.make_whole(LANE, "first")
    lane.windows.begin({LANE: ""}, "first", force=True)
    assert lane.windows.in_replay([LANE]) == set()


def test_a_tail_that_is_lost_during_the_replay_is_noticed(lane):
    mine, other = lane.new_store(), lane.new_store()
    lane.lose()
    lane.windows.begin({LANE: ""}, "first")
    lane.write(other, 1)
    kept = lane.kept()
    lane.write(mine, 100)
    lane.go_back(kept)
    assert lane.write(mine, 101)
    assert not lane.windows.make_whole(LANE, "first")


def test_a_tail_that_is_lost_after_the_replay_is_noticed(lane):
    mine = lane.new_store()
    lane.lose()
    lane.windows.begin({LANE: ""}, "first")
    lane.write(mine, 1)
    assert lane.windows.make_whole(LANE, "first")
    kept = lane.kept()
    lane.write(mine, 2)
    lane.go_back(kept)
    assert lane.write(mine, 3)


def test_a_lane_without_a_token_is_made_whole_by_none(lane):
    lane.lose()
    lane.write(lane.new_store(), 1)
    assert not lane.windows.make_whole(LANE, "")


def test_no_window_is_complete_that_began_in_a_lane_that_is_not_whole(lane):
    store = lane.new_store()
    lane.lose()
    lane.write(store, 1, fresh=True)
    lane.windows.begin({LANE: ""}, "first")
    lane.write(store, 2, fresh=True)
    assert lane.complete() == set()
    lane.windows.make_whole(LANE, "first")
    lane.write(store, 3, fresh=True)
    assert lane.complete() == set()


def test_a_window_is_not_complete_once_its_lane_was_replayed(lane):
    """A replica that hung has it open and short; all of it was sealed since, and its marks moved on."""
    store = lane.new_store()
    lane.write(store, 1, fresh=True)
    kept = lane.kept()
    lane.write(store, 2)
    assert lane.complete() == {WINDOW}
    lane.go_back(kept)
    lane.windows.begin({LANE: ""}, "first", force=True)
    assert lane.windows.make_whole(LANE, "first")
    assert lane.complete() == set()
    lane.write(lane.new_store(), 3)
    lane.seal(expiry_ms=(lane.now_s + 3600) * 1000)
    assert lane.complete() == set(), "kept as it was"


def test_a_window_that_begins_in_a_whole_lane_is_complete_after_a_replay_as_before_one(lane):
    store = lane.new_store()
    lane.lose()
    lane.windows.begin({LANE: ""}, "first")
    lane.windows.make_whole(LANE, "first")
    lane.write(store, 1, fresh=True)
    assert lane.complete() == {WINDOW}
    lane.seal(expiry_ms=(lane.now_s + 3600) * 1000)
    assert lane.complete() == {WINDOW}
    lane.write(store, 2)
    assert lane.complete() == {WINDOW}


def test_a_row_that_opens_a_kept_window_of_before_a_replay_does_not_make_it_complete(lane):
    """The replay may have brought back less than the window had: what was sealed lies before the mark."""
    store = lane.new_store()
    lane.write(store, 1, fresh=True)
    lane.seal(expiry_ms=(lane.now_s + 3600) * 1000)
    lane.windows.begin({LANE: ""}, "first", force=True)
    lane.windows.make_whole(LANE, "first")
    lane.write(store, 2)
    assert lane.complete() == set()


def test_closed_windows_are_due_at_once_in_a_replay_and_open_ones_are_not(lane):
    store, before = lane.new_store(), Window(WINDOW.start_s - 14_400, 14_400)
    lane.now_s = WINDOW.start_s + GRACE_S - 1
    lane.lose()
    lane.write(store, 1, before)
    lane.write(store, 2)
    assert lane.due() == [], "it is in no replay yet"
    lane.windows.begin({LANE: ""}, "first")
    assert lane.due() == [], "before's grace is not over"
    lane.now_s += 1
    assert lane.due() == [before]
    lane.now_s = WINDOW.end_s + 7200
    assert sorted(lane.due()) == [before, WINDOW]
    lane.windows.make_whole(LANE, "first")
    assert sorted(lane.due()) == [before, WINDOW]


def test_the_first_row_that_no_block_holds_counts_until_it_is_confirmed(lane):
    store, before = lane.new_store(), Window(WINDOW.start_s - 14_400, 14_400)
    assert lane.arrivals() == Arrivals(None, None)
    lane.windows.note_ticks({LANE: 50_000})
    lane.windows.note_ticks({LANE: 40_000})
    lane.write(store, 7)
    lane.write(store, 8)
    lane.write(store, 9, before)
    assert lane.arrivals() == Arrivals(7000, 50_000, before.start_s)
    assert lane.seal()
    assert lane.arrivals() == Arrivals(9000, 50_000, before.start_s)
    lane.seal(before)
    assert lane.arrivals() == Arrivals(None, 50_000)


def test_rows_that_a_replay_brings_back_came_earlier_than_those_that_are_there(lane):
    store = lane.new_store()
    lane.lose()
    lane.write(store, 9)
    lane.windows.begin({LANE: ""}, "first")
    lane.write(store, 3)
    lane.windows.make_whole(LANE, "first")
    assert lane.arrivals().first_ms == 3000


def test_of_a_window_that_older_code_opened_no_arrival_is_known(lane):
    store, before = lane.new_store(), Window(WINDOW.start_s - 14_400, 14_400)
    lane.write(store, 1, before)
    lane.nodes.run([Command(LANE, ("DEL", lane_since(LANE)))])
    lane.write(store, 7)
    assert lane.arrivals().first_ms == 0
    lane.seal(before)
    assert lane.arrivals().first_ms == 7000
