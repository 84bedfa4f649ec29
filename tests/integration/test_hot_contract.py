"""The Redis in memory on which the model runs the scripts does what a real cluster does.

Random calls of every script and of every plain command that the adapters send go to both; each reply must be the same,
and at the end so must all keys, what they hold and when they expire.
"""

import random
import struct
import time
from pathlib import Path

import pytest
from carbyne.adapters.redis.commands import SCRIPTS, Command, Script, checked
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core import stamps
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, join_series, lane_claims, lane_due, lane_state, list_identity
from carbyne.core.settings import RedisSettings
from carbyne.samples.columns import Columns
from carbyne.samples.rows import BITMAP, DENSE, RUNS, SPARSE, HotQuery, HotRow, RowGroup
from carbyne.wiring.redis import nodes
from lupa import lua51

from tests.model.redis import MemoryNodes, MemoryRedis
from tests.support.older import write_older

STEPS = 220
LENGTH_S = 14_400
HOUR_MS = 3_600_000
SAMPLE_BYTES = 8 + stamps.STAMP_BYTES + 8
CLOCKS_MS = 5_000
"""What the two clocks may differ by: each server reads its own when it is asked."""
SHORT_MS = 300


def now_ms():
    return time.time_ns() // 1_000_000


class Both:
    """``Nodes`` that asks a cluster and the one in memory, and answers only what both say."""

    def __init__(self, real, fake):
        self.real = real
        self.fake = fake
        self.used = set()

    def run(self, calls, *, replicated=False):
        replies = self.real.run(calls, replicated=replicated)
        for call, reply in zip(calls, replies, strict=True):
            name = next((path.stem for path in Path(SCRIPTS).glob("*.lua") if _is(call, path)), call.words[0])
            self.used.add(name)
            assert normal(name, reply) == normal(name, self._in_memory(call)), (name, call.words[2:])
        return replies

    def _in_memory(self, call):
        try:
            return self.fake.run([call])[0]
        except lua51.LuaError as error:
            return RetryableError(str(error))


def _is(call, path):
    return call.script is not None and call.script == Script.load(path.stem)


def normal(name, reply):
    """A reply without what Redis leaves open: the order within a hash, and the words of an error."""
    if isinstance(reply, RetryableError):
        return RetryableError
    if name == "HKEYS":
        return sorted(reply)
    if name == "SET":  # which redis-py makes True
        return reply in (True, b"OK")
    if name != "read":
        return reply
    state, tokens, next_ms, known, samples, *more, master = reply
    assert len(master) == 40
    parts = [sorted(packed[at : at + SAMPLE_BYTES] for at in range(0, len(packed), SAMPLE_BYTES)) for packed in samples]
    return state, sorted(tokens), next_ms, known, parts, [sorted(each) for each in more]


def sources(count):
    """Sources of which each two share a lane."""
    by_lane, chosen = {}, []
    for number in range(100_000):
        source = SourceKey("acme", f"host/{number}")
        by_lane.setdefault(source.lane, []).append(source)
        if len(by_lane[source.lane]) == 2:
            chosen += by_lane[source.lane]
        if len(chosen) >= count:
            return chosen
    raise AssertionError("BUG: no two sources share a lane")


class Actions:
    """Random calls; what they choose from is small, so that they meet each other."""

    def __init__(self, both, rng):
        self.both, self.rng = both, rng
        self.hot, self.windows = HotStore(both), HotWindows(both)
        self.start_ms = now_ms()
        newest = Window.holding(self.start_ms, LENGTH_S)
        self.places = [Window(newest.start_s - LENGTH_S * back, LENGTH_S) for back in (0, 1, 12)]
        self.places.append(Window(newest.start_s, 60))
        self.sources = sources(4)
        names = [f"m{i}" for i in range(30)]
        count = 24
        self.lists = [join_series(sorted(rng.sample(names, rng.randint(1, 12)))) for _ in range(count)]
        self.lists.append(join_series(sorted(f"wide{i}" for i in range(4_100))))  # more than one unpack of the script
        self.names = [*names, "wide7", "none"]
        self.tokens = ["replay-a", "replay-b"]
        self.lanes = sorted({source.lane for source in self.sources})

    def any_window(self):
        return self.rng.choice(self.sources), self.rng.choice(self.places)

    def row(self, window):
        blob = self.rng.choices(self.lists, [8] * (len(self.lists) - 1) + [1])[0]
        ts_ms = window.start_s * 1000 + 1_000 * self.rng.randrange(40)
        count = blob.count(b"\n") + 1
        values = struct.pack(f"<{count}d", *(self.rng.gauss(0, 1) for _ in range(count)))
        sequence = self.rng.choice([self.rng.randint(1, 60), 2**100 + self.rng.randint(1, 9), 2**53 + 1])
        return HotRow(ts_ms, list_identity(blob), blob, stamps.pack(1, str(sequence)), values)

    def write(self):
        by_lane = {}
        for _ in range(self.rng.randint(1, 4)):
            source, window = self.any_window()
            rows = [self.row(window) for _ in range(self.rng.randint(1, 12))]
            due_ms = self.start_ms + self.rng.randint(-HOUR_MS, HOUR_MS)
            group = RowGroup(source, window, due_ms, self.rng.random() < 0.5, rows)
            by_lane.setdefault(source.lane, []).append(group)
        self.hot.write(by_lane)

    def older(self):
        """Rows as the version before dictionaries stored them, dense and sparse ones."""
        source, window = self.any_window()
        rows = [self.row(window) for _ in range(self.rng.randint(1, 4))]
        write_older(self.both, RowGroup(source, window, self.start_ms, False, rows), lists_max=3)

    def read(self):
        source, window = self.any_window()
        length_s = self.rng.choice([LENGTH_S, 60])
        from_ms = window.start_s * 1000 - self.rng.choice([0, 2, 30]) * LENGTH_S * 1000
        to_ms = min((window.end_s + LENGTH_S) * 1000, from_ms + 1_000 * self.rng.choice([20, 86_400, 10**6]))
        asked = self.rng.sample(self.names, self.rng.randint(1, 12))
        query = HotQuery(from_ms, to_ms, length_s, asked, newest=self.rng.random() < 0.3)
        checked(self.hot.read_each([source], query)[source])

    def series(self):
        self.hot.series(self.rng.choice(self.sources))

    def due(self):
        self.windows.due(self.start_ms + self.rng.randint(-HOUR_MS, HOUR_MS))

    def claim(self):
        source, window = self.any_window()
        lease_ms = self.rng.choice([-HOUR_MS, HOUR_MS])
        keys = [lane_due(source.lane), lane_claims(source.lane)]
        self.both.run([Script.load("claim").call(source.lane, keys, [source.member(window), lease_ms])])
        self.windows.claim(source, window)

    def rows(self):
        source, window = self.any_window()
        assert isinstance(self.windows.rows(source, window).columns, Columns)
        self.windows.windows(source)

    def confirm(self):
        source, window = self.any_window()
        pairs = self.windows.rows(source, window).pairs
        if self.rng.random() < 0.4:
            pairs = [pair for pair in pairs if self.rng.random() < 0.7]
        if pairs and self.rng.random() < 0.2:
            pairs.append((pairs[0][0], stamps.pack(9, "9")))
            pairs.append((b"\0" * 16, pairs[0][1]))
        expiry_ms = self.rng.choice([0, 0, now_ms() + HOUR_MS, now_ms() + 2 * HOUR_MS, now_ms() - 1_000])
        again_ms = self.start_ms + self.rng.randint(-HOUR_MS, HOUR_MS)
        self.windows.confirm(source, window, pairs, expiry_ms=expiry_ms, again_ms=again_ms)

    def expire(self, source, window):
        """A window of few rows that are all there expires, and is then written into once more."""
        rows = [self.row(window) for _ in range(3)]
        self.windows.confirm(source, window, self.windows.rows(source, window).pairs, expiry_ms=0, again_ms=0)
        self.hot.write({source.lane: [RowGroup(source, window, self.start_ms, True, rows)]})
        pairs = self.windows.rows(source, window).pairs
        assert self.windows.confirm(source, window, pairs, expiry_ms=now_ms() + SHORT_MS, again_ms=0)
        time.sleep(1.5 * SHORT_MS / 1000)
        assert not self.windows.rows(source, window).pairs
        self.hot.write({source.lane: [RowGroup(source, window, self.start_ms, False, rows[:1])]})

    def partial(self):
        source, window = self.any_window()
        assert self.hot.make_partial({source: {window}}) == {}

    def begin(self):
        known = {lane: self.rng.choice(self.tokens) for lane in self.lanes}
        self.windows.begin(known, self.rng.choice(self.tokens), force=self.rng.random() < 0.5)

    def whole(self):
        for lane in self.lanes:
            self.windows.make_whole(lane, self.rng.choice(self.tokens))
        self.windows.in_replay(self.lanes)

    def init(self):
        init = Script.load("init")
        self.both.run([init.call(lane, [lane_state(lane)], [stamps.ZERO]) for lane in self.lanes], replicated=True)

    def forget(self):
        self.hot = HotStore(self.both)

    def lose(self):
        lane = self.rng.choice(self.lanes)
        tail = ("SET", lane_state(lane), b"w" + stamps.pack(1, str(self.rng.randint(1, 60))))
        self.both.run([Command(lane, self.rng.choice([("DEL", lane_state(lane)), tail]))], replicated=True)

    def take(self):
        """One random step; what is called more often is what fills and empties."""
        often = (
            [self.write] * 10
            + [self.older] * 2
            + [self.confirm] * 5
            + [self.read] * 6
            + [self.rows, self.claim, self.whole] * 2
        )
        self.rng.choice([*often, self.series, self.due, self.begin, self.partial, self.init, self.forget, self.lose])()


@pytest.fixture
def both(cluster):
    connected = nodes(RedisSettings(cluster.endpoint, False))
    for node in masters(cluster):
        node.execute_command("FLUSHALL")
    yield Both(connected, MemoryNodes(MemoryRedis(now_ms)))
    connected.close()


def masters(cluster):
    """Each with a connection of its own, closed behind it."""
    for node in cluster.nodes:
        with node.client as master:
            if master.info("replication")["role"] == "master":
                yield master


def stored(cluster):
    """{key: (value, when it expires in ms or -1)} of the cluster."""
    result = {}
    for master in masters(cluster):
        for key in master.keys("*"):
            result[key] = _value(master, key), master.pexpiretime(key)
    return result


def _value(client, key):
    match client.type(key):
        case b"string":
            return client.get(key)
        case b"hash":
            return client.hgetall(key)
        case b"zset":
            return dict(client.zrange(key, 0, -1, withscores=True))


def in_memory(redis):
    """The same of the one in memory."""
    for key in [key for key, at_ms in redis.expiries_ms.items() if at_ms <= now_ms()]:
        redis.drop(key)
    return {key: (value, redis.expiries_ms.get(key, -1)) for key, value in redis.values.items()}


def assert_same_contents(cluster, redis):
    real, fake = stored(cluster), in_memory(redis)
    assert real.keys() == fake.keys()
    for key, (value, expiry_ms) in real.items():
        if key.endswith(b":claims"):
            ends = {member: (int(end_ms), int(fake[key][0].get(member, 0))) for member, end_ms in value.items()}
            assert value.keys() == fake[key][0].keys() and expiry_ms == fake[key][1] == -1
            assert all(abs(a - b) < CLOCKS_MS for a, b in ends.values()), ends
        else:
            assert (value, expiry_ms) == fake[key], key


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_redis_in_memory_is_like_a_cluster(both, cluster, monkeypatch, seed):
    rng = random.Random(seed)
    for name, value in (("READ_BYTES_MAX", 2_000), ("DUE_PER_LANE", 2), ("CONFIRM_ROWS_MAX", 25)):
        monkeypatch.setattr(f"carbyne.adapters.redis.windows.{name}", value)
    monkeypatch.setattr("carbyne.adapters.redis.hot.READ_BYTES_MAX", 2_000)
    actions = Actions(both, rng)
    for step in range(STEPS):
        actions.take()
        if step % 70 == 50:
            actions.expire(*actions.any_window())
    kinds = {value[stamps.STAMP_BYTES] for key, (fields, _) in stored(cluster).items() if b":r:" in key
             for value in fields.values()}  # fmt: skip
    assert kinds >= {DENSE, SPARSE, RUNS, BITMAP}, "rows of all kinds were met"
    scripts = {path.stem for path in SCRIPTS.glob("*.lua")}  # the queue has a contract of its own: test_queue_stores
    assert {name for name in scripts if not name.startswith("queue_")} <= both.used
    assert {"HKEYS", "HMGET", "HGETALL", "GET"} <= both.used
    assert_same_contents(cluster, both.fake.redis)


def test_a_row_of_a_later_kind_is_an_error_in_both(both):
    source, window = SourceKey("acme", "host/a"), Window.holding(now_ms(), LENGTH_S)
    blob = join_series(["a"])
    row = HotRow(window.start_s * 1000, list_identity(blob), blob, stamps.pack(1, "1"), struct.pack("<d", 1.0))
    HotStore(both).write({source.lane: [RowGroup(source, window, 0, False, [row])]})
    later = row.stamp + b"\x7f" + row.values
    both.run([Command(source.lane, ("HSET", source.rows(window), row.field, later))])
    read = HotStore(both).read_each([source], HotQuery(row.ts_ms, row.ts_ms, LENGTH_S, ["a"]))[source]
    with pytest.raises(RetryableError, match="row of kind 127"):
        checked(read)
