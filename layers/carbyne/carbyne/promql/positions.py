"""Where each node begins in the text of a query, which the parser does not say.

Tokens of what has no node (modifiers, lists of labels, matchers, durations) are left out; what is left are the first
tokens of the nodes in the order in which a walk meets these.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

LISTS: Final = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right", "fill", "fill_left", "fill_right"}
)
TOKEN: Final = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<number>0[xX][0-9a-fA-F]+|(?:\d+(?:ms|[smhdwy]))+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<sign>[=!><]=)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
OPERATORS: Final = frozenset({"and", "or", "unless", "atan2", "bool", "group_left", "group_right"})
SIGNS: Final = frozenset("+-*/%^<>") | {"==", "!=", ">=", "<="}
WORDS: Final = frozenset({"and", "or", "unless", "atan2"})
CLOSES: Final = {"(": ")", "[": "]", "{": "}"}


class QueryToken(NamedTuple):
    """``kind``: ``text``, ``number``, ``word``, ``sign`` or ``other``."""

    kind: str
    text: str
    start: int


def depth(query: str) -> int:
    """The greatest number of brackets that are open at once."""
    deepest = current = 0
    for token in _tokens(query):
        current += (token.text in CLOSES) - (token.text in CLOSES.values())
        deepest = max(deepest, current)
    return deepest


def operators(query: str) -> int:
    """How many operators there are, signs among them."""
    return sum(token.text in SIGNS or token.text.lower() in WORDS for token in _tokens(query) if token.kind != "text")


def strings(query: str) -> list[str]:
    """The strings with escapes, in their quotes."""
    return [token.text for token in _tokens(query) if token.kind == "text" and not token.text.startswith("`")]


class Cursor:
    """Finds the first token of one node after the other."""

    def __init__(self, query: str) -> None:
        self._tokens = list(_of_nodes(list(_tokens(query))))
        self._at = 0

    def word(self, text: str) -> int | None:
        """Of a function or an aggregation."""
        return self._next(lambda token: token.kind == "word" and token.text.lower() == text.lower())

    def select(self, name: str) -> int | None:
        """Of a selector: its name, or the bracket of its matchers."""
        return self._next(lambda token: token.text == "{" or (token.kind == "word" and token.text == name))

    def number(self) -> int | None:
        """Of a number, with the signs before it."""
        before = self._at
        start = self._next(lambda token: token.kind == "number" or token.text.lower() in {"inf", "nan"})
        signed = start is not None and all(token.text in {"+", "-"} for token in self._tokens[before : self._at - 1])
        return self._tokens[before].start if signed else start

    def string(self) -> int | None:
        """Of a string."""
        return self._next(lambda token: token.kind == "text")

    def operator(self, text: str) -> int | None:
        """Of an operator between two sides."""
        return self._next(lambda token: token.text.lower() == text)

    def sign(self) -> int | None:
        """Of a negative."""
        return self._next(lambda token: token.text == "-")

    def bracket(self) -> int | None:
        """Of an expression in parentheses."""
        return self._next(lambda token: token.text == "(")

    def _next(self, is_it: Callable[[QueryToken], bool]) -> int | None:
        for at in range(self._at, len(self._tokens)):
            if is_it(self._tokens[at]):
                self._at = at + 1
                return self._tokens[at].start
        return None


def _tokens(query: str) -> Iterator[QueryToken]:
    for match in TOKEN.finditer(query):
        if match.lastgroup and match.lastgroup != "skip":
            yield QueryToken(match.lastgroup, match.group(), match.start())


def _of_nodes(tokens: Sequence[QueryToken]) -> Iterator[QueryToken]:
    at = 0
    while at < len(tokens):
        token = tokens[at]
        after = at + 1
        if token.kind == "word" and token.text.lower() in LISTS and _text(tokens, after) == "(":
            at = _behind(tokens, after)
        elif token.text == "[":
            at = _behind(tokens, at)
        elif token.text == "{":
            named = at and tokens[at - 1].kind == "word" and tokens[at - 1].text.lower() not in OPERATORS
            if not named:  # else the name is the first token
                yield token
            at = _behind(tokens, at)
        elif token.kind == "word" and token.text.lower() == "offset":
            at = after + 1 + (_text(tokens, after) in {"+", "-"})
        elif token.text == "@":
            at = _behind_time(tokens, after)
        else:
            if not (token.text == "(" and _is_call(tokens, at)):
                yield token
            at = after


def _text(tokens: Sequence[QueryToken], at: int) -> str:
    return tokens[at].text if at < len(tokens) else ""


def _behind(tokens: Sequence[QueryToken], at: int) -> int:
    """Behind the bracket that closes the one at ``at``."""
    opened = 0
    while at < len(tokens):
        opened += (tokens[at].text in CLOSES) - (tokens[at].text in CLOSES.values())
        at += 1
        if not opened:
            break
    return at


def _behind_time(tokens: Sequence[QueryToken], at: int) -> int:
    if _text(tokens, at) in {"start", "end"}:
        return at + 3
    return at + 1 + (_text(tokens, at) in {"+", "-"})


def _is_call(tokens: Sequence[QueryToken], at: int) -> bool:
    """Whether the bracket holds arguments, those of ``sum by (a) (b)`` too."""
    if at and tokens[at - 1].kind == "word":
        return tokens[at - 1].text.lower() not in OPERATORS
    if at and tokens[at - 1].text == ")":
        opens = _opening(tokens, at - 1)
        return opens > 1 and tokens[opens - 1].text.lower() in {"by", "without"}
    return False


def _opening(tokens: Sequence[QueryToken], at: int) -> int:
    opened = 0
    while at >= 0:
        opened += (tokens[at].text in CLOSES.values()) - (tokens[at].text in CLOSES)
        if not opened:
            break
        at -= 1
    return at
