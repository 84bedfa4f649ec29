"""Deletes: what they take, how they travel, and in which order they are noted."""

import numpy as np
import pytest
from carbyne.core import stamps
from carbyne.core.errors import CorruptDataError, RetryableError
from carbyne.core.keys import RAW, SourceKey, Window
from carbyne.core.limits import MARKER_EXTRA_S
from carbyne.hot.deletes import Deletes
from carbyne.samples import blocks
from carbyne.samples.columns import Columns, column, flaw
from carbyne.samples.markers import DELETE_TS_MS, Marker, erase, of_row, row_of
from carbyne.samples.rows import DELETED
from carbyne.samples.schedule import RawTimes, SealSchedule
from carbyne.store.catalogue import Catalogue
from carbyne.stream.records import TS_MS_MAX
from carbyne.tenants.windows import LengthStep, RawLengths
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import FakeTable
from tests.support.strategies import Record, columns_of, records, series_keys

SOURCE = SourceKey("acme", "host/a")
LENGTH_S = 14_400
NOW_MS = 1_700_000_000_000
RETENTION_S = 460 * 86_400
OPEN = Window.holding(NOW_MS, LENGTH_S)
OLD = Window(OPEN.start_s - 10 * LENGTH_S, LENGTH_S)
STAMP = stamps.pack(1, "7")


@st.composite
def markers_of(draw: st.DrawFn, some: list[Record]) -> list[Marker]:
    """Markers that concern some of the samples of records, between whose stamps theirs lie."""
    names = sorted({name for _, samples in some for name, _ in samples})
    numbers = [int(stamps.unpack(stamp)[1]) for stamp, _ in some]
    near = st.sampled_from(numbers or [0]).flatmap(
        lambda n: st.integers(max(0, n - 1), min(n + 1, stamps.SEQUENCE_MAX))
    )
    spans = st.tuples(st.integers(-3, 4), st.integers(-3, 4)).map(sorted)
    drawn = st.tuples(st.integers(0, 1), near.map(str), st.sampled_from(["", "never", *names]), spans)
    return [
        Marker(stamps.pack(epoch, number), series, *span)
        for epoch, number, series, span in draw(st.lists(drawn, max_size=4))
    ]


def alive(some: list[Record], markers: list[Marker]) -> dict[tuple[str, int], tuple[bytes, int]]:
    """What a dict would have left: of each series and time the newest sample, if no marker is newer."""
    newest: dict[tuple[str, int], tuple[bytes, int]] = {}
    for stamp, samples in some:
        for where, value in samples.items():
            newest[where] = max(newest.get(where, (b"", 0)), (stamp, value), key=lambda version: version[0])
    return {
        (name, ts_ms): (stamp, value)
        for (name, ts_ms), (stamp, value) in newest.items()
        if not any(m.series in ("", name) and m.from_ms <= ts_ms <= m.to_ms and stamp < m.stamp for m in markers)
    }


def samples_of(columns: Columns) -> dict[tuple[str, int], tuple[bytes, int]]:
    return {
        (name, int(ts_ms)): (columns.stamps[int(code)], int(value))
        for group in columns.groups
        for name, row in zip(group.series, group.values, strict=True)
        for ts_ms, code, value in zip(group.ts_ms, group.stamps, row, strict=True)
    }


@given(st.data(), records())
def test_erase_leaves_what_a_dict_would_leave(data: st.DataObject, some: list[Record]) -> None:
    markers = data.draw(markers_of(some))
    left = erase(columns_of(some), markers)
    assert samples_of(left) == alive(some, markers)
    assert flaw(left) is None
    assert erase(left, reversed(markers)) == left
    assert blocks.decode(blocks.encode(left)) == left


def test_what_concerns_nothing_makes_no_copy() -> None:
    columns = columns_of([(STAMP, {("a", 1): 5, ("b", 1): 6})])
    assert (
        erase(columns, [Marker(STAMP, "", 0, 9), Marker(b"\xff" * 26, "c", 0, 9), Marker(b"\xff" * 26, "", 2, 9)])
        is columns
    )


@given(series_keys | st.just(""), st.integers(-TS_MS_MAX, TS_MS_MAX), st.integers(-TS_MS_MAX, TS_MS_MAX))
def test_a_marker_is_a_row_and_back(series: str, from_ms: int, to_ms: int) -> None:
    marker = Marker(STAMP, series, from_ms, to_ms)
    row = row_of(marker)
    assert (row.ts_ms, row.kind) == (DELETE_TS_MS, DELETED)
    assert of_row(row.value) == marker
    assert row_of(marker._replace(stamp=stamps.pack(2, "1"))).field == row.field
    assert row_of(marker._replace(series=series + "x")).field != row.field


@pytest.mark.parametrize("cut", [1, 27, 42])
def test_a_row_that_is_cut_is_corrupt(cut: int) -> None:
    with pytest.raises(CorruptDataError, match="a delete in Redis"):
        of_row(row_of(Marker(STAMP, "", 0, 1)).value[:cut])


class World:
    """Notes the order of what is asked of table and Redis."""

    def __init__(self) -> None:
        self.steps = []
        self.catalogue = Catalogue(FakeTable())
        self.held = set()
        self.written = {}
        self.work = []
        self.expires_s = None
        self.fails = ""
        self.window_steps = ()
        times = RawTimes(SealSchedule(120, 0), LENGTH_S, RETENTION_S, lambda: NOW_MS)
        lengths = RawLengths(lambda tenant: self.window_steps, LENGTH_S)
        self.deletes = Deletes(self, self, self, self, times, lengths)

    def of(self, source):
        self.source = source
        return self

    def add_marker(self, marker, expires_s):
        self._step("marker")
        self.expires_s = expires_s
        self.catalogue.of(self.source).add_marker(marker, expires_s)

    def add(self, source, due_ms):
        self._step("work")
        self.work.append((source, due_ms))

    def windows(self, source):
        self._step("hot")
        return self.held

    def write(self, lanes):
        if self.fails == "write":
            return dict.fromkeys(lanes, RetryableError("the node is away"))
        self._step("write")
        self.written = {group.window: group for groups in lanes.values() for group in groups}
        assert lanes.keys() == {group.source.lane for groups in lanes.values() for group in groups}
        return dict.fromkeys(lanes)

    def _step(self, name):
        if self.fails == name:
            raise RetryableError(f"{name} fails")
        self.steps.append(name)


EVERYTHING = Marker(STAMP, "", 0, NOW_MS + 600_000)


def test_the_marker_is_durable_before_the_sealer_and_windows_are_told() -> None:
    world = World()
    world.held = {Window(OLD.start_s + LENGTH_S, LENGTH_S)}
    world.deletes.note(SOURCE, EVERYTHING)
    assert world.steps == ["marker", "work", "hot", "write"]
    assert world.catalogue.of(SOURCE).markers() == [EVERYTHING]
    assert world.work == [(SOURCE, NOW_MS + LENGTH_S * 500)]
    assert world.written.keys() == {*world.held, OPEN}
    for group in world.written.values():
        assert not group.fresh and [of_row(row.value) for row in group.rows] == [EVERYTHING]


def test_a_delete_costs_the_same_whatever_was_sealed() -> None:
    """A row in each of 2,700 windows took 95 ms of CPU and 99 KB of Redis."""
    world = World()
    for number in range(50):
        world.catalogue.of(SOURCE).add_window(RAW, Window(OLD.start_s - number * LENGTH_S, LENGTH_S))
    world.catalogue._table.calls.clear()
    world.deletes.note(SOURCE, EVERYTHING)
    assert world.written.keys() == {OPEN}
    assert world.catalogue._table.calls == {"query": 1, "put": 1}
    assert [delete.marker for delete in world.catalogue.of(SOURCE).pending().deletes] == [EVERYTHING]


def test_only_windows_in_its_range_are_told_and_those_that_may_begin_soon() -> None:
    world = World()
    world.held = {Window(start_s, LENGTH_S) for start_s in (OLD.start_s, OLD.start_s + LENGTH_S)}
    world.deletes.note(SOURCE, Marker(STAMP, "m", OLD.end_s * 1000 - 1, OLD.end_s * 1000 - 1))
    assert world.written.keys() == {OLD}
    world.deletes.note(SOURCE, Marker(STAMP, "m", OPEN.end_s * 1000 - 1, OPEN.end_s * 1000))
    assert OPEN in world.written and OLD not in world.written


@pytest.mark.parametrize(("to_s", "last_s"), [(2**43, NOW_MS // 1000), (1_600_000_000, 1_600_000_000)])
def test_a_marker_ends_when_the_last_of_what_it_deletes_is_past_retention(to_s: int, last_s: int) -> None:
    world = World()
    world.deletes.note(SOURCE, Marker(STAMP, "", 0, to_s * 1000))
    assert world.expires_s == last_s + RETENTION_S + MARKER_EXTRA_S


@pytest.mark.parametrize("fails", ["marker", "work", "hot", "write"])
def test_what_fails_comes_again_and_leaves_the_same(fails: str) -> None:
    world = World()
    world.fails = fails
    with pytest.raises(RetryableError):
        world.deletes.note(SOURCE, EVERYTHING)
    world.fails = ""
    world.deletes.note(SOURCE, EVERYTHING)
    assert world.catalogue.of(SOURCE).markers() == [EVERYTHING]
    assert world.work and world.written


def test_a_wider_later_marker_replaces_those_that_it_covers() -> None:
    catalogue = World().catalogue
    narrow = Marker(STAMP, "m", 10, 20)
    later = Marker(stamps.pack(1, "8"), "m", 5, 25)
    others = [
        narrow._replace(series="n"),
        narrow._replace(from_ms=4),
        narrow._replace(to_ms=26),
        Marker(stamps.pack(1, "9"), "m", 11, 12),
    ]
    for marker in (narrow, *others, later, narrow):
        catalogue.of(SOURCE).add_marker(marker, 2**32)
    assert set(catalogue.of(SOURCE).markers()) == {later, *others}
    everything = Marker(stamps.pack(2, "1"), "", 0, 99)
    catalogue.of(SOURCE).add_marker(everything, 2**32)
    assert catalogue.of(SOURCE).markers() == [everything]


def test_windows_and_markers_come_in_one_query() -> None:
    world = World()
    world.catalogue.of(SOURCE).add_window(RAW, OLD)
    world.catalogue.of(SOURCE).add_window("5m", OLD)
    all_markers = {EVERYTHING._replace(series=name, from_ms=at) for at, name in enumerate("mno")}
    for marker in all_markers:
        world.catalogue.of(SOURCE).add_marker(marker, 2**32)
    world.catalogue._table.calls.clear()
    windows, markers = world.catalogue.of(SOURCE).windows_and_markers(RAW)
    assert windows.sealed == {OLD} and set(markers) == all_markers
    assert world.catalogue._table.calls == {"query": 1}


def test_of_deletes_of_one_series_and_span_the_latest_is_kept() -> None:
    """Or a tenant that deletes each minute would make reads slower and slower."""
    catalogue = World().catalogue
    later, latest = (EVERYTHING._replace(stamp=stamps.pack(1, number)) for number in ("8", "9"))
    for marker in (EVERYTHING, latest, later, latest, EVERYTHING):
        catalogue.of(SOURCE).add_marker(marker, 2**32)
    assert catalogue.of(SOURCE).markers() == [latest]


def test_a_wide_group_keeps_its_other_series() -> None:
    columns = columns_of([(STAMP, {(name, ts): 1 for name in "abc" for ts in range(5)})])
    left = erase(columns, [Marker(stamps.pack(1, "8"), "b", 1, 3)])
    assert {name: column(left, name)[0].tolist() for name in "abc"} == {
        "a": [0, 1, 2, 3, 4],
        "b": [0, 4],
        "c": [0, 1, 2, 3, 4],
    }
    assert all(group.values.flags["C_CONTIGUOUS"] for group in left.groups)
    assert left.groups[0].values.dtype == np.uint64


def test_a_delete_is_told_to_the_short_windows_that_samples_may_open_now():
    world = World()
    boundary_s = NOW_MS // 1000 // LENGTH_S * LENGTH_S
    world.window_steps = (LengthStep(boundary_s, True),)
    world.deletes.note(SourceKey("acme", "prom/a"), Marker(STAMP, "", 0, TS_MS_MAX))
    now_s = NOW_MS // 1000
    assert {window.length_s for window in world.written} == {3_600}
    assert all(
        any(window.overlaps(1000 * at_s, 1000 * at_s) for window in world.written) for at_s in (now_s, now_s + 600)
    )
