"""The parts of lua/read.lua, each alone on Lua 5.1."""

import struct
from pathlib import Path

import pytest
from carbyne.core.stamps import ZERO
from carbyne.samples.indexes import pack
from carbyne.samples.rows import BITMAP, HEAD_BYTES, RUNS, SPARSE
from hypothesis import given
from hypothesis import strategies as st

from tests.model.redis import MemoryNodes, MemoryRedis

PARTS = Path(__file__).parents[2] / "lua" / "parts"
some = st.lists(st.integers(0, 300), min_size=1, unique=True).map(sorted) | st.tuples(
    st.integers(0, 200), st.integers(1, 100)
).map(lambda pair: list(range(pair[0], sum(pair))))
asked = st.lists(st.integers(0, 310), unique=True).map(sorted)


@pytest.fixture(scope="module")
def lua():
    return MemoryNodes(MemoryRedis(lambda: 0))._lua


@pytest.fixture(scope="module")
def offsets(lua):
    """{name: function} of offsets.lua; each gives {number of the series: bytes before its value}."""
    text = f"local HEAD = {HEAD_BYTES}\n{(PARTS / 'offsets.lua').read_text()}"
    names = ["in_runs", "in_bitmap", "in_pairs"]
    functions = lua.execute(f"{text}\nreturn {{{', '.join(names)}}}".encode())

    def bound(function):
        def offsets_of(row, indexes):
            places = lua.table_from([lua.table_from([number + 1, index]) for number, index in enumerate(indexes)])
            taken = {}
            function(row, places, lambda number, offset: taken.setdefault(indexes[int(number) - 1], int(offset)))
            return taken

        return offsets_of

    return {name: bound(functions[number + 1]) for number, name in enumerate(names)}


def values_of(row, places):
    return {index: struct.unpack_from("<d", row, offset)[0] for index, offset in places.items()}


@given(some, asked)
def test_the_values_of_a_row_are_found_by_the_indexes_of_its_series(offsets, chosen, indexes):
    head = pack(chosen)
    row = ZERO + head + struct.pack(f"<{len(chosen)}d", *chosen)
    places = offsets[{RUNS: "in_runs", BITMAP: "in_bitmap"}[head[0]]](row, indexes)
    assert values_of(row, places) == {index: float(index) for index in indexes if index in chosen}


@given(some, asked)
def test_the_values_of_an_older_sparse_row_are_found(offsets, chosen, indexes):
    row = ZERO + bytes((SPARSE,)) + struct.pack(f"<{len(chosen)}I{len(chosen)}d", *chosen, *chosen)
    assert values_of(row, offsets["in_pairs"](row, indexes)) == {i: float(i) for i in indexes if i in chosen}


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5), st.binary(min_size=1, max_size=3)), max_size=20))
def test_of_the_newest_samples_all_of_the_newest_time_are_kept(lua, taken):
    text = (PARTS / "samples.lua").read_text()
    begin, keep, complete, result = lua.execute(
        f"{text}\nreturn begin_samples, keep, all_have_newest, samples_of_each".encode()
    )
    begin(3)
    for number, ts, packed in taken:
        keep(number, ts, packed, True)
    newest = {number: max(ts for n, ts, _ in taken if n == number) for number, _, _ in taken}
    expected = [b"".join(p for n, ts, p in taken if n == number and ts == newest[n]) for number in (1, 2, 3)]
    assert list(result().values()) == expected
    assert complete() == (len(newest) == 3)
