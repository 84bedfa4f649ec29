"""Decoding rows: the samples of a window's rows as columns, out of their fields and values as Redis has them.

``rows`` shows the layout; ``indexes`` has the part of a row that says which series it has.
"""

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct as Layout
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbyne.core.errors import CorruptDataError, InvariantError, UnknownVersionError
from carbyne.core.keys import list_identity, split_series
from carbyne.core.stamps import STAMP_BYTES
from carbyne.samples.columns import EMPTY, Columns, Rows, merge
from carbyne.samples.fragments import Fragment, from_fragments, from_lists
from carbyne.samples.indexes import head_of, unpack
from carbyne.samples.rows import BITMAP, DENSE, HEAD_BYTES, RUNS, SPARSE

_TS_MS: Final = Layout(">q")
IDENTITY: Final = slice(8, 16)
"""Of the list, in a row's field."""


def columns_of(
    values: Mapping[bytes, bytes], lists: Mapping[bytes, bytes], dictionary: Mapping[bytes, bytes]
) -> Columns:
    """The samples of rows; ``values``: field -> value, deletes among them; ``lists``: identity -> blob of a list;
    ``dictionary``: series key -> index, in decimal digits.

    Raises UnknownVersionError for a kind of row that only later code knows, CorruptDataError for what the write script
    does not store.
    """
    try:
        if (kind := max((value[STAMP_BYTES] for value in values.values()), default=DENSE)) > BITMAP:
            raise UnknownVersionError(f"row of kind {kind}; this code knows up to {BITMAP}")
        older = from_lists([*_dense(values, lists), *_sparse(values, dictionary)])
        return merge([_coded(values, dictionary), older])
    except (ValueError, LookupError, InvariantError) as error:
        raise CorruptDataError(f"rows of a window: {error!r}") from error


def _coded(values: Mapping[bytes, bytes], dictionary: Mapping[bytes, bytes]) -> Columns:
    """The samples of rows that name their series by the dictionary; ValueError if one has other series than its field
    says."""
    by_form: dict[tuple[bytes, bytes], list[tuple[bytes, bytes]]] = {}
    for field, value in values.items():
        if value[STAMP_BYTES] in (RUNS, BITMAP):
            by_form.setdefault((field[IDENTITY], head_of(value)), []).append((field, value))
    if not by_form:
        return EMPTY
    names = sorted(dictionary)
    ranks = np.empty(len(names), np.int64)
    ranks[[int(dictionary[name]) for name in names]] = np.arange(len(names))
    fragments = [_fragment(identity, head, names, ranks, rows) for (identity, head), rows in by_form.items()]
    return from_fragments([name.decode() for name in names], fragments)


def _fragment(
    identity: bytes,
    head: bytes,
    names: Sequence[bytes],
    ranks: NDArray[np.int64],
    rows: Sequence[tuple[bytes, bytes]],
) -> Fragment:
    """The rows that have one head; ``ranks``: by index, where its name stands in ``names``, which ascend."""
    series = ranks[unpack(head, len(names))]
    if list_identity(b"\n".join(map(names.__getitem__, np.sort(series).tolist()))) != identity:
        raise ValueError(f"the dictionary gives a row of list {identity.hex()} other series")
    start = STAMP_BYTES + len(head)
    if len(rows) == 1:  # most are, of a scrape that is cut: no bytes are joined
        field, value = rows[0]
        bits, ts_ms = np.frombuffer(value, "<u8", offset=start), np.array([_TS_MS.unpack_from(field)[0]])
        return Fragment(series, ts_ms, [value[:STAMP_BYTES]], bits.reshape(1, len(series)))
    values = np.frombuffer(b"".join([value[start:] for _, value in rows]), "<u8").astype(np.uint64)
    return Fragment(series, _times(rows), _stamps(rows), values.reshape(len(rows), len(series)))


def _dense(values: Mapping[bytes, bytes], lists: Mapping[bytes, bytes]) -> Iterator[Rows]:
    """The rows of each list."""
    by_list: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for field, value in values.items():
        if value[STAMP_BYTES] == DENSE:
            by_list.setdefault(field[IDENTITY], []).append((field, value))
    for identity, rows in by_list.items():
        packed = b"".join([value[HEAD_BYTES:] for _, value in rows])
        yield _batch(rows, tuple(split_series(lists[identity])), np.frombuffer(packed, "<u8"))


def _sparse(values: Mapping[bytes, bytes], dictionary: Mapping[bytes, bytes]) -> Iterator[Rows]:
    """Each row that names its series by the dictionary; that this is the row's own one shows in the list's identity."""
    names = {int(index): series for series, index in dictionary.items()}
    for field, value in values.items():
        if value[STAMP_BYTES] == SPARSE:
            size = (len(value) - HEAD_BYTES) // 12
            blob = b"\n".join([names[index] for index in np.frombuffer(value, "<u4", size, HEAD_BYTES).tolist()])
            if list_identity(blob) != field[IDENTITY]:
                raise ValueError(f"the dictionary gives a row of list {field[IDENTITY].hex()} other series")
            bits = np.frombuffer(value, "<u8", size, HEAD_BYTES + 4 * size)
            yield _batch([(field, value)], tuple(split_series(blob)), bits)


def _batch(rows: Sequence[tuple[bytes, bytes]], series: tuple[str, ...], values: NDArray[np.uint64]) -> Rows:
    return Rows(series, _times(rows), _stamps(rows), values.astype(np.uint64).reshape(len(rows), len(series)))


def _times(rows: Sequence[tuple[bytes, bytes]]) -> NDArray[np.int64]:
    return np.frombuffer(b"".join([field[:8] for field, _ in rows]), ">i8").astype(np.int64)


def _stamps(rows: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    return [value[:STAMP_BYTES] for _, value in rows]
