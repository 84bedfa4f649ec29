"""Nodes that compute with the values of others: operators and aggregations."""

from typing import TYPE_CHECKING

import numpy as np

from carbyne.core.errors import QueryError
from carbyne.promql import aggregate, matching, ranking
from carbyne.promql.called import Evaluated, as_scalar, as_vector
from carbyne.promql.frames import Frame
from carbyne.promql.operators import changes_metric, operate
from carbyne.promql.tree import SET_OPERATORS, Aggregate, Binary, Minus, StringLiteral

if TYPE_CHECKING:
    from carbyne.promql.evaluator import Evaluator


def minus(evaluator: "Evaluator", node: Minus) -> Evaluated:
    """The negative."""
    value = evaluator.eval(node.body)
    if isinstance(value, Frame):
        return evaluator.scope.naming.loses(value.but(-value.values))
    return -as_scalar(value)


def binary(evaluator: "Evaluator", node: Binary) -> Evaluated:
    """An operation of two vectors, of two scalars, or of one of each."""
    left, right = evaluator.eval(node.left), evaluator.eval(node.right)
    if isinstance(left, Frame) and isinstance(right, Frame):
        return _of_vectors(evaluator, node, left, right)
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return np.array(operate(node.op, left, right, as_bool=True)[0])
    return _with_scalar(evaluator, node, left, right)


def _of_vectors(evaluator: "Evaluator", node: Binary, left: Frame, right: Frame) -> Frame:
    if node.op in SET_OPERATORS:
        return matching.combined(node.op, left, right, node.matching)
    scope = evaluator.scope
    return scope.budget.made(matching.operated(node, left, right, scope.naming, scope.budget.tick))


def _with_scalar(evaluator: "Evaluator", node: Binary, left: Evaluated, right: Evaluated) -> Frame:
    frame = as_vector(left if isinstance(left, Frame) else right)
    sides = [side.values if isinstance(side, Frame) else as_scalar(side) for side in (left, right)]
    values, stays = operate(node.op, *sides, as_bool=node.as_bool)
    # Of a comparison the vector's value stays, on whichever side it is.
    result = frame.but(np.asarray(values)) if stays is None else frame.but(there=frame.there & stays).filled()
    return evaluator.scope.naming.loses(result) if changes_metric(node.op) or node.as_bool else result


def aggregation(evaluator: "Evaluator", node: Aggregate) -> Frame:
    """An aggregation, with its parameter if it takes one."""
    frame = evaluator.frame(node.body)
    if node.op in aggregate.PLAIN:
        return aggregate.plain_aggregate(node, frame)
    if isinstance(node.parameter, StringLiteral):
        return evaluator.scope.budget.made(aggregate.count_values(node, frame, node.parameter.value))
    if node.parameter is None:
        raise QueryError("bad_data", f"{node.op} needs a parameter")
    return _with_parameter(evaluator, node, frame)


def _with_parameter(evaluator: "Evaluator", node: Aggregate, frame: Frame) -> Frame:
    assert node.parameter
    parameter, notes = evaluator.scalar(node.parameter), evaluator.scope.notes
    match node.op:
        case "quantile":
            return aggregate.quantile(node, frame, parameter, notes)
        case "limitk":
            return ranking.limit(node, frame, parameter)
        case "limit_ratio":
            return ranking.ratio(node, frame, parameter, notes)
    return ranking.top(node, frame, parameter, is_range=evaluator.steps > 1)
