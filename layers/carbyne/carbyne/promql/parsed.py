"""From the text of a query to its tree.  What can't be answered is refused here, in words."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, NoReturn

import promql_parser as library

from carbyne.core.errors import QueryError
from carbyne.core.limits import QUERY_BYTES_MAX, QUERY_DEPTH_MAX, QUERY_OPERATORS_MAX
from carbyne.promql.labels import NAME
from carbyne.promql.positions import Cursor, depth, operators, strings
from carbyne.promql.tree import (
    Aggregate,
    At,
    Binary,
    Expr,
    FunctionCall,
    Match,
    Matching,
    Minus,
    NumberLiteral,
    Paren,
    Range,
    Select,
    StringLiteral,
    Subquery,
    ValueKind,
)

HISTOGRAMS: Final = "native histograms are not stored, only samples that are numbers; classic histograms (_bucket) are"
REFUSED: Final = {
    "histogram_avg": HISTOGRAMS,
    "histogram_count": HISTOGRAMS,
    "histogram_sum": HISTOGRAMS,
    "histogram_stddev": HISTOGRAMS,
    "histogram_stdvar": HISTOGRAMS,
    "start_timestamp": "start timestamps of series are not stored",
}
ARITHMETIC: Final = "durations can't be computed here; write the result"
NOT_SERVED: Final = {
    re.compile(r"\b(anchored|smoothed)\b"): "modifiers of range selectors are not served; rate() extrapolates without",
    re.compile(r"[<>]/"): HISTOGRAMS,
    re.compile(r"(?i)\boffset\s*[-+]?\s*(\(|(step|range|min_of|max_of)\b)"): ARITHMETIC,
}
"""What the library's parser takes for mistakes -> why it is refused."""
DURATION: Final = "inside brackets"
OUT_OF_RANGE: Final = frozenset({"PanicException", "OverflowError"})
"""What numbers raise that the library, or Python, has no type for; a panic of the library is no Exception."""
BYTES: Final = re.compile(r"\\(?:x[89a-fA-F][0-9a-fA-F]|[2-3][0-7]{2})")
"""Escapes of bytes that are no characters by themselves."""
OPS: Final = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
CARDS: Final = {"VectorMatchCardinality.ManyToOne": "left", "VectorMatchCardinality.OneToMany": "right"}
SYSTEM_TIME: Final = re.compile(r"SystemTime \{\s*tv_sec: (-?\d+),\s*tv_nsec: (\d+)")
TIME_MS_MAX: Final = 2**53
INFO: Final = re.compile(r"\binfo\s*\(")


def parse(query: str) -> Expr:
    """The tree of a query.  QueryError ``bad_data``: it is not PromQL, or a part of PromQL that is not supported."""
    if len(query.encode()) > QUERY_BYTES_MAX:
        _refuse(f"the query has {len(query.encode())} bytes; at most {QUERY_BYTES_MAX} are read")
    if depth(query) > QUERY_DEPTH_MAX:
        _refuse(f"the query has {depth(query)} brackets within each other; at most {QUERY_DEPTH_MAX} are read")
    if operators(query) > QUERY_OPERATORS_MAX:
        _refuse(f"the query has {operators(query)} operators; at most {QUERY_OPERATORS_MAX} are read")
    if any(BYTES.search(text) for text in strings(query)):
        _refuse("escapes of bytes above 7f in strings are not served; write the character, or \\u and its number")
    try:
        return _Maker(query).made(library.parse(query), 0)
    except ValueError as error:
        _refuse(_explained(query, str(error)))
    except BaseException as error:
        if type(error).__name__ not in OUT_OF_RANGE:
            raise
        _refuse(f"a number in it is out of range: {error}")


def pretty(query: str) -> str:
    """A query on lines of bearable length.  QueryError as of ``parse``."""
    parse(query)
    return str(library.parse(query).prettify())


def _refuse(message: str) -> NoReturn:
    raise QueryError("bad_data", f'invalid parameter "query": {message}')


def _explained(query: str, message: str) -> str:
    """Words for parts of PromQL that the library does not read, else what it says."""
    for sign, words in NOT_SERVED.items():
        if sought := sign.search(query):
            return f"`{sought[0].strip()}`: {words}"
    if DURATION in message:
        return f"{message}: {ARITHMETIC}"
    if INFO.search(query) and "non-empty matcher" in message:
        return f"{message}; the second argument of info() must name a label that is not empty"
    return message


class _Maker:
    """Makes our nodes of the library's, in the order of their text."""

    def __init__(self, query: str) -> None:
        self._cursor = Cursor(query)

    def made(self, node: Any, level: int) -> Expr:  # noqa: ANN401 - a type of the library
        if level > QUERY_DEPTH_MAX:
            _refuse(f"the query has more than {QUERY_DEPTH_MAX} operations within each other")
        return MADE_OF[type(node).__name__](self, node, level + 1)

    def number(self, node: Any, _: int) -> Expr:  # noqa: ANN401
        return NumberLiteral(self._cursor.number(), "scalar", node.val)

    def text(self, node: Any, _: int) -> Expr:  # noqa: ANN401
        return StringLiteral(self._cursor.string(), "string", node.val)

    def select(self, node: Any, _: int) -> Select:  # noqa: ANN401
        if node.matchers.or_matchers:
            _refuse("`or` between matchers is not PromQL; write `{...} or {...}`")
        given = tuple(Match(each.name, OPS[str(each.op)], each.value) for each in node.matchers.matchers)
        named = (Match(NAME, "=", node.name),) if node.name else ()
        start = self._cursor.select(node.name or "")
        return Select(start, "vector", named + given, _ms(node.offset), _at(node))

    def range(self, node: Any, level: int) -> Expr:  # noqa: ANN401
        select = self.select(node.vector_selector, level)
        return Range(select.start, "matrix", select, _ms(node.range))

    def subquery(self, node: Any, level: int) -> Expr:  # noqa: ANN401
        body, step = self.made(node.expr, level), node.step
        step_ms = None if step is None else _ms(step)
        return Subquery(body.start, "matrix", body, _ms(node.range), step_ms, _ms(node.offset), _at(node))

    def paren(self, node: Any, level: int) -> Expr:  # noqa: ANN401
        start = self._cursor.bracket()
        body = self.made(node.expr, level)
        return Paren(start, body.kind, body)

    def minus(self, node: Any, level: int) -> Expr:  # noqa: ANN401
        start = self._cursor.sign()
        body = self.made(node.expr, level)
        return Minus(start, body.kind, body)

    def binary(self, node: Any, level: int) -> Expr:  # noqa: ANN401
        left = self.made(node.lhs, level)
        self._cursor.operator(str(node.op))
        right = self.made(node.rhs, level)
        kind: ValueKind = "scalar" if left.kind == right.kind == "scalar" else "vector"
        modifier = node.modifier
        as_bool = bool(modifier and modifier.return_bool)
        return Binary(left.start, kind, str(node.op), left, right, _matching(modifier), as_bool)

    def call(self, node: Any, level: int) -> Expr:  # noqa: ANN401
        name = node.func.name
        if name in REFUSED:
            _refuse(f"{name}() is not served: {REFUSED[name]}")
        start = self._cursor.word(name)
        kind: ValueKind = "scalar" if str(node.func.return_type).endswith("Scalar") else "vector"
        return FunctionCall(start, kind, name, tuple(self.made(argument, level) for argument in node.args))

    def aggregate(self, node: Any, level: int) -> Expr:  # noqa: ANN401
        start = self._cursor.word(str(node.op))
        parameter = None if node.param is None else self.made(node.param, level)
        body = self.made(node.expr, level)
        modifier = node.modifier
        names = tuple(dict.fromkeys(modifier.labels)) if modifier else ()
        without = bool(modifier and str(modifier.type).endswith("Without"))
        return Aggregate(start, "vector", str(node.op), body, parameter, without, names)


NodeMaker = Callable[[_Maker, Any, int], Expr]
MADE_OF: Final[Mapping[str, NodeMaker]] = {
    "NumberLiteral": _Maker.number,
    "StringLiteral": _Maker.text,
    "VectorSelector": _Maker.select,
    "MatrixSelector": _Maker.range,
    "SubqueryExpr": _Maker.subquery,
    "ParenExpr": _Maker.paren,
    "UnaryExpr": _Maker.minus,
    "BinaryExpr": _Maker.binary,
    "Call": _Maker.call,
    "AggregateExpr": _Maker.aggregate,
}


def _matching(modifier: Any) -> Matching:  # noqa: ANN401
    if not modifier:
        return Matching(False, (), "", (), (None, None))
    matching, fills = modifier.matching, modifier.fill_values
    on = bool(matching and str(matching.type).endswith("Include"))
    names = tuple(matching.labels) if matching else ()
    many: Any = CARDS.get(str(modifier.card), "")
    filled = (fills.lhs, fills.rhs) if fills else (None, None)
    return Matching(on, names, many, tuple(modifier.group_labels or ()), filled)


def _ms(duration: timedelta | None) -> int:
    return 0 if duration is None else round(duration / timedelta(milliseconds=1))


def _at(node: Any) -> At:  # noqa: ANN401
    """The library can't make a Python time of one before 1970 or far away, so its text is read."""
    if node.at is None:
        return None
    if str(node.at.type).endswith("Start"):
        return "start"
    if str(node.at.type).endswith("End"):
        return "end"
    seconds, nanoseconds = map(int, SYSTEM_TIME.findall(repr(node))[-1])
    ts_ms = round(seconds * 1000 + nanoseconds / 1e6)
    if abs(ts_ms) > TIME_MS_MAX:
        _refuse("the time behind @ is out of range")
    return ts_ms
