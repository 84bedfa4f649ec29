"""Merging into a store of blocks: nothing is lost, whoever else merges at the same time."""

from unittest.mock import patch
from zlib import crc32

import numpy as np
import pytest
from carbyne.adapters.dynamodb.table import WarmBlocks
from carbyne.core import stamps
from carbyne.core.errors import CorruptDataError, InvariantError, RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import BlockKey, SourceKey, Window
from carbyne.core.limits import SEAL_TRIES_MAX, STUB_EXTRA_S
from carbyne.samples import blocks
from carbyne.samples.columns import EMPTY, Columns, Rows, from_rows, merge
from carbyne.samples.markers import Marker
from carbyne.store.tiers import read_blocks
from carbyne.store.tree import Target, merge_into, rewrite
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import FakeTable
from tests.support.strategies import columns_of, records
from tests.support.turns import Turns, by

KEY = BlockKey(SourceKey("acme", "host/a"), "raw", Window(1_699_992_000, 14_400))
FAR_S = 4_000_000_000
EACH_MAX = 8
"""Samples of one block in these tests; a series of theirs has 7 at most, so that blocks split soon."""


class Store(WarmBlocks):
    """A store in memory; ``step`` is called before each get and put and after each put."""

    def __init__(self):
        self.table = FakeTable()
        self.step = lambda: None
        self.lose_answers = 0
        super().__init__(self.table)

    def get(self, key):
        self.step()
        return super().get(key)

    def put(self, key, item, replaces):
        self.step()
        done = super().put(key, item, replaces)
        self.step()
        if done and self.lose_answers:  # as when a client repeats a call whose answer was lost
            self.lose_answers -= 1
            return super().put(key, item, replaces)
        return done


def filled(series, times=3, sequence=1):
    """Columns of ``times`` samples of each of these series, out of one stream record."""
    names = tuple(sorted(series))
    values = np.array([[crc32(name.encode()) + ts_ms + sequence / 8 for name in names] for ts_ms in range(times)])
    rows = Rows(
        names, np.arange(times, dtype=np.int64), [stamps.pack(1, str(sequence))] * times, values.view(np.uint64)
    )
    return from_rows([rows])


def names(count):
    return [f"m{number}" for number in range(count)]


def put(store, columns, **more):
    return merge_into(store, KEY, columns, expires_s=FAR_S, **more)


def merged(store, series):
    """What a reader finds of these series."""
    parts_read = read_blocks(store, KEY, store.get(KEY), series)
    return merge([columns for columns in parts_read if columns is not None])


def parts(store):
    """Every key of the store: its part -> the parts that it names if it is a stub."""
    by_part = {BlockKey.of_item(*key).part: item for key, item in store.table.items.items()}
    return {part: blocks.parts_of(item.data) for part, item in sorted(by_part.items())}


def oracle(some):
    """{(series, ts_ms): bits} of the greatest stamp."""
    taken = {}
    for _, samples in sorted(some, key=lambda record: record[0]):
        taken.update(samples)
    return taken


def as_dict(columns: Columns):
    return {
        (series, ts_ms): int(bits)
        for group in columns.groups
        for series, row in zip(group.series, group.values, strict=True)
        for ts_ms, bits in zip(group.ts_ms.tolist(), row.tolist(), strict=True)
    }


@pytest.fixture
def store():
    with patch.object(blocks, "BLOCK_SAMPLES_MAX", EACH_MAX):
        yield Store()


# One merger


def test_what_was_merged_is_there_and_again_changes_nothing(store):
    assert put(store, filled(names(2)))
    assert merged(store, names(2)) == filled(names(2))
    assert store.get(KEY).expires_s == FAR_S
    puts = store.table.calls["put"]
    assert not put(store, filled(names(2)))
    assert store.table.calls["put"] == puts


def test_a_late_sample_merges_into_the_block_and_an_older_one_does_not(store):
    put(store, filled(["a"], sequence=5))
    assert put(store, filled(["a"], times=4, sequence=3))
    assert as_dict(merged(store, ["a"])) == as_dict(filled(["a"], times=4, sequence=3)) | as_dict(
        filled(["a"], sequence=5)
    )


def test_only_a_block_that_is_not_there_is_created(store):
    created = []
    put(store, filled(["a"]), creating=lambda: created.append(1))
    assert created == [1]
    put(store, filled(["b"]), creating=lambda: created.append(2))
    assert created == [1]


def test_creating_comes_before_the_put(store):
    def refuse():
        raise RetryableError("the index is away")

    with pytest.raises(RetryableError):
        put(store, filled(["a"]), creating=refuse)
    assert not store.table.items


def test_a_block_that_grows_too_large_is_split_and_its_parts_stand_before_the_stub(store):
    put(store, filled(names(2)))
    for count in range(3, 12):
        seen = []
        store.step = lambda seen=seen, count=count: seen.append(_readable(store, count - 1))
        put(store, filled(names(count)))
        store.step = lambda: None
        assert all(seen), "what was there can be read at every step"
        assert merged(store, names(count)) == filled(names(count))
    tree = parts(store)
    assert tree[""] and all(child in tree or not _has(child, names(11)) for stub in tree.values() for child in stub)


def _readable(store, count):
    """Whether all samples of so many series can be read; the store is asked without a step."""
    plain = WarmBlocks(store.table)
    parts_read = [columns for columns in read_blocks(plain, KEY, plain.get(KEY), names(count)) if columns is not None]
    return as_dict(filled(names(count))).items() <= as_dict(merge(parts_read)).items()


def _has(part, series):
    return any(blocks.in_part(name, part) for name in series)


def test_a_part_that_is_split_again_is_found_through_two_stubs(store):
    put(store, filled(names(4)))
    many = names(40)
    put(store, filled(many))
    assert any(part and children for part, children in parts(store).items()), "a stub below the first one"
    assert merged(store, many) == filled(many)
    assert merged(store, ["m7", "unknown"]) == filled(["m7"])


def test_a_stub_outlives_its_parts_and_is_prolonged_with_them(store):
    put(store, filled(names(9)))
    assert store.get(KEY).expires_s == FAR_S + STUB_EXTRA_S
    later_s = FAR_S + 2 * STUB_EXTRA_S
    merge_into(store, KEY, filled(["late"]), expires_s=later_s)
    child = next(item for key, item in store.table.items.items() if item.expires_s == later_s)
    assert child and store.get(KEY).expires_s == later_s + STUB_EXTRA_S


def test_a_part_that_was_removed_is_told_from_one_without_the_series(store):
    put(store, filled(names(9)))
    gone = next(key for key in store.table.items if BlockKey.of_item(*key).part)
    part = BlockKey.of_item(*gone).part
    del store.table.items[gone]
    inside, outside = ([name for name in names(9) if blocks.in_part(name, part) is within] for within in (True, False))
    assert list(read_blocks(store, KEY, store.get(KEY), inside)) == [None]
    assert None not in list(read_blocks(store, KEY, store.get(KEY), outside))
    assert list(read_blocks(store, KEY, None, ["a"])) == [None]


def test_a_series_that_no_block_can_hold_is_refused(store):
    with pytest.raises(InvariantError, match="a series must fit a block"):
        put(store, filled(["a"], times=EACH_MAX + 1))
    assert not store.table.items


def test_no_samples_make_no_item(store):
    assert not put(store, EMPTY)
    assert not store.table.items


@pytest.mark.parametrize("data", [b"\x01garbage", b"\0", b"\0" + b"0 0", b"\0" + b"0 10", b"\0\xff\xfe", b""])
def test_an_unreadable_item_is_left_as_it_is(store, data):
    store.table.put(KEY.partition, KEY.sort, Item(data), None)
    with pytest.raises(CorruptDataError):
        put(store, filled(["a"]))
    with pytest.raises(CorruptDataError):
        merged(store, ["a"])
    assert store.get(KEY).data == data


# Others at work


def test_a_repeated_put_that_meets_its_own_success_is_a_success(store):
    store.lose_answers = 1
    put(store, filled(names(2)))
    assert merged(store, names(2)) == filled(names(2))
    store.lose_answers = 3
    put(store, filled(names(9)))
    assert store.lose_answers == 0
    assert merged(store, names(9)) == filled(names(9))


def test_a_writer_that_always_comes_first_makes_it_retryable(store):
    turn = []

    def come_first():
        turn.append(1)
        store.table.items[KEY.partition, KEY.sort] = Item(blocks.encode(filled(["b"], sequence=len(turn))))

    store.step = come_first
    with pytest.raises(RetryableError, match="keeps changing"):
        put(store, filled(["a"]))
    assert store.table.calls["get"] == SEAL_TRIES_MAX


def test_a_writer_that_comes_first_some_times_is_outlasted(store):
    turn = []

    def come_first():
        turn.append(1)
        if len(turn) < SEAL_TRIES_MAX:
            store.table.items[KEY.partition, KEY.sort] = Item(blocks.encode(filled(["b"], sequence=len(turn))))

    store.step = come_first
    assert put(store, filled(["a"]))
    assert {series for series, _ in as_dict(merged(store, ["a", "b"]))} == {"a", "b"}


@given(records(), st.lists(st.integers(0, 1), max_size=60), st.lists(st.integers(0, 2), max_size=6))
def test_two_mergers_that_take_turns_lose_nothing(some, order, whose):
    """``order``: who goes on at each get and put; ``whose``: which of the records was there before, or is whose."""
    owned = [(record, whose[at] if at < len(whose) else 0) for at, record in enumerate(some)]
    before, first, second = ([record for record, owner in owned if owner == who] for who in (2, 0, 1))
    series = sorted({name for _, samples in some for name, _ in samples})
    with patch.object(blocks, "BLOCK_SAMPLES_MAX", EACH_MAX):
        store = Store()
        plain = WarmBlocks(store.table)
        put(store, columns_of(before))
        least = oracle(before)

        def nothing_is_gone():
            parts_read = read_blocks(plain, KEY, plain.get(KEY), series)
            assert least.keys() <= as_dict(merge([c for c in parts_read if c is not None])).keys()

        turns = Turns(by(order), nothing_is_gone)
        store.step = turns.step
        jobs = [lambda mine=mine: put(store, columns_of(mine)) for mine in (first, second)]
        turns.run(*jobs)
        store.step = lambda: None
        assert merged(store, series) == columns_of(some)


def test_a_split_moves_what_was_held_and_nothing_that_was_computed(store):
    """Whoever computes from what others change may be late: a part may hold newer of it already."""
    put(store, filled(names(2)))
    newer = filled(names(9), sequence=9)

    def stop():
        if any(parts(store).values()):
            raise RetryableError("stopped as soon as the stub was put")

    store.step = stop
    with pytest.raises(RetryableError):
        rewrite(Target(store, FAR_S), KEY, lambda part, stored: newer if part == "" else stored, newer.series)
    store.step = lambda: None
    assert merged(store, names(9)) == filled(names(2))


# Deletes


def marker_of(series="", sequence=9):
    return Marker(stamps.pack(1, str(sequence)), series, 0, 10)


@pytest.mark.parametrize("before", [False, True])
def test_a_delete_that_is_noted_while_the_block_is_read_is_obeyed(store, before):
    """Its own seal may have cleaned the block already: whoever read before that must not bring the samples back."""
    noted = []
    if before:
        put(store, filled(["a"]))
    store.step = lambda: noted.append(marker_of())
    put(store, filled(["a", "b"]), markers=lambda: list(noted))
    assert not as_dict(merged(store, ["a", "b"]))


def test_a_delete_is_obeyed_behind_a_put_whose_answer_was_lost(store):
    noted, calls = [], []
    store.lose_answers = 1

    def delete_before_the_put():
        calls.append(1)
        if len(calls) == 2:
            noted.append(marker_of())

    store.step = delete_before_the_put
    put(store, filled(["a"]), markers=lambda: list(noted))
    assert not as_dict(merged(store, ["a"]))


def test_a_delete_is_obeyed_behind_a_put_of_a_merge_that_died(store):
    """The first merge knew of the delete, the other one put before it was noted and never asked again."""
    noted = []

    def other_puts_and_dies():
        store.step = lambda: None
        put(store, filled(["a"]))
        noted.append(marker_of())

    store.step = other_puts_and_dies
    assert put(store, filled(["a"]), markers=lambda: list(noted))
    assert not as_dict(merged(store, ["a"]))


def test_markers_are_asked_for_again_when_another_writer_came_first(store):
    """What changed the block may have been the delete's own seal."""
    noted, turn = [], []

    def come_first():
        turn.append(1)
        if len(turn) == 2:  # between the first read and its put
            store.table.items[KEY.partition, KEY.sort] = Item(blocks.encode(EMPTY))
            noted.append(marker_of())

    store.step = come_first
    put(store, filled(["a"]), markers=lambda: list(noted))
    assert len(turn) > 3 and not as_dict(merged(store, ["a"]))


@pytest.mark.parametrize("at", [2, 3])
def test_a_delete_that_is_noted_between_the_merge_and_its_end_is_obeyed(store, at):
    """Its own seal may have cleaned the block before this put, and it would never be cleaned again."""
    noted, turn = [], []

    def step():
        turn.append(1)
        if len(turn) == at:  # the put begins, or has just been made
            noted.append(marker_of())

    store.step = step
    put(store, filled(["a"]), markers=lambda: list(noted))
    assert noted and not as_dict(merged(store, ["a"]))
