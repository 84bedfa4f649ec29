"""The values by which an alert was decided, small enough for a message and for a URL."""

import math
import sys
from typing import Final

import msgspec

from carbyne.alerts.judging import SamplePairs
from carbyne.core.limits import ALERT_HORIZON_MS, PLOT_MS_MIN, PLOT_POINTS_MAX

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


def plot_of(samples: SamplePairs) -> Plot | None:
    """The last hour of samples, (ms, value) ascending; None where there are none, as of silence and checks."""
    known = [(ts_ms, _finite(value)) for ts_ms, value in samples if not math.isnan(value)]
    if not known:
        return None
    last_ms = known[-1][0]
    chosen = _thinned([pair for pair in known if pair[0] > last_ms - ALERT_HORIZON_MS])
    from_s, to_s = min(chosen[0][0], last_ms - PLOT_MS_MIN) // 1000, -(-last_ms // 1000)
    values = [value for _, value in chosen]
    low, high = min(values), max(values)
    times = bytes(_step(from_s, to_s, ts_ms / 1000) for ts_ms, _ in chosen)
    return Plot(from_s, to_s, low, high, times, bytes(_step(low, high, value) for value in values))


def _thinned(samples: SamplePairs) -> SamplePairs:
    """The highest and the lowest of each of as many parts as there may be: no peak is lost."""
    if len(samples) <= PLOT_POINTS_MAX:
        return samples
    size = -(-len(samples) // (PLOT_POINTS_MAX // 2))
    parts = [samples[first : first + size] for first in range(0, len(samples), size)]
    return [pair for part in parts for pair in sorted({min(part, key=_value), max(part, key=_value)})]


def _value(sample: tuple[int, float]) -> float:
    return sample[1]


def _finite(value: float) -> float:
    return max(-sys.float_info.max, min(sys.float_info.max, value))


def _step(low: float, high: float, value: float) -> int:
    """The difference of large values may be no number, that of their halves is one."""
    span = high / 2 - low / 2
    return min(_STEPS, max(0, round((value / 2 - low / 2) / span * _STEPS))) if span else 0


def _between(low: float, high: float, step: int) -> float:
    part = step / _STEPS
    return low * (1 - part) + high * part
