"""Lines of an expression over a span, for graphs."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from carbyne.alerts.formula import FormulaNode, NamedMetrics, parse_lines
from carbyne.core.errors import QueryError, RequestError
from carbyne.core.limits import EXPRESSION_LINES_MAX, EXPRESSION_SPAN_MS_MAX
from carbyne.evaluate.formulas import MINUTE_MS, FormulaValues, LinePoints, PointGrid
from carbyne.evaluate.leaves import FormulaLeaves

_STEPS_MS: Final = ((86_400_000, MINUTE_MS), (7 * 86_400_000, 300_000), (90 * 86_400_000, 3_600_000))
"""Spans up to which points lie so far apart."""
_DAY_MS: Final = 86_400_000


class ExpressionLines(NamedTuple):
    """``labels``: of the rows of ``values`` [S, T], NaN where a line has no point."""

    grid: PointGrid
    labels: list[str]
    values: LinePoints


def grid_of(from_ms: int, to_ms: int) -> PointGrid:
    """Points of a span, both ends included, as far apart as suits its length; RequestError for one too long."""
    if to_ms - from_ms > EXPRESSION_SPAN_MS_MAX:
        raise RequestError(400, f"ask for at most {EXPRESSION_SPAN_MS_MAX // _DAY_MS} days of an expression")
    step_ms = next((step for most, step in _STEPS_MS if to_ms - from_ms <= most), _DAY_MS)
    start_ms = -(-from_ms // step_ms) * step_ms
    return PointGrid(start_ms, step_ms, max(0, (to_ms - start_ms) // step_ms + 1))


def lines_of(text: str, grid: PointGrid, leaves: FormulaLeaves) -> ExpressionLines:
    """RequestError for what is no expression; QueryError for one that takes or gives too much."""
    node = parse_lines(text)
    with np.errstate(all="ignore"):
        values = FormulaValues(leaves.read, leaves.tick).lines(node, grid)
    if len(values) > EXPRESSION_LINES_MAX:
        raise QueryError("execution", f"the expression has {len(values)} lines, over {EXPRESSION_LINES_MAX}")
    return ExpressionLines(grid, _labels(node, iter(leaves.labels)), values)


def _labels(node: FormulaNode, read: Iterator[list[str]]) -> list[str]:
    """In the order in which lines are computed: leaves are read from left to right."""
    if isinstance(node, NamedMetrics):
        return next(read)
    parts = [_labels(each, read) for each in node.metrics]
    if node.joins:
        return [node.function]
    if node.function == "group":
        return [label for part in parts for label in part]
    longest = max(parts, key=len)
    if node.function != "alias":
        return longest
    return [node.name] if len(longest) == 1 else [f"{node.name} {label}" for label in longest]
