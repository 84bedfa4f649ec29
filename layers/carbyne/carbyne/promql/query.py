"""A query from its text to its answer, at one time or at the steps of a span."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from carbyne.core.errors import QueryError
from carbyne.core.limits import QUERY_LOOKBACK_MS, QUERY_STEPS_MAX, QUERY_TIMEOUT_S
from carbyne.promql.budget import Budget
from carbyne.promql.called import Naming, as_frame
from carbyne.promql.evaluator import Evaluator
from carbyne.promql.frames import Frame, Ints, cleaned, in_order
from carbyne.promql.parsed import parse
from carbyne.promql.remarks import INFO, WARNING, Remarks
from carbyne.promql.scope import QuerySpan, Scope
from carbyne.promql.select import Selector, SeriesSamples
from carbyne.promql.tree import Expr
from carbyne.promql.windows import SampleWindows


@dataclass(frozen=True)
class Options:
    """``late_names``: names of metrics go when the query ends, not where they cease to hold, as Prometheus' feature
    ``promql-delayed-name-removal`` has it."""

    now_s: Callable[[], float]
    lookback_ms: int = QUERY_LOOKBACK_MS
    timeout_s: float = QUERY_TIMEOUT_S
    late_names: bool = False


@dataclass(frozen=True, eq=False)
class QueryAnswer:
    """``kind``: ``scalar``, ``vector``, ``matrix`` or ``string``.

    ``times_ms`` [T] and ``frame``: values at steps, of a scalar one series; ``series``: samples of a range vector;
    ``text``: a string.  ``read``: series and samples that were read.
    """

    kind: str
    times_ms: Ints
    frame: Frame | None
    series: list[SeriesSamples]
    text: str
    warnings: list[str]
    infos: list[str]
    read: tuple[int, int]


def instant(query: str, at_ms: int, selector: Selector, options: Options) -> QueryAnswer:
    """The value at one time."""
    return answer(query, parse(query), QuerySpan(at_ms, at_ms, 0), selector, options)


def over(query: str, span: QuerySpan, selector: Selector, options: Options) -> QueryAnswer:
    """The values at all steps.  QueryError ``bad_data`` if there are too many, or none is possible."""
    node = parse(query)
    if node.kind not in {"scalar", "vector"}:
        name = {"matrix": "range vector", "string": "string"}[node.kind]
        raise QueryError(
            "bad_data",
            f'invalid expression type "{name}" for range query, must be Scalar or instant Vector',
        )
    steps = (span.end_ms - span.start_ms) // span.step_ms + 1
    if steps > QUERY_STEPS_MAX:
        raise QueryError(
            "bad_data",
            f"the query has {steps} steps, more than {QUERY_STEPS_MAX} for each series: take a longer step or a"
            " shorter span",
        )
    at_steps = answer(query, node, span, selector, options)
    assert at_steps.frame is not None
    return replace(at_steps, kind="matrix", frame=in_order(at_steps.frame))


def answer(query: str, node: Expr, span: QuerySpan, selector: Selector, options: Options) -> QueryAnswer:
    """The value of a tree at the steps of a span; ``query``: its text, for the places of warnings."""
    notes, budget = Remarks(), Budget(options.timeout_s, options.now_s)
    scope = Scope(selector, span, options.lookback_ms, Naming(options.late_names), notes, budget, {})
    with np.errstate(all="ignore"):
        value = Evaluator(scope, span.times(), span.step_ms).eval(node)
        frame = cleaned(as_frame(value)).filled() if isinstance(value, Frame | np.ndarray) else None
    return QueryAnswer(
        node.kind,
        span.times(),
        frame,
        _of_windows(value) if isinstance(value, SampleWindows) else [],
        value if isinstance(value, str) else "",
        notes.texts(WARNING, query),
        notes.texts(INFO, query),
        (budget.series, budget.samples),
    )


def _of_windows(windows: SampleWindows) -> list[SeriesSamples]:
    """The samples of the only step, ordered by labels."""
    sampled = [
        SeriesSamples(labels, windows.ts_ms[low:high], windows.values[low:high])
        for labels, low, high in zip(windows.labels, windows.low[:, 0], windows.high[:, 0], strict=True)
        if high > low
    ]
    return sorted(sampled, key=lambda series: series.labels)
