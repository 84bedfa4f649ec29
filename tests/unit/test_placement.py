"""Where samples lie: every tier of every window, and nothing that must be guessed."""

import numpy as np
import pytest
from carbyne.adapters.dynamodb.table import WarmBlocks
from carbyne.adapters.redis.windows import WindowRows
from carbyne.core import stamps
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.keys import RAW, BlockKey, SourceKey, Window
from carbyne.core.limits import STORAGE_WINDOWS_MAX
from carbyne.read.placement import Placement, Storage
from carbyne.samples import blocks
from carbyne.samples.columns import EMPTY, Rows, from_rows
from carbyne.store.catalogue import Catalogue
from carbyne.store.tree import merge_into

from tests.support.fakes import FakeBlocks, FakeTable

SOURCE = SourceKey("acme", "host/a")
WINDOWS = [Window(1_699_992_000 + number * 14_400, 14_400) for number in range(3)]
ALL = (0, 2**45)


def columns(window, series=("m",), times=3):
    ts_ms = np.array([window.start_s * 1000 + 60_000 * minute for minute in range(times)])
    values = np.random.default_rng(times).integers(0, 2**64, (times, len(series)), np.uint64)
    return from_rows([Rows(tuple(sorted(series)), ts_ms, [stamps.pack(1, "1")] * times, values)])


class Hot:
    """Windows with their rows."""

    def __init__(self):
        self.held = {}

    def windows(self, source):
        assert source == SOURCE
        return list(self.held)

    def rows(self, source, window):
        return WindowRows([], self.held[window], [], 77)


class World:
    def __init__(self):
        self.hot, self.table, self.cold = Hot(), FakeTable(), FakeBlocks()
        self.warm, self.catalogue = WarmBlocks(self.table), Catalogue(self.table)
        self.storage = Storage(self.hot, self.warm, self.cold, self.catalogue)

    def seal(self, store, window, samples):
        self.catalogue.of(SOURCE).add_window(RAW, window)
        merge_into(store, BlockKey(SOURCE, RAW, window), samples, expires_s=9)

    def of(self, span=ALL):
        return self.storage.of(SOURCE, *span)


@pytest.fixture
def world():
    return World()


def size(window, **more):
    return len(blocks.encode(columns(window, **more)))


def test_each_tier_of_each_window_oldest_first(world):
    old, middle, new = WINDOWS
    world.seal(world.cold, old, columns(old))
    world.seal(world.cold, middle, columns(middle))
    world.seal(world.warm, middle, columns(middle, times=5))
    world.hot.held = {middle: columns(middle, times=1), new: columns(new), old: EMPTY}
    assert world.of() == [
        Placement(RAW, old, "cold", 3, size(old)),
        Placement(RAW, middle, "hot", 1, 77),
        Placement(RAW, middle, "warm", 5, size(middle, times=5)),
        Placement(RAW, middle, "cold", 3, size(middle)),
        Placement(RAW, new, "hot", 3, 77),
    ]


def test_late_rows_are_listed_until_a_block_has_them(world):
    old, new = WINDOWS[:2]
    world.seal(world.warm, old, columns(old))
    world.catalogue.add_late([(SOURCE, old, columns(old, times=2)), (SOURCE, new, columns(new))])
    world.catalogue.add_late([(SOURCE, old, columns(old, ("n",)))])
    assert world.of() == [
        Placement(RAW, old, "late", 5, size(old, times=2) + size(old, series=("n",))),
        Placement(RAW, old, "warm", 3, size(old)),
        Placement(RAW, new, "late", 3, size(new)),
    ]
    assert [placed.window for placed in world.of((new.start_s * 1000, new.end_s * 1000 - 1))] == [new]
    world.catalogue.of(SOURCE).remove_late(world.catalogue.of(SOURCE).pending().late)
    assert [placed.tier for placed in world.of()] == ["warm"]


def test_a_source_without_samples_has_nothing(world):
    assert world.of() == []


def test_only_windows_of_the_span_are_looked_at(world):
    for window in WINDOWS:
        world.seal(world.cold, window, columns(window))
    world.cold.calls.clear()
    start_ms, end_ms = WINDOWS[1].start_s * 1000, WINDOWS[1].end_s * 1000
    assert [placed.window for placed in world.of((start_ms, end_ms - 1))] == [WINDOWS[1]]
    assert world.cold.calls == {"get": 1}
    assert [placed.window for placed in world.of((start_ms - 1, end_ms))] == WINDOWS


@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_the_parts_of_a_split_block_count_together(world, monkeypatch, tier):
    monkeypatch.setattr(blocks, "BLOCK_BYTES_MAX", 300)
    store, names = getattr(world, tier), [f"s{number}" for number in range(30)]
    world.seal(store, WINDOWS[0], columns(WINDOWS[0], names))
    items = store.items if tier == "cold" else world.table.items
    leaves = [
        item.data for item in items.values() if item.data.startswith(b"\1") and (tier == "cold" or item.expires_s)
    ]
    leaves = [data for data in leaves if not blocks.parts_of(data)]
    assert len(leaves) > 2
    assert world.of() == [Placement(RAW, WINDOWS[0], tier, 90, sum(map(len, leaves)))]


def test_too_many_windows_are_refused(world):
    for number in range(STORAGE_WINDOWS_MAX + 1):
        world.catalogue.of(SOURCE).add_window(RAW, Window(number * 14_400, 14_400))
    with pytest.raises(RequestError, match=f"{STORAGE_WINDOWS_MAX} at most") as raised:
        world.of()
    assert raised.value.status == 400
    assert world.of((14_400_000, 2**45)) == []


@pytest.mark.parametrize("away", ["hot", "warm", "cold"])
def test_a_tier_that_is_away_is_no_empty_answer(world, away):
    world.catalogue.of(SOURCE).add_window(RAW, WINDOWS[0])

    def fail(*_):
        raise RetryableError(f"{away} is away")

    port, method = {"hot": (world.hot, "windows"), "warm": (world.warm, "between"), "cold": (world.cold, "get")}[away]
    setattr(port, method, fail)
    with pytest.raises(RetryableError, match=away):
        world.of()


def test_rollups_are_listed_behind_raw_blocks(world):
    day = Window(WINDOWS[0].start_s // 86_400 * 86_400, 86_400)
    for store, resolution, window in ((world.cold, "1h", day), (world.warm, "5m", WINDOWS[0]), (world.warm, "1h", day)):
        world.catalogue.of(SOURCE).add_window(resolution, window)
        merge_into(store, BlockKey(SOURCE, resolution, window), columns(window), expires_s=9)
    world.seal(world.cold, WINDOWS[0], columns(WINDOWS[0]))
    assert [(placed.resolution, placed.window, placed.tier) for placed in world.of()] == [
        (RAW, WINDOWS[0], "cold"),
        ("5m", WINDOWS[0], "warm"),
        ("1h", day, "warm"),
        ("1h", day, "cold"),
    ]


def test_a_block_says_when_it_was_sealed(world):
    """The stamps of buckets are times of seals; each raw window has those of its own buckets."""
    whole, halves = Window(1_699_992_000, 14_400), [Window(1_699_992_000 + n * 7_200, 7_200) for n in range(2)]
    for number, half in enumerate(halves):
        world.seal(world.warm, half, columns(half))
        ts_ms = np.array([half.start_s * 1000])
        bucket = Rows(
            ("m:count",), ts_ms, [stamps.pack(0, str(1_700_000_000_000 + number * 5_000))], np.ones((1, 1), np.uint64)
        )
        world.catalogue.of(SOURCE).add_window("5m", whole)
        merge_into(world.warm, BlockKey(SOURCE, "5m", whole), from_rows([bucket]), expires_s=9)
    world.hot.held[halves[1]] = columns(halves[1])
    sealed_s = {(each.resolution, each.window, each.tier): each.sealed_s for each in world.of()}
    assert sealed_s == {
        (RAW, halves[0], "warm"): 1_700_000_000,
        (RAW, halves[1], "warm"): 1_700_000_005,
        (RAW, halves[1], "hot"): None,
        ("5m", whole, "warm"): 1_700_000_005,
    }
