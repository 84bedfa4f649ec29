"""The tree of a query as Prometheus' ``parse_query`` has it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from carbyne.promql.elementwise import OF_DATES
from carbyne.promql.labels import NAME
from carbyne.promql.numbers import plain
from carbyne.promql.tree import (
    SET_OPERATORS,
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
    ValueKind,
)

QueryTree = dict[str, Any]
CARDS: Final = {"": "one-to-one", "left": "many-to-one", "right": "one-to-many"}
VARIADIC: Final[Mapping[str, tuple[Sequence[ValueKind], int]]] = {
    **dict.fromkeys(OF_DATES, (("vector",), 1)),
    "round": (("vector", "scalar"), 1),
    "info": (("vector", "vector"), 1),
    "label_join": (("vector", "string", "string", "string"), -1),
    **dict.fromkeys(("sort_by_label", "sort_by_label_desc"), (("vector", "string"), -1)),
    "histogram_quantiles": (("vector", "string", "scalar", "scalar"), 9),
}
"""Functions that take more or fewer arguments -> the kinds that are listed, and how many more, -1 for any number."""


def described(node: Expr) -> QueryTree:
    """A node with those below it."""
    return DESCRIBED[type(node)](node)


def _select(node: Select, kind: str = "vectorSelector", **more: object) -> QueryTree:
    named = [match for match in node.matches if match.name == NAME and match.op == "="]
    matches = [*(match for match in node.matches if match not in named), *named]
    return {
        "type": kind,
        "name": named[0].value if named else "",
        "offset": node.offset_ms,
        "offsetExpr": None,
        "anchored": False,
        "smoothed": False,
        "matchers": [{"name": match.name, "value": match.value, "type": match.op} for match in matches],
        **_at(node.at),
        **more,
    }


def _at(at: At) -> QueryTree:
    return {"timestamp": at if isinstance(at, int) else None, "startOrEnd": at if isinstance(at, str) else None}


def _subquery(node: Subquery) -> QueryTree:
    spans = {"range": node.range_ms, "offset": node.offset_ms, "step": node.step_ms or 0}
    written = dict.fromkeys(("rangeExpr", "offsetExpr", "stepExpr"))
    return {"type": "subquery", "expr": described(node.body), **spans, **written, **_at(node.at)}


def _binary(node: Binary) -> QueryTree:
    matching, vectors = node.matching, node.left.kind == node.right.kind == "vector"
    met = {
        "card": "many-to-many" if node.op in SET_OPERATORS else CARDS[matching.many],
        "labels": list(matching.names),
        "on": matching.on,
        "include": list(matching.include),
        "fillValues": dict(zip(("lhs", "rhs"), matching.fills, strict=True)),
    }
    sides = {"lhs": described(node.left), "rhs": described(node.right)}
    return {"type": "binaryExpr", "op": node.op, **sides, "matching": met if vectors else None, "bool": node.as_bool}


def _call(node: FunctionCall) -> QueryTree:
    given = [argument.kind for argument in node.arguments]
    kinds, variadic = VARIADIC.get(node.name, (given, 0))
    function = {"name": node.name, "argTypes": list(kinds), "variadic": variadic, "returnType": node.kind}
    return {"type": "call", "func": function, "args": list(map(described, node.arguments))}


def _aggregate(node: Aggregate) -> QueryTree:
    return {
        "type": "aggregation",
        "op": node.op,
        "expr": described(node.body),
        "param": described(node.parameter) if node.parameter else None,
        "grouping": list(node.names),
        "without": node.without,
    }


DESCRIBED: Final[Mapping[type[Expr], Callable[[Any], QueryTree]]] = {
    NumberLiteral: lambda node: {"type": "numberLiteral", "val": plain(node.value)},
    StringLiteral: lambda node: {"type": "stringLiteral", "val": node.value},
    Select: _select,
    Range: lambda node: _select(node.select, "matrixSelector", range=node.range_ms, rangeExpr=None),
    Subquery: _subquery,
    Paren: lambda node: {"type": "parenExpr", "expr": described(node.body)},
    Minus: lambda node: {"type": "unaryExpr", "op": "-", "expr": described(node.body)},
    Binary: _binary,
    FunctionCall: _call,
    Aggregate: _aggregate,
}
