"""Counts distinct things in a kilobyte: HyperLogLog.

Flajolet, Fusy, Gandouet, Meunier: "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm", 2007;
here with 1,024 one-byte registers and 64-bit hashes: a standard error of 3.3 %, less below some thousands.  Adding a
thing twice changes nothing.  The union of two sketches is the sketch of the union.
"""

from hashlib import blake2b
from math import log
from typing import Final

INDEX_BITS: Final = 10
REGISTERS: Final = 1 << INDEX_BITS
_REST_BITS: Final = 64 - INDEX_BITS
_SCALE: Final = 0.7213 / (1 + 1.079 / REGISTERS) * REGISTERS**2


class Sketch:
    """``registers``: as stored; any other length than REGISTERS counts as empty."""

    def __init__(self, registers: bytes = b"") -> None:
        self._registers = bytearray(registers) if len(registers) == REGISTERS else bytearray(REGISTERS)

    def add(self, thing: bytes) -> None:
        """Count ``thing``."""
        number = int.from_bytes(blake2b(thing, digest_size=8).digest(), "big")
        index, rest = number >> _REST_BITS, number & ((1 << _REST_BITS) - 1)
        rank = _REST_BITS - rest.bit_length() + 1
        self._registers[index] = max(self._registers[index], rank)

    def merge(self, registers: bytes) -> None:
        """Add everything that another sketch counted."""
        self._registers[:] = map(max, self._registers, Sketch(registers)._registers)

    @property
    def registers(self) -> bytes:
        return bytes(self._registers)

    @property
    def estimate(self) -> int:
        """The number of distinct things."""
        raw = _SCALE / sum(2.0**-rank for rank in self._registers)
        empty = self._registers.count(0)
        return round(REGISTERS * log(REGISTERS / empty) if empty and raw <= 2.5 * REGISTERS else raw)
