"""The catalogue: every series and window that was ever sealed, whoever else writes it at the same time."""

import random
from unittest.mock import patch

import msgspec
import pytest
from carbyne.core import frame
from carbyne.core.errors import CorruptDataError, RetryableError, UnknownVersionError
from carbyne.core.items import Item
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import CATALOGUE_PAGE_SERIES_MAX, SEAL_TRIES_MAX, SERIES_KEY_BYTES_MAX
from carbyne.store import catalogue_items as module
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import SeriesSpan, Windows
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import FakeTable, item_bytes
from tests.support.strategies import series_keys
from tests.support.turns import Turns, by

SOURCE = SourceKey("acme", "host/a")
LENGTH_S = 14_400


class Stepping(FakeTable):
    """Stops before each call."""

    def __init__(self):
        super().__init__()
        self.step = lambda: None

    def get(self, partition, sort):
        self.step()
        return super().get(partition, sort)

    def put(self, partition, sort, item, replaces):
        self.step()
        return super().put(partition, sort, item, replaces)

    def remove(self, partition, sort, item):
        self.step()
        return super().remove(partition, sort, item)

    def query(self, partition, first, last):
        self.step()
        return super().query(partition, first, last)


@pytest.fixture
def table():
    return Stepping()


@pytest.fixture
def catalogue(table):
    return Catalogue(table).of(SOURCE)


DAY_MS = 86_400_000


def seen(count, first_ms=10, days=1):
    """Until the end of a day, as the catalogue has it."""
    return {f"custom.metric.number{number}": SeriesSpan(first_ms, days * DAY_MS - 1) for number in range(count)}


def pages(table):
    return sorted(sort for of, sort in table.items if of == SOURCE.series_item)


def window(number, length_s=LENGTH_S):
    return Window(number * length_s, length_s)


# Series


def test_there_is_nothing_at_first(catalogue):
    assert catalogue.series() == {}
    assert catalogue.windows("raw") == Windows(set(), set())


def test_spans_grow_to_both_sides_and_never_shrink(catalogue, table):
    """The last time is the end of its day, so that the seals of a day write a page once."""
    catalogue.add_series({"a": SeriesSpan(10, 20), "b": SeriesSpan(-5, -1)})
    catalogue.add_series({"a": SeriesSpan(15, DAY_MS)})
    catalogue.add_series({"a": SeriesSpan(5, 6)})
    assert catalogue.series() == {"a": SeriesSpan(5, 2 * DAY_MS - 1), "b": SeriesSpan(-5, -1)}
    puts = table.calls["put"]
    catalogue.add_series({"a": SeriesSpan(5, 2 * DAY_MS - 1), "b": SeriesSpan(-3, -2)})
    assert table.calls["put"] == puts, "nothing new, nothing written"
    assert Catalogue(table).of(SourceKey("acme", "host/b")).series() == {}


@pytest.mark.parametrize("count", [1, CATALOGUE_PAGE_SERIES_MAX, CATALOGUE_PAGE_SERIES_MAX + 1, 50_000])
def test_as_many_series_as_it_takes_in_one_call(catalogue, table, count):
    catalogue.add_series(seen(count))
    assert catalogue.series() == seen(count)
    assert len(pages(table)) == -(-count // CATALOGUE_PAGE_SERIES_MAX)
    catalogue.add_series(seen(count + 10, 15, days=2))
    assert catalogue.series() == seen(count + 10, 15, days=2) | seen(count, 10, days=2)


def test_a_page_of_the_worst_names_fits_an_item(catalogue, table):
    names = {
        f"{number:04x}" + "".join(chr(0xA1 + (number * 7 + i * i) % 90) for i in range(125)) for number in range(3000)
    }
    catalogue.add_series({name: SeriesSpan(0, 2**43) for name in names})
    assert catalogue.series().keys() == names
    assert max(item_bytes(*key, item) for key, item in table.items.items()) <= 400 * 1024


def test_pages_of_the_longest_series_fit_items(catalogue, table):
    dice = random.Random(5)
    names = [f"{number:04d}{dice.randbytes(SERIES_KEY_BYTES_MAX // 2 - 2).hex()}" for number in range(300)]
    for first in (0, 150):  # the second call finds a page that is full by its bytes
        catalogue.add_series({name: SeriesSpan(0, 2**43) for name in names[first : first + 150]})
    assert catalogue.series().keys() == set(names)
    assert max(item_bytes(*key, item) for key, item in table.items.items()) <= 400 * 1024
    assert len(pages(table)) == 4


def test_only_pages_with_news_are_written(catalogue, table):
    with patch.object(module, "CATALOGUE_PAGE_SERIES_MAX", 10):
        catalogue.add_series(seen(35))
        puts = table.calls["put"]
        catalogue.add_series({"custom.metric.number0": SeriesSpan(0, 50)})
    assert table.calls["put"] == puts + 1


def test_a_page_that_always_changes_is_retryable(catalogue, table):
    turn = []

    def come_first():
        turn.append(1)
        table.items[SOURCE.series_item, "000000"] = module.page_item({"other": SeriesSpan(0, len(turn))})

    table.step = come_first
    with pytest.raises(RetryableError, match="keep changing"):
        catalogue.add_series({"a": SeriesSpan(0, 1)})
    assert table.calls["query"] == SEAL_TRIES_MAX


def test_the_series_of_many_sources_in_one_call_and_those_of_large_ones(table):
    catalogue = Catalogue(table)
    sources = [SourceKey("acme", f"host/{number}") for number in range(5)]
    for number, source in enumerate(sources[1:], start=1):
        catalogue.of(source).add_series(seen(3_000 if number == 3 else number))
    table.calls.clear()
    assert catalogue.series_each(sources) == {source: catalogue.of(source).series() for source in sources}
    assert table.calls == {"get_each": 1, "query": 1 + len(sources)}, (
        "one query of the large source, and the test's own"
    )
    long = {"x" * 4_000 + str(number): SeriesSpan(1, DAY_MS - 1) for number in range(100)}
    catalogue.of(SOURCE).add_series(long)
    assert catalogue.series_each([SOURCE]) == {SOURCE: long} and len(pages(table)) > 1


spans = st.dictionaries(
    series_keys,
    st.tuples(st.integers(0, 50), st.integers(1, 9)).map(lambda pair: SeriesSpan(pair[0], pair[1] * DAY_MS - 1)),
    max_size=9,
)


@given(spans, spans, spans, st.lists(st.integers(0, 1), max_size=30))
def test_two_sealers_lose_no_series_and_no_span(before, first, second, order):
    table = Stepping()
    catalogue = Catalogue(table).of(SOURCE)
    with patch.object(module, "CATALOGUE_PAGE_SERIES_MAX", 3):
        catalogue.add_series(before)
        turns = Turns(by(order))
        table.step = turns.step
        turns.run(lambda: catalogue.add_series(first), lambda: catalogue.add_series(second))
    expected = {}
    for given_ in (before, first, second):
        for name, span in given_.items():
            expected[name] = span.joined(expected.get(name, span))
    assert catalogue.series() == expected


# Windows


def test_a_window_is_new_once(catalogue):
    assert catalogue.add_window("raw", window(5))
    assert not catalogue.add_window("raw", window(5))
    assert catalogue.add_window("5m", window(5)), "of each resolution"
    assert catalogue.windows("raw") == Windows({window(5)}, set())


def test_a_window_made_again_is_marked(catalogue):
    catalogue.add_window("raw", window(5))
    catalogue.mark_again("raw", window(5))
    catalogue.mark_again("raw", window(5))
    assert catalogue.windows("raw") == Windows({window(5)}, {window(5)})


def test_years_of_windows_are_a_few_bytes(catalogue, table):
    many = [window(number) for number in range(5, 5 + 460 * 6) if number != 1000]
    for sealed in many[:50] + many[-50:]:
        catalogue.add_window("raw", sealed)
    table.items[SOURCE.windows_item, "raw"] = module.windows_item(Windows(set(many), set()))
    assert catalogue.windows("raw").sealed == set(many)
    assert item_bytes(SOURCE.windows_item, "raw", table.items[SOURCE.windows_item, "raw"]) < 200


@given(st.sets(st.tuples(st.integers(0, 40), st.sampled_from([60, 3600, 14_400]))), st.sets(st.integers(0, 40)))
def test_windows_of_all_lengths_come_back(numbers, again):
    catalogue = Catalogue(FakeTable()).of(SOURCE)
    for number, length_s in numbers:
        catalogue.add_window("raw", window(number, length_s))
    for number in again:
        catalogue.mark_again("raw", window(number))
    assert catalogue.windows("raw") == Windows({window(*numbered) for numbered in numbers}, {window(n) for n in again})


@given(st.lists(st.integers(0, 1), max_size=20), st.booleans())
def test_of_two_sealers_one_is_the_first(order, marks):
    table = Stepping()
    catalogue = Catalogue(table).of(SOURCE)
    turns, first = Turns(by(order)), []
    table.step = turns.step
    turns.run(
        lambda: first.append(catalogue.add_window("raw", window(1))),
        lambda: (
            catalogue.mark_again("raw", window(1)) if marks else first.append(catalogue.add_window("raw", window(1)))
        ),
    )
    assert first.count(True) == 1
    assert catalogue.windows("raw") == Windows({window(1)}, {window(1)} if marks else set())


# Damage


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", CorruptDataError),
        (b"\x01garbage....", CorruptDataError),
        (frame.pack(b"\0", msgspec.msgpack.encode([[], []]), 1), CorruptDataError),
        (frame.pack(b"\x02", msgspec.msgpack.encode([[], []]), 1), UnknownVersionError),
        (frame.pack(b"\x01", msgspec.msgpack.encode("text"), 1), CorruptDataError),
        (frame.pack(b"\x01", msgspec.msgpack.encode([b"a\nb", [1], [2]]), 1), CorruptDataError),
    ],
)
def test_damage_is_a_typed_error_and_stays(catalogue, table, data, error):
    table.items[SOURCE.series_item, "000000"] = table.items[SOURCE.windows_item, "raw"] = Item(data)
    for ask in (
        catalogue.series,
        lambda: catalogue.add_series(seen(1)),
        lambda: catalogue.windows("raw"),
        lambda: catalogue.add_window("raw", window(1)),
    ):
        with pytest.raises(error):
            ask()
    assert table.items[SOURCE.series_item, "000000"].data == data
