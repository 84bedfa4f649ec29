"""Seals on a real cluster: no read ever differs, wherever a sealer stops and whoever else is at work."""

import contextlib
import itertools
import random
import struct
import time

import pytest
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window

from harness.pipeline import LENGTH_S, SCHEDULE, Pipeline, flush, master_of, with_role
from tests.support.fakes import FakeTable
from tests.support.turns import Turns

START_S = (int(time.time()) // LENGTH_S + 10) * LENGTH_S
"""A window's start that Redis' own clock does not reach, so that rows expire when a test says so."""
WINDOW = Window(START_S, LENGTH_S)
DUE_S = WINDOW.end_s + SCHEDULE.grace_s + SCHEDULE.jitter_s
"""When the window is due, whatever the jitter of its source."""
NAMES = ["custom.a", "custom.b", "custom.c"]
FAR_HOT_S = 5 * 86_400
FIRST_MOVING = 4
"""The first step of a sealer behind the job of a replay, the masters and what is due: it can't begin without that."""
LANES_USED = 8
"""All hosts of these tests lie in the first few lanes, so that a sealer has to ask no others."""


class KilledError(BaseException):
    """The end of a function in the middle; no code of ours catches it."""


class Stops:
    """Counts the steps of a sealer, one before each call of a store.

    ``before``: called with the number of each step; ``lost_answer``: the step whose call is applied, and then raises.
    """

    def __init__(self, before=lambda number: None, lost_answer=0):
        self.before = before
        self.lost_answer = lost_answer
        self.count = 0

    def call(self, ask):
        self.count += 1
        number = self.count
        self.before(number)
        answer = ask()
        if number == self.lost_answer:
            raise RetryableError("the answer was lost")
        return answer


class SteppingTable:
    """A table of which each call is a step."""

    def __init__(self, table, stops):
        self._table, self._stops = table, stops

    def get(self, *args):
        return self._stops.call(lambda: self._table.get(*args))

    def put(self, *args):
        return self._stops.call(lambda: self._table.put(*args))

    def remove(self, *args):
        return self._stops.call(lambda: self._table.remove(*args))

    def write(self, *args):
        return self._stops.call(lambda: self._table.write(*args))

    def query(self, *args):
        return self._stops.call(lambda: self._table.query(*args))


class SteppingNodes:
    """Nodes of which each run is a step."""

    def __init__(self, nodes, stops):
        self._nodes, self._stops = nodes, stops

    def run(self, calls, **options):
        return self._stops.call(lambda: self._nodes.run(calls, **options))

    def masters(self):
        return self._nodes.masters()

    def followers(self, names):
        return self._nodes.followers(names)

    def shards(self):
        return self._nodes.shards()


class KilledInConfirm:
    """Nodes that end a sealer before the second call of its confirm, its only calls that wait for replicas."""

    def __init__(self, nodes):
        self._nodes, self._confirms = nodes, 0

    def run(self, calls, *, replicated=False):
        self._confirms += replicated
        if self._confirms == 2:
            raise KilledError
        return self._nodes.run(calls, replicated=replicated)

    def masters(self):
        return self._nodes.masters()

    def followers(self, names):
        return self._nodes.followers(names)

    def shards(self):
        return self._nodes.shards()


class World(Pipeline):
    """The pipeline with an oracle: ``expected`` is {(host, name): {time_s: value}} of all that was acknowledged."""

    def __init__(self, cluster, **options):
        super().__init__(cluster, START_S, **options)
        self.expected = {}
        self.numbers = itertools.count(1)

    def take(self, host, time_s, names=NAMES, value=None):
        """Post one row and deliver it."""
        value = next(self.numbers) / 7 if value is None else value
        before = len(self.stream.records)
        answer = self.post([(host, name, time_s, value) for name in names])
        assert answer["statusCode"] == 200 and "Carbyne-Skipped" not in answer["headers"]
        assert self.deliver(self.stream.records[before:]) == 0
        for name in names:
            self.expected.setdefault((host, name), {})[time_s // 60 * 60] = value

    def series_of(self, host):
        return [name for of, name in self.expected if of == host]

    def check(self, host, from_s=0, to_s=2**33):
        """Every series of the host reads back bit for bit."""
        for (of, name), samples in self.expected.items():
            if of == host:
                status, _, points = self.get_metric(host, name, from_s, to_s)
                assert status == 200, points
                assert bits_of(points) == bits_of((t, v) for t, v in sorted(samples.items()) if from_s <= t <= to_s)

    def stepping(self, stops):
        """A sealer of which each call is a step."""
        return self.new_sealer(HotWindows(SteppingNodes(self.store._nodes, stops)), SteppingTable(self.table, stops))

    def seal_all(self):
        """Seal until nothing is left that is due, an hour after each run."""
        for _ in range(4):
            self.seal()
            self.now_s += 3600
        assert self.hot_windows().due(self.now_s * 1000).windows == []

    def hot_windows(self):
        return HotWindows(self.store._nodes)

    def redis(self, host, *command):
        """A command at the master of the host's lane, raw."""
        with master_of_lane(self.cluster, source_of(host).lane) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def tokens(self, host):
        """{window: state and expiry} as Redis has them."""
        with master_of_lane(self.cluster, source_of(host).lane) as client:
            entries = client.hgetall(source_of(host).windows)
        return {Window.parse(token.decode()): state for token, state in entries.items()}

    def expire(self, host, *, before_s=2**40, tidy=False):
        """What Redis does at a window's expiry, at once; ``tidy``: and what the next confirm does."""
        source = source_of(host)
        for window in self.tokens(host):
            if 0 < self.redis(host, "PEXPIRETIME", source.rows(window)) <= before_s * 1000:
                for key in (source.rows(window), source.lists(window), source.dictionary(window)):
                    self.redis(host, "PEXPIREAT", key, 1)
                if tidy:
                    self.redis(host, "HDEL", source.windows, window.token)

    def rows_left(self, host):
        source = source_of(host)
        return {window for window in self.tokens(host) if self.redis(host, "EXISTS", source.rows(window))}


def source_of(host):
    return SourceKey("acme", f"host/{host}")


def named(text):
    """A host name that begins with ``text`` and lies in one of the lanes used."""
    names = (f"{text}-{number}" for number in itertools.count())
    return next(name for name in names if source_of(name).lane < LANES_USED)


def bits_of(points):
    return [(time_s, struct.pack("<d", value)) for time_s, value in points]


@contextlib.contextmanager
def master_of_lane(cluster, lane, cache={}):  # noqa: B006 - remembers masters, which these tests never change
    if (id(cluster), lane) not in cache:
        cache[id(cluster), lane] = master_of(cluster, lane)
    with cache[id(cluster), lane].client as client:
        yield client


@pytest.fixture
def make(cluster, monkeypatch):
    """Makes a world over an empty cluster in which a lease never holds anybody up."""
    monkeypatch.setattr("carbyne.adapters.redis.windows.SEAL_LEASE_MS", 0)
    monkeypatch.setattr("carbyne.adapters.redis.windows.LANES", LANES_USED)
    flush(cluster)
    with contextlib.ExitStack() as stack:

        def make_world(**options):
            world = World(cluster, **options)
            world.cluster = cluster
            stack.callback(world.close)
            return world

        yield make_world


def crowd(monkeypatch):
    """Limits so small that a few rows take several calls, and no dictionary is remembered."""
    monkeypatch.setattr("carbyne.adapters.redis.windows.CONFIRM_ROWS_MAX", 2)
    monkeypatch.setattr("carbyne.adapters.redis.windows.FIRST_CHUNK", 3)
    monkeypatch.setattr("carbyne.adapters.redis.windows.READ_BYTES_MAX", 200)
    monkeypatch.setattr("carbyne.adapters.redis.dictionaries.DICTIONARY_NAMES_MAX", 1)


def fill(world, host):
    """A few rows of two lists, the first of them while the window is fresh."""
    world.now_s = START_S
    for minute in range(3):
        world.take(host, START_S + 60 * minute)
        world.take(host, START_S + 60 * minute, [*NAMES[:1], "custom.other"])
    world.now_s = DUE_S


HOST, SOUND, BROKEN = named("h"), named("sound"), named("broken")


def disturb(world, host):
    """What may arrive at any time: a new row, one that overwrites a row, and a late one of another window."""
    world.take(host, START_S + 60 * 10)
    world.take(host, START_S + 60)
    world.take(host, START_S - LENGTH_S + 60, NAMES[1:])


every = pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.nightly)])
"""Of the steps of a seal each, or each fourth."""
MODES = {"delete": (0, False), "keep": (FAR_HOT_S, False), "crowded": (FAR_HOT_S, True)}


@pytest.fixture(params=MODES)
def world(request, make, monkeypatch):
    hot_s, crowded = MODES[request.param]
    if crowded:
        crowd(monkeypatch)
    return make(hot_s=hot_s)


def settle(world, host):
    """A second sealer finishes; at its end and after all expiries reads are what they were."""
    world.check(host)
    world.seal_all()
    world.check(host)
    assert world.tokens(host).keys() >= world.rows_left(host)
    assert all(int(entry[1:].partition(b",")[0]) > 0 for entry in world.tokens(host).values()), "nothing is unsealed"
    if world.retention.hot_s == 0:
        assert world.rows_left(host) == set()
    world.expire(host)
    assert world.rows_left(host) == set()
    world.check(host)


@every
def test_reads_stay_the_same_at_every_step_wherever_the_sealer_stops(world, every):
    """The sealer is killed before step ``stop``, after samples have arrived before step ``arrive``; the reader is asked
    at each step, and a second sealer finishes."""
    for stop in itertools.count(1, every):
        for arrive in {1, stop}:
            host = named(f"h{stop}-{arrive}")
            fill(world, host)

            def before(number, host=host, stop=stop, arrive=arrive):
                if number == arrive:
                    disturb(world, host)
                if arrive == stop or number == stop:
                    world.check(host)
                if number == stop:
                    raise KilledError

            stops = Stops(before)
            killed = False
            try:
                world.stepping(stops).run(lambda: 300.0)
            except KilledError:
                killed = True
            settle(world, host)
        if not killed:
            break
    assert stop > 20, "due, claim, keys, rows, lists, dictionary; index, block and series; three rollups; confirm"


@every
def test_a_call_that_was_applied_though_it_failed_changes_no_read(world, every):
    for lost in itertools.count(FIRST_MOVING, every):
        host = named(f"h{lost}")
        fill(world, host)
        stops = Stops(lost_answer=lost)
        world.stepping(stops).run(lambda: 300.0)
        if stops.count < lost:
            break
        world.check(host)
        disturb(world, host)
        settle(world, host)
    assert lost > 20


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(8, 60))])
def test_two_sealers_and_a_writer_by_turns_change_no_read(make, monkeypatch, seed):
    chance = random.Random(seed)
    if chance.random() < 0.5:
        crowd(monkeypatch)
    world = make(hot_s=chance.choice([0, FAR_HOT_S]))
    for number in range(3):
        host = named(f"h{number}")
        fill(world, host)
        if chance.random() < 0.3:
            world.seal_all()
            disturb(world, host)
            world.now_s = DUE_S + 20_000
        turns = Turns(chance.randrange, lambda host=host: world.check(host))
        if chance.random() < 0.3:  # of two configurations, while a change is rolled out
            world.retention = world.retention._replace(hot_s=FAR_HOT_S - world.retention.hot_s)
        sealers = [world.stepping(Stops(lambda _, turns=turns: turns.step())) for _ in range(2)]

        def writes(host=host, turns=turns):
            for minute in (1, 10, 2, -200):
                world.take(host, START_S + 60 * minute, chance.sample(NAMES, chance.randint(1, 3)))
                turns.step()

        turns.run(*(lambda sealer=sealer: sealer.run(lambda: 300.0) for sealer in sealers), writes)
        world.check(host)
        world.seal_all()
        world.check(host)
        world.expire(host)
        assert world.rows_left(host) == set()
        world.check(host)


# Views that never leave Redis


def asked(world, host, from_s, to_s):
    """How often a read of the span asks the table for blocks or their index; it must be right.

    The note of which master serves which lane is a ``get``: one at most for each series that is read.
    """
    before = world.table.calls.copy()
    world.check(host, from_s, to_s)
    calls = world.table.calls - before
    return max(calls.total() - len(world.series_of(host)), calls["query"])


def post_each_minute(world, host, first_s, last_s, step_s=600):
    for time_s in range(first_s, last_s, step_s):
        world.now_s = time_s + 61
        world.take(host, time_s)


def test_the_last_hour_never_leaves_redis(make):
    """A source that posts all the time, over three windows, sealed on the way."""
    world = make()
    for time_s in range(START_S, START_S + 3 * LENGTH_S, 600):
        world.now_s = time_s + 61
        world.take(HOST, time_s)
        world.seal()
        if time_s > START_S:
            world.expire(HOST, before_s=world.now_s)
            assert asked(world, HOST, max(START_S, world.now_s - 3600), world.now_s) == 0
    assert world.counts["WindowsSealed"] == 2
    assert asked(world, HOST, START_S, world.now_s) > 0


def test_latest_never_leaves_redis(make):
    world = make()
    post_each_minute(world, HOST, START_S, START_S + LENGTH_S + 1200)
    world.seal()
    before = world.table.calls.copy()
    answer = world.get("/api/v0/tsdb/latest", ("hostId", HOST), *(("name", name) for name in NAMES))
    assert answer["statusCode"] == 200
    assert world.table.calls - before in ({}, {"get": 1}), "the note of the masters alone"


def test_a_window_that_began_before_its_first_row_is_asked_for_in_the_table(make):
    world = make()
    world.now_s = START_S + SCHEDULE.grace_s
    world.take(HOST, START_S)
    assert asked(world, HOST, START_S, world.now_s) > 0
    world.now_s = START_S + LENGTH_S + SCHEDULE.grace_s - 1
    world.take(HOST, world.now_s)
    assert asked(world, HOST, START_S + LENGTH_S, world.now_s) == 0


def test_a_late_row_reopens_a_kept_window_which_is_still_complete(make):
    world = make(hot_s=FAR_HOT_S)
    fill(world, HOST)
    world.seal_all()
    assert world.tokens(HOST)[WINDOW] == b"c%d" % ((WINDOW.end_s + FAR_HOT_S) * 1000)
    world.take(HOST, START_S + 7200)
    assert world.tokens(HOST)[WINDOW] == b"c0"
    source = source_of(HOST)
    assert world.redis(HOST, "TTL", source.rows(WINDOW)) == world.redis(HOST, "TTL", source.lists(WINDOW)) == -1
    assert asked(world, HOST, START_S, WINDOW.end_s - 1) == 0
    world.seal_all()
    assert world.redis(HOST, "TTL", source.rows(WINDOW)) > 0
    assert asked(world, HOST, START_S, WINDOW.end_s - 1) == 0


@pytest.mark.parametrize("tidy", [False, True])
def test_a_window_that_expired_and_came_again_is_asked_for_in_the_table(make, tidy):
    world = make(hot_s=FAR_HOT_S)
    fill(world, HOST)
    world.seal_all()
    world.expire(HOST, tidy=tidy)
    assert asked(world, HOST, START_S, WINDOW.end_s - 1) > 0
    world.take(HOST, START_S + 7200)
    assert asked(world, HOST, START_S, WINDOW.end_s - 1) > 0
    world.seal_all()
    assert asked(world, HOST, START_S, WINDOW.end_s - 1) > 0


def test_a_window_of_which_rows_were_deleted_is_asked_for_in_the_table(make, monkeypatch):
    monkeypatch.setattr("carbyne.adapters.redis.windows.CONFIRM_ROWS_MAX", 2)
    world = make(hot_s=FAR_HOT_S)
    fill(world, HOST)
    world.sealer = world.new_sealer(HotWindows(KilledInConfirm(world.store._nodes)), world.table)
    with pytest.raises(KilledError):
        world.seal()
    world.reconnect()
    assert world.tokens(HOST)[WINDOW] == b"p0" and world.rows_left(HOST)
    assert asked(world, HOST, START_S, WINDOW.end_s - 1) > 0
    settle(world, HOST)


def test_a_late_confirm_does_not_close_a_window_that_another_sealer_keeps(make):
    """A sealer that deletes sleeps before its confirm, while one that keeps seals the same rows and one more; a row
    that comes after both must still be due."""
    world = make(hot_s=0)
    fill(world, HOST)
    deletes = world.hot_windows()
    pairs = deletes.rows(source_of(HOST), WINDOW).pairs
    world.take(HOST, START_S + 3600)
    world.retention = world.retention._replace(hot_s=FAR_HOT_S)
    world.sealer = world.new_sealer(world.hot_windows(), world.table)
    world.seal_all()
    deletes.confirm(source_of(HOST), WINDOW, pairs, expiry_ms=0, again_ms=world.now_s * 1000)
    assert world.rows_left(HOST) == {WINDOW}
    world.take(HOST, START_S + 7200)
    world.check(HOST)
    world.expire(HOST)
    world.check(HOST)
    world.seal_all()
    world.expire(HOST)
    world.check(HOST)


class Wanderer:
    """Does what can happen, at random, to two hosts over some windows."""

    def __init__(self, world, seed):
        self.world, self.chance = world, random.Random(seed)
        self.hosts = [HOST, SOUND]

    def wander(self, steps):
        for _ in range(steps):
            doing = self.chance.choice([self.post, self.post, self.late, self.seal, self.seal, self.expire, self.wait])
            doing(self.chance.choice(self.hosts))
            for host in self.hosts:
                now_s = self.world.now_s
                self.world.check(
                    host, *self.chance.choice([(now_s - 3600, now_s), (now_s - LENGTH_S, now_s), (0, 2**33)])
                )

    def wait(self, host):
        self.world.now_s += self.chance.choice([30, 130, 600, 3600, 5000, LENGTH_S])

    def post(self, host):
        self.world.now_s += self.chance.randint(0, 90)
        self._take(host, self.world.now_s - self.chance.choice([0, 0, 0, 60, 119, -300]))

    def late(self, host):
        self._take(host, self.world.now_s - self.chance.randint(0, 3 * LENGTH_S))

    def _take(self, host, time_s):
        self.world.take(host, time_s, self.chance.sample(NAMES, self.chance.randint(1, 3)))

    def seal(self, host):
        world = self.world
        world.retention = world.retention._replace(hot_s=self.chance.choice([0, 3600, 3600, 9000]))
        kill, lost = self.chance.randint(1, 60), self.chance.randint(FIRST_MOVING, 60)
        with contextlib.suppress(KilledError):
            world.stepping(Stops(lambda number: self._maybe_killed(number, kill), lost)).run(lambda: 300.0)

    def _maybe_killed(self, number, kill):
        if number == kill:
            raise KilledError

    def expire(self, host):
        self.world.expire(host, before_s=self.world.now_s, tidy=self.chance.random() < 0.5)


@pytest.mark.parametrize(
    "seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(10, 150))]
)
def test_no_walk_through_all_that_can_happen_shortens_a_read(make, monkeypatch, seed):
    if seed % 2:
        crowd(monkeypatch)
    world = make()
    Wanderer(world, seed).wander(60)


# What holds up what


def test_a_lane_that_is_rebuilding_is_not_sealed(make):
    world = make()
    fill(world, HOST)
    world.redis(HOST, "DEL", keys.lane_state(source_of(HOST).lane))
    assert world.seal() == 0 and world.counts["LanesRebuilding"] == 1
    assert world.rows_left(HOST) == {WINDOW}
    assert not [key for key in world.table.items if key[0].startswith("raw:")]
    world.take(HOST, START_S + 600)
    assert world.seal() == 1, "the look began a replay, which seals what is closed as it goes"
    assert world.get_metric(HOST, NAMES[0])[0] == 503, "which makes the lane no whole one"
    assert world.get_metric(HOST, NAMES[0])[0] == 503


def test_a_full_redis_is_sealed_empty(make, cluster):
    world = make(hot_s=0)
    fill(world, HOST)
    for node in with_role(cluster, "master"):
        node.ask("SCRIPT", "FLUSH")
        node.ask("CONFIG", "SET", "maxmemory", 1)
    try:
        world.post([(HOST, NAMES[0], START_S + 900, 1.0)])
        assert world.ingest(world.stream.records[-1:]) is not None, "it takes nothing more"
        assert world.seal() == 1
        world.check(HOST)
        assert world.rows_left(HOST) == set()
    finally:
        for node in with_role(cluster, "master"):
            node.ask("CONFIG", "SET", "maxmemory", 0)
    assert world.deliver(world.stream.records[-1:]) == 0


@pytest.mark.parametrize("value", [b"", b"short", b"\0" * 27 + b"odd", b"\0" * 26 + b"\1" + b"\xff" * 12])
def test_a_row_that_no_writer_made_holds_up_its_own_window_alone(make, value):
    world = make(hot_s=0)
    for host in (BROKEN, SOUND):
        fill(world, host)
    source = source_of(BROKEN)
    field = world.redis(BROKEN, "HKEYS", source.rows(WINDOW))[0]
    world.redis(BROKEN, "HSET", source.rows(WINDOW), field[:-1] + b"!", value)
    assert world.seal() == 1
    assert world.counts["SealsFailed"] == 1
    assert world.rows_left(BROKEN) == {WINDOW} and world.rows_left(SOUND) == set()
    world.check(SOUND)


def test_a_series_that_no_block_holds_is_counted_and_stays(make, monkeypatch):
    world = make(hot_s=0)
    for host in (BROKEN, SOUND):
        fill(world, host)
    world.take(BROKEN, START_S + 3600)
    world.take(BROKEN, START_S + 3660)
    monkeypatch.setattr("carbyne.samples.blocks.BLOCK_SAMPLES_MAX", 5)
    assert world.seal() == 1
    assert world.counts["SealsFailed"] == 1 and world.rows_left(BROKEN) == {WINDOW}
    monkeypatch.undo()
    world.sealer = world.new_sealer(HotWindows(world._nodes()), FakeTable())
    assert world.hot_windows().due(DUE_S * 1000).windows != []


def test_a_claimed_window_is_left_alone_until_its_lease_ends(make, monkeypatch):
    monkeypatch.undo()
    world = make()
    fill(world, HOST)
    hot = world.hot_windows()
    assert hot.claim(source_of(HOST), WINDOW) and not hot.claim(source_of(HOST), WINDOW)
    assert world.seal() == 0 and not any(keys.is_block(partition) for partition, _ in world.table.items)
    world.redis(HOST, "HSET", keys.lane_claims(source_of(HOST).lane), source_of(HOST).member(WINDOW), 1)
    assert world.seal() == 1
    assert not hot.claim(source_of(HOST), WINDOW), "it is due no more"


def test_the_dictionary_of_a_window_that_came_again_names_no_row_of_the_one_before(make, monkeypatch):
    """A sealer has read the rows when another one seals and deletes them, and the window begins again with a list that
    gets the indexes of the old one."""
    crowd(monkeypatch)
    world = make(hot_s=0)
    world.now_s = START_S
    for names in (["custom.a"], ["custom.b", "custom.c"]):
        world.take(HOST, START_S, names)
    world.now_s = DUE_S

    def before(number):
        if number == 5:  # rows are read, lists are not
            world.seal_all()
            for names in (["custom.a"], ["custom.e", "custom.f"]):
                world.take(HOST, START_S + 60, names)

    world.stepping(Stops(before)).run(lambda: 300.0)
    world.check(HOST)
    world.seal_all()
    world.check(HOST)
    assert HotStore(world.store._nodes).series(source_of(HOST)) == set()
