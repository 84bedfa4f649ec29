"""Which series of a window's dictionary a row has: the part of a row between its stamp and its values.

    +------+----------------------------------------------------------------------------------------+
    | kind | runs (3):    number u16 LE, for each the first index and how many follow, u32 LE each     |
    | u8   | bitmap (4):  first index u32 LE, number of bytes u32 LE, the bits from there, lowest first |
    +------+----------------------------------------------------------------------------------------+

A whole scrape is one run.  A part of one that was cut anywhere is a few runs, and what one of several senders has a
bitmap; the smaller form is taken.
"""

from collections.abc import Sequence
from struct import Struct as Layout
from struct import error as struct_error
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbyne.core.stamps import STAMP_BYTES
from carbyne.samples.rows import BITMAP, RUNS

_RUNS: Final = Layout("<BH")
_BITMAP: Final = Layout("<BII")
_RUN: Final = Layout("<II")
_RUNS_MAX: Final = 2**16 - 1


def pack(indexes: Sequence[int]) -> bytes:
    """Kind and head of a row with the series at ``indexes``, ascending and at least one."""
    first, span = indexes[0], indexes[-1] - indexes[0] + 1
    if span == len(indexes):
        return _RUNS.pack(RUNS, 1) + _RUN.pack(first, span)
    places = np.array(indexes, np.int64)
    starts = np.concatenate([np.zeros(1, np.intp), np.flatnonzero(places[1:] != places[:-1] + 1) + 1])
    if _RUNS.size + _RUN.size * len(starts) <= _BITMAP.size + (span + 7) // 8 and len(starts) <= _RUNS_MAX:
        runs = np.empty((len(starts), 2), "<u4")
        runs[:, 0] = places[starts]
        runs[:, 1] = np.append(starts[1:], len(places)) - starts
        return _RUNS.pack(RUNS, len(starts)) + runs.tobytes()
    bits = np.zeros(span, bool)
    bits[places - first] = True
    bitmap = np.packbits(bits, bitorder="little").tobytes()
    return _BITMAP.pack(BITMAP, first, len(bitmap)) + bitmap


def head_of(value: bytes) -> bytes:
    """Kind and head of a row that has either; ValueError if its bytes end before that."""
    try:
        if value[STAMP_BYTES] == RUNS:
            size = _RUNS.size + _RUN.size * _RUNS.unpack_from(value, STAMP_BYTES)[1]
        else:
            size = _BITMAP.size + _BITMAP.unpack_from(value, STAMP_BYTES)[2]
    except struct_error as error:
        raise ValueError(f"a row of {len(value)} bytes: {error}") from error
    head = value[STAMP_BYTES : STAMP_BYTES + size]
    if len(head) != size:
        raise ValueError(f"a row of {len(value)} bytes ends within its head of {size}")
    return head


def unpack(head: bytes, names: int) -> NDArray[np.int64]:
    """The mirror of ``pack``; ValueError if an index is not below ``names``, or they do not ascend."""
    is_bitmap = head[0] != RUNS
    indexes = _of_bitmap(head) if is_bitmap else _of_runs(head, names)
    if not len(indexes) or indexes[-1] >= names or not (is_bitmap or (indexes[1:] > indexes[:-1]).all()):
        raise ValueError(f"indexes of a row do not ascend, or are not among {names} names: {head[:40].hex()}")
    return indexes


def _of_runs(head: bytes, names: int) -> NDArray[np.int64]:
    if len(head) == _RUNS.size + _RUN.size:
        first, count = _RUN.unpack_from(head, _RUNS.size)
        return np.arange(first, first + min(count, names + 1))
    runs = np.frombuffer(head, "<u4", offset=_RUNS.size).reshape(-1, 2).astype(np.int64)
    if bool((runs.sum(axis=1) > names).any()) or int(runs[:, 1].sum()) > names:
        raise ValueError(f"runs of a row leave its {names} names: {head[:40].hex()}")
    return np.concatenate([np.empty(0, np.int64), *(np.arange(first, first + count) for first, count in runs.tolist())])


def _of_bitmap(head: bytes) -> NDArray[np.int64]:
    bits = np.unpackbits(np.frombuffer(head, np.uint8, offset=_BITMAP.size), bitorder="little")
    places: NDArray[np.int64] = bits.nonzero()[0] + _BITMAP.unpack_from(head)[1]
    return places  # ascending, as bits are
