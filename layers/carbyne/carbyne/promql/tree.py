"""The nodes of a query, as the evaluator walks them.  ``start``: where the text of a node begins in the query."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

ValueKind = Literal["scalar", "vector", "matrix", "string"]
At = int | Literal["start", "end"] | None
"""Where ``@`` fixes the time, in ms: at a time, or at an end of the query."""

SET_OPERATORS: Final = frozenset({"and", "or", "unless"})
COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})


@dataclass(frozen=True, eq=False)
class Expr:
    """``kind``: what its evaluation gives."""

    start: int | None
    kind: ValueKind


@dataclass(frozen=True)
class Match:
    """A matcher as it was written; ``op``: ``=``, ``!=``, ``=~`` or ``!~``."""

    name: str
    op: str
    value: str


@dataclass(frozen=True, eq=False)
class NumberLiteral(Expr):
    """A number."""

    value: float


@dataclass(frozen=True, eq=False)
class StringLiteral(Expr):
    """A string."""

    value: str


@dataclass(frozen=True, eq=False)
class Select(Expr):
    """Series by their labels, each with its newest sample."""

    matches: tuple[Match, ...]
    offset_ms: int
    at: At


@dataclass(frozen=True, eq=False)
class Range(Expr):
    """Series by their labels, each with its samples of a window."""

    select: Select
    range_ms: int


@dataclass(frozen=True, eq=False)
class Subquery(Expr):
    """An expression at every ``step_ms`` of a window, None for the default."""

    body: Expr
    range_ms: int
    step_ms: int | None
    offset_ms: int
    at: At


@dataclass(frozen=True, eq=False)
class Paren(Expr):
    """An expression in parentheses."""

    body: Expr


@dataclass(frozen=True, eq=False)
class Minus(Expr):
    """The negative of an expression."""

    body: Expr


@dataclass(frozen=True)
class Matching:
    """How the sides of an operation meet.  ``on``: ``names`` are those that count, else those that don't.

    ``many``: the side that may have several series for one of the other.  ``include``: labels taken from the one side.
    ``fills``: values for a side that has no series, left and right.
    """

    on: bool
    names: tuple[str, ...]
    many: Literal["", "left", "right"]
    include: tuple[str, ...]
    fills: tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)
class Binary(Expr):
    """An operation of two sides; ``as_bool``: a comparison gives 0 or 1 instead of filtering."""

    op: str
    left: Expr
    right: Expr
    matching: Matching
    as_bool: bool


@dataclass(frozen=True, eq=False)
class FunctionCall(Expr):
    """A function of arguments."""

    name: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Aggregate(Expr):
    """An aggregation over groups of series: by the labels ``names``, or without them."""

    op: str
    body: Expr
    parameter: Expr | None
    without: bool
    names: tuple[str, ...]


def bare(node: Expr) -> Expr:
    """Without parentheses around it."""
    while isinstance(node, Paren):
        node = node.body
    return node


def children(node: Expr) -> Iterator[Expr]:
    """The nodes right below one, in the order of the text."""
    if isinstance(node, Range):
        yield node.select
    elif isinstance(node, FunctionCall):
        yield from node.arguments
    for name in ("parameter", "left", "right", "body"):
        child = getattr(node, name, None)
        if isinstance(child, Expr):
            yield child
