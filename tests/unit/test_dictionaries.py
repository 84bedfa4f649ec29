"""What a writer knows of a window's dictionary, and what it makes of rows with it."""

import numpy as np
import pytest
from carbyne.adapters.redis.dictionaries import NOTHING, Base, Dictionaries, Dictionary
from carbyne.core import stamps
from carbyne.core.errors import InvariantError
from carbyne.core.keys import SourceKey, Window, join_series, list_identity
from carbyne.core.limits import CODED_LISTS_MAX
from carbyne.samples.indexes import head_of, pack, unpack
from carbyne.samples.markers import Marker, row_of
from carbyne.samples.rows import HotRow
from hypothesis import given
from hypothesis import strategies as st

SOURCE = SourceKey("acme", "prom/a")
WINDOW = Window(1_699_992_000, 14_400)


def row(names, ts_ms=0):
    blob = join_series(sorted(names))
    values = np.array([hash_of(name) for name in sorted(names)], "<f8").tobytes()
    return HotRow(ts_ms, list_identity(blob), blob, stamps.pack(1, "1"), values)


def hash_of(name):
    return float(int.from_bytes(name.encode(), "big") % 1009)


def decoded(value, names):
    """{name: value} of a row as Redis stores it."""
    head = head_of(value)
    indexes = unpack(head, len(names))
    values = np.frombuffer(value, "<f8", offset=len(stamps.ZERO) + len(head))
    return {names[index].decode(): number for index, number in zip(indexes.tolist(), values.tolist(), strict=True)}


lists = st.lists(st.sets(st.sampled_from([f"m{number}" for number in range(40)]), min_size=1), min_size=1, max_size=40)


@given(lists)
def test_every_row_can_be_read_by_the_names_in_the_order_of_their_appends(some):
    dictionary, names = Dictionary(), []
    for row_names in some:
        before = dictionary.base
        append = dictionary.code([row(row_names)])
        assert append.base == before and append.base.length == len(names)
        names += append.names
        assert dictionary.base == append.after and len(names) == append.after.length
        assert decoded(append.rows[0][1], names) == {name: hash_of(name) for name in row_names}
    assert len(names) == len(set(names))


def test_a_digest_says_which_names_came_in_which_appends():
    def after(*appends):
        base = NOTHING
        for names in appends:
            base = base.after(names)
        return base

    assert after([b"a", b"b"]) == after([b"a", b"b"])
    assert len({after([b"a", b"b"]), after([b"b", b"a"]), after([b"a"], [b"b"]), after([b"a", b"c"])}) == 4


def test_a_doubted_dictionary_is_asked_for_all_and_known_ones_for_what_they_lack():
    dictionary = Dictionary()
    assert not dictionary.must_ask([row("ab")])
    dictionary.doubt()
    assert dictionary.must_ask([row("ab")])
    dictionary.learn(Base(700, b"digest"), [b"a", b"b"], [b"650", b""])
    assert not dictionary.must_ask([row("a")])
    assert dictionary.must_ask([row("ac")])
    append = dictionary.code([row("ab")])
    assert append.names == [b"b"] and append.base == Base(700, b"digest")
    assert append.rows[0][1][26:].startswith(pack([650, 700]))


def test_what_another_dictionary_said_is_forgotten():
    dictionary = Dictionary()
    dictionary.code([row("ab")])
    dictionary.learn(Base(700, b"digest"), [b"c"], [b"3"])
    assert dictionary.indexes == {b"c": 3}


def test_a_name_that_was_not_asked_for_is_never_taken_for_a_new_one():
    dictionary = Dictionary()
    dictionary.learn(Base(700, b"digest"), [b"a"], [b"3"])
    with pytest.raises(InvariantError, match="was not asked for"):
        dictionary.code([row("b")])


def test_deletes_need_no_dictionary():
    dictionary, delete = Dictionary(), row_of(Marker(stamps.pack(1, "9"), "m", 0, 9))
    dictionary.doubt()
    assert not dictionary.must_ask([delete])
    assert dictionary.code([delete]) == (NOTHING, [], [(delete.field, delete.value)])


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("carbyne.adapters.redis.dictionaries.DICTIONARY_NAMES_MAX", 100)
    known = Dictionaries()
    for number in range(50):
        known.of(SourceKey("acme", f"prom/{number}"), WINDOW).code([row([f"{number}-{name}" for name in "abcdefghij"])])
        known.of(SOURCE, WINDOW).code([row("xy")])
        known.trim()
    assert len(known._known) <= 100 // 10
    assert known.of(SOURCE, WINDOW).base.length == 2, "it is used each time"
    assert known.of(SourceKey("acme", "prom/0"), WINDOW).base == NOTHING


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sets(st.sampled_from("abcdef"), min_size=1))))
def test_windows_that_share_their_names_are_coded_as_if_each_had_its_own(steps):
    """Each step: a window, whether its dictionary was doubted and asked for first, and the names of a row."""
    shared, stored = Dictionaries(), {}
    alone = {}
    for number, is_doubted, names in steps:
        base, known = stored.get(number, (NOTHING, []))
        both = [shared.of(SourceKey("acme", f"host/{number}"), WINDOW), alone.setdefault(number, Dictionary())]
        for dictionary in both:
            if is_doubted:
                dictionary.doubt()
            if dictionary.must_ask([row(names)]):
                asked = [name.encode() for name in names]
                told = [str(known.index(name)).encode() if name in known else b"" for name in asked]
                dictionary.learn(base, asked, told)
        appends = [dictionary.code([row(names)]) for dictionary in both]
        assert appends[0] == appends[1] and appends[0].base == base
        stored[number] = appends[0].after, [*known, *appends[0].names]
        assert decoded(appends[0].rows[0][1], stored[number][1]) == {name: hash_of(name) for name in names}
        shared.trim()


def test_names_that_many_windows_have_count_once(monkeypatch):
    monkeypatch.setattr("carbyne.adapters.redis.dictionaries.DICTIONARY_NAMES_MAX", 1000)
    known = Dictionaries()
    for number in range(150):
        known.of(SourceKey("acme", f"host/{number}"), WINDOW).code([row(f"m{name}" for name in range(100))])
        known.trim()
    assert len(known._known) == 150
    assert len({id(dictionary.names) for dictionary in known._known.values()}) == 1
    known.of(SourceKey("acme", "host/7"), WINDOW).code([row(["x"])])
    assert sorted({len(dictionary.indexes) for dictionary in known._known.values()}) == [100, 101]


def test_lists_as_they_are_coded_are_bounded():
    dictionary = Dictionary()
    for number in range(10 * CODED_LISTS_MAX):
        dictionary.code([row(["a", f"m{number}"])])
        assert len(dictionary.names.coded) <= CODED_LISTS_MAX


def test_whoever_asks_for_the_names_of_a_window_makes_none():
    known, source = Dictionaries(), SourceKey("acme", "prom/a")
    window, other = Window(0, 3_600), Window(3_600, 3_600)
    known.of(source, window).code([row({"a", "b"})])
    assert set(known.names(source, window)) == {b"a", b"b"}
    assert known.names(source, other) == () and len(known._known) == 1
