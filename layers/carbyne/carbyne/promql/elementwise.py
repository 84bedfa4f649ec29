"""Functions of each value by itself: mathematics, trigonometry, parts of dates."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbyne.promql.called import Called
from carbyne.promql.frames import Floats, Frame, Ints, empty, single
from carbyne.promql.labels import NONE

Calendar = NDArray[np.datetime64]
Elementwise = Callable[[Floats], Floats]
DAY_S: Final = 86_400
DATE_S_MAX: Final = 2**55
"""Seconds from 1970 that a date is computed of: a billion years."""
PER_LN2: Final = 1.4426950408889634
LOG10_OF_2: Final = 0.30102999566398120


def _sign(values: Floats) -> Floats:
    return np.where(values < 0, -1.0, np.where(values > 0, 1.0, values))


def _log2(values: Floats) -> Floats:
    """By the steps of Go's library, so that the last bit is Prometheus': ``%`` makes much of it."""
    fraction, exponent = np.frexp(values)
    return np.where(fraction == 0.5, exponent - 1.0, np.log(fraction) * PER_LN2 + exponent)


OF_NUMBERS: Final[Mapping[str, Elementwise]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": lambda values: values * 180 / np.pi,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": lambda values: _log2(values) * LOG10_OF_2,
    "log2": _log2,
    "rad": lambda values: values * np.pi / 180,
    "sgn": _sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}


def round_to(called: Called) -> Frame:
    """``round``: to the nearest multiple, ties up."""
    nearest = called.scalar(1) if len(called) > 1 else np.ones(len(called.times_ms))
    per_unit = 1 / nearest
    frame = called.frame()
    return called.naming.loses(frame.but(np.floor(frame.values * per_unit + 0.5) / per_unit))


def clamp(called: Called) -> Frame:
    """``clamp``: between two bounds, nothing where the lower is above the upper."""
    return _clamped(called, called.scalar(1), called.scalar(2))


def clamp_max(called: Called) -> Frame:
    """``clamp_max``."""
    return _clamped(called, np.full(len(called.times_ms), -np.inf), called.scalar(1))


def clamp_min(called: Called) -> Frame:
    """``clamp_min``."""
    return _clamped(called, called.scalar(1), np.full(len(called.times_ms), np.inf))


def _clamped(called: Called, low: Floats, high: Floats) -> Frame:
    frame = called.frame()
    there = frame.there & ~(high < low)[None, :]
    return called.naming.loses(frame.but(np.maximum(low, np.minimum(high, frame.values)), there))


def _days(seconds: Ints) -> Calendar:
    return np.asarray(seconds // DAY_S, "datetime64[D]")


def _since(days: Calendar, unit: str) -> Ints:
    return np.asarray((days - days.astype(f"datetime64[{unit}]")).astype(np.int64))


def _month(seconds: Ints) -> Ints:
    return np.asarray(_days(seconds).astype("datetime64[M]").astype(np.int64) % 12 + 1)


def _days_in_month(seconds: Ints) -> Ints:
    months = _days(seconds).astype("datetime64[M]")
    days = (months + np.timedelta64(1, "M")).astype("datetime64[D]") - months.astype("datetime64[D]")
    return np.asarray(days.astype(np.int64))


OF_DATES: Final[Mapping[str, Callable[[Ints], Ints]]] = {
    "day_of_month": lambda seconds: _since(_days(seconds), "M") + 1,
    "day_of_week": lambda seconds: (seconds // DAY_S + 4) % 7,
    "day_of_year": lambda seconds: _since(_days(seconds), "Y") + 1,
    "days_in_month": _days_in_month,
    "hour": lambda seconds: seconds // 3600 % 24,
    "minute": lambda seconds: seconds // 60 % 60,
    "month": _month,
    "year": lambda seconds: _days(seconds).astype("datetime64[Y]").astype(np.int64) + 1970,
}


def number(called: Called) -> Frame:
    """One of OF_NUMBERS."""
    frame = called.frame()
    return called.naming.loses(frame.but(OF_NUMBERS[called.node.name](frame.values)))


def date(called: Called) -> Frame:
    """One of OF_DATES, of seconds since 1970, without an argument of the time of the step."""
    part = OF_DATES[called.node.name]
    if not len(called):
        return single(NONE, part(called.times_ms // 1000).astype(np.float64))
    frame = called.frame()
    if not frame.series:
        return empty(len(called.times_ms))
    sound = np.abs(frame.values) < DATE_S_MAX
    seconds = np.trunc(np.where(sound, frame.values, 0)).astype(np.int64)
    return called.naming.loses(frame.but(np.where(sound, part(seconds), np.nan)))
