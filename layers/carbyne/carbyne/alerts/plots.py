"""The values by which an alert was decided, small enough for a message and for a URL."""

from collections.abc import Sequence
from typing import Final

import msgspec

from carbyne.alerts.judging import Judgement
from carbyne.core.limits import PLOT_POINTS_MAX

_STEPS: Final = 255


class Plot(msgspec.Struct, frozen=True, array_like=True):
    """Points from ``from_s`` to ``to_s``, seconds since 1970, with values from ``low`` to ``high``; ``times`` and
    ``values``: of each point a byte, in 255ths of these spans."""

    from_s: int
    to_s: int
    low: float
    high: float
    times: bytes
    values: bytes

    def points(self) -> list[tuple[float, float]]:
        """Seconds and values, each exact to a 510th of its span."""
        pairs = zip(self.times, self.values, strict=True)
        return [(_between(self.from_s, self.to_s, ts), _between(self.low, self.high, value)) for ts, value in pairs]


def plot_of(judged: Sequence[Judgement]) -> Plot | None:
    """What was judged; None of a single judgement, as absence and checks have it: that is no line."""
    if len(judged) < 2:
        return None
    chosen = _thinned(judged)
    from_s, to_s = chosen[0].ts_ms // 1000, -(-chosen[-1].ts_ms // 1000)
    low, high = min(each.value for each in chosen), max(each.value for each in chosen)
    times = bytes(_step(from_s, to_s, each.ts_ms / 1000) for each in chosen)
    return Plot(from_s, to_s, low, high, times, bytes(_step(low, high, each.value) for each in chosen))


def _thinned(judged: Sequence[Judgement]) -> list[Judgement]:
    """The highest and the lowest of each of as many parts as there may be: no peak is lost."""
    if len(judged) <= PLOT_POINTS_MAX:
        return list(judged)
    size = -(-len(judged) // (PLOT_POINTS_MAX // 2))
    parts = [judged[first : first + size] for first in range(0, len(judged), size)]
    return [each for part in parts for each in sorted({min(part, key=_value), max(part, key=_value)})]


def _value(judgement: Judgement) -> float:
    return judgement.value


def _step(low: float, high: float, value: float) -> int:
    """The difference of large values may be no number, that of their halves is one."""
    span = high / 2 - low / 2
    return min(_STEPS, max(0, round((value / 2 - low / 2) / span * _STEPS))) if span else 0


def _between(low: float, high: float, step: int) -> float:
    part = step / _STEPS
    return low * (1 - part) + high * part
