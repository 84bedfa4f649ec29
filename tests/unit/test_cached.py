"""The cache of reads: what it may keep, and that nothing stale is ever taken out of it."""

import random
from itertools import count
from unittest.mock import patch

import numpy as np
import pytest
from carbyne.adapters.dynamodb.table import WarmBlocks
from carbyne.adapters.redis.cache import RedisCache
from carbyne.core import stamps
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window
from carbyne.read.reader import How
from carbyne.samples.columns import Rows, from_rows
from carbyne.samples.markers import Marker
from carbyne.store import cached
from carbyne.store.cached import CachedTiers
from carbyne.store.catalogue import Catalogue, SourceCatalogue
from carbyne.store.catalogue_items import CHANGE
from carbyne.store.tiers import BlockQuery, BlockTiers, Gaps

from tests.support.rolling import BASE_MS, DAY_MS, HOUR_MS, SOURCE, Life, World

MINUTE_MS = 60_000


@pytest.fixture
def world():
    """Four hours of one series, sealed and let go by Redis."""
    made = World()
    for minute in range(0, 240, 10):
        made.post({"a": float(minute)}, BASE_MS + minute * MINUTE_MS)
    made.now_ms += 6 * HOUR_MS
    made.seal_all()
    made.hot.expire()
    return made


def tiers(world):
    catalogue = Catalogue(world.table)
    below = BlockTiers(WarmBlocks(world.table), world.cold, catalogue)
    return CachedTiers(below, catalogue, world.cache, world.length_s)


def read(world, series=("a",), partial=False):
    gaps = Gaps(partial=partial)
    return tiers(world).read(BlockQuery(SOURCE, "raw", BASE_MS, BASE_MS + 4 * HOUR_MS - 1, series), gaps), gaps.warnings


def test_the_same_read_comes_out_of_the_cache_bit_by_bit(world):
    first, _ = read(world)
    assert first.samples == 24
    with patch.object(BlockTiers, "read", side_effect=AssertionError("blocks were read")):
        assert read(world) == (first, [])
    assert (world.cache.hits, world.cache.misses) == (1, 1)
    assert read(world, series=("b",))[0].samples == 0  # of other series it is another entry


def test_a_source_never_gets_what_is_kept_of_another_tenants(world):
    """Both are in one lane, and of both the same was noted last: that a day was closed, say."""
    other = next(
        candidate for candidate in (SourceKey("other", f"host/{n}") for n in count()) if candidate.lane == SOURCE.lane
    )
    assert read(world)[0].samples == 24
    world.table.items[other.windows_item, CHANGE] = world.table.items[SOURCE.windows_item, CHANGE]
    of_both = [BlockQuery(source, "raw", BASE_MS, BASE_MS + 4 * HOUR_MS - 1, ("a",)) for source in (SOURCE, other)]
    assert [tiers(world).read(of, Gaps(partial=False)).samples for of in of_both] == [24, 0]


def test_a_late_sample_is_never_hidden_by_an_older_entry(world):
    before, _ = read(world)
    world.post({"a": 99.0}, BASE_MS + 5 * MINUTE_MS)
    world.check()
    world.now_ms += 6 * HOUR_MS
    world.seal_all()
    world.check()
    after, _ = read(world)
    assert after.samples == before.samples + 1
    assert world.cache.entries  # and something was kept at all


def test_a_life_without_the_notes_of_seals_is_found_stale():
    """Else the lives in other tests, which read through the cache as well, would show nothing of it."""
    note = SourceCatalogue.note_change
    with patch.object(SourceCatalogue, "note_change", lambda self, change: note(self, b"the same")):
        for seed in range(60):
            try:
                Life(random.Random(seed)).live(14)
            except AssertionError:
                return
    pytest.fail("no stale read in 60 lives")


def test_a_repeated_seal_notes_nothing_and_an_earlier_one_another_version(world):
    catalogue = Catalogue(world.table).of(SOURCE)
    versions = []
    for change in (b"a", b"a", b"b", b"a"):
        catalogue.note_change(change)
        versions.append(catalogue.version()[0])
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_a_day_that_closes_is_never_hidden_by_an_older_entry(world):
    """The seal that closes it is of other series, and ends before it notes its own change."""
    note = SourceCatalogue.note_change

    def dying(self, change):
        if change.startswith(b"sealed"):
            raise RetryableError("the sealer's time is over")
        note(self, change)

    world.now_ms += 2 * DAY_MS
    world.check(["1d"])
    world.post({"b": 1.0}, world.now_ms - 6 * HOUR_MS)
    with patch.object(SourceCatalogue, "note_change", dying), pytest.raises(RetryableError):
        world.seal_all()
    assert Window(BASE_MS // 1000, 86_400) not in world.catalogue.of(SOURCE).open_days()
    world.check(["1d"])


def test_rows_of_one_record_that_are_sealed_one_after_the_other_are_two_changes(world):
    """A record has rows of several times under one stamp."""
    versions = set()
    for minute in (1, 2):
        world.hot.write(stamps.pack(1, "1000"), BASE_MS + minute * MINUTE_MS, {"a": 1.0})
        world.seal_all()
        world.hot.windows.clear()
        versions.add(world.catalogue.of(SOURCE).version()[0])
    assert len(versions) == 2


def test_an_answer_with_gaps_is_not_kept(world):
    with patch.object(WarmBlocks, "between", side_effect=RetryableError("away")):
        values, warnings = read(world, partial=True)
        assert warnings and "warm tier" in warnings[0]
        with pytest.raises(RetryableError):
            read(world)
    assert world.cache.entries == {}
    assert read(world) != (values, warnings)


@pytest.mark.parametrize("damage", [b"", b"\x01garbage", b"\x02"])
def test_a_damaged_entry_is_a_slower_read(world, damage):
    first, _ = read(world)
    world.cache.entries = dict.fromkeys(world.cache.entries, damage)
    assert read(world)[0] == first


class AwayNodes:
    """A Redis that does not answer; ``sent``: what it was asked."""

    def __init__(self):
        self.sent = []

    def run(self, commands):
        self.sent += [command.words[0] for command in commands]
        return [RetryableError("away") for _ in commands]

    def fill(self):
        raise RetryableError("away")


def test_a_redis_that_is_away_is_a_miss_and_is_asked_to_keep_nothing(world):
    nodes = AwayNodes()
    cache = RedisCache(nodes, lambda: 0.0, world.meter)
    assert cache.get(SOURCE, "k") is None
    cache.put(SOURCE, "k", b"value")
    assert nodes.sent == ["GET", "HINCRBY"]
    assert (world.meter.counts["CacheMisses"], world.meter.counts["CacheHits"]) == (1, 0)


def test_a_large_answer_is_not_kept(world):
    with patch.object(cached, "CACHE_INFLATED_BYTES_MAX", 100):
        assert read(world)[0].samples == 24
    assert world.cache.entries == {}


def sealed(world, resolution="raw", hours=4):
    return world.reader.sealed(SOURCE, BASE_MS, BASE_MS + hours * HOUR_MS - 1, How(resolution))


@pytest.mark.parametrize("resolution", ["raw", "5m", "1h"])
def test_a_sealed_span_keeps_its_name_until_it_changes(world, resolution):
    before = sealed(world, resolution)
    assert before and before == sealed(world, resolution)
    world.post({"a": 99.0}, BASE_MS + 5 * MINUTE_MS)
    assert not sealed(world, resolution)  # in Redis
    world.now_ms += 6 * HOUR_MS
    world.seal_all()
    assert sealed(world, resolution) not in (b"", before)


def test_what_late_rows_deletes_or_the_clock_can_change_has_no_name(world):
    assert not sealed(world, hours=24)  # in the future
    window = Window(BASE_MS // 1000, world.length_s)
    late = from_rows([Rows(("a",), np.array([BASE_MS + 7]), [stamps.pack(1, "2000")], np.array([[1]], np.uint64))])
    world.catalogue.add_late([(SOURCE, window, late)])
    assert not sealed(world)
    catalogue = world.catalogue.of(SOURCE)
    catalogue.remove_late(catalogue.pending().late)
    before = sealed(world)
    catalogue.add_marker(Marker(stamps.pack(1, "3000"), "a", BASE_MS, BASE_MS + 1), 0)
    assert not sealed(world)
    catalogue.advance(catalogue.pending().deletes, None)
    assert sealed(world) not in (b"", before)
    away = {SOURCE: RetryableError("away")}
    with patch.object(world.hot, "read_each", return_value=away):
        assert not sealed(world)
