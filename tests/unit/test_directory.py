"""The directory keeps what rows don't say of labelled series, with few writes."""

from contextlib import suppress
from threading import Barrier
from unittest.mock import patch

import pytest
from carbyne.core import keys
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import SourceKey
from carbyne.core.limits import DIRECTORY_WRITERS
from carbyne.read import finder as module
from carbyne.read.finder import Finder, TooMuchError
from carbyne.store import directory as store
from carbyne.store.catalogue_items import SeriesSpan
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


def listed(target="", first=20_000, last=20_000, names=None):
    names = ListedNames(None, None) if names is None else ListedNames(frozenset(names), frozenset())
    return ListedSource(target, first, last, names)


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

    assert [note(), note(), note(up=("counter", "", "")), note(["a"]), note(["a"])] == [4, 0, 1, 4, 0]
    clock.now_s += DAY_S
    assert note(["a", "b"]) == 3, "the entry, a set of names and a token"
    assert directory.sources("acme") == {"prom/a": listed("{instance=a}", 20_000, 20_001, ["a", "b"])}


def test_targets_with_the_same_names_share_their_set(directory, table):
    names = {f"metric_{number}" for number in range(300)}
    directory.note("acme", {}, {}, {f"prom/{number}": names for number in range(50)})
    assert table.written == 51 + 16, "each partition gets a token"
    assert all(entry.names.metrics == names for entry in directory.sources("acme").values())


def test_a_new_reader_asks_for_all_sets_of_names_in_one_call(directory, table, clock):
    names = {f"prom/{number}": {f"metric_{number}"} for number in range(90)}
    directory.note("acme", {}, {}, names)
    table.calls.clear()
    entries = Directory(table, KEEP_S, clock).sources("acme")
    assert {source: entry.names.metrics for source, entry in entries.items()} == names
    assert table.calls["get_each"] == 1 and table.calls["get"] == 0


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
    """Lets no thread read before so many do at once."""

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
    assert table.written == len(sources) + 1 + 16, "an entry each, the set of names once, and a token of each partition"
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


def test_more_sources_than_a_reader_has_memory_for_are_refused(directory):
    directory.note("acme", {f"prom/{number:024x}": "" for number in range(400)}, {}, {})
    assert len(directory.sources("acme")) == 400
    with patch.object(store, "DIRECTORY_SOURCES_MAX", 200), pytest.raises(RequestError, match="at most 200") as caught:
        directory.sources("acme")
    assert caught.value.status == 422


def test_an_ingester_that_ends_before_the_token_leaves_nothing_unseen(directory, table, clock):
    """The batch comes again, to an instance that finds the entry as it would write it."""
    reader = Directory(table, KEEP_S, clock)
    assert reader.sources("acme") == {}
    with patch.object(directory, "_tell", side_effect=Crash), pytest.raises(Crash):
        directory.note("acme", {"prom/a": "{instance=a}"}, {}, {})
    assert reader.sources("acme") == {}, "no token says so yet, and no row is there"
    Directory(table, KEEP_S, clock).note("acme", {"prom/a": "{instance=a}"}, {}, {})
    assert reader.sources("acme").keys() == {"prom/a"}


def test_a_token_that_could_not_be_written_is_written_with_the_next_entries(directory, table, clock):
    reader = Directory(table, KEEP_S, clock)
    assert reader.sources("acme") == {}
    with patch.object(table, "write", side_effect=RetryableError("away")), pytest.raises(RetryableError):
        directory.note("acme", {"prom/a": ""}, {}, {})
    directory.note("acme", {"prom/a": ""}, {}, {})
    assert reader.sources("acme").keys() == {"prom/a"}


def test_only_partitions_that_changed_are_read_again(directory, table, clock):
    targets = {f"prom/{number:024x}": "" for number in range(100)}
    directory.note("acme", targets, {}, {})
    reader = Directory(table, KEEP_S, clock)

    def queries():
        before = table.calls["query"]
        assert len(reader.sources("acme")) == len(targets)
        return table.calls["query"] - before

    assert [queries(), queries()] == [17, 1]
    targets["prom/new"] = ""
    Directory(table, KEEP_S, clock).note("acme", {"prom/new": ""}, {}, {})
    assert [queries(), queries()] == [2, 1]
    clock.now_s += 60
    assert [queries(), queries()] == [17, 1], "whatever the tokens say"


def test_entries_outlive_their_samples_and_no_longer(directory, table, clock):
    directory.note("acme", {"prom/a": ""}, UP, {"prom/a": {"up"}})
    assert {item.expires_s for item in table.items.values()} == {int(clock.now_s) + KEEP_S}


# Finding


class World:
    """A directory, and what is stored: source -> key -> span."""

    def __init__(self):
        self.clock, self.table = Clock(), Counted()
        self.rows = {}
        self.ingester = Directory(self.table, KEEP_S, self.clock)
        self.finder = Finder(Directory(self.table, KEEP_S, self.clock), self.spans, self.clock)

    def spans(self, sources, to_ms, keep):
        return ((source, 0, dict(self.rows.get(source, {}))) for source in sources)


def test_a_new_series_is_found_within_the_age_of_the_cache():
    world = World()
    assert world.finder.find("acme", [[("__name__", "up".__eq__)]], 0, 2**45) == []
    world.ingester.note("acme", {"prom/a": "{instance=a}"}, {}, {"prom/a": {"up"}})
    world.rows[SourceKey("acme", "prom/a")] = {"up": SeriesSpan(0, 2**44)}
    world.clock.now_s += 3.1
    [series] = world.finder.find("acme", [[("__name__", "up".__eq__)]], 0, 2**45)
    assert series.labels == {"__name__": "up", "instance": "a"}
    assert world.finder.find("other", [[("__name__", "up".__eq__)]], 0, 2**45) == []


def test_a_source_is_found_at_the_time_of_its_oldest_sample():
    """With ``Retention=long`` that is five years before it was first heard of."""
    world = World()
    world.clock.now_s = 20_000 * DAY_S
    world.ingester.note("acme", {"prom/a": "{instance=a}"}, {}, {"prom/a": {"up"}})
    at_ms = (20_000 - 1_820) * DAY_S * 1000
    world.rows[SourceKey("acme", "prom/a")] = {"up": SeriesSpan(at_ms, at_ms + 1)}
    assert len(world.finder.find("acme", [[("__name__", "up".__eq__)]], at_ms, at_ms)) == 1


def test_only_sources_that_may_match_are_read():
    world = World()
    targets = {f"prom/{number}": f"{{instance=h{number},job=node}}" for number in range(1_000)}
    series = {source: {"up{zone=y}", f"only_{source}"} for source in targets}
    world.ingester.note("acme", targets, {}, series)
    asked = []
    world.finder._spans = lambda sources, *_: (asked.append(source) or (source, 0, {}) for source in sources)
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
        spans = {name: SeriesSpan(0, 2**44) for name in ("up{zone=y}", "only_prom/7")}
        world.finder._spans = lambda sources, *_: [(sources[0], 2, spans)]
        world.finder.find("acme", [[("instance", "h7".__eq__)]], 0, 2**45)
    with patch.object(module, "LOOKED_AT_SERIES_MAX", 1), pytest.raises(TooMuchError, match="more than 1 series"):
        world.finder._spans = lambda sources, *_: [(sources[0], 2, {})]
        world.finder.find("acme", [[("instance", "h7".__eq__)]], 0, 2**45)
