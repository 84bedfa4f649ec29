"""Functions of how the samples of a window change: rates, differences, trends.

Each takes windows and returns values and where there are any, both [S, T].
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from carbyne.core.errors import QueryError
from carbyne.promql.frames import Floats, Ints, Mask
from carbyne.promql.over_time import Computed
from carbyne.promql.sums import sums
from carbyne.promql.windows import SampleWindows

NEAR: Final = 1.1
"""An end of a window is near if it is within this share of the mean distance of samples."""


def rate(windows: SampleWindows) -> Computed:
    """Increase per second of a counter."""
    return _extrapolated(windows, _grown(windows), windows.first()[1], windows.range_s)


def increase(windows: SampleWindows) -> Computed:
    """Increase of a counter over the window, as if samples reached both ends where they come near."""
    return _extrapolated(windows, _grown(windows), windows.first()[1])


def _grown(windows: SampleWindows) -> Floats:
    grown = _difference(windows)
    for at, steps, lost in _drops(windows):
        grown[at, steps] += lost
    return grown


def delta(windows: SampleWindows) -> Computed:
    """Difference over the window, as if samples reached both ends where they come near."""
    return _extrapolated(windows, _difference(windows), None)


def _difference(windows: SampleWindows) -> Floats:
    return windows.last()[1] - windows.first()[1]


def _drops(windows: SampleWindows) -> Iterator[tuple[int, slice, float]]:
    """(series, steps, value before) of each reset of a counter: steps whose windows have the samples around it.

    Windows move on with the steps, and one series lies behind the other: so ``low`` and ``high`` ascend, laid flat.
    """
    index = np.flatnonzero(windows.values[1:] < windows.values[:-1]) + 1
    at, steps = np.searchsorted(windows.offsets, index, "right") - 1, windows.low.shape[1]
    begin = np.maximum(np.searchsorted(windows.high.ravel(), index, "right") - at * steps, 0)
    end = np.minimum(np.searchsorted(windows.low.ravel(), index - 1, "right") - at * steps, steps)
    inside = begin < end
    drops = (at[inside].tolist(), begin[inside].tolist(), end[inside].tolist(), windows.values[index - 1][inside])
    for series, first, last, lost in zip(*drops, strict=True):
        yield series, slice(first, last), float(lost)


def _extrapolated(windows: SampleWindows, grown: Floats, counter: Floats | None, per_s: float = 1.0) -> Computed:
    """``grown`` stretched to the ends of the window, in ``per_s`` seconds.  ``counter``: the first values, if it can't
    have been below 0."""
    (first_ms, _), (last_ms, _) = windows.first(), windows.last()
    sampled = (last_ms - first_ms) / 1000
    between = sampled / (windows.counts - 1)
    before = (first_ms - windows.start_ms[None, :]) / 1000
    after = (windows.end_ms[None, :] - last_ms) / 1000
    before = np.where(before >= between * NEAR, between / 2, before)
    after = np.where(after >= between * NEAR, between / 2, after)
    if counter is not None:
        to_zero = np.where((grown > 0) & (counter >= 0), sampled * (counter / grown), before)
        before = np.where(to_zero < before, to_zero, before)
    factor = np.where(sampled == 0, 1.0, (sampled + before + after) / sampled)
    return grown * (factor / per_s), windows.counts > 1


def instant_rate(windows: SampleWindows) -> Computed:
    """Increase per second between the last two samples of a counter."""
    changed, seconds, after = _last_two(windows)
    before = windows.at(windows.high - 2)[1]
    return np.where(after < before, after, changed) / seconds, (windows.counts > 1) & (seconds != 0)


def instant_delta(windows: SampleWindows) -> Computed:
    """Difference of the last two samples."""
    changed, seconds, _ = _last_two(windows)
    return changed, (windows.counts > 1) & (seconds != 0)


def _last_two(windows: SampleWindows) -> tuple[Floats, Floats, Floats]:
    (before_ms, before), (after_ms, after) = windows.at(windows.high - 2), windows.last()
    return after - before, (after_ms - before_ms) / 1000, after


def resets(windows: SampleWindows) -> Computed:
    """How often the value fell."""
    return _changed(windows, windows.values[1:] < windows.values[:-1])


def changes(windows: SampleWindows) -> Computed:
    """How often the value was another one than before."""
    before, after = windows.values[:-1], windows.values[1:]
    return _changed(windows, (after != before) & ~(np.isnan(after) & np.isnan(before)))


def _changed(windows: SampleWindows, between: Mask) -> Computed:
    """``between`` [N-1]: whether something happens from one sample to the next."""
    until = np.concatenate([[0], np.cumsum(between)]) if len(windows.values) else np.zeros(1, np.int64)
    last, first = _inside(windows.high - 1, until), _inside(windows.low, until)
    return (until[last] - until[first]).astype(np.float64), windows.there


def _inside(index: Ints, of: Ints) -> Ints:
    return np.clip(index, 0, len(of) - 1)


def slope(windows: SampleWindows) -> Computed:
    """Per second, of the line through all samples."""
    return _line(windows, windows.first()[0])[0], windows.counts > 1


def predicted(windows: SampleWindows, ahead_s: Floats) -> Computed:
    """The value ``ahead_s`` [T] after the step, on the line through all samples."""
    steps = np.broadcast_to(windows.step_ms[None, :], windows.low.shape)
    inclination, now = _line(windows, steps)
    return inclination * ahead_s[None, :] + now, windows.counts > 1


def _line(windows: SampleWindows, zero_ms: Ints) -> tuple[Floats, Floats]:
    """Slope and value at ``zero_ms`` [S, T] of the line with the least squares."""
    walk = windows.walk()
    x_sum, y_sum, xy_sum, xx_sum = (sums(walk.size) for _ in range(4))
    zero = zero_ms.ravel()[walk.order]
    start = windows.first()[1].ravel()[walk.order]
    flat = np.ones(walk.size, bool)
    for nth, (at, ts_ms, y) in enumerate(walk.visits()):
        x = (ts_ms - zero[at]) / 1e3
        flat[at] &= (y == start[at]) | (nth == 0)
        for sum_, term in ((x_sum, x), (y_sum, y), (xy_sum, x * y), (xx_sum, x * x)):
            sum_.add(at, term)
    number = windows.counts.ravel()[walk.order]
    sx, sy = x_sum.total + x_sum.lost, y_sum.total + y_sum.lost
    inclination = ((xy_sum.total + xy_sum.lost) - sx * sy / number) / ((xx_sum.total + xx_sum.lost) - sx * sx / number)
    value = sy / number - inclination * sx / number
    endless = np.isinf(start)
    inclination = np.where(flat, np.where(endless, np.nan, 0.0), inclination)
    value = np.where(flat, np.where(endless, np.nan, start), value)
    return walk.spread(inclination), walk.spread(value)


def smoothed(windows: SampleWindows, smoothing: Floats, trend: Floats) -> Computed:
    """Double exponential smoothing with factors ``smoothing`` and ``trend`` [T] between 0 and 1."""
    if windows.there.any():
        for factor, name in ((smoothing, "smoothing"), (trend, "trend")):
            _check_factor(factor, name)
    walk = windows.walk()
    steps = np.broadcast_to(np.arange(len(windows.end_ms))[None, :], windows.low.shape).ravel()[walk.order]
    share, drift = smoothing[steps], trend[steps]
    before, now, tendency = np.zeros(walk.size), np.zeros(walk.size), np.zeros(walk.size)
    for nth, (at, _, values) in enumerate(walk.visits()):
        if nth == 0:
            now[at] = values
            continue
        if nth == 1:
            tendency[at] = values - now[at]
        else:
            tendency[at] = drift[at] * (now[at] - before[at]) + (1 - drift[at]) * tendency[at]
        smooth = (1 - share[at]) * (now[at] + tendency[at])
        before[at], now[at] = now[at], share[at] * values + smooth
    return walk.spread(now), windows.counts > 1


def _check_factor(factor: Floats, name: str) -> None:
    bad = factor[~((factor > 0) & (factor < 1))]
    if len(bad):
        letter = {"smoothing": "sf", "trend": "tf"}[name]
        raise QueryError("execution", f"invalid {name} factor. Expected: 0 < {letter} < 1, got: {bad[0]:f}")
