"""Walks the tree of a query; each node gives its values at all steps at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from carbyne.promql import calls, operations
from carbyne.promql.called import Evaluated, as_frame, as_scalar, as_vector
from carbyne.promql.frames import Floats, Frame, Ints
from carbyne.promql.invariant import is_invariant
from carbyne.promql.scope import Scope, fixed_ms
from carbyne.promql.select import Selection, SeriesSamples
from carbyne.promql.tree import (
    Aggregate,
    At,
    Binary,
    Expr,
    FunctionCall,
    Minus,
    NumberLiteral,
    Paren,
    Range,
    Select,
    StringLiteral,
    Subquery,
)
from carbyne.promql.windows import SampleWindows, newest, samples_of, windows_of

SUBQUERY_STEP_MS: Final = 60_000
"""The step of a subquery that names none: Prometheus' default evaluation interval."""


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Evaluates nodes at ``times_ms`` [T] ascending; ``step_ms``: between two of them."""

    scope: Scope
    times_ms: Ints
    step_ms: int

    @property
    def steps(self) -> int:
        """How many."""
        return len(self.times_ms)

    def eval(self, node: Expr) -> Evaluated:
        """The value of a node.  QueryError if it has none."""
        self.scope.budget.tick()
        if self.steps > 1 and node.kind in {"scalar", "vector"} and is_invariant(node):
            return self._repeated(node)
        return EVALUATED[type(node)](self, node)

    def frame(self, node: Expr) -> Frame:
        """The value of a node that is an instant vector."""
        return as_vector(self.eval(node))

    def scalar(self, node: Expr) -> Floats:
        """The value of a node that is a scalar, [T]."""
        return as_scalar(self.eval(node))

    def _repeated(self, node: Expr) -> Evaluated:
        once = replace(self, times_ms=self.times_ms[:1]).eval(node)
        if isinstance(once, Frame):
            self.scope.budget.gives(once.series, self.steps)
            return once.but(np.repeat(once.values, self.steps, axis=1), np.repeat(once.there, self.steps, axis=1))
        return np.repeat(as_scalar(once), self.steps)

    def select(self, node: Select) -> tuple[Frame, Floats]:
        """The newest samples of series, and when they were, in ms."""
        times = self._reference(node.at, node.offset_ms)
        lookback_ms = self.scope.lookback_ms
        after_ms = int(times[0]) - lookback_ms
        selected = self._read(Selection(node.matches, after_ms, int(times[-1]), step_ms=self.step_ms))
        return newest(selected, times, lookback_ms)

    def windows(self, node: Range, function: str = "") -> SampleWindows:
        """The samples of series in the windows that end at each step; ``function``: what takes them."""
        ends = self._reference(node.select.at, node.select.offset_ms)
        after_ms = int(ends[0]) - node.range_ms
        matches = node.select.matches
        selected = self._read(Selection(matches, after_ms, int(ends[-1]), function, node.range_ms, self.step_ms))
        return windows_of(selected, (ends, self.times_ms), node.range_ms, self.scope.budget.tick)

    def subquery(self, node: Subquery) -> SampleWindows:
        """The values of an expression, at steps of its own, as the samples of windows."""
        ends = self._reference(node.at, node.offset_ms)
        step_ms = node.step_ms or SUBQUERY_STEP_MS
        first = (int(ends[0]) - node.range_ms) // step_ms * step_ms + step_ms
        self.scope.budget.gives(1, (int(ends[-1]) - first) // step_ms)
        times = np.arange(first, int(ends[-1]) + 1, step_ms, dtype=np.int64)
        tick = self.scope.budget.tick
        if not len(times):
            return windows_of([], (ends, self.times_ms), node.range_ms, tick)
        frame = as_frame(Evaluator(self.scope, times, step_ms).eval(node.body))
        return windows_of(samples_of(frame, times), (ends, self.times_ms), node.range_ms, tick, frame.unnamed)

    def _reference(self, at: At, offset_ms: int) -> Ints:
        """The times that a selector looks at, [T]."""
        fixed = fixed_ms(at, self.scope.span)
        times = self.times_ms if fixed is None else np.full(self.steps, fixed, np.int64)
        return np.asarray(times - offset_ms)

    def _read(self, selection: Selection) -> list[SeriesSamples]:
        """Series of the store, each selection once."""
        memory, budget = self.scope.memory, self.scope.budget
        if selection not in memory:
            memory[selection] = list(self.scope.selector.select(selection))
            budget.read(memory[selection])
        budget.gives(len(memory[selection]), self.steps)
        return memory[selection]


EVALUATED: Final[Mapping[type[Expr], Callable[[Evaluator, Any], Evaluated]]] = {
    NumberLiteral: lambda evaluator, node: np.full(evaluator.steps, node.value),
    StringLiteral: lambda _, node: str(node.value),
    Select: lambda evaluator, node: evaluator.select(node)[0].filled(),
    Range: lambda evaluator, node: evaluator.windows(node),
    Subquery: lambda evaluator, node: evaluator.subquery(node),
    Paren: lambda evaluator, node: evaluator.eval(node.body),
    Minus: operations.minus,
    Binary: operations.binary,
    Aggregate: operations.aggregation,
    FunctionCall: calls.call,
}
