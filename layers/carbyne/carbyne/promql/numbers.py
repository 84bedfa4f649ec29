"""Numbers as text in the forms of Go, which Prometheus' answers, labels and messages have."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

DIGITS: Final = frozenset("0123456789")
DIGITS_OF_ALL: Final = DIGITS | frozenset("-.,")
"""Of numbers without an exponent, with commas between them."""
EXPONENT_BELOW: Final = 1e-6
EXPONENT_FROM: Final = 1e21


def plain(value: float) -> str:
    """The shortest digits that give the same number again, never with an exponent: ``1e21`` is 22 digits."""
    written = _shortest(value)
    if written[-1] in DIGITS and "e" not in written:
        return written
    return _special(value) or format(Decimal(_shortest(value)), "f")


def of_answer(value: float) -> str:
    """As Prometheus' answers have it: an exponent below 1e-6 and from 1e21 on."""
    size = abs(value)
    if (size < EXPONENT_BELOW and size != 0) or EXPONENT_FROM <= size < math.inf:
        return _with_exponent(*_parts(value))
    return plain(value)


def of_answers(values: Sequence[float]) -> list[str]:
    """``of_answer`` of each, many at once: most have no exponent, and then the shortest digits are the answer."""
    written = ",".join(map(repr, values))
    if written and DIGITS_OF_ALL.issuperset(written):
        return f"{written},".replace(".0,", ",").split(",")[:-1]
    return list(map(of_answer, values))


def short(value: float) -> str:
    """As Go's ``%g``: the shortest digits, with an exponent of two digits below 1e-4 and from 1e6 on."""
    if named := _special(value):
        return named
    sign, digits, point = _parts(value)
    if value and (point < -4 or point >= 6):
        return _with_exponent(sign, digits, point)
    return plain(value)


def exponential(value: float) -> str:
    """As Go's ``%e`` with the shortest digits: ``1.5e+02``."""
    return _special(value) or _with_exponent(*_parts(value))


def of_label(value: float) -> str:
    """As OpenMetrics writes a number in a label: ``1.0``, not ``1``."""
    written = short(value)
    return written if set(written) & set(".eIN") else written + ".0"


def rounded(value: float, digits: int) -> str:
    """As Go's ``%.2g`` with 2 digits: the rounded number without trailing zeros."""
    return _special(value) or f"{value:.{digits}g}"


def _shortest(value: float) -> str:
    written = repr(float(value))
    return written[:-2] if written.endswith(".0") else written


def _parts(value: float) -> tuple[int, tuple[int, ...], int]:
    """Sign, digits, and the power of ten of the first digit."""
    sign, digits, exponent = Decimal(_shortest(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    return sign, digits, len(digits) + exponent - 1


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return ""


def _with_exponent(sign: int, digits: tuple[int, ...], point: int) -> str:
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    return f"{'-' if sign else ''}{first}{'.' if rest else ''}{rest}e{'-' if point < 0 else '+'}{abs(point):02d}"
