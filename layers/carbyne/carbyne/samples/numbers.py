"""Numbers as streams of bytes and back, bit for bit: the parts of a block.

The length of a stream of T numbers of 8 bytes tells its form: 8 bytes are one number for all T, 8 T bytes are the plain
numbers, little-endian, and any other length is a standalone file of pco.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig, standalone

PCO: Final = ChunkConfig(compression_level=6)
TIMES_PCO_MIN: Final = 16
"""Shorter streams are left to zstd: the head of a pco stream would cost more than it saves."""
DIGITS_MAX: Final = 9
"""Most decimal digits of the scaled-integer form; agents print no more."""
FLOATS: Final = 0xFF
"""Form of a stream of float64.  Forms 0 to DIGITS_MAX: integers, scaled by that many decimal digits."""
PROBE_TIMES: Final = 16
"""Values that are tried first: if they do not fit a scale, the series does not."""
SCALED_BELOW: Final = float(1 << 53)

PackedStream = tuple[int, bytes]
"""(form, bytes) of one series."""


def pack(numbers: NDArray[Any]) -> bytes:
    """A stream: one number if all are the same, else pco, or the plain 8-byte little-endian numbers if they are
    shorter."""
    bits = numbers.view(np.uint64)
    if (bits == bits[0]).all():
        return bits[:1].tobytes()
    if len(numbers) < TIMES_PCO_MIN:
        return numbers.tobytes()
    packed = standalone.simple_compress(numbers, PCO)
    return packed if len(packed) < numbers.nbytes else numbers.tobytes()


def unpack(stream: bytes | memoryview, numbers: NDArray[Any]) -> None:
    """Fill ``numbers`` from a stream: the mirror of ``pack``.  Raises ValueError or RuntimeError for bad bytes."""
    if len(stream) in (8, numbers.nbytes):
        numbers[:] = np.frombuffer(stream, numbers.dtype)
        return
    progress = standalone.simple_decompress_into(bytes(stream), numbers)
    if progress.n_processed != len(numbers) or not progress.finished:
        raise ValueError(f"stream of {len(stream)} bytes does not hold {len(numbers)} numbers")


def pack_values(bits: NDArray[np.uint64]) -> Iterator[PackedStream]:
    """The stream of each row of ``bits`` [S, T]: of scaled integers where that is bit-exact, else of float64."""
    for row, form in zip(bits, forms_of(bits).tolist(), strict=True):
        yield form, pack(row.view(np.float64) if form == FLOATS else scaled_to(row, form))


def forms_of(bits: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The form [S] for each row of ``bits`` [S, T]: the fewest digits that are exact; constants stay float64."""
    forms = np.full(len(bits), FLOATS, np.uint8)
    left = np.flatnonzero((bits != bits[:, :1]).any(axis=1))
    for digits in range(DIGITS_MAX + 1):
        likely = left[_is_exact(bits[left, :PROBE_TIMES], digits)]
        forms[likely[_is_exact(bits[likely], digits)]] = digits
        left = left[forms[left] == FLOATS]
    return forms


def _is_exact(bits: NDArray[np.uint64], digits: int) -> NDArray[np.bool_]:
    exact: NDArray[np.bool_] = (_unscaled(scaled_to(bits, digits), digits) == bits).all(axis=1)
    return exact


def scaled_to(bits: NDArray[np.uint64], digits: int) -> NDArray[np.int64]:
    """The float64 of ``bits`` * 10**digits as integers; 0 where no int64 is exact."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(bits.view(np.float64) * 10.0**digits)
        return np.where(np.abs(scaled) < SCALED_BELOW, scaled, 0.0).astype(np.int64)


def _unscaled(whole: NDArray[np.int64], digits: int) -> NDArray[np.uint64]:
    return (whole / 10.0**digits).view(np.uint64)


def unpack_values(row: NDArray[np.uint64], form: int, stream: memoryview) -> None:
    """Fill ``row`` [T] with the bits of a series: the mirror of ``pack_values``.  Raises as ``unpack``."""
    if form == FLOATS:
        unpack(stream, row.view(np.float64))
        return
    if form > DIGITS_MAX:
        raise ValueError(f"form {form}")
    whole = row.view(np.int64)
    unpack(stream, whole)
    row[:] = _unscaled(whole, form)
