"""Functions of all samples of a window: ``sum_over_time`` and its like.

Each takes windows and returns values and where there are any, both [S, T].
"""

from collections.abc import Callable

import numpy as np

from carbyne.core.limits import QUERY_SORTED_AT_ONCE
from carbyne.promql.frames import Floats, Ints, Mask
from carbyne.promql.sums import add, means, sums
from carbyne.promql.windows import SampleWindows

Computed = tuple[Floats, Mask]


def total(windows: SampleWindows) -> Computed:
    """Sum."""
    walk = windows.walk()
    result = sums(walk.size)
    for at, _, values in walk.visits():
        result.add(at, values)
    return walk.spread(result.result()), windows.there


def mean(windows: SampleWindows) -> Computed:
    """Mean."""
    walk = windows.walk()
    result = means(walk.size)
    for at, _, values in walk.visits():
        result.add(at, values)
    return walk.spread(result.result()), windows.there


def count(windows: SampleWindows) -> Computed:
    """How many samples, NaN among them."""
    return windows.stood_for, windows.there


def present(windows: SampleWindows) -> Computed:
    """1 where there is a sample."""
    return np.ones(windows.low.shape), windows.there


def first(windows: SampleWindows) -> Computed:
    """The oldest sample."""
    return windows.first()[1], windows.there


def last(windows: SampleWindows) -> Computed:
    """The newest sample."""
    return windows.last()[1], windows.there


def first_time(windows: SampleWindows) -> Computed:
    """When the oldest sample was, in seconds."""
    return windows.first()[0] / 1000, windows.there


def last_time(windows: SampleWindows) -> Computed:
    """When the newest sample was, in seconds."""
    return windows.last()[0] / 1000, windows.there


def _extreme(windows: SampleWindows, takes: Callable[[Floats, Floats], Mask], *, time: bool = False) -> Computed:
    walk = windows.walk()
    best, when = np.full(walk.size, np.nan), np.zeros(walk.size)
    for at, ts_ms, values in walk.visits():
        better = takes(values, best[at]) | np.isnan(best[at])
        best[at] = np.where(better, values, best[at])
        when[at] = np.where(better, ts_ms / 1000, when[at])
    return walk.spread(when if time else best), windows.there


def greatest(windows: SampleWindows) -> Computed:
    """Maximum; NaN only if all are."""
    return _extreme(windows, np.greater)


def least(windows: SampleWindows) -> Computed:
    """Minimum; NaN only if all are."""
    return _extreme(windows, np.less)


def greatest_time(windows: SampleWindows) -> Computed:
    """When the maximum was, the newest of equal ones."""
    return _extreme(windows, np.greater_equal, time=True)


def least_time(windows: SampleWindows) -> Computed:
    """When the minimum was, the newest of equal ones."""
    return _extreme(windows, np.less_equal, time=True)


def variance(windows: SampleWindows) -> Computed:
    """Population variance, by Welford's steps with sums that keep what rounding loses."""
    walk = windows.walk()
    size = walk.size
    middle, gap, squares, rest = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size)
    counts = np.zeros(size)
    for number, (at, _, values) in enumerate(walk.visits(), 1):
        delta = values - (middle[at] + gap[at])
        middle[at], gap[at] = add(delta / number, middle[at], gap[at])
        squares[at], rest[at] = add(delta * (values - (middle[at] + gap[at])), squares[at], rest[at])
        counts[at] = number
    return walk.spread((squares + rest) / counts), windows.there


def deviation(windows: SampleWindows) -> Computed:
    """Population standard deviation."""
    values, there = variance(windows)
    return np.sqrt(values), there


def quantile(windows: SampleWindows, which: Floats) -> Computed:
    """The quantile ``which`` [T] of each window."""
    result = np.full(windows.low.shape, np.nan)
    for series, steps in _portions(windows):
        windows.tick()
        low, counts = windows.low[series, steps], windows.counts[series, steps]
        result[series, steps] = of_sorted(*_sorted(windows, low, counts), which[steps])
    return result, windows.there


def median_deviation(windows: SampleWindows) -> Computed:
    """Median of the distances from the median; NaN if a sample is."""
    result = np.full(windows.low.shape, np.nan)
    for series, steps in _portions(windows):
        windows.tick()
        low, counts = windows.low[series, steps], windows.counts[series, steps]
        ordered, sizes, strange = _sorted(windows, low, counts)
        half = np.full(len(sizes), 0.5)
        distances = np.abs(ordered - of_sorted(ordered, sizes, strange, half)[:, None])
        distances.sort(axis=1)
        medians = of_sorted(distances, sizes, np.zeros_like(strange), half)
        result[series, steps] = np.where(strange > 0, np.nan, medians)
    return result, windows.there


def of_sorted(ordered: Floats, counts: Ints, strange: Ints, which: Floats) -> Floats:
    """Quantiles of rows: ``ordered`` [R, W], ``counts`` of numbers and NaN in each, ``strange`` of these NaN, which
    are the least; numbers ascending in front, anything behind."""
    rank = which * (counts - 1)
    inside = np.nan_to_num(np.clip(rank, 0, np.maximum(counts - 1, 0)))
    lower = np.floor(inside).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(counts - 1, 0))
    weight = inside - np.floor(inside)
    quantiles = _nth(ordered, lower, strange) * (1 - weight) + _nth(ordered, upper, strange) * weight
    quantiles = np.where(which < 0, -np.inf, np.where(which > 1, np.inf, quantiles))
    return np.where(np.isnan(which) | (counts == 0), np.nan, quantiles)


def _nth(ordered: Floats, nth: Ints, strange: Ints) -> Floats:
    if not ordered.shape[1]:
        return np.full(len(nth), np.nan)
    at = np.clip(nth - strange, 0, ordered.shape[1] - 1)
    return np.where(nth < strange, np.nan, ordered[np.arange(len(nth)), at])


def _portions(windows: SampleWindows) -> list[tuple[Ints, Ints]]:
    """(series, steps) of windows with samples: portions of about QUERY_SORTED_AT_ONCE samples, alike in size."""
    series, steps = np.nonzero(windows.there)
    counts = windows.counts[series, steps]
    order = np.argsort(counts, kind="stable")
    cuts = np.flatnonzero(np.diff(np.cumsum(counts[order]) // QUERY_SORTED_AT_ONCE)) + 1
    return [(series[part], steps[part]) for part in np.split(order, cuts) if len(part)]


def _sorted(windows: SampleWindows, low: Ints, counts: Ints) -> tuple[Floats, Ints, Ints]:
    """Rows of sorted samples, NaN behind; how many samples, and how many of them are NaN."""
    nth = np.arange(int(counts.max()))[None, :]
    inside = nth < counts[:, None]
    rows = np.where(inside, windows.at(low[:, None] + nth)[1], np.nan)
    strange = (np.isnan(rows) & inside).sum(axis=1)
    rows.sort(axis=1)
    return rows, counts, strange
