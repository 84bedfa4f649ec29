"""Calls of functions: their arguments, and the functions that need more than these."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from carbyne.promql.called import Called, Evaluated
from carbyne.promql.frames import Floats, Frame, anywhere
from carbyne.promql.functions import FUNCTIONS
from carbyne.promql.info import info
from carbyne.promql.labels import NAME, get
from carbyne.promql.remarks import no_counter
from carbyne.promql.scope import QuerySpan
from carbyne.promql.tree import Expr, FunctionCall, Range, Select, bare

if TYPE_CHECKING:
    from carbyne.promql.evaluator import Evaluator

OF_SPAN: Final[Mapping[str, Callable[[QuerySpan], float]]] = {
    "start": lambda span: span.start_ms / 1000,
    "end": lambda span: span.end_ms / 1000,
    "range": lambda span: (span.end_ms - span.start_ms) / 1000,
    "step": lambda span: span.step_ms / 1000 if span.end_ms > span.start_ms else 0.0,
}
"""Functions of the span of the whole query, seconds."""


def call(evaluator: "Evaluator", node: FunctionCall) -> Evaluated:
    """The value of a function."""
    if node.name in OF_SPAN:
        return np.full(evaluator.steps, OF_SPAN[node.name](evaluator.scope.span))
    if node.name in OF_EVALUATOR:
        return OF_EVALUATOR[node.name](evaluator, node)
    values = [_argument(evaluator, node, argument) for argument in node.arguments]
    scope = evaluator.scope
    called = Called(node, values, evaluator.times_ms, evaluator.steps > 1, scope.notes, scope.naming)
    result = FUNCTIONS[node.name](called)
    if node.name in {"rate", "increase"}:
        _note_counters(called)
    return result.filled() if isinstance(result, Frame) else result


def _argument(evaluator: "Evaluator", node: FunctionCall, argument: Expr) -> Evaluated:
    inner = bare(argument)
    return evaluator.windows(inner, node.name) if isinstance(inner, Range) else evaluator.eval(argument)


def _note_counters(called: Called) -> None:
    windows = called.windows()
    has: Sequence[bool] = anywhere(windows.counts > 1, 1).tolist()
    names = [get(labels, NAME) for labels, some in zip(windows.labels, has, strict=True) if some]
    for note in no_counter(names, called.start(0)):
        called.notes.add(note)


def _timestamp(evaluator: "Evaluator", node: FunctionCall) -> Frame:
    """When the samples of a selector were, in seconds; of anything else the time of the step."""
    argument = bare(node.arguments[0])
    if isinstance(argument, Select):
        frame, when = evaluator.select(argument)
        return evaluator.scope.naming.loses(frame.but(when / 1000).filled())
    frame = evaluator.frame(argument)
    times: Floats = np.broadcast_to(evaluator.times_ms / 1000, frame.values.shape)
    return evaluator.scope.naming.loses(frame.but(times))


OfEvaluator = Callable[["Evaluator", FunctionCall], Evaluated]
OF_EVALUATOR: Final[Mapping[str, OfEvaluator]] = {"info": info, "timestamp": _timestamp}
"""Functions that evaluate their arguments themselves."""
