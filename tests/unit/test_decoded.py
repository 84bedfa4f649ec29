"""Rows of a window become columns, and bytes that no row has become a typed error."""

import struct

import pytest
from carbyne.core import stamps
from carbyne.core.errors import CorruptDataError, UnknownVersionError
from carbyne.core.keys import join_series, list_identity
from carbyne.samples.columns import column
from carbyne.samples.decoded import columns_of
from carbyne.samples.indexes import pack
from carbyne.samples.rows import BITMAP, DENSE, SPARSE, HotRow

TS_MS = 1_700_000_000_000
STAMP = stamps.pack(1, "1")
NAMES = ["a", "b", "c"]
BLOB = join_series(NAMES)
IDENTITY = list_identity(BLOB)
VALUES = struct.pack("<3d", 1.0, 2.0, 3.0)
LISTS = {IDENTITY: BLOB}
DICTIONARY = {name.encode(): b"%d" % index for index, name in enumerate(NAMES)}
FIELD = HotRow(TS_MS, IDENTITY, BLOB, STAMP, VALUES).field
ROWS = {
    "coded": STAMP + pack([0, 1, 2]) + VALUES,
    "dense": STAMP + bytes([DENSE]) + VALUES,
    "sparse": STAMP + bytes([SPARSE]) + struct.pack("<3I", 0, 1, 2) + VALUES,
}


@pytest.mark.parametrize("form", ROWS)
def test_a_row_of_each_form_gives_its_samples(form):
    columns = columns_of({FIELD: ROWS[form]}, LISTS, DICTIONARY)
    assert [column(columns, name)[1].view("<f8").tolist() for name in NAMES] == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("form", ROWS)
def test_a_row_that_is_cut_anywhere_is_corrupt(form):
    for length in range(len(ROWS[form])):
        with pytest.raises(CorruptDataError):
            columns_of({FIELD: ROWS[form][:length]}, LISTS, DICTIONARY)


def test_a_row_of_a_later_kind_is_not_taken_for_a_damaged_one():
    with pytest.raises(UnknownVersionError, match=f"row of kind {BITMAP + 1}"):
        columns_of({FIELD: STAMP + bytes([BITMAP + 1])}, LISTS, DICTIONARY)
