"""Code that meets what only a later version knows fails clearly and leaves it for the retry, in every place of it.

Records, blocks, stubs and pages of the catalogue have the same in the tests of their codecs and of the use cases.
"""

import struct

import pytest
from carbyne.adapters.redis.commands import checked
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core import stamps
from carbyne.core.errors import RetryableError, UnknownVersionError
from carbyne.core.keys import SourceKey, Window, join_series, list_identity
from carbyne.core.settings import RedisSettings
from carbyne.core.stamps import STAMP_BYTES
from carbyne.samples.rows import BITMAP, HotQuery, HotRow, RowGroup
from carbyne.wiring.redis import nodes
from redis.cluster import RedisCluster

LENGTH_S = 14_400
WINDOW = Window(1_700_000_000 // LENGTH_S * LENGTH_S, LENGTH_S)
T0_MS = WINDOW.start_s * 1000
SOURCE = SourceKey("acme", "host/upgrade")
SERIES = join_series(["a"])


def row(ts_ms, value, sequence=1):
    return HotRow(ts_ms, list_identity(SERIES), SERIES, stamps.pack(1, str(sequence)), struct.pack("<d", value))


@pytest.fixture
def connected(cluster):
    client = nodes(RedisSettings(cluster.endpoint, False))
    yield client
    client.close()


@pytest.fixture
def redis(cluster):
    host, _, port = cluster.endpoint.partition(":")
    with RedisCluster(host, int(port), protocol=2) as client:
        yield client
        client.delete(SOURCE.rows(WINDOW), SOURCE.lists(WINDOW), SOURCE.windows)


def write(store, *rows):
    return store.write({SOURCE.lane: [RowGroup(SOURCE, WINDOW, WINDOW.end_s * 1000, False, list(rows))]})[SOURCE.lane]


def make_later(redis, of):
    """The row as a kind that only later code knows."""
    value = redis.hget(SOURCE.rows(WINDOW), of.field)
    later = value[:STAMP_BYTES] + bytes([BITMAP + 1]) + b"what later code means by it"
    redis.hset(SOURCE.rows(WINDOW), of.field, later)
    return later


def test_a_row_of_a_later_kind_is_neither_sealed_nor_read_as_something_else(connected, redis):
    store, windows, known, unknown = HotStore(connected), HotWindows(connected), row(T0_MS, 1.0), row(T0_MS + 1, 2.0)
    store.init()
    write(store, known, unknown)
    later = make_later(redis, unknown)
    with pytest.raises(UnknownVersionError, match=f"row of kind {BITMAP + 1}; this code knows up to {BITMAP}"):
        windows.rows(SOURCE, WINDOW)
    read = store.read_each([SOURCE], HotQuery(T0_MS, T0_MS + 1, LENGTH_S, ["a"]))[SOURCE]
    with pytest.raises(RetryableError, match=f"row of kind {BITMAP + 1}; this code knows up to {BITMAP}"):
        checked(read)
    assert redis.hget(SOURCE.rows(WINDOW), unknown.field) == later, "it is still there for newer code"


def test_a_later_arrival_replaces_it(connected, redis):
    store, unknown = HotStore(connected), row(T0_MS, 1.0)
    store.init()
    write(store, unknown)
    make_later(redis, unknown)
    write(store, row(T0_MS, 3.0, sequence=2))
    assert HotWindows(connected).rows(SOURCE, WINDOW).columns.samples == 1
