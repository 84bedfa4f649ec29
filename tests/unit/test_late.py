"""Late rows: where they go, in which order that is done, and what is readable meanwhile."""

import numpy as np
import pytest
from carbyne.core import stamps
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, list_identity
from carbyne.hot.late import LateLog
from carbyne.samples import blocks
from carbyne.samples.columns import column, merge
from carbyne.samples.rows import HotRow
from carbyne.samples.schedule import RawTimes, SealSchedule
from carbyne.store.catalogue import Catalogue
from carbyne.store.worklist import Worklist

from tests.support.fakes import FakeTable

A, B = SourceKey("acme", "host/a"), SourceKey("acme", "host/b")
LENGTH_S = 14_400
NOW_MS = 1_700_000_000_000
OLD = Window.holding(NOW_MS - 10**9, LENGTH_S)
OLDER = Window(OLD.start_s - LENGTH_S, LENGTH_S)


def row(ts_ms, value, series=b"m", sequence="7"):
    values = np.array([value] * (series.count(b"\n") + 1)).tobytes()
    return HotRow(ts_ms, list_identity(series), series, stamps.pack(1, sequence), values)


class World:
    def __init__(self):
        self.table = FakeTable()
        self.steps, self.failing, self.fails = [], {}, ""
        self.catalogue, self.worklist = Catalogue(self.table), Worklist(self.table, iter("abcdefgh").__next__)
        self.log = LateLog(self, self, self, RawTimes(SealSchedule(120, 0), LENGTH_S, 0, lambda: NOW_MS))

    def make_partial(self, windows):
        self.steps.append(("partial", {source: set(some) for source, some in windows.items()}))
        return self.failing

    def add_late(self, late):
        if self.fails == "store":
            raise RetryableError("the table is away")
        self.catalogue.add_late(late)
        self.steps.append("rows")

    def add(self, source, due_ms):
        if self.fails == source:
            raise RetryableError("the list is away")
        self.steps.append(("listed", source, due_ms))
        return self.worklist.add(source, due_ms)

    def holds(self, source, token):
        self.steps.append("asked")
        return self.worklist.holds(source, token)

    def columns(self, source):
        return merge([blocks.decode(late.data) for late in self.catalogue.of(source).pending().late])


def test_redis_and_the_sealer_are_told_before_a_row_is_there():
    world = World()
    start_ms = OLD.start_s * 1000
    assert world.log.put({(A, OLD): [row(start_ms, 1.5), row(start_ms + 60_000, 2.5, b"m\nn", "8")]}) == {}
    listed = ("listed", A, NOW_MS + LENGTH_S * 500)
    assert world.steps == [("partial", {A: {OLD}}), listed, "rows", "asked"]
    times, values = column(world.columns(A), "m")
    assert times.tolist() == [start_ms, start_ms + 60_000] and values.view(np.float64).tolist() == [1.5, 2.5]
    assert world.columns(A).stamps == (stamps.pack(1, "7"), stamps.pack(1, "8"))


def test_what_is_put_again_is_there_once_and_a_later_value_wins():
    world = World()
    for value, sequence in ((1.0, "7"), (1.0, "7"), (3.0, "9"), (2.0, "8")):
        world.log.put({(A, OLD): [row(OLD.start_s * 1000, value, sequence=sequence)]})
    assert len(world.catalogue.of(A).pending().late) == 3
    assert column(world.columns(A), "m")[1].view(np.float64).tolist() == [3.0]


def test_each_window_is_an_item_and_all_are_written_at_once():
    world = World()
    groups = {(source, window): [row(window.start_s * 1000, 1.0)] for source in (A, B) for window in (OLD, OLDER)}
    world.log.put(groups)
    assert world.table.calls["write"] == 1
    assert [late.window for late in world.catalogue.of(A).pending().late] == [OLDER, OLD]
    assert {entry.source for entry in world.worklist.due(NOW_MS + LENGTH_S * 500)} == {A, B}
    assert not world.worklist.due(NOW_MS)


def test_rows_of_a_lane_that_cannot_be_told_are_not_noted():
    """Else reads from Redis alone would lack them."""
    world = World()
    world.failing = {B: RetryableError("the node is away")}
    failed = world.log.put({(A, OLD): [row(OLD.start_s * 1000, 1.0)], (B, OLD): [row(OLD.start_s * 1000, 1.0)]})
    assert failed.keys() == {B}
    assert world.catalogue.of(A).pending().late and not world.catalogue.of(B).pending().late


def test_a_source_that_is_not_listed_is_not_done():
    world = World()
    world.fails = B
    failed = world.log.put({(A, OLD): [row(OLD.start_s * 1000, 1.0)], (B, OLD): [row(OLD.start_s * 1000, 1.0)]})
    assert failed.keys() == {B}
    assert world.catalogue.of(A).pending().late and not world.catalogue.of(B).pending().late


def test_a_source_that_the_sealer_takes_before_the_rows_are_there_is_listed_again():
    world = World()
    add_late = world.add_late

    def slow(late):
        (entry,) = world.worklist.due(2**60)
        claimed = world.worklist.postpone(entry, 2**50)
        assert world.catalogue.of(A).pending() == ([], [], set()), "so it finds nothing to do"
        add_late(late)
        world.claimed = claimed

    world.add_late = slow
    world.log.put({(A, OLD): [row(OLD.start_s * 1000, 1.0)]})
    world.worklist.finish(world.claimed)
    assert [entry.source for entry in world.worklist.due(NOW_MS + LENGTH_S * 500)] == [A]


def test_while_the_table_is_away_nothing_is_done():
    world = World()
    world.fails = "store"
    with pytest.raises(RetryableError):
        world.log.put({(A, OLD): [row(OLD.start_s * 1000, 1.0)]})


def test_an_entry_that_is_put_meanwhile_stays_and_the_earliest_time_counts():
    world = World()
    world.worklist.add(A, 100)
    (entry,) = world.worklist.due(100)
    world.worklist.add(A, 200)
    world.worklist.finish(entry)
    (again,) = world.worklist.due(100)
    assert again.due_ms == 100 and world.worklist.postpone(entry, 5) is None
    claimed = world.worklist.postpone(again, 900)
    assert not world.worklist.due(899)
    world.worklist.finish(claimed)
    assert not world.worklist.due(2**60)


def test_names_with_every_character_are_listed():
    worklist = World().worklist
    sources = [SourceKey("a-b.c_d", "host/~:/%"), SourceKey("z", "service/ü")]
    for source in sources:
        worklist.add(source, 1)
    assert {entry.source for entry in worklist.due(1)} == {*sources}
