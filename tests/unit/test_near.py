"""The cache in the function's own memory: right, bounded, and asked before the one in Redis."""

from carbyne.core.keys import SourceKey
from carbyne.core.meter import Meter
from carbyne.store.near import NearCache

from tests.support.fakes import DictCache

SOURCES = [SourceKey("acme", f"host/{n}") for n in range(3)]


def near(bytes_max=100):
    beyond, counts = DictCache(), {}
    meter = Meter(lambda: 0.0, counts.update)
    return NearCache(beyond, meter, bytes_max), beyond, lambda: meter.flush_due() or counts.get("CacheNearHits", 0)


def test_an_entry_is_asked_for_once():
    cache, beyond, hits = near()
    beyond.put(SOURCES[0], "k", b"value")
    assert [cache.get(SOURCES[0], "k") for _ in range(3)] == [b"value"] * 3
    assert (beyond.hits, beyond.misses, hits()) == (1, 0, 2)


def test_what_is_put_is_in_both():
    cache, beyond, _ = near()
    cache.put(SOURCES[0], "k", b"value")
    assert beyond.get(SOURCES[0], "k") == b"value" == cache.get(SOURCES[0], "k")
    assert beyond.hits == 1


def test_entries_of_another_source_are_others():
    cache, _, _ = near()
    cache.put(SOURCES[0], "k", b"zero")
    assert cache.get(SOURCES[1], "other") is None
    cache.put(SOURCES[1], "k", b"one")
    assert cache.get(SOURCES[0], "k") == b"zero"


def test_the_entry_that_was_not_asked_for_longest_goes():
    cache, beyond, hits = near(10)
    for source, value in zip(SOURCES, (b"1234", b"5678", b"90"), strict=True):
        cache.put(source, "k", value)
    cache.get(SOURCES[0], "k")
    cache.put(SOURCES[0], "more", b"abcd")
    assert hits() == 1
    cache.get(SOURCES[1], "k")
    assert beyond.hits == 1


def test_an_entry_larger_than_all_of_it_is_not_kept():
    cache, beyond, _ = near(3)
    cache.put(SOURCES[0], "k", b"1234")
    assert cache.get(SOURCES[0], "k") == b"1234" and beyond.hits == 1
