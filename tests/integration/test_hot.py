"""The hot tier on a real cluster: what the scripts promise."""

import struct

import numpy as np
import pytest
from carbyne.adapters.redis.arrivals import HotArrivals
from carbyne.adapters.redis.commands import Command, checked
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core import stamps
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, join_series, lane_due, lane_state, list_identity
from carbyne.core.settings import RedisSettings
from carbyne.samples.columns import column
from carbyne.samples.rows import HotQuery, HotRow, RowGroup
from carbyne.wiring.redis import nodes
from redis.cluster import RedisCluster

LENGTH_S = 14_400
WINDOW = Window(1_700_000_000 // LENGTH_S * LENGTH_S, LENGTH_S)
T0_MS = WINDOW.start_s * 1000


@pytest.fixture
def client(cluster):
    connected = nodes(RedisSettings(cluster.endpoint, False))
    for node in cluster.nodes:
        with node.client as node_client:
            if node_client.info("replication")["role"] == "master":
                node_client.execute_command("FLUSHALL")
    yield connected
    connected.close()


@pytest.fixture
def store(client):
    hot = HotStore(client)
    hot.init()
    return hot


def row(ts_ms, values, sequence=1):
    """A row of ``{series: value}``."""
    series = join_series(sorted(values))
    packed = struct.pack(f"<{len(values)}d", *(values[name] for name in sorted(values)))
    return HotRow(ts_ms, list_identity(series), series, stamps.pack(1, str(sequence)), packed)


def write(store, source, *rows, window=WINDOW):
    """One write of one source; its outcome."""
    return store.write({source.lane: [RowGroup(source, window, window.end_s * 1000, False, list(rows))]})[source.lane]


def answer(store, source, from_ms, to_ms, series, *, newest=False):
    return checked(store.read_each([source], HotQuery(from_ms, to_ms, LENGTH_S, series, newest))[source])


def read(store, source, *series, from_ms=T0_MS, to_ms=T0_MS + LENGTH_S * 1000 - 1, newest=False):
    """{ts_ms: value} of each series, settled by stamp."""
    columns = answer(store, source, from_ms, to_ms, series, newest=newest)
    return [by_ts(columns, name) for name in series]


def by_ts(columns, name):
    ts_ms, values = column(columns.columns, name)
    return dict(zip(ts_ms.tolist(), values.view(np.float64).tolist(), strict=True))


SOURCE = SourceKey("acme", "host/a")


def test_a_row_reads_back(store):
    assert write(store, SOURCE, row(T0_MS, {"a": 1.5, "b": -0.0})) == (1, False)
    assert read(store, SOURCE, "a", "b", "c") == [{T0_MS: 1.5}, {T0_MS: -0.0}, {}]
    hot = answer(store, SOURCE, T0_MS, T0_MS, ["a", "c"])
    assert hot.whole and hot.known == [True, False] and hot.windows == [WINDOW]
    assert store.series(SOURCE) == {"a", "b"}


def test_a_newer_stamp_wins_and_an_older_or_equal_one_changes_nothing(store):
    write(store, SOURCE, row(T0_MS, {"a": 1.0}, sequence=2**150))
    assert write(store, SOURCE, row(T0_MS, {"a": 2.0}, sequence=2**150)) == (0, False)
    assert write(store, SOURCE, row(T0_MS, {"a": 3.0}, sequence=2**150 - 1)) == (0, False)
    assert read(store, SOURCE, "a") == [{T0_MS: 1.0}]
    assert write(store, SOURCE, row(T0_MS, {"a": 4.0}, sequence=2**150 + 1)) == (1, False)
    assert read(store, SOURCE, "a") == [{T0_MS: 4.0}]


@pytest.mark.parametrize("byte", range(stamps.STAMP_BYTES))
def test_every_byte_of_a_stamp_counts(store, byte):
    low, high = bytearray(26), bytearray(26)
    low[byte], high[byte] = 0x7F, 0x80
    if byte + 1 < 26:
        low[byte + 1 :] = b"\xff" * (25 - byte)
    for stamp, stored in ((bytes(low), 1), (bytes(high), 1), (bytes(low), 0)):
        assert write(store, SOURCE, row(T0_MS, {"a": 1.0})._replace(stamp=stamp)).stored == stored


def test_overlapping_lists_of_one_ts_are_all_kept(store):
    write(store, SOURCE, row(T0_MS, {"a": 1.0, "b": 1.0}, 5), row(T0_MS, {"b": 2.0, "c": 2.0}, 6))
    assert read(store, SOURCE, "a", "b", "c") == [{T0_MS: 1.0}, {T0_MS: 2.0}, {T0_MS: 2.0}]


def test_lists_past_the_limit_name_their_series_one_by_one(store):
    expected = {}
    for number in range(60):
        values = {f"m{i}": float(1000 * number + i) for i in range(number % 7, number + 2, 1 + number % 3)}
        write(store, SOURCE, row(T0_MS + number, values, number + 1))
        for name, value in values.items():
            expected.setdefault(name, {})[T0_MS + number] = value
    names = sorted(expected)
    assert read(store, SOURCE, *names) == [expected[name] for name in names]
    assert store.series(SOURCE) == set(names)


def test_a_sparse_row_overwrites_itself_by_stamp(store):
    for number in range(20):
        write(store, SOURCE, row(T0_MS, {f"only{number}": 1.0}, 1))
    assert write(store, SOURCE, row(T0_MS, {"only19": 2.0}, 3)).stored == 1
    assert write(store, SOURCE, row(T0_MS, {"only19": 9.0}, 2)).stored == 0
    assert read(store, SOURCE, "only19", "only18") == [{T0_MS: 2.0}, {T0_MS: 1.0}]


def test_newest_gives_one_ts_for_each_series(store):
    write(
        store, SOURCE, *(row(T0_MS + 60_000 * i, {"a": float(i), **({"b": 7.0} if i == 3 else {})}) for i in range(9))
    )
    assert read(store, SOURCE, "a", "b", newest=True) == [{T0_MS + 480_000: 8.0}, {T0_MS + 180_000: 7.0}]


def test_many_sources_are_read_in_as_many_rounds_as_the_longest_of_them_takes(store, monkeypatch):
    """Their lanes are all over the cluster, and some have more to read than one call gives."""
    monkeypatch.setattr("carbyne.adapters.redis.hot.READ_BYTES_MAX", 2_000)
    sources = [SourceKey("acme", f"host/{number}") for number in range(40)]
    for number, source in enumerate(sources):
        write(store, source, *(row(T0_MS + 60_000 * i, {"a": float(i)}, i + 1) for i in range(1 + 5 * number)))
    alone = {source: read(store, source, "a") for source in sources}
    assert [len(of_a) for [of_a] in alone.values()] == [1 + 5 * number for number in range(40)]
    rounds, run = [], store._nodes.run
    monkeypatch.setattr(store._nodes, "run", lambda calls, **how: rounds.append(len(calls)) or run(calls, **how))
    together = store.read_each(sources, HotQuery(T0_MS, T0_MS + LENGTH_S * 1000 - 1, LENGTH_S, ["a"]))
    assert {source: [by_ts(columns, "a")] for source, columns in together.items()} == alone
    assert rounds[0] == 40 and len(rounds) > 2 and rounds == sorted(rounds, reverse=True)


def test_reads_beyond_the_budget_of_a_call_go_on(store, monkeypatch):
    monkeypatch.setattr("carbyne.adapters.redis.hot.READ_BYTES_MAX", 2_000)
    write(store, SOURCE, *(row(T0_MS + 60_000 * i, {f"m{j}": float(i) for j in range(20)}, i + 1) for i in range(240)))
    assert read(store, SOURCE, "m7") == [{T0_MS + 60_000 * i: float(i) for i in range(240)}]


def test_windows_that_were_never_declared_are_found(store):
    old = [Window(WINDOW.start_s - LENGTH_S * back, LENGTH_S) for back in (20, 30)]
    for window in (*old, WINDOW, Window(WINDOW.start_s - 60 * LENGTH_S, 60)):
        write(store, SOURCE, row(window.start_s * 1000, {"a": 1.0}), window=window)
    from_ms = T0_MS - 60 * LENGTH_S * 1000
    assert sorted(read(store, SOURCE, "a", from_ms=from_ms)[0]) == [
        from_ms, T0_MS - 30 * LENGTH_S * 1000, T0_MS - 20 * LENGTH_S * 1000, T0_MS
    ]  # fmt: skip


def test_the_window_is_due_once_and_its_keys_never_expire(store, cluster):
    write(store, SOURCE, row(T0_MS, {"a": 1.0}))
    with raw(cluster) as redis:
        lane = SOURCE.lane
        assert redis.zrange(lane_due(lane), 0, -1, withscores=True) == [
            (SOURCE.member(WINDOW).encode(), WINDOW.end_s * 1000)
        ]
        for key in (SOURCE.rows(WINDOW), SOURCE.lists(WINDOW), SOURCE.windows, lane_due(lane), lane_state(lane)):
            assert redis.ttl(key) == -1, key


def test_a_write_into_a_sealed_window_stops_its_expiry_and_makes_it_due_again(store, cluster):
    write(store, SOURCE, row(T0_MS, {"a": 1.0}))
    with raw(cluster) as redis:
        for key in (SOURCE.rows(WINDOW), SOURCE.lists(WINDOW)):
            redis.expire(key, 1000)
        redis.hset(SOURCE.windows, WINDOW.token, "p123")
        redis.zrem(lane_due(SOURCE.lane), SOURCE.member(WINDOW))
        write(store, SOURCE, row(T0_MS, {"a": 1.0}))
        assert redis.ttl(SOURCE.rows(WINDOW)) > 0, "a repeated row is no news"
        write(store, SOURCE, row(T0_MS, {"a": 2.0}, 2))
        assert redis.ttl(SOURCE.rows(WINDOW)) == redis.ttl(SOURCE.lists(WINDOW)) == -1
        assert redis.zcard(lane_due(SOURCE.lane)) == 1 and redis.hget(SOURCE.windows, WINDOW.token) == b"p0"


def test_an_empty_master_is_noticed(store, cluster):
    write(store, SOURCE, row(T0_MS, {"a": 1.0}))
    with raw(cluster) as redis:
        redis.delete(lane_state(SOURCE.lane))
        assert not answer(store, SOURCE, T0_MS, T0_MS, ["a"]).whole
        assert write(store, SOURCE, row(T0_MS + 1, {"a": 1.0}, 2)).lost
        assert redis.get(lane_state(SOURCE.lane))[:1] == b"r"
        store.init()
        assert redis.get(lane_state(SOURCE.lane))[:1] == b"r", "init makes nothing whole that was lost"


def test_a_lost_tail_is_noticed(store, cluster):
    write(store, SOURCE, row(T0_MS, {"a": 1.0}, 7))
    with raw(cluster) as redis:
        redis.set(lane_state(SOURCE.lane), b"w" + stamps.pack(1, "6"))
    assert write(store, SOURCE, row(T0_MS + 1, {"a": 1.0}, 8)).lost
    assert not answer(store, SOURCE, T0_MS, T0_MS, ["a"]).whole


def test_a_full_master_refuses_and_says_so(store, cluster):
    with raw(cluster) as redis:
        node = redis.get_redis_connection(redis.get_node_from_key(SOURCE.windows))
        node.config_set("maxmemory", 1)
        try:
            outcome = write(store, SOURCE, row(T0_MS, {"a": 1.0}))
        finally:
            node.config_set("maxmemory", 0)
    assert isinstance(outcome, RetryableError) and "OutOfMemory" in str(outcome)


def raw(cluster):
    host, _, port = cluster.endpoint.rpartition(":")
    return RedisCluster(host=host, port=int(port))


def test_rows_are_counted_while_their_lane_is_whole(client, store):
    """As the evaluator asks: what arrived since its last look, and what can't be known."""
    arrivals = HotArrivals(client)
    first, second, absent = (SourceKey("acme", f"host/{name}") for name in ("one", "two", "none"))
    old = Window(WINDOW.start_s - 10 * LENGTH_S, LENGTH_S)
    write(store, first, row(T0_MS, {"a": 1.0}), row(T0_MS + 60_000, {"a": 1.0}), row(T0_MS, {"b": 1.0}))
    write(store, first, row(old.start_s * 1000, {"a": 1.0}, sequence=2), window=old)
    write(store, second, row(T0_MS, {"a": 1.0}))
    span = T0_MS, T0_MS + 3_600_000
    assert arrivals.rows([first, second, absent], *span) == {first: 3, second: 1, absent: 0}
    write(store, first, row(T0_MS, {"a": 2.0}, sequence=3))
    assert arrivals.rows([first], *span) == {first: 3}, "the same row again is no arrival"
    client.run([Command(second.lane, ("SET", lane_state(second.lane), b"r" + b"0" * 26))])
    assert arrivals.rows([first, second], *span) == {first: 3, second: None}
    assert arrivals.rows([], *span) == {}


def test_a_lane_whose_tick_is_old_is_behind(client, store):
    arrivals, windows, now_ms = HotArrivals(client), HotWindows(client), T0_MS + 10**7
    assert arrivals.behind(now_ms) == set(), "nothing is known yet"
    windows.note_ticks({1: now_ms - 60_000, 2: now_ms - 600_000, 3: now_ms - 900_000})
    assert arrivals.behind(now_ms) == {3}
    assert arrivals.behind(now_ms + 300_000) == set(range(1024)), "the newest tick of all is old"
