"""The adapters of Redis with the real scripts, over Redis in memory: rules that random schedules seldom meet."""

import numpy as np
import pytest
from carbyne.adapters.redis.commands import checked
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core import stamps
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, join_series, lane_state, list_identity
from carbyne.samples.rows import STATE_BYTES, HotQuery, HotRow, RowGroup

from tests.model.redis import MemoryNodes, MemoryRedis
from tests.model.world import MemoryStores

SOURCE = SourceKey("acme", "host/h37")  # of a lane that the model has
WINDOW = Window(1_699_992_000, 14_400)
START_MS, END_MS = WINDOW.start_s * 1000, WINDOW.end_s * 1000
HOT_MS = 3_600_000
MINUTE_MS = 60_000


class System:
    """One ingester's and one sealer's side of a Redis with a clock of its own; every lane is whole."""

    def __init__(self):
        self.now_ms = START_MS + MINUTE_MS
        self.stores = MemoryStores(lambda: self.now_ms)
        self.nodes = self.stores.nodes
        self.hot, self.windows = HotStore(self.nodes), HotWindows(self.nodes)
        self.hot.init()

    def write(self, *rows):
        group = RowGroup(SOURCE, WINDOW, END_MS, fresh=True, rows=list(rows))
        return self.hot.write({SOURCE.lane: [group]})[SOURCE.lane]

    def state(self):
        """(first byte, highest stamp) of the lane."""
        packed = self.nodes.redis.call("GET", lane_state(SOURCE.lane).encode())
        return packed[:1], packed[1:STATE_BYTES]

    def seal(self, expiry_ms=0, *, early=False):
        rows = self.windows.rows(SOURCE, WINDOW)
        return self.windows.confirm(SOURCE, WINDOW, rows.pairs, expiry_ms=expiry_ms, again_ms=END_MS, early=early)

    def is_due(self):
        return [source for _, source, _ in self.windows.due(10**15).windows] == [SOURCE]

    def complete(self):
        """The windows of which a read takes Redis to have every row, around the whole span."""
        query = HotQuery(START_MS, END_MS - 1, WINDOW.length_s, ["m"])
        return checked(self.hot.read_each([SOURCE], query)[SOURCE]).complete

    def write_to(self, window, *rows):
        self.hot.write({SOURCE.lane: [RowGroup(SOURCE, window, END_MS, fresh=True, rows=list(rows))]})


@pytest.fixture
def system():
    return System()


def row(minute=0, sequence=1, series=("m",)):
    blob, stamp = join_series(sorted(series)), stamps.pack(1, str(sequence))
    values = np.arange(len(series), dtype="<f8").tobytes()
    return HotRow(START_MS + minute * MINUTE_MS, list_identity(blob), blob, stamp, values)


@pytest.mark.parametrize("count", [1, 16, 17, 32, 33, 240])
def test_a_window_is_read_with_all_of_its_rows(system, count):
    """Over as many chunks as it takes."""
    system.write(*(row(minute, minute + 1) for minute in range(count)))
    rows = system.windows.rows(SOURCE, WINDOW)
    assert sorted(rows.pairs) == [(row(minute).field, row(minute, minute + 1).stamp) for minute in range(count)]
    assert rows.columns.samples == count


def test_chunks_of_long_rows_leave_none_out(system, monkeypatch):
    """The next chunk is as long as the rows of the last one allow."""
    monkeypatch.setattr("carbyne.adapters.redis.windows.FIRST_CHUNK", 3)
    monkeypatch.setattr("carbyne.adapters.redis.windows.READ_BYTES_MAX", 600)
    lists = [("m",), tuple(f"n{number:02d}" for number in range(20)), ("o", "p")]
    system.write(*(row(minute, minute + 1, lists[minute % 3]) for minute in range(50)))
    assert len(system.windows.rows(SOURCE, WINDOW).pairs) == 50


def test_a_row_that_comes_again_changes_nothing(system):
    """An equal stamp is the same record: a replay of a sealed window must not make it due again."""
    assert system.write(row()).stored == 1
    assert system.write(row()).stored == 0
    assert system.seal(END_MS + HOT_MS)
    assert system.write(row()).stored == 0 and not system.is_due()
    assert system.write(row(sequence=2)).stored == 1 and system.is_due()


def test_a_late_row_keeps_the_lists_of_a_window_that_was_to_expire(system):
    """Or its rows would stay without the names of their series, and no sealer could read the window."""
    many = [row(minute, 1, (f"list{minute:02d}", "x")) for minute in range(18)]
    system.write(*many)
    before = system.windows.rows(SOURCE, WINDOW)
    system.now_ms = END_MS
    assert system.seal(END_MS + HOT_MS) and not system.is_due()
    assert system.stores.redis.expiries_ms
    assert system.write(row(60, 2, ("list00", "x"))).stored == 1
    assert not system.stores.redis.expiries_ms, "rows of older code have their names in the lists alone"
    system.now_ms = END_MS + 10 * HOT_MS
    rows = system.windows.rows(SOURCE, WINDOW)
    assert len(rows.pairs) == len(before.pairs) + 1 and rows.columns.samples == before.columns.samples + 2
    assert set(rows.columns.series) == set(before.columns.series) == system.hot.series(SOURCE)


def test_an_early_sealed_window_leaves_redis_at_once_and_is_never_complete_again(system):
    """Its first rows are in a block alone, though the window has only begun: a reader must not stop at Redis."""
    system.write(row())
    assert system.complete() == {WINDOW}
    assert system.seal(END_MS + HOT_MS, early=True) and not system.is_due()
    assert not system.windows.rows(SOURCE, WINDOW).pairs and system.windows.windows(SOURCE) == [WINDOW]
    assert system.windows.due(10**15).arrivals[SOURCE.lane].first_ms is None
    assert system.write(row(1, 2)).stored == 1 and system.is_due()
    assert system.complete() == set()
    assert system.seal(END_MS + HOT_MS) and system.complete() == set()
    system.now_ms = END_MS + HOT_MS + 1
    assert system.windows.windows(SOURCE) == []


@pytest.mark.parametrize("rows_max", [1, 4_000])
def test_rows_that_come_during_an_early_seal_stay_and_are_due(system, monkeypatch, rows_max):
    monkeypatch.setattr("carbyne.adapters.redis.windows.CONFIRM_ROWS_MAX", rows_max)
    system.write(row(), row(1, 2))
    pairs = system.windows.rows(SOURCE, WINDOW).pairs
    system.write(row(1, 3), row(2, 4))
    how = {"expiry_ms": END_MS + HOT_MS, "again_ms": END_MS, "early": True}
    assert not system.windows.confirm(SOURCE, WINDOW, pairs, **how)
    left = {stamp for _, stamp in system.windows.rows(SOURCE, WINDOW).pairs}
    assert left == {stamps.pack(1, "3"), stamps.pack(1, "4")} and system.is_due() and system.complete() == set()


def test_sizes_are_those_of_windows_with_unsealed_rows_due_or_not(system):
    system.write(row(), row(1, 2))
    [(size, source, window)] = system.windows.sizes()
    assert (source, window) == (SOURCE, WINDOW) and 100 < size < 1_000
    system.seal(END_MS + HOT_MS)
    assert system.windows.sizes() == []


def test_a_window_with_late_rows_is_not_complete_and_keeps_its_expiry(system):
    """Its late rows are in the table alone, so a reader must not stop at Redis."""
    system.write(row())
    assert system.complete() == {WINDOW}
    assert system.hot.make_partial({SOURCE: {WINDOW, Window(WINDOW.end_s, WINDOW.length_s)}}) == {}
    assert system.complete() == set()
    assert system.windows.rows(SOURCE, WINDOW).columns.samples == 1


def test_beginning_a_replay_keeps_the_lanes_highest_stamp(system):
    """By it an ingester tells whether the lane lost its tail: a lane that lost nothing stays in its replay."""
    system.write(row(sequence=7))
    system.windows.begin({SOURCE.lane: ""}, "token", force=True)
    assert system.state() == (b"r", stamps.pack(1, "7"))
    assert not system.write(row(sequence=7)).lost
    assert system.windows.make_whole(SOURCE.lane, "token")
    assert system.state() == (b"w", stamps.pack(1, "7"))


def test_an_instance_that_saw_a_later_stamp_notices_that_a_tail_is_gone(system):
    """By what the lane's last write acknowledged, whichever of its writes that was."""
    system.write(row(sequence=1))
    system.stores.remember()
    system.write(row(1, sequence=2))
    system.stores.fail_over(SOURCE.lane)
    assert system.state()[1] == stamps.pack(1, "1")
    assert system.write(row(2, sequence=3)).lost
    assert system.windows.in_replay([SOURCE.lane]) == {SOURCE.lane}


class Failing(MemoryNodes):
    """A node that is away from the second call on."""

    def run(self, calls, *, replicated=False):
        answers = super().run(calls, replicated=replicated)
        return [answer if number == 0 else RetryableError("the node is away") for number, answer in enumerate(answers)]


@pytest.mark.parametrize("force", [False, True])
def test_a_lane_that_could_not_be_taken_into_a_replay_is_an_error(force):
    """Or its job would say that the lane is in the replay, and its fence would make nothing whole."""
    windows = HotWindows(Failing(MemoryRedis(lambda: START_MS)))
    with pytest.raises(RetryableError, match="the node is away"):
        windows.begin({1: "", 2: ""}, "token", force=force)
    windows.begin({1: ""}, "token", force=force)


SHORTER = Window(WINDOW.start_s + 3_600, 3_600)


@pytest.mark.parametrize("order", [(WINDOW, SHORTER), (SHORTER, WINDOW)], ids=["shorter", "longer"])
def test_after_a_change_of_length_no_window_that_shares_time_has_all_of_it(system, order):
    first, second = order
    system.write_to(first, row(61, 1))
    assert system.complete() == {first}
    system.write_to(second, row(62, 2))
    assert system.complete() == set()
    system.write_to(first, row(63, 3))
    assert system.complete() == set()


def test_windows_of_one_length_do_not_touch_each_other(system):
    later = Window(SHORTER.end_s, SHORTER.length_s)
    system.write_to(SHORTER, row(61, 1))
    system.write_to(later, row(121, 2))
    assert system.complete() == {SHORTER, later}
