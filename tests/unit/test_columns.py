"""Columns and the one merge, against a plain dict."""

import random
from dataclasses import replace

import numpy as np
import pytest
from carbyne.core import stamps
from carbyne.core.errors import InvariantError
from carbyne.samples.columns import EMPTY, Columns, Group, Rows, between, column, flaw, from_rows, merge, restrict
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import Record, columns_of, minutes, records, row_stamps, shaped

Samples = dict[tuple[str, int], tuple[bytes, int]]


def samples_of(columns: Columns) -> Samples:
    return {
        (series, int(ts_ms)): (columns.stamps[stamp], int(value))
        for group in columns.groups
        for series, values in zip(group.series, group.values, strict=True)
        for ts_ms, stamp, value in zip(group.ts_ms, group.stamps, values, strict=True)
    }


def oracle(some: list[Record]) -> Samples:
    best: Samples = {}
    for stamp, samples in some:
        for at, value in samples.items():
            if at not in best or stamp > best[at][0]:
                best[at] = (stamp, value)
    return best


@given(records(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_merge_is_what_a_dict_would_do_in_any_order(some: list[Record], parts: int, rng: random.Random) -> None:
    homes = [[record for record in some if rng.random() < 0.6] for _ in range(parts)] + [some]
    rng.shuffle(homes)
    merged = merge([columns_of(home) for home in homes])
    assert samples_of(merged) == oracle(some)
    assert flaw(merged) is None
    assert merged == columns_of(some)


@given(records(), records(), records())
def test_merge_is_associative_commutative_and_idempotent(a: list[Record], b: list[Record], c: list[Record]) -> None:
    taken: set[bytes] = set()
    own = [[r for r in some if not (r[0] in taken or taken.add(r[0]))] for some in (a, b, c)]
    first, second, third = map(columns_of, own)
    assert (
        merge([merge([first, second]), third])
        == merge([first, merge([third, second])])
        == merge([third, second, first])
    )
    assert merge([first, first]) == first == merge([first, EMPTY])


@given(records())
def test_samples_and_series_count_what_is_there(some: list[Record]) -> None:
    columns = columns_of(some)
    assert columns.samples == len(oracle(some))
    assert columns.series == sorted({series for series, _ in oracle(some)})


@given(records(), st.integers(-3, 5), st.integers(-3, 5))
def test_between_keeps_the_samples_of_a_span(some: list[Record], start_ms: int, end_ms: int) -> None:
    part = between(columns_of(some), start_ms, end_ms)
    assert samples_of(part) == {at: sample for at, sample in oracle(some).items() if start_ms <= at[1] < end_ms}
    assert flaw(part) is None


@given(records(), st.sampled_from("abc"))
def test_restrict_and_column_pick_series(some: list[Record], series: str) -> None:
    columns = columns_of(some)
    part = restrict(columns, series.__eq__)
    mine = {at: sample for at, sample in oracle(some).items() if at[0] == series}
    assert samples_of(part) == mine
    assert flaw(part) is None
    ts_ms, values = column(columns, series)
    assert dict(zip(ts_ms.tolist(), values.tolist(), strict=True)) == {at[1]: bits for at, (_, bits) in mine.items()}


def test_equal_stamps_keep_the_sample_given_first() -> None:
    def of_value(value: int) -> Columns:
        return columns_of([(stamps.pack(1, "7"), {("a", 0): value})])

    assert merge([of_value(3), of_value(4)]) == of_value(3)


def test_a_late_row_raises_no_stamp_but_those_it_takes() -> None:
    old, late, early = (stamps.pack(1, str(number)) for number in (5, 9, 2))
    merged = columns_of([(old, {("a", 1): 10, ("b", 1): 11}), (late, {("b", 1): 21}), (early, {("a", 1): 31})])
    assert samples_of(merged) == {("a", 1): (old, 10), ("b", 1): (late, 21)}
    assert merged.stamps == (old, late)


def test_many_series_with_a_late_subset_merge_by_stamp() -> None:
    names = tuple(f"m{number:05d}" for number in range(5_000))
    values = np.arange(240 * 5_000, dtype=np.uint64).reshape(240, -1)
    first = from_rows([Rows(names, minutes(240), row_stamps(480)[:240], values)])
    late = from_rows(
        [Rows(names[100:300], minutes(300)[200:], row_stamps(480)[240:340], values[:100, 100:300] + np.uint64(1))]
    )
    merged = merge([first, late])
    assert merged == merge([late, first])
    assert [(len(group.series), len(group.ts_ms)) for group in merged.groups] == [(4_800, 240), (200, 300)]
    assert np.array_equal(merged.groups[1].values[:, :200], first.groups[0].values[100:300, :200])
    assert np.array_equal(merged.groups[1].values[:, 200:], late.groups[0].values)


def test_rows_of_one_time_settle_by_stamp() -> None:
    rows = Rows(("a",), np.array([5, 5, 1]), row_stamps(3)[::-1], np.array([[1], [2], [3]], np.uint64))
    ts_ms, values = column(from_rows([rows]), "a")
    assert (ts_ms.tolist(), values.tolist()) == ([1, 5], [3, 1])


@pytest.mark.parametrize(
    "rows",
    [
        Rows(("b", "a"), minutes(1), row_stamps(1), np.zeros((1, 2), np.uint64)),
        Rows(("a", "a"), minutes(1), row_stamps(1), np.zeros((1, 2), np.uint64)),
        Rows(("a",), minutes(2), row_stamps(1), np.zeros((2, 1), np.uint64)),
        Rows(("a",), minutes(2), row_stamps(2), np.zeros((1, 2), np.uint64)),
    ],
    ids=["descending", "twice", "stamp missing", "not transposed"],
)
def test_rows_that_do_not_fit_are_a_bug(rows: Rows) -> None:
    with pytest.raises(InvariantError, match="BUG: rows need"):
        from_rows([rows])


SOUND = shaped(["counter", "noise"], 3, seed=1)
GROUP = SOUND.groups[0]


def _with(**changes: object) -> Columns:
    return replace(SOUND, groups=(replace(GROUP, **changes),))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (replace(SOUND, stamps=SOUND.stamps[::-1]), "stamps are not ascending"),
        (replace(SOUND, stamps=(b"short", *SOUND.stamps[1:])), "26 bytes"),
        (_with(series=("noise", "counter")), "series are not ascending"),
        (_with(series=()), "series are not ascending"),
        (_with(ts_ms=GROUP.ts_ms[::-1]), "times are not ascending"),
        (_with(ts_ms=GROUP.ts_ms[:0]), "times are not ascending"),
        (_with(stamps=GROUP.stamps + np.uint32(1)), "stamp indexes do not fit"),
        (_with(stamps=GROUP.stamps[:2]), "stamp indexes do not fit"),
        (_with(values=GROUP.values.T), "values"),
        (_with(stamps=GROUP.stamps * np.uint32(0)), "used by no sample"),
        (replace(SOUND, groups=(GROUP, replace(GROUP, series=("noise", "z")))), "in two groups"),
        (replace(SOUND, groups=(GROUP, replace(GROUP, series=("a", "b")))), "not ordered"),
        (replace(SOUND, groups=(GROUP, replace(GROUP, series=("x", "y")))), "share times and stamps"),
    ],
)
def test_flaw_names_the_broken_rule(columns: Columns, words: str) -> None:
    assert flaw(SOUND) is None
    assert words in str(flaw(columns))


def test_groups_compare_by_bits_and_have_no_hash() -> None:
    zero, minus = np.zeros((1, 1), np.uint64), np.full((1, 1), 1 << 63, np.uint64)
    assert Group(("a",), minutes(1), np.zeros(1, np.uint32), zero) != Group(
        ("a",), minutes(1), np.zeros(1, np.uint32), minus
    )
    with pytest.raises(TypeError, match="unhashable"):
        hash(GROUP)
