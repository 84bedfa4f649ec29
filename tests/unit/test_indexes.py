"""Which series a row has, as runs or as a bitmap."""

import numpy as np
import pytest
from carbyne.core.stamps import ZERO
from carbyne.samples.indexes import head_of, pack, unpack
from carbyne.samples.rows import BITMAP, RUNS
from hypothesis import given
from hypothesis import strategies as st

NAMES = 600
indexes = st.lists(st.integers(0, NAMES - 1), min_size=1, unique=True).map(sorted)
ranges = st.tuples(st.integers(0, NAMES - 1), st.integers(1, NAMES)).map(
    lambda pair: list(range(pair[0], min(NAMES, sum(pair))))
)
some = indexes | ranges | st.lists(ranges, min_size=1, max_size=4).map(lambda parts: sorted(set().union(*parts)))


@given(some, st.binary(max_size=40))
def test_what_was_packed_is_read_again_whatever_follows(chosen, values):
    head = pack(chosen)
    assert head_of(ZERO + head + values) == head
    assert unpack(head, NAMES).tolist() == chosen
    assert len(head) <= 9 + NAMES // 8


@pytest.mark.parametrize(
    ("chosen", "kind", "size"),
    [
        pytest.param([7], RUNS, 11, id="one"),
        pytest.param(range(500), RUNS, 11, id="whole"),
        pytest.param([*range(100), *range(400, 500)], RUNS, 19, id="ends"),
        pytest.param(range(0, 400, 4), BITMAP, 9 + 50, id="each-fourth"),
    ],
)
def test_the_smaller_form_is_taken(chosen, kind, size):
    head = pack(list(chosen))
    assert (head[0], len(head)) == (kind, size)


@given(some, st.integers(0, 8 * 90), st.integers(1, NAMES))
def test_damage_is_an_error_or_other_indexes_that_the_names_have(chosen, bit, names):
    """That they are the row's own shows in the identity of its list."""
    value = bytearray(ZERO + pack(chosen))
    at = len(ZERO) + 1 + bit // 8 % (len(value) - len(ZERO) - 1)
    value[at] ^= 1 << bit % 8
    try:
        read = unpack(head_of(bytes(value)), names)
    except ValueError:
        return
    assert 0 < len(read) <= names and read[-1] < names and np.all(np.diff(read) > 0)


@given(some, st.data())
def test_a_row_that_ends_within_its_head_is_an_error(chosen, data):
    value = ZERO + pack(chosen)
    with pytest.raises(ValueError, match="bytes"):
        head_of(value[: data.draw(st.integers(len(ZERO) + 1, len(value) - 1))])
