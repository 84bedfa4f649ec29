"""Which source a series of a divided target has, when a target is divided, and who agrees on it."""

from collections import Counter
from itertools import pairwise

import pytest
from carbyne.core import limits
from carbyne.core.keys import SourceKey, Window, join_series, list_identity
from carbyne.core.labels import is_bucket, is_labelled, whole_of
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.divisions import Division, begins_s, divided, series_max, source_at
from carbyne.tenants.usage import Counted, Usage, UsedRow

from harness.pipeline import MemoryAccounts

START_S = 1_700_006_400  # where windows of all lengths begin
USUAL_S = 14_400
SOURCE, PER_SOURCE = "prom/00112233445566778899aabb", 20_000
CHAIN = (Division(START_S, 1, 0), Division(START_S + 3_600, 1, 1), Division(START_S + 3_600, 2, 2))


def names(metrics, series):
    """Keys of so many metrics with so many series each."""
    return [f"metric_{metric}{{n={number}}}".encode() for metric in range(metrics) for number in range(series)]


def sizes(divisions, keys):
    at_ms = 1000 * divisions[-1].from_s if divisions else 0
    return Counter(source_at(SOURCE, key.decode(), divisions, at_ms) for key in keys)


def test_the_source_follows_the_time_of_the_sample_and_the_later_of_two_divisions_holds():
    key = "up{zone=eu}"
    assert source_at(SOURCE, key, (), 0) == SOURCE
    assert source_at(SOURCE, key, CHAIN, 1000 * START_S - 1) == SOURCE
    first = source_at(SOURCE, key, CHAIN, 1000 * START_S)
    assert first == source_at(SOURCE, key, CHAIN, 1000 * START_S + 3_599_999)
    later = source_at(SOURCE, key, CHAIN, 1000 * START_S + 3_600_000)
    assert [len(source) - len(SOURCE) for source in (first, later)] == [3, 6], "a dot, a dash, and the bits"
    assert later[len(SOURCE) + 1] == first[len(SOURCE) + 1], "a part of what the coarser part had"


def test_parts_are_labelled_sources_of_one_whole():
    for source in (SOURCE, "prom/bucket-07"):
        part = source_at(source, "up", CHAIN, 1000 * START_S)
        assert is_labelled(part) and whole_of(part) == source and is_bucket(part) == is_bucket(source)
        assert SourceKey.of_member(f"{SourceKey('acme', part).path}:0+60")[0] == SourceKey("acme", part)
    assert whole_of("host/web.1-0") == "host/web.1-0", "hosts are never divided"


def test_all_series_of_a_metric_are_in_one_source_while_names_tell_enough_apart():
    keys = names(500, 100)
    divisions = divided((), keys, PER_SOURCE, START_S)
    assert divisions == (Division(START_S, 2, 0),)
    assert max(sizes(divisions, keys).values()) <= PER_SOURCE * 3 // 4
    of_metric = {key.partition(b"{")[0]: source_at(SOURCE, key.decode(), divisions, 1000 * START_S) for key in keys}
    assert all(
        source_at(SOURCE, key.decode(), divisions, 1000 * START_S) == of_metric[key.partition(b"{")[0]] for key in keys
    )


def test_a_metric_that_is_most_of_a_target_is_divided_by_its_labels():
    keys = names(1, 60_000) + names(100, 50)
    (division,) = divided((), keys, PER_SOURCE, START_S)
    assert division.label_bits >= 2
    assert max(sizes((division,), keys).values()) <= PER_SOURCE * 3 // 4


@pytest.mark.parametrize("number", [0, 1, PER_SOURCE])
def test_a_target_within_its_bound_is_not_divided(number):
    assert divided((), names(1, number), PER_SOURCE, START_S) == ()


def test_a_target_with_one_series_more_is():
    keys = names(20, 1_001)
    assert divided((), keys[:20_000], PER_SOURCE, START_S) == ()
    assert [division.bits for division in divided((), keys, PER_SOURCE, START_S)] == [1]


def test_divisions_become_finer_and_never_change_what_lies_before():
    divisions, now_s, keys = (), START_S, names(40, 8)
    for number in (4, 6, 10, 14, 20, 30, 60, 100, 200):
        keys, before, now_s = names(40, number), divisions, now_s + 7_200
        divisions = divided(divisions, keys, 200, begins_s(now_s))
        assert divisions[: len(before)] == before
        for at_s in range(START_S, now_s + limits.AHEAD_MS_MAX // 1000, 1_200):
            for key in ("metric_1{n=1}", "metric_2{n=1}"):
                after = source_at(SOURCE, key, divisions, 1000 * at_s)
                assert after == source_at(SOURCE, key, before, 1000 * at_s)
    pairs = list(pairwise(divisions))
    assert len(pairs) >= 2 and all(
        a.bits < b.bits and a.name_bits <= b.name_bits and a.label_bits <= b.label_bits for a, b in pairs
    )
    assert divided(divisions, keys, 200, 2**33) == divisions, "no finer one is left"


def test_a_division_that_is_stored_and_does_not_hold_yet_is_not_made_again():
    keys = names(40, 10)
    stored = divided((), keys, 200, START_S)
    assert divided(stored, keys, 200, START_S + 60) == stored
    assert divided(stored, names(40, 30), 200, START_S - 60)[-1].from_s == START_S, "nor one before it"


def test_series_that_no_hash_tells_apart_are_left_in_one_source():
    keys = [
        name for name in names(1, 4_000) if source_at(SOURCE, name.decode(), (Division(0, 0, 4),), 0)[-4:] == "0000"
    ]
    assert len(keys) > 100 and divided((), keys, 100, START_S) == ()


@pytest.mark.parametrize("now_s", range(START_S - 1, START_S + 3_600, 599))
def test_a_division_begins_with_an_hour_which_no_sample_has_reached(now_s):
    from_s = begins_s(now_s)
    assert from_s % 3_600 == 0 and from_s - now_s < limits.STEP_AHEAD_S + 3_600
    assert from_s - now_s >= limits.AHEAD_MS_MAX // 1000 + 2 * limits.TENANT_CACHE_S


@pytest.mark.parametrize(
    ("bits", "most"), [(None, 60_000), ((1, 0), 60_000), ((1, 1), 60_000), ((2, 1), 40_000), ((0, 4), 20_000)]
)
def test_how_many_series_a_source_may_have_follows_what_divisions_are_left(bits, most):
    divisions = (Division(START_S, *bits),) if bits else ()
    assert series_max(divisions, PER_SOURCE, START_S) == most
    assert series_max(divisions, PER_SOURCE, START_S - 1) == 60_000


@pytest.mark.parametrize("stored_s", range(START_S, START_S + 3_600, 1_200))
def test_a_writer_that_just_misses_a_division_agrees_on_all_that_it_takes_before_it_looks_again(stored_s):
    """It looked the tenant up a second before.  The last sample may be as far ahead as a writer takes it."""
    store = MemoryAccounts({"key": "acme"})
    clock_s = [stored_s - 1.0]
    stale = Accounts(store, lambda: clock_s[0])
    stale.standing("acme")
    stored = divided((), names(40, 10), 200, begins_s(stored_s))
    store.divisions["acme"] = {SOURCE: stored}
    for clock_s[0] in range(stored_s - 1, stored[0].from_s + 60, 7):
        known = stale.standing("acme").divisions.get(SOURCE, ())
        for ahead_s in (-USUAL_S, -60, 0, limits.AHEAD_MS_MAX // 1000):
            ts_ms = 1000 * (int(clock_s[0]) + ahead_s)
            assert source_at(SOURCE, "up", known, ts_ms) == source_at(SOURCE, "up", stored, ts_ms)


# The ingester, which sees how many series a source has


class Store:
    """A tenant's item; ``away``: what it has of divisions can't be replaced."""

    def __init__(self, per_source=100):
        self.counted, self.puts, self.away = Counted(b"", 0, series_per_source=per_source), 0, False

    def add(self, tenant, samples, use):
        return self.counted

    def put_series(self, tenant, counted, estimate): ...
    def put_seen(self, tenant, seen, before): ...

    def put_divisions(self, tenant, source, divisions, before):
        self.puts += 1
        known = dict(self.counted.divisions)
        if not self.away and known.get(source, ()) == before:
            self.counted = self.counted._replace(divisions=known | {source: divisions})


class Counting:
    """An ingester's count of sources whose series are ``has``, a minute between two batches."""

    def __init__(self, store, has):
        self.now_s, self.has, self.sequence = float(START_S), has, 0
        self.usage = Usage(store, lambda: self.now_s, USUAL_S, lambda source, window: self.has[source.source])

    def minutes(self, number):
        for _ in range(number):
            self.sequence += 1
            blob, ts_ms = join_series(["up"]), int(1000 * self.now_s)
            counted = 1, self.now_s, self.sequence, ts_ms, 1, Window.holding(ts_ms, USUAL_S)
            rows = [UsedRow(SourceKey("acme", source), list_identity(blob), blob, *counted) for source in self.has]
            self.usage.take(rows)
            self.now_s += 60


def test_the_ingester_divides_a_target_of_which_a_source_has_too_many_series():
    store = Store()
    counting = Counting(store, {SOURCE: names(60, 2), "prom/small": names(1, 100), "host/a": names(30, 30)})
    counting.minutes(4)
    assert store.counted.divisions == {SOURCE: (Division(START_S + 3_600, 1, 0),)} and store.puts == 1


def test_a_part_of_a_target_that_grows_divides_the_target_again():
    store = Store()
    store.counted = store.counted._replace(divisions={SOURCE: (Division(START_S, 1, 0),)})
    Counting(store, {f"{SOURCE}.1-": names(1, 350)}).minutes(3)
    first, second = store.counted.divisions[SOURCE]
    assert first == (START_S, 1, 0) and second.label_bits >= 2 and second.from_s == START_S + 3_600


def test_a_division_that_could_not_be_stored_is_stored_later():
    store = Store()
    store.away = True
    counting = Counting(store, {SOURCE: names(10, 11)})
    counting.minutes(3)
    assert store.counted.divisions == {}
    store.away = False
    counting.minutes(2)
    assert SOURCE in store.counted.divisions


def test_names_are_told_apart_again_when_there_are_an_eighth_more(monkeypatch):
    looks = []

    def look(divisions, names, *rest):
        looks.append(len(names))
        return divided(divisions, names, *rest)

    monkeypatch.setattr("carbyne.tenants.usage.divided", look)
    counting = Counting(Store(), {SOURCE: names(1, 120)})
    counting.minutes(10)
    assert looks == [120, 120], "to store a division, and to see that it does"
    counting.has = {SOURCE: names(1, 130)}
    counting.minutes(5)
    counting.has = {SOURCE: names(1, 140)}
    counting.minutes(5)
    assert looks == [120, 120, 140]


def test_many_targets_are_divided_one_after_the_other():
    store = Store()
    counting = Counting(store, {f"prom/{number:024x}": names(10, 11) for number in range(7)})
    counting.minutes(4)
    assert len(store.counted.divisions) == 2 * limits.DIVISIONS_PER_FLUSH
    counting.minutes(8)
    assert len(store.counted.divisions) == 7


def test_series_count_once_in_the_hour_of_a_division():
    """Else a tenant would seem to have twice as many, and be refused new ones."""
    counting = Counting(Store(), dict.fromkeys((SOURCE, f"{SOURCE}.0-", f"{SOURCE}.1-"), ()))
    counting.minutes(2)
    assert counting.usage._tenants["acme"].sketch.estimate == 1
