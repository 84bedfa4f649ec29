"""Columns of rows that were cut anywhere are the columns of the same rows merged list by list."""

import numpy as np
import pytest
from carbyne.core import stamps
from carbyne.samples.columns import EMPTY, Rows, flaw, from_rows
from carbyne.samples.fragments import Fragment, from_fragments, from_lists
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import Record, minutes, records, row_stamps, rows_of


@given(records())
def test_columns_of_many_lists_are_those_of_the_merge(some: list[Record]) -> None:
    rows = [rows for record in some for rows in rows_of(record)]
    columns = from_lists(rows)
    assert columns == from_rows(rows)
    assert flaw(columns) is None


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 6), st.randoms(use_true_random=False))
def test_a_scrape_cut_anywhere_gives_the_columns_of_the_whole_one(series, times, pieces, rng) -> None:
    names = [f"m{number:03d}" for number in range(series)]
    values = np.random.default_rng(rng.randrange(2**32)).integers(0, 2**64, (times, series), np.uint64, endpoint=False)
    own = row_stamps(times)
    fragments = []
    for row in range(times):
        homes = np.array([rng.randrange(pieces) for _ in names])
        for piece in range(pieces):
            mine = np.flatnonzero(homes == piece)
            fragments.append(
                Fragment(mine, minutes(times)[row : row + 1], own[row : row + 1], values[row : row + 1, mine])
            )
    rng.shuffle(fragments)
    assert from_fragments(names, fragments) == from_rows([Rows(tuple(names), minutes(times), own, values)])


def test_no_fragments_are_no_samples() -> None:
    assert from_fragments([], []) == EMPTY == from_lists([])


@pytest.mark.parametrize("order", [1, -1])
def test_the_greater_stamp_wins_and_of_equal_ones_the_first(order) -> None:
    old, new = stamps.pack(1, "5"), stamps.pack(1, "9")
    values = [(old, 1), (new, 2), (new, 3)][::order]
    fragments = [
        Fragment(np.array([0]), np.array([7]), [stamp], np.array([[bits]], np.uint64)) for stamp, bits in values
    ]
    columns = from_fragments(["a"], fragments)
    assert columns.stamps == (new,)
    assert columns.groups[0].values.tolist() == [[2 if order == 1 else 3]]
