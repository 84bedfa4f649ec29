"""Parts of a query that give the same at every step: these are computed once."""

from typing import Final

from carbyne.promql.tree import Expr, FunctionCall, Select, Subquery, bare, children

BY_TIME: Final = frozenset(
    {"time", "timestamp", "start_timestamp", "predict_linear", "info"}
    | {"day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"}
)
"""Functions that look at the time of the step; ``info`` where its selectors look at several."""


def is_invariant(node: Expr) -> bool:
    """Whether the value does not depend on the step."""
    if isinstance(node, Select | Subquery):
        return node.at is not None
    if isinstance(node, FunctionCall) and node.name in BY_TIME:
        return node.name == "timestamp" and isinstance(bare(node.arguments[0]), Select) and _all(node)
    return _all(node)


def _all(node: Expr) -> bool:
    return all(map(is_invariant, children(node)))
