"""Numbers as text in the forms of Go, which Prometheus' answers, labels and messages have."""

import math
from decimal import Decimal


def plain(value: float) -> str:
    """The shortest digits that give the same number again, never with an exponent: ``1e21`` is 22 digits."""
    return _special(value) or format(Decimal(_shortest(value)), "f")


def short(value: float) -> str:
    """As Go's ``%g``: the shortest digits, with an exponent of two digits below 1e-4 and from 1e6 on."""
    if named := _special(value):
        return named
    sign, digits, exponent = Decimal(_shortest(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    point = len(digits) + exponent - 1
    if value and (point < -4 or point >= 6):
        return _with_exponent(sign, digits, point)
    return plain(value)


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


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return ""


def _with_exponent(sign: int, digits: tuple[int, ...], point: int) -> str:
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    return f"{'-' if sign else ''}{first}{'.' if rest else ''}{rest}e{'-' if point < 0 else '+'}{abs(point):02d}"
