"""The directory keeps what rows don't say of labelled series, with few writes."""

import random
from contextlib import suppress
from threading import Barrier
from unittest.mock import patch

import pytest
from carbyne.core import keys, labels
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import SourceKey
from carbyne.core.limits import DIRECTORY_WRITERS
from carbyne.read import finder as module
from carbyne.read.finder import Finder, TooMuchError
from carbyne.store import directory as store
from carbyne.store.catalogue import SeriesSpan
from carbyne.store.directory import Directory, ListedNames, ListedSource, MetricEntry

from tests.support.fakes import Crash, FakeTable

DAY_S = 86_400
KEEP_S = 460 * DAY_S


class Counted(FakeTable):
    """Counts written items; ``ends``: a call of that number crashes after it took effect."""

    def __init__(self):
        super().__init__()
        self.written, self.ends = 0, None

    def write(self, puts, removals):
        super().write(puts, removals)
        self._done(len(puts))

    def put(self, *arguments):
        done = super().put(*arguments)
        self._done(done)
        return done

    def _done(self, items):
        self.written += items
        if self.ends is not None:
            self.ends -= 1
            if self.ends < 0:
                self.ends = None
                raise Crash("the ingester ends here")


@pytest.fixture
def table():
    return Counted()


class Clock:
    now_s = 20_000.0 * DAY_S

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory(table, clock):
    return Directory(table, KEEP_S, clock)


UP = {"up": ("gauge", "Is it up?", "")}


def listed(target="", first=20_000, last=20_000, names=()):
    return ListedSource(target, first, last, ListedNames(frozenset(names), frozenset()))


def test_facts_come_back_of_their_tenant_alone(directory):
    targets = {f"prom/{number:024x}": f"{{instance=h{number},job=node}}" for number in range(100)}
    directory.note("acme", targets, UP, {})
    directory.note("a:b", {"prom/x": ""}, {}, {})
    assert directory.sources("acme") == {source: listed(target) for source, target in targets.items()}
    assert directory.metrics("acme") == {"up": MetricEntry("gauge", "Is it up?", "")}
    assert directory.sources("a:b") == {"prom/x": listed()}
    assert directory.sources("a") == {}


def test_a_fact_is_written_once_a_day_and_when_it_changes(directory, table, clock):
    def note(names=(), **metrics):
        before = table.written
        directory.note("acme", {"prom/a": "{instance=a}"}, metrics or UP, {"prom/a": set(names)})
        return table.written - before

    assert [note(), note(), note(up=("counter", "", "")), note(["a"]), note(["a"])] == [3, 0, 1, 3, 0]
    clock.now_s += DAY_S
    assert note(["a", "b"]) == 2, "the entry, and a set of names"
    assert directory.sources("acme") == {"prom/a": listed("{instance=a}", 20_000, 20_001, ["a", "b"])}


def test_targets_with_the_same_names_share_their_set(directory, table):
    names = {f"metric_{number}" for number in range(300)}
    directory.note("acme", {}, {}, {f"prom/{number}": names for number in range(50)})
    assert table.written == 51
    assert all(entry.names.metrics == names for entry in directory.sources("acme").values())


def test_names_of_labels_are_kept_with_those_of_metrics(directory):
    directory.note("acme", {}, {}, {"prom/a": {"cpu{a%2Cb=1,mode=idle}", "up"}})
    directory.note("acme", {}, {}, {"prom/a": {"cpu{mode=user,zone=x}"}})
    assert directory.sources("acme")["prom/a"].names == ({"cpu", "up"}, {"a,b", "mode", "zone"})


def test_sets_of_earlier_code_may_have_any_label(directory, table):
    item = Item(store._NAMES.pack(store._NameSet(["up"])), 2**31)
    table.write([(keys.names_item("acme"), "aa", item)], [])
    entry = store.SourceEntry("{instance=a}", 20_000, 20_000, bytes.fromhex("aa"))
    table.put(keys.directory_partition("acme", "prom/a"), "prom/a", Item(store._SOURCES.pack(entry)), None)
    directory.note("acme", {}, {}, {"prom/a": {"cpu{mode=idle}"}})
    assert directory.sources("acme")["prom/a"].names == ({"cpu", "up"}, None)


class Together(Counted):
    """Lets nobody read before so many do at once."""

    def __init__(self, readers):
        super().__init__()
        self.readers = Barrier(readers, timeout=5)

    def get(self, *key):
        if key[1].startswith("prom/") and key[1] != "prom/0":
            self.readers.wait()
        return super().get(*key)


def test_new_targets_are_read_and_put_at_the_same_time(clock):
    """One after the other, a thousand new targets of one tenant hold up all tenants of a shard for ten seconds."""
    table = Together(DIRECTORY_WRITERS)
    sources = [f"prom/{number}" for number in range(1 + 4 * DIRECTORY_WRITERS)]
    Directory(table, KEEP_S, clock).note("acme", dict.fromkeys(sources, ""), {}, {source: {"up"} for source in sources})
    assert table.written == len(sources) + 1, "an entry each, and the set of names once"
    assert Directory(table, KEEP_S, clock).sources("acme") == {source: listed(names=["up"]) for source in sources}


def test_an_outage_takes_the_time_of_few_entries(directory, table):
    asked = []
    with (
        patch.object(table, "get", lambda *key: asked.append(key)),
        patch.object(table, "put", raising),
        pytest.raises(RetryableError),
    ):
        directory.note("acme", {f"prom/{number}": "" for number in range(1_000)}, {}, {"prom/0": {"up"}})
    assert len(asked) <= 4 * DIRECTORY_WRITERS


def raising(*_):
    raise RetryableError("the table is away")


@pytest.mark.parametrize("ends", range(0, 40, 3))
def test_an_ingester_that_dies_between_entries_lists_no_source_without_its_names(table, clock, ends):
    """And the next one, which gets the same records again, lists all of them."""
    names = {f"prom/{number}": {"up", f"of_{number % 3}"} for number in range(30)}
    table.ends = ends
    with suppress(Crash):
        Directory(table, KEEP_S, clock).note("acme", {}, {}, names)
    table.ends = None
    for source, entry in Directory(table, KEEP_S, clock).sources("acme").items():
        assert entry == listed(names=names[source])
    Directory(table, KEEP_S, clock).note("acme", {}, {}, names)
    assert Directory(table, KEEP_S, clock).sources("acme").keys() == names.keys()


def test_two_instances_lose_no_names_of_each_other(table, clock):
    first, second = Directory(table, KEEP_S, clock), Directory(table, KEEP_S, clock)
    first.note("acme", {"prom/a": "{instance=a}"}, {}, {"prom/a": {"a"}})
    second.note("acme", {}, {}, {"prom/a": {"b"}})
    clock.now_s += 5 * DAY_S
    first.note("acme", {"prom/a": "{instance=a}"}, {}, {"prom/a": {"c"}})
    assert second.sources("acme") == {"prom/a": listed("{instance=a}", 20_000, 20_005, "abc")}


def test_an_entry_that_always_changes_is_retryable(directory, table):
    directory.note("acme", {"prom/a": ""}, {}, {})
    with patch.object(table, "put", lambda *_: False), pytest.raises(RetryableError, match="keeps changing"):
        directory.note("acme", {"prom/a": "{instance=new}"}, {}, {})


def test_more_names_than_an_item_takes_may_be_any(directory):
    with patch.object(store, "DIRECTORY_NAMES_BYTES_MAX", 1_000):
        directory.note("acme", {}, {}, {"prom/a": {f"metric_{number}" for number in range(500)}})
    directory.note("acme", {}, {}, {"prom/a": {"another"}})
    assert directory.sources("acme")["prom/a"].names == (None, None)


def test_entries_outlive_their_samples_and_no_longer(directory, table, clock):
    directory.note("acme", {"prom/a": ""}, UP, {"prom/a": {"up"}})
    assert {item.expires_s for item in table.items.values()} == {int(clock.now_s) + KEEP_S}


# Finding


class World:
    """Posts go through a directory into ``rows``: source -> key -> span; ``all``: the plain dict of what was stored."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.clock, self.table = Clock(), Counted()
        self.rows, self.all = {}, {}
        self.ingester = Directory(self.table, KEEP_S, self.clock)
        self.finder = Finder(Directory(self.table, KEEP_S, self.clock), self.spans, self.clock)

    def spans(self, sources, to_ms):
        return ((source, dict(self.rows.get(source, {}))) for source in sources)

    def post(self):
        """A row of a target with some of its series; the ingester may end anywhere, and the batch comes again."""
        series = [self.labels() for _ in range(self.dice.randint(1, 4))]
        by_source = {}
        for one in series:
            by_source.setdefault(labels.source_of(one), []).append(one)
        while True:
            self.table.ends = self.dice.choice([None, None, 0, 1, 2])
            try:
                for source, of_source in by_source.items():
                    target = labels.text(labels.target_of(of_source[0]))
                    series = {source: set(map(labels.key_of, of_source))}
                    self.ingester.note("acme", {source: target} if self.dice.random() < 0.8 else {}, {}, {})
                    self.ingester.note("acme", {source: target}, {}, series)
                    self.store(SourceKey("acme", source), of_source)
                break
            except Crash:
                self.ingester = Directory(self.table, KEEP_S, self.clock)
        self.table.ends = None

    def store(self, source, series):
        at_ms = int(1000 * self.clock.now_s)
        for one in series:
            key = labels.key_of(one)
            span = self.rows.setdefault(source, {}).get(key, SeriesSpan(at_ms, at_ms))
            self.rows[source][key] = span.joined(SeriesSpan(at_ms, at_ms))
            self.all[tuple(sorted(one.items()))] = self.rows[source][key]

    def delete(self):
        """All series of a source, as a delete and its cleaning leave them."""
        if not self.rows:
            return
        source = self.dice.choice(sorted(self.rows))
        gone = self.rows.pop(source)
        self.all = {
            key: span
            for key, span in self.all.items()
            if not (labels.source_of(dict(key)) == source.source and labels.key_of(dict(key)) in gone)
        }

    def labels(self):
        pick = self.dice.choice
        found = {
            "__name__": pick(["up", "load", "cpu{x}", "a,b"]),
            "job": pick(["", "node", "api=1"]),
            "instance": pick(["", "a:1", "b:2", "c%3"]),
            "zone": pick(["", "x", "y\n"]),
        }
        return {name: value for name, value in found.items() if value}

    def matchers(self):
        made = []
        for _ in range(self.dice.randint(1, 3)):
            name = self.dice.choice(["__name__", "job", "instance", "zone", "nowhere"])
            value = self.dice.choice(["", "up", "node", "a:1", "x", "cpu{x}", "a"])
            made.append((name, self.dice.choice([value.__eq__, value.__ne__, _begins(value), _begins_not(value)])))
        return made

    def check(self):
        self.clock.now_s += 3.5
        now_ms = int(1000 * self.clock.now_s)
        from_ms = now_ms - self.dice.choice([60_000, 86_400_000, 10 * 86_400_000])
        to_ms = now_ms - self.dice.choice([0, 0, 30_000, 86_400_000])
        selectors = [self.matchers() for _ in range(self.dice.randint(1, 2))]
        found = [tuple(sorted(one.labels.items())) for one in self.finder.find("acme", selectors, from_ms, to_ms)]
        assert len(found) == len(set(found))
        assert set(found) == {
            key
            for key, span in self.all.items()
            if span.first_ms <= to_ms and span.last_ms >= from_ms
            for one in [dict(key)]
            if any(all(test(one.get(name, "")) for name, test in matchers) for matchers in selectors)
        }


def _begins(value):
    return lambda text: text.startswith(value)


def _begins_not(value):
    return lambda text: not text.startswith(value)


@pytest.mark.parametrize("seed", range(40))
def test_it_finds_what_a_plain_dict_finds(seed):
    world = World(seed)
    for _ in range(60):
        step = world.dice.random()
        if step < 0.5:
            world.post()
        elif step < 0.55:
            world.delete()
        elif step < 0.65:
            world.clock.now_s += world.dice.choice([60, 3_600, 86_400])
        else:
            world.check()


def test_a_new_series_is_found_within_the_age_of_the_cache():
    world = World(1)
    assert world.finder.find("acme", [[("__name__", "up".__eq__)]], 0, 2**45) == []
    world.ingester.note("acme", {"prom/a": "{instance=a}"}, {}, {"prom/a": {"up"}})
    world.rows[SourceKey("acme", "prom/a")] = {"up": SeriesSpan(0, 2**44)}
    world.clock.now_s += 3.1
    [found] = world.finder.find("acme", [[("__name__", "up".__eq__)]], 0, 2**45)
    assert found.labels == {"__name__": "up", "instance": "a"}
    assert world.finder.find("other", [[("__name__", "up".__eq__)]], 0, 2**45) == []


def test_only_sources_that_may_match_are_read():
    world = World(1)
    targets = {f"prom/{number}": f"{{instance=h{number},job=node}}" for number in range(1_000)}
    series = {source: {"up{zone=y}", f"only_{source}"} for source in targets}
    world.ingester.note("acme", targets, {}, series)
    asked = []
    world.finder._spans = lambda sources, to_ms: (asked.append(source) or (source, {}) for source in sources)
    world.finder.find("acme", [[("instance", "h7".__eq__)]], 0, 2**45)
    world.finder.find("acme", [[("__name__", "only_prom/9".__eq__), ("job", "node".__eq__)]], 0, 2**45)
    assert [source.source for source in asked] == ["prom/7", "prom/9"]
    assert world.finder.find("acme", [[("mode", "x".__eq__)]], 0, 2**45) == [], "no target has this label"
    with (
        patch.object(module, "FOUND_SOURCES_MAX", 500),
        pytest.raises(TooMuchError, match="leave 1000 targets to look into, at most 500") as caught,
    ):
        world.finder.find("acme", [[("zone", "x".__eq__)]], 0, 2**45)
    assert caught.value.status == 422
    with patch.object(module, "FOUND_SERIES_MAX", 1), pytest.raises(TooMuchError, match="more than 1 series"):
        world.finder._spans = lambda sources, to_ms: [(sources[0], dict.fromkeys("ab", SeriesSpan(0, 1)))]
        world.finder.find("acme", [[("instance", "h7".__eq__)]], 0, 2**45)
