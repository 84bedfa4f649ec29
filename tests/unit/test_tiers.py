"""The two tiers behind Redis as one: whatever moves when, a read sees every sample, settled by stamp."""

import threading
from contextlib import suppress

import numpy as np
import pytest
from carbyne.adapters.dynamodb.table import WarmBlocks
from carbyne.archive.archiver import archive
from carbyne.core import stamps
from carbyne.core.errors import CorruptDataError, RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import RAW, BlockKey, SourceKey, Window
from carbyne.samples import blocks
from carbyne.samples.columns import Rows, column, from_rows
from carbyne.store.catalogue import Catalogue
from carbyne.store.tiers import BlockQuery, BlockTiers, Gaps
from carbyne.store.tree import merge_into
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fakes import Crash, FakeBlocks, FakeTable, NoMarkers, Steps

SOURCE = SourceKey("acme", "host/a")
LENGTH_S = 14_400
WINDOWS = [Window(1_699_992_000 + number * LENGTH_S, LENGTH_S) for number in range(3)]
EARLIEST_MS, LATEST_MS = WINDOWS[0].start_s * 1000, WINDOWS[-1].end_s * 1000
NAMES = [f"s{number}" for number in range(6)]
BLOCK_BYTES = 330
"""Blocks of a few noisy series are split at this size."""


class Table(FakeTable):
    """Hands over what changes, as the table's stream does."""

    def __init__(self):
        super().__init__()
        self.changes = []

    def put(self, partition, sort, item, replaces):
        done = super().put(partition, sort, item, replaces)
        if done and item.expires_s:
            self.changes.append((BlockKey.of_item(partition, sort), item.data))
        return done


class World:
    """Table, archive and what must be read: ``model`` is {(series, ts_ms): (stamp, bits)}."""

    def __init__(self):
        self.table, self.cold = Table(), FakeBlocks()
        self.model = {}
        self.stamp = 0

    def tiers(self, steps=None):
        """A reader of its own, each of whose calls is a step."""
        table, cold = (steps.watched(port) if steps else port for port in (self.table, self.cold))
        return BlockTiers(WarmBlocks(table), cold, Catalogue(table))

    def read(self, series=NAMES, steps=None):
        columns = self.tiers(steps).read(BlockQuery(SOURCE, RAW, EARLIEST_MS, LATEST_MS, series), Gaps(partial=False))
        by_name = {name: column(columns, name) for name in series}
        return {
            (name, int(ts)): int(b)
            for name, (ts_ms, bits) in by_name.items()
            for ts, b in zip(ts_ms, bits, strict=True)
        }

    def expected(self, series=NAMES):
        return {at: bits for at, (_, bits) in self.model.items() if at[0] in series}

    def seal(self, number, series, seed, steps=None):
        """One stream record's samples become blocks, as the sealer makes them."""
        self.stamp += 1
        window, rng = WINDOWS[number], np.random.default_rng(seed)
        times = np.array([window.start_s * 1000 + 60_000 * int(minute) for minute in sorted(rng.choice(9, 4, False))])
        values = rng.integers(0, 2**64, (len(times), len(series)), np.uint64)
        stamp = stamps.pack(1, str(self.stamp))
        columns = from_rows([Rows(tuple(series), times, [stamp] * len(times), values)])
        rows = {(n, int(t)): (stamp, int(values[i, j])) for i, t in enumerate(times) for j, n in enumerate(series)}
        self._store(columns, BlockKey(SOURCE, RAW, window), steps)
        self.model |= rows

    def _store(self, columns, key, steps):
        """The rows stay in Redis until this is done, so a crash is followed by another try."""
        for table in [steps.watched(self.table), self.table] if steps else [self.table]:
            with suppress(Crash):
                creating = Catalogue(table).of(key.source).making(key.resolution, key.window)
                merge_into(WarmBlocks(table), key, columns, expires_s=key.window.end_s, creating=creating)
                return

    def take(self, number=1, steps=None):
        """The archiver takes the oldest changes; a crash leaves the change in the stream."""
        for _ in range(min(number, len(self.table.changes))):
            with suppress(Crash):
                archive(steps.watched(self.cold) if steps else self.cold, NoMarkers(), *self.table.changes[0])
                del self.table.changes[0]

    def removable(self):
        """Items whose changes, and those of what is below them, were all archived: before that their TTL can't come."""
        waiting = {prefix for key, _ in self.table.changes for prefix in above(key)}
        keys = [BlockKey.of_item(*key) for key, item in sorted(self.table.items.items()) if item.expires_s]
        return [key for key in keys if key not in waiting]

    def remove(self, number, *, told):
        """The TTL removes an item, any of them; the archiver may be told or not."""
        if candidates := self.removable():
            key = candidates[number % len(candidates)]
            item = self.table.items.pop((key.partition, key.sort))
            if told:
                self.table.changes.append((key, item.data))


def above(key):
    """A part and all of which it is a part."""
    return [key._replace(part=key.part[:size]) for size in range(len(key.part) + 1)]


SERIES = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(sorted)
SEALS = st.tuples(st.just("seal"), st.integers(0, 2), SERIES, st.integers(0, 2**20))
MOVES = (
    SEALS
    | st.tuples(st.just("take"), st.integers(1, 4))
    | st.tuples(st.just("remove"), st.integers(0, 30), st.booleans())
)


def move(world, what, *arguments, steps=None):
    if what == "seal":
        world.seal(*arguments, steps=steps)
    elif what == "take":
        world.take(*arguments, steps=steps)
    else:
        world.remove(arguments[0], told=arguments[1])


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES_MAX", BLOCK_BYTES)


anything = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@anything
@given(moves=st.lists(MOVES, max_size=25))
def test_after_any_moves_every_sample_is_read(small_blocks, moves):
    world = World()
    for each in moves:
        move(world, *each)
        assert world.read() == world.expected()
        assert world.read(["s0"]) == world.expected(["s0"])
    world.take(len(world.table.changes))
    while world.removable():
        world.remove(0, told=False)
    assert world.read() == world.expected(), "all of it out of the archive alone"


@anything
@given(moves=st.lists(st.tuples(MOVES, st.integers(0, 40)), max_size=15))
def test_a_sealer_or_archiver_that_crashes_anywhere_loses_nothing(small_blocks, moves):
    world = World()
    for each, stop in moves:
        move(world, *each, steps=Steps(stop))
        assert world.read() == world.expected()


@anything
@given(moves=st.lists(MOVES, max_size=12), last=MOVES, at=st.integers(0, 30))
def test_a_move_in_the_middle_of_a_read_hides_nothing(small_blocks, moves, last, at):
    """Each sample reads as it was before the move or after it."""
    world = World()
    for each in moves:
        move(world, *each)
    before, steps = world.expected(), Steps()
    left, one_at_a_time = [last], threading.Lock()

    def look():
        with one_at_a_time:  # the archive is read by several threads
            if left and steps.count >= at:
                move(world, *left.pop())

    steps.look = look
    samples_read, after = world.read(steps=steps), world.expected()
    for sample in before.keys() | samples_read.keys():
        assert samples_read.get(sample) in (before.get(sample), after[sample]), sample


@anything
@given(moves=st.lists(MOVES, max_size=8), last=SEALS)
def test_a_read_at_each_step_of_a_move_sees_what_was_there(small_blocks, moves, last):
    world = World()
    for each in moves:
        move(world, *each)
    before, seen = world.expected(), []
    world.seal(*last[1:], steps=Steps(look=lambda: seen.append(world.read())))
    during = len(seen)
    world.take(50, steps=Steps(look=lambda: seen.append(world.read())))
    after = world.expected()
    for number, samples_read in enumerate(seen):
        for sample in before.keys() | samples_read.keys():
            allowed = (before.get(sample), after[sample]) if number < during else (after[sample],)
            assert samples_read.get(sample) in allowed, (number, sample)


def block(series="m"):
    times = np.array([EARLIEST_MS])
    return from_rows([Rows((series,), times, [stamps.pack(1, "1")], np.array([[7]], np.uint64))])


@pytest.mark.parametrize("seals", [1, 2])
@pytest.mark.parametrize("order", ["stub first", "parts first"])
def test_a_split_block_may_be_removed_in_any_order(monkeypatch, order, seals):
    monkeypatch.setattr(blocks, "BLOCK_BYTES_MAX", 220)
    world = World()
    for seed in range(seals):
        world.seal(0, NAMES, seed)
    world.take(100)
    keys = sorted(world.removable(), key=lambda key: len(key.part), reverse=order == "parts first")
    assert len(keys) > 2
    for key in keys:
        del world.table.items[key.partition, key.sort]
        assert world.read() == world.expected()


def test_windows_that_never_were_are_never_asked_for(small_blocks):
    world = World()
    for number in range(3):
        world.seal(number, ["s0"], number)
    world.take(9)
    world.remove(1, told=True)
    world.cold.calls.clear()
    assert world.read(["s0"]) == world.expected(["s0"])
    assert world.cold.calls == {"get": 1}


def store(world, window, ts_ms):
    """A block of one sample."""
    columns = from_rows([Rows(("m",), np.array([ts_ms]), [stamps.pack(1, "1")], np.array([[7]], np.uint64))])
    world.table.items[(key := BlockKey(SOURCE, RAW, window)).partition, key.sort] = Item(blocks.encode(columns), 9)
    Catalogue(world.table).of(SOURCE).add_window(RAW, window)


def times_of(tiers, from_ms, to_ms):
    return column(tiers.read(BlockQuery(SOURCE, RAW, from_ms, to_ms, ["m"]), Gaps(partial=False)), "m")[0].tolist()


@pytest.mark.parametrize("length_s", [3_600, 10_800, 14_400, 86_400])
def test_a_block_of_a_window_of_any_length_is_read_by_its_end(length_s):
    """The setting was another one once, and a reader does not know which windows there are."""
    world = World()
    window = Window(EARLIEST_MS // 1000 // 86_400 * 86_400, length_s)
    last_ms = window.end_s * 1000 - 1
    store(world, window, last_ms)
    tiers = world.tiers()
    assert times_of(tiers, last_ms, last_ms + 5) == times_of(tiers, last_ms, last_ms + 5) == [last_ms]


def test_blocks_before_a_span_are_not_read():
    """A seal reads its window back: with a day before it, that was most of its read units."""
    world, sizes = World(), []
    query = world.table.query
    world.table.query = lambda *span: sizes.append(len(rows := query(*span))) or rows
    for window in WINDOWS:
        store(world, window, window.start_s * 1000)
    tiers, start_ms = world.tiers(), WINDOWS[2].start_s * 1000
    assert times_of(tiers, start_ms, start_ms + 5) == [start_ms]
    assert sizes == [1, 1], "the block, and the index of windows"
    times_of(tiers, start_ms + 1, start_ms + 5)  # a reader learns how long windows are
    del sizes[:]
    assert times_of(tiers, start_ms + 1, start_ms + 5) == [start_ms]
    assert sizes == [1, 1]


class Cold(FakeBlocks):
    """Fails for one window, or has damaged bytes of it."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def get(self, key):
        if key.window != WINDOWS[0]:
            return super().get(key)
        if isinstance(self.error, CorruptDataError):
            return Item(blocks.encode(block())[:-1] + b"x")
        raise self.error


@pytest.mark.parametrize("error", [RetryableError("S3 is away"), CorruptDataError("checksum differs")])
def test_a_window_that_can_not_be_read_ends_a_read_or_on_request_is_a_warning(small_blocks, error):
    world = World()
    world.cold = Cold(error)
    for number in range(2):
        world.cold.items[BlockKey(SOURCE, RAW, WINDOWS[number])] = Item(blocks.encode(block()))
        Catalogue(world.table).of(SOURCE).add_window(RAW, WINDOWS[number])
    with pytest.raises(type(error), match=str(error)):
        world.read(["m"])
    gaps = Gaps(partial=True)
    columns = world.tiers().read(BlockQuery(SOURCE, RAW, EARLIEST_MS, LATEST_MS, ["m"]), gaps)
    assert columns == block() and len(gaps.warnings) == 1


def test_a_damaged_block_of_the_table_leaves_the_others_readable_on_request(small_blocks):
    world = World()
    world.seal(0, ["s0"], 0)
    world.seal(1, ["s0"], 1)
    key = BlockKey(SOURCE, RAW, WINDOWS[0])
    world.table.items[key.partition, key.sort] = Item(b"\1nonsense", 9)
    with pytest.raises(CorruptDataError):
        world.read()
    gaps = Gaps(partial=True)
    columns = world.tiers().read(BlockQuery(SOURCE, RAW, EARLIEST_MS, LATEST_MS, NAMES), gaps)
    assert column(columns, "s0")[0].tolist() == [ts for _, ts in world.expected() if ts >= WINDOWS[1].start_s * 1000]
    assert len(gaps.warnings) == 1


def test_gaps_of_many_threads_are_told_once():
    gaps = Gaps(partial=True)
    for _ in range(3):
        gaps.note("the cold tier could not be read")
    gaps.note("another")
    assert gaps.warnings == ["the cold tier could not be read", "another"]
