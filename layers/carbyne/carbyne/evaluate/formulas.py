"""Values of an expression at the minutes of a span: NaN where there is none.

Everything follows from samples by their times: a point of a minute is the last sample in it, and a function over a
duration takes the points of that time before its own.  Long durations are read as means of 5 minutes or an hour.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbyne.alerts.formula import AppliedFunction, FormulaNode, NamedMetrics
from carbyne.core.errors import QueryError
from carbyne.core.limits import EXPRESSION_POINTS_MAX

LinePoints = NDArray[np.float64]
MINUTE_MS: Final = 60_000
_STEPS_MS: Final = ((86_400_000, MINUTE_MS), (7 * 86_400_000, 300_000))
"""Durations up to which points of this step are read."""
_HOUR_MS: Final = 3_600_000


class PointGrid(NamedTuple):
    """Times that lie ``step_ms`` apart; ``start_ms`` is a multiple of it."""

    start_ms: int
    step_ms: int
    steps: int

    @property
    def end_ms(self) -> int:
        """Behind the last point's step."""
        return self.start_ms + self.step_ms * self.steps

    def times(self) -> NDArray[np.int64]:
        return self.start_ms + self.step_ms * np.arange(self.steps, dtype=np.int64)


ReadPoints = Callable[[NamedMetrics, PointGrid], LinePoints]
"""[S, T] of the series that a leaf names, in an order that stays; QueryError if there are too many."""


def minutes_of(from_ms: int, until_ms: int) -> PointGrid:
    """The whole minutes from one time to another, both included."""
    start_ms = -(-from_ms // MINUTE_MS) * MINUTE_MS
    return PointGrid(start_ms, MINUTE_MS, max(0, (until_ms - start_ms) // MINUTE_MS + 1))


class FormulaValues:
    """Evaluates one expression; ``tick`` raises once the time is over.  QueryError for more points than it may have."""

    def __init__(self, read: ReadPoints, tick: Callable[[], None]) -> None:
        self._read, self._tick = read, tick
        self._points = 0

    def line(self, node: FormulaNode, grid: PointGrid) -> LinePoints:
        """[T] of an expression that is one line; of one without series all NaN."""
        values = self._eval(node, grid)
        return values[0] if len(values) else np.full(grid.steps, np.nan)

    def lines(self, node: FormulaNode, grid: PointGrid) -> LinePoints:
        """[S, T] of an expression with whatever lines it has.  Leaves are read from left to right."""
        return self._eval(node, grid)

    def _eval(self, node: FormulaNode, grid: PointGrid) -> LinePoints:
        self._tick()
        if isinstance(node, NamedMetrics):
            values = self._read(node, grid)
            self._points += values.size
            if self._points > EXPRESSION_POINTS_MAX:
                raise QueryError("execution", f"the expression reads more than {EXPRESSION_POINTS_MAX} points")
            return values
        name, numbers = node.function, node.numbers
        if name == "timeShift":
            shift_ms = int(numbers[0]) // grid.step_ms * grid.step_ms
            return self._eval(node.metrics[0], grid._replace(start_ms=grid.start_ms - shift_ms))
        if name in _SLIDING:
            return self._slid(node, grid)
        parts = [self._eval(each, grid) for each in node.metrics]
        if name in _JOINED:
            return _joined(_JOINED[name], parts[0])
        if name == "percentile":
            return _joined(lambda values: np.nanpercentile(values, numbers[0], axis=0), parts[0])
        return _POINTWISE[name](parts, numbers)

    def _slid(self, node: AppliedFunction, grid: PointGrid) -> LinePoints:
        """A function of the points of a duration that ends with each point, that one included."""
        duration_ms, step_ms = int(node.numbers[0]), max(grid.step_ms, _step_ms(int(node.numbers[0])))
        start_ms = (grid.start_ms - duration_ms) // step_ms * step_ms
        inner = PointGrid(start_ms, step_ms, (grid.end_ms - start_ms) // step_ms)
        values, starts = self._eval(node.metrics[0], inner), inner.times()
        last_ms = grid.times() + grid.step_ms - step_ms  # only steps that are over
        low = np.searchsorted(starts, grid.times() - duration_ms, side="right")
        high = np.searchsorted(starts, last_ms, side="right")
        middles_s = (starts + (step_ms - MINUTE_MS) / 2) / 1000
        made = np.full((len(values), grid.steps), np.nan)
        for row, line in enumerate(values):
            self._tick()
            there = ~np.isnan(line)
            for at, (first, end, ts_ms) in enumerate(zip(low, high, grid.times(), strict=True)):
                inside = there[first:end]
                points = line[first:end][inside]
                if len(points):
                    ages_s = middles_s[first:end][inside] - ts_ms / 1000
                    made[row, at] = _SLIDING[node.function](points, ages_s, node.numbers)
        return _finite(made)


def _step_ms(duration_ms: int) -> int:
    return next((step_ms for most_ms, step_ms in _STEPS_MS if duration_ms <= most_ms), _HOUR_MS)


def _mean(points: LinePoints, ages_s: LinePoints, numbers: tuple[float, ...]) -> float:
    return float(points.sum() / len(points))


def _regression(points: LinePoints, ages_s: LinePoints, numbers: tuple[float, ...]) -> float:
    return _fitted(points, ages_s)[0]


def _time_left(points: LinePoints, ages_s: LinePoints, numbers: tuple[float, ...]) -> float:
    """Seconds until the line reaches the threshold; NaN if it lies behind, or the line is level."""
    value, slope = _fitted(points, ages_s)
    left_s = (numbers[1] - value) / slope if slope else np.nan
    return left_s if left_s >= 0 else np.nan


def _fitted(points: LinePoints, ages_s: LinePoints) -> tuple[float, float]:
    """Value at age 0 and slope (per second) of the line of least squares; NaN for a single point."""
    age, mean = ages_s.mean(), points.mean()
    spread = ((ages_s - age) ** 2).sum()
    if not spread:
        return np.nan, np.nan
    slope = ((ages_s - age) * (points - mean)).sum() / spread
    return float(mean - slope * age), float(slope)


_SLIDING: Final = {"movingAverage": _mean, "linearRegression": _regression, "timeLeftForecast": _time_left}


def _joined(function: Callable[[LinePoints], LinePoints], values: LinePoints) -> LinePoints:
    """One line of all; NaN where no series has a point."""
    made = np.full((1, values.shape[1]), np.nan)
    there = ~np.isnan(values).all(axis=0) if len(values) else np.zeros(values.shape[1], bool)
    if there.any():
        made[0, there] = function(values[:, there])
    return _finite(made)


_JOINED: Final[Mapping[str, Callable[[LinePoints], LinePoints]]] = {
    "avg": lambda values: np.nansum(values, axis=0) / (~np.isnan(values)).sum(axis=0),
    "max": lambda values: np.nanmax(values, axis=0),
    "min": lambda values: np.nanmin(values, axis=0),
    "sum": lambda values: np.nansum(values, axis=0),
    "product": lambda values: np.nanprod(values, axis=0),
}


def _paired(parts: list[LinePoints]) -> tuple[LinePoints, LinePoints]:
    """A single line stands beside each of several; of two groups the lines in their order."""
    first, second = parts
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        raise QueryError("execution", f"{len(first)} lines stand against {len(second)}; make one line of one side")
    return first, second


def _finite(values: LinePoints) -> LinePoints:
    """Overflows and divisions by zero are no points."""
    return np.where(np.isfinite(values), values, np.nan)


def _divided(parts: list[LinePoints], numbers: tuple[float, ...]) -> LinePoints:
    above, below = _paired(parts)
    return _finite(above / below)


def _less(parts: list[LinePoints], numbers: tuple[float, ...]) -> LinePoints:
    first, second = _paired(parts)
    return _finite(first - second)


_POINTWISE: Final[Mapping[str, Callable[[list[LinePoints], tuple[float, ...]], LinePoints]]] = {
    "diff": _less,
    "divide": _divided,
    "scale": lambda parts, numbers: _finite(parts[0] * numbers[0]),
    "offset": lambda parts, numbers: _finite(parts[0] + numbers[0]),
    "group": lambda parts, numbers: np.concatenate(parts),
    "stack": lambda parts, numbers: parts[0],
    "alias": lambda parts, numbers: parts[0],
}
