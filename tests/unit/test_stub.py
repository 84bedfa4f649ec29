"""Stubs: what stands in the place of a block that was split."""

import pytest
from carbyne.core.errors import CorruptDataError
from carbyne.samples import blocks
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import series_keys

parts = st.text("01", max_size=6)


@st.composite
def trees(draw):
    """(part, leaves): some of the leaves of a tree below the part, never the part itself."""
    part = draw(parts)
    leaves = [part]
    for _ in range(draw(st.integers(1, 6))):
        leaf = draw(st.sampled_from(leaves))
        leaves.remove(leaf)
        leaves += blocks.children(leaf)
    return part, draw(st.lists(st.sampled_from(leaves), min_size=1, unique=True))


@given(trees(), series_keys)
def test_every_series_of_the_part_has_exactly_one_part(tree, series):
    part, leaves = tree
    named = blocks.parts_of(blocks.encode_stub(leaves, part))
    assert set(leaves) <= set(named)
    homes = [named_part for named_part in named if blocks.in_part(series, named_part)]
    assert len(homes) == blocks.in_part(series, part)


@given(trees(), st.data())
def test_a_damaged_stub_is_corrupt(tree, data):
    stub = blocks.encode_stub(tree[1], tree[0])
    at = data.draw(st.integers(0, len(stub) - 1))
    flipped = bytes((stub[at] ^ data.draw(st.integers(1, 255)),))
    damaged = data.draw(st.sampled_from([stub[:at], stub[:at] + flipped + stub[at + 1 :]]))
    with pytest.raises(CorruptDataError):  # as a reader takes it: a stub, else a block
        blocks.parts_of(damaged) or blocks.decode(damaged)


def test_a_stub_is_no_block_and_a_block_no_stub():
    stub = blocks.encode_stub(["0", "1"])
    assert blocks.parts_of(stub) == ("0", "1")
    with pytest.raises(CorruptDataError):
        blocks.decode(stub)
