"""Numbers as streams of bytes and back, bit for bit: the parts of a block.

The length of a stream of T numbers of 8 bytes tells its form: 8 bytes are one number for all T, 8 T bytes are the plain
numbers, little-endian, and any other length is a standalone file of pco.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig, DeltaSpec, standalone

BYTES: Final = 8
PCO: Final = ChunkConfig(compression_level=6)
PCO_VALUES: Final = ChunkConfig(compression_level=6, delta_spec=DeltaSpec.no_op())
PCO_STEADY: Final = ChunkConfig(compression_level=6, delta_spec=DeltaSpec.try_consecutive(1))
STEADY_BELOW: Final = 0.7
"""Range of the differences, in ranges of the numbers, below which the differences are what is stored."""
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
    return _packed(numbers, PCO)


def _packed(numbers: NDArray[Any], config: ChunkConfig) -> bytes:
    if len(numbers) < TIMES_PCO_MIN:
        return numbers.tobytes()
    packed = standalone.simple_compress(numbers, config)
    return packed if len(packed) < numbers.nbytes else numbers.tobytes()


def unpack(stream: bytes | memoryview, numbers: NDArray[Any]) -> None:
    """Fill ``numbers`` from a stream: the mirror of ``pack``.  Raises ValueError or RuntimeError for bad bytes."""
    if len(stream) in (BYTES, numbers.nbytes):
        numbers[:] = np.frombuffer(stream, numbers.dtype)
        return
    progress = standalone.simple_decompress_into(bytes(stream), numbers)
    if progress.n_processed != len(numbers) or not progress.finished:
        raise ValueError(f"stream of {len(stream)} bytes does not hold {len(numbers)} numbers")


def pack_values(bits: NDArray[np.uint64]) -> list[PackedStream]:
    """The stream of each row of ``bits`` [S, T]: of scaled integers where that is bit-exact, else of float64."""
    forms, is_constant = forms_of(bits)
    streams = [(FLOATS, row[:1].tobytes()) for row in bits]
    for form in np.unique(forms[~is_constant]).tolist():
        rows = np.flatnonzero((forms == form) & ~is_constant)
        numbers = bits[rows].view(np.float64) if form == FLOATS else scaled_to(bits[rows], form)
        for row, own, is_steady in zip(rows.tolist(), numbers, _are_steady(numbers).tolist(), strict=True):
            streams[row] = form, _packed(own, PCO_STEADY if is_steady else PCO_VALUES)
    return streams


def _are_steady(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the differences of successive numbers of a row [S, T] have a smaller range than the numbers.

    pco finds that out by trying, which takes three times as long as to compress, and saves 0.3 % more.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.diff(numbers, axis=1)
        steady: NDArray[np.bool_] = np.ptp(steps, axis=1) < STEADY_BELOW * np.ptp(numbers, axis=1)
    return steady


def forms_of(bits: NDArray[np.uint64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """For each row of ``bits`` [S, T] its form [S], the fewest digits that are exact, and whether it is a constant;
    constants stay float64."""
    forms = np.full(len(bits), FLOATS, np.uint8)
    is_constant: NDArray[np.bool_] = (bits == bits[:, :1]).all(axis=1)
    left = np.flatnonzero(~is_constant)
    for digits in range(DIGITS_MAX + 1):
        likely = left[_is_exact(bits[left, :PROBE_TIMES], digits)]
        forms[likely[_is_exact(bits[likely], digits)]] = digits
        left = left[forms[left] == FLOATS]
    return forms, is_constant


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


def unpack_values(rows: NDArray[np.uint64], forms: bytes, streams: Sequence[memoryview]) -> None:
    """Fill ``rows`` [S, T] with the bits of as many series: the mirror of ``pack_values``.  Raises as ``unpack``."""
    if (form := max((form for form in forms if form != FLOATS), default=0)) > DIGITS_MAX:
        raise ValueError(f"form {form}")
    constants = [row for row, stream in enumerate(streams) if len(stream) == BYTES]
    rows[constants] = np.frombuffer(b"".join(streams[row] for row in constants), np.uint64)[:, None]
    for row, form, stream in zip(rows, forms, streams, strict=True):
        if len(stream) != BYTES:
            unpack(stream, row.view(np.float64 if form == FLOATS else np.int64))
    for form in {*forms} - {FLOATS}:
        scaled = [row for row, own in enumerate(forms) if own == form]
        rows[scaled] = _unscaled(rows[scaled].view(np.int64), form)
