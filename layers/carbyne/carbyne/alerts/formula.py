"""Expressions of Mackerel's functions: from their text to a tree.  What can't be judged is refused here, in words.

``avg(role(shop:db, loadavg5))`` is a call in a call; host, service and role are the metrics that it begins with.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from carbyne.core.errors import RequestError
from carbyne.core.limits import EXPRESSION_BACK_MS_MAX, EXPRESSION_CALLS_MAX, EXPRESSION_DEPTH_MAX

_MINUTE_MS: Final = 60_000
_UNITS_MS: Final = {
    "m": _MINUTE_MS,
    "h": 60 * _MINUTE_MS,
    "d": 1_440 * _MINUTE_MS,
    "w": 7 * 1_440 * _MINUTE_MS,
    "mo": 30 * 1_440 * _MINUTE_MS,
    "y": 365 * 1_440 * _MINUTE_MS,
}
_TOKEN: Final = re.compile(r"""\s*(?:'([^'\\]*)'|"([^"\\]*)"|([(),])|([^\s(),'"\\]+))""")
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_LEAVES: Final = ("host", "service", "role", "roleSlots")
_SIGNATURES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("host", "service", "role", "roleSlots"), ("text", "text")),
    **dict.fromkeys(("avg", "max", "min", "sum", "product", "stack"), ("metrics",)),
    **dict.fromkeys(("diff", "divide"), ("metrics", "metrics")),
    **dict.fromkeys(("scale", "offset"), ("metrics", "factor")),
    "percentile": ("metrics", "percentage"),
    **dict.fromkeys(("timeShift", "movingAverage", "linearRegression"), ("metrics", "duration")),
    "timeLeftForecast": ("metrics", "duration", "factor"),
    "group": ("metrics",),  # and more of them
    "alias": ("metrics", "text"),
}
_JOINING: Final = ("avg", "max", "min", "sum", "product", "percentile")
BACKWARD: Final = ("timeShift", "movingAverage", "linearRegression", "timeLeftForecast")
"""Functions whose first number is a duration, in ms."""


@dataclass(frozen=True)
class NamedMetrics:
    """``kind``: host, service or role; ``owner``: its id or name; ``metric``: with ``*`` for any text without a dot."""

    kind: str
    owner: str
    metric: str

    @property
    def is_one(self) -> bool:
        return self.kind != "role" and "*" not in self.metric


@dataclass(frozen=True)
class AppliedFunction:
    """``numbers``: factors, thresholds, percentages, and durations in ms, in the order in which they were written;
    ``name``: of an alias."""

    function: str
    metrics: tuple["FormulaNode", ...]
    numbers: tuple[float, ...] = ()
    name: str = ""

    @property
    def joins(self) -> bool:
        """Whether it makes one line of all."""
        return self.function in _JOINING

    @property
    def is_one(self) -> bool:
        """Whether it is one line, whatever series there are."""
        if self.joins:
            return True
        return (self.function != "group" or len(self.metrics) == 1) and all(each.is_one for each in self.metrics)


FormulaNode = NamedMetrics | AppliedFunction


class _Token(NamedTuple):
    """``kind``: ``mark`` for a bracket or comma, ``quoted`` or ``word``; ``at``: number of its first character."""

    kind: str
    text: str
    at: int


def parse_formula(text: str) -> FormulaNode:
    """RequestError 400 that says where and why, for what is no expression, or one that is no single line."""
    node = parse_lines(text)
    if not node.is_one:
        raise RequestError(400, "it has several lines; make one of them, as by avg(...) or max(...)")
    return node


def parse_lines(text: str) -> FormulaNode:
    """As ``parse_formula``, of one that may have several lines."""
    reading = _Reading(list(_tokens(text)))
    node = reading.metrics(0)
    reading.end()
    if back_ms(node) > EXPRESSION_BACK_MS_MAX:
        raise RequestError(400, f"it looks back more than {EXPRESSION_BACK_MS_MAX // _UNITS_MS['d']} days")
    return node


def back_ms(node: FormulaNode) -> float:
    """How far before a point lies what it depends on."""
    if isinstance(node, NamedMetrics):
        return 0
    own_ms = node.numbers[0] if node.function in BACKWARD else 0
    return own_ms + max(map(back_ms, node.metrics))


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if not match:
            raise RequestError(400, f"character {at + 1}: a quote has no end, or a backslash is none of an expression")
        single, double, mark, word = match.groups()
        kind = "mark" if mark else "word" if word else "quoted"
        tokens.append(_Token(kind, mark or word or single or double or "", match.end()))
        at = match.end()
    return tokens


class _Reading:
    """Takes tokens, each once."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._next, self._calls = tokens, 0, 0

    def metrics(self, depth: int) -> FormulaNode:
        name = self._take("a function")
        signature = _SIGNATURES.get(name.text) if name.kind == "word" else None
        if signature is None:
            raise _wrong(name, f"{name.text[:40]!r} is no function; there are {', '.join(sorted(_SIGNATURES))}")
        self._calls += 1
        if depth >= EXPRESSION_DEPTH_MAX or self._calls > EXPRESSION_CALLS_MAX:
            most = f"{EXPRESSION_DEPTH_MAX} functions within each other, or {EXPRESSION_CALLS_MAX} in all"
            raise _wrong(name, f"more than {most}")
        return self._called(name.text, signature, depth)

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise _wrong(self._tokens[self._next], "the expression goes on behind its end")

    def _called(self, function: str, signature: tuple[str, ...], depth: int) -> FormulaNode:
        self._mark("(")
        nodes: list[FormulaNode] = []
        texts: list[str] = []
        numbers: list[float] = []
        for place, kind in enumerate(signature):
            if place:
                self._mark(",")
            if kind == "metrics":
                nodes.append(self.metrics(depth + 1))
            elif kind == "text":
                texts.append(self._take("a name").text)
            else:
                numbers.append(self._number(kind))
        while function == "group" and self._is_next(","):
            self._mark(",")
            nodes.append(self.metrics(depth + 1))
        self._mark(")")
        if function in _LEAVES:
            return NamedMetrics("role" if function == "roleSlots" else function, *texts)
        return AppliedFunction(function, tuple(nodes), tuple(numbers), "".join(texts))

    def _number(self, kind: str) -> float:
        token = self._take(f"a {kind}")
        value = _duration_ms(token.text) if kind == "duration" else _fraction(token.text)
        if value is None or (kind == "percentage" and not 0 < value < 100):
            raise _wrong(token, f"{token.text[:40]!r} is no {kind}: {_FORMS[kind]}")
        return value

    def _is_next(self, mark: str) -> bool:
        return self._next < len(self._tokens) and self._tokens[self._next][:2] == ("mark", mark)

    def _mark(self, mark: str) -> None:
        if not self._is_next(mark):
            at = self._tokens[self._next] if self._next < len(self._tokens) else None
            got = f"got {at.text[:40]!r}" if at else "the expression ends"
            raise RequestError(400, f"character {at.at if at else 'last'}: {mark!r} is missing; {got}")
        self._next += 1

    def _take(self, what: str) -> _Token:
        """The next token, which is no bracket or comma."""
        if self._next == len(self._tokens) or self._tokens[self._next].kind == "mark":
            got = self._tokens[self._next].text if self._next < len(self._tokens) else "the end"
            raise RequestError(400, f"{what} is missing; got {got}")
        self._next += 1
        return self._tokens[self._next - 1]


_FORMS: Final = {
    "duration": "a whole number and m, h, d, w, mo or y",
    "factor": "a number, or two with / between them",
    "percentage": "a number between 0 and 100",
}


def _wrong(token: _Token, why: str) -> RequestError:
    return RequestError(400, f"character {token.at}: {why}")


def _duration_ms(text: str) -> float | None:
    match = re.fullmatch(r"(\d{1,6})(mo|[mhdwy])", text)
    return int(match[1]) * _UNITS_MS[match[2]] or None if match else None


def _fraction(text: str) -> float | None:
    parts = text.split("/")
    if len(parts) > 2 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    above, below = float(parts[0]), float(parts[1]) if len(parts) == 2 else 1.0
    value = above / below if below else math.inf
    return value if math.isfinite(value) else None
