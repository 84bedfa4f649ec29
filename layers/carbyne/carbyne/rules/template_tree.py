"""Templates as trees: their text is read and checked here, and expanded in ``templates``.

Served: text, comments, ``{{- -}}``, pipelines, variables, ``if``, ``with``, ``range`` over labels with ``break`` and
``continue``, fields of labels, and the functions of ``template_calls``.  All else is refused.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from carbyne.core.limits import TEMPLATE_DEPTH_MAX, TEMPLATES_REMEMBERED
from carbyne.rules.printf import GoValue
from carbyne.rules.template_calls import CALLS, LAZY, NAMES

TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<text>"(?>[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<variable>\$\w*)
    |(?P<field>\.[A-Za-z_]\w*)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>:=|[.|()=,])""",
    re.VERBOSE,
)
OF_QUERIES: Final = frozenset({"query", "first", "label", "value", "strvalue", "sortByLabel"})
REFUSED: Final = {
    **dict.fromkeys(OF_QUERIES, "queries are not served in templates; compute in expr, or record a series"),
    **dict.fromkeys(("define", "template", "block", "tmpl", "args"), "templates in templates are not served"),
    **dict.fromkeys(("toTime", "toDuration"), "types of time are not served; use humanizeTimestamp, humanizeDuration"),
    **dict.fromkeys(("html", "js", "call", "slice"), "this function is not served"),
}
ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
ESCAPED: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
INTEGERS_END: Final = 2**63
GIVEN: Final = {"$labels", "$externalLabels", "$externalURL", "$value", "$"}


class TemplateFault(Exception):
    """A text that is no template, or a part of templates that is not served."""


class _Lexeme(NamedTuple):
    kind: str
    text: str


@dataclass(frozen=True)
class TemplateLiteral:
    value: GoValue


@dataclass(frozen=True)
class TemplatePath:
    """``root``: a variable, empty for the dot, or a pipe in parentheses."""

    root: "str | TemplatePipe"
    fields: tuple[str, ...]


@dataclass(frozen=True)
class TemplateFunction:
    name: str


TemplateOperand = TemplateLiteral | TemplatePath | TemplateFunction


@dataclass(frozen=True)
class TemplatePipe:
    """``names``: variables that it sets; ``declares``: they are new ones."""

    names: tuple[str, ...]
    declares: bool
    commands: tuple[tuple[TemplateOperand, ...], ...]


@dataclass(frozen=True)
class TemplateBlock:
    """``kind``: if, with or range; or ``action``, which writes its pipe, ``text``, break or continue."""

    kind: str
    text: str = ""
    pipe: TemplatePipe | None = None
    body: "tuple[TemplateBlock, ...]" = ()
    other: "tuple[TemplateBlock, ...]" = ()


def parse(text: str) -> "tuple[TemplateBlock, ...]":
    """The blocks of a template; TemplateFault."""
    return _Parser(list(_pieces(text))).template()


parse_once = lru_cache(TEMPLATES_REMEMBERED)(parse)
"""As ``parse``, of texts that come again each minute."""


def _pieces(text: str) -> Iterator[tuple[str, list[_Lexeme]]]:
    """Text before an action with the action's tokens, the last time without."""
    at, trims = 0, False
    while (begin := text.find("{{", at)) >= 0:
        before, inside = text[at:begin], begin + 2
        if re.match(r"-\s", text[inside:]):
            before, inside = before.rstrip(" \t\r\n"), inside + 1
        before = before.lstrip(" \t\r\n") if trims else before
        comment = re.compile(r"\s*/\*(?s:.*?)\*/(\s-)?}}").match(text, inside)
        if comment:
            yield before, []
            at, trims = comment.end(), bool(comment[1])
            continue
        tokens, at, trims = _tokens(text, inside)
        yield before, tokens or [_Lexeme("space", "")]
    yield (text[at:].lstrip(" \t\r\n") if trims else text[at:]), []


def _tokens(text: str, at: int) -> tuple[list[_Lexeme], int, bool]:
    """Tokens of an action, where it ends, and whether it trims what follows."""
    tokens: list[_Lexeme] = []
    while at < len(text):
        if end := re.compile(r"([ \t\r\n]-)?}}").match(text, at):
            return tokens, end.end(), bool(end[1])
        match = TOKEN.match(text, at)
        if not match:
            raise TemplateFault(f"unexpected {text[at : at + 10]!r} in an action")
        kind = match.lastgroup or ""
        tokens.append(_Lexeme(kind, match[0]))  # spaces too: they part a field from what is before it
        at = match.end()
    raise TemplateFault("an action is not closed by }}")


class _Parser:
    """Makes blocks of pieces; ``known``: variables by the blocks that are open."""

    def __init__(self, pieces: "list[tuple[str, list[_Lexeme]]]") -> None:
        self._pieces = pieces
        self._at = 0
        self._tokens: list[_Lexeme] = []
        self._known: list[set[str]] = [set(GIVEN)]
        self._ranges = 0

    def template(self) -> tuple[TemplateBlock, ...]:
        body, end = self._blocks(0)
        if end:
            raise TemplateFault(f"unexpected {{{{{end}}}}}")
        return body

    def _blocks(self, depth: int) -> tuple[tuple[TemplateBlock, ...], str]:
        """Blocks until an end or else, and which it was, empty at the end of the text."""
        if depth > TEMPLATE_DEPTH_MAX:
            raise TemplateFault(f"blocks nested deeper than {TEMPLATE_DEPTH_MAX}")
        made: list[TemplateBlock] = []
        while self._at < len(self._pieces):
            before, self._tokens = self._pieces[self._at]
            self._at += 1
            made += [TemplateBlock("text", before)] if before else []
            if not self._tokens:  # a comment, or the end
                continue
            self._skip()
            if not self._tokens:
                raise TemplateFault("a value is missing in an action")
            word = self._tokens[0].text if self._tokens[0].kind == "word" else ""
            if word in ("end", "else"):
                return tuple(made), word
            made.append(self._block(word, depth))
        return tuple(made), ""

    def _block(self, word: str, depth: int) -> TemplateBlock:
        if word in ("break", "continue"):
            return self._leaving(word)
        if word not in ("if", "with", "range"):
            block = TemplateBlock("action", pipe=self._pipe(depth))
            self._done()
            return block
        self._take()
        self._known.append(set())
        pipe = self._pipe(depth, is_range=word == "range")
        self._done()
        self._ranges += word == "range"
        body, end = self._blocks(depth + 1)
        self._ranges -= word == "range"
        other: tuple[TemplateBlock, ...] = ()
        if end == "else":
            self._take()
            self._skip()
            if self._peek("word") == word != "range":  # else if, else with
                other = (self._block(word, depth + 1),)
                self._known.pop()
                return TemplateBlock(word, pipe=pipe, body=body, other=other)
            self._done()
            other, end = self._blocks(depth + 1)
        if end != "end":
            raise TemplateFault(f"{{{{{word}}}}} has no {{{{end}}}}")
        self._take()
        self._done()
        self._known.pop()
        return TemplateBlock(word, pipe=pipe, body=body, other=other)

    def _leaving(self, word: str) -> TemplateBlock:
        if not self._ranges:
            raise TemplateFault(f"{{{{{word}}}}} outside of a range")
        self._take()
        self._done()
        return TemplateBlock(word)

    def _pipe(self, depth: int, *, is_range: bool = False) -> TemplatePipe:
        names, declares = self._declared(is_range=is_range)
        commands = [self._command(depth)]
        while self._peek("sign") == "|":
            self._take()
            commands.append(self._command(depth))
        for number, command in enumerate(commands):
            self._check(command, 1 if number else 0)
        if declares:
            self._known[-1].update(names)
        return TemplatePipe(names, declares, tuple(commands))

    def _declared(self, *, is_range: bool) -> tuple[tuple[str, ...], bool]:
        self._skip()
        signs = [token for token in self._tokens if token.kind != "space"]
        at = next((at for at, token in enumerate(signs[:4]) if token.text in (":=", "=")), 0)
        if not at:
            return (), False
        names = [token.text for token in signs[:at] if token.kind == "variable"]
        expected = [*names[:1], *(part for name in names[1:] for part in (",", name))]
        if [token.text for token in signs[:at]] != expected or len(names) > (2 if is_range else 1):
            raise TemplateFault("variables are set one at a time, or two by range")
        declares = signs[at].text == ":="
        for name in () if declares else names:
            self._check_known(name)
        while self._take().text not in (":=", "="):
            pass
        return tuple(names), declares

    def _command(self, depth: int) -> tuple[TemplateOperand, ...]:
        operands: list[TemplateOperand] = []
        while True:
            self._skip()
            if not self._tokens or self._tokens[0].text in ("|", ")"):
                break
            operands.append(self._operand(depth))
            if self._tokens and self._tokens[0].kind != "space" and self._tokens[0].text not in ("|", ")"):
                raise TemplateFault(f"unexpected {self._tokens[0].text[:20]!r} in an action; a space is missing")
        if not operands:
            raise TemplateFault("a value is missing in an action")
        return tuple(operands)

    def _operand(self, depth: int) -> TemplateOperand:
        token = self._take()
        if token.kind == "text":
            return TemplateLiteral(_unquoted(token.text))
        if token.kind == "number":
            return TemplateLiteral(_number(token.text))
        if token.kind == "word":
            return self._word(token.text)
        if token.kind == "variable":
            self._check_known(token.text)
            return TemplatePath(token.text, self._fields())
        if token.kind == "field":
            return TemplatePath("", (token.text[1:], *self._fields()))
        return TemplatePath("", ()) if token.text == "." else self._bracket(token, depth)

    def _bracket(self, token: _Lexeme, depth: int) -> TemplatePath:
        if token.text != "(":
            raise TemplateFault(f"unexpected {token.text!r} in an action")
        if depth >= TEMPLATE_DEPTH_MAX:
            raise TemplateFault(f"parentheses nested deeper than {TEMPLATE_DEPTH_MAX}")
        inner = self._pipe(depth + 1)
        if self._peek("sign") != ")":
            raise TemplateFault("a parenthesis is not closed")
        self._take()
        return TemplatePath(inner, self._fields())

    def _word(self, word: str) -> TemplateOperand:
        if word in REFUSED:
            raise TemplateFault(f"{word}: {REFUSED[word]}")
        if word in ("true", "false", "nil"):
            return TemplateLiteral({"true": True, "false": False}.get(word))
        if word not in NAMES:
            raise TemplateFault(f"function {word[:50]!r} is not defined; there are {', '.join(NAMES)}")
        return TemplateFunction(word)

    def _fields(self) -> tuple[str, ...]:
        fields: list[str] = []
        while self._tokens and self._tokens[0].kind == "field":
            fields.append(self._take().text[1:])
        return tuple(fields)

    def _check(self, command: tuple[TemplateOperand, ...], piped: int) -> None:
        first, given = command[0], len(command) - 1 + piped
        if isinstance(first, TemplateFunction) and first.name in CALLS:
            _, least, most = CALLS[first.name]
            if not least <= given <= most:
                few = f"{least}" if least == most else f"{least} to {most}"
                raise TemplateFault(f"{first.name} takes {few} arguments; got {given}")
        if isinstance(first, TemplateFunction) and first.name in LAZY and not given:
            raise TemplateFault(f"{first.name} takes at least 1 argument")
        if first == TemplateLiteral(None):
            raise TemplateFault("nil is not a command")
        if not isinstance(first, TemplateFunction) and given:
            raise TemplateFault("only a function takes arguments")

    def _check_known(self, name: str) -> None:
        if not any(name in known for known in self._known):
            raise TemplateFault(f"undefined variable {name[:50]!r}")

    def _peek(self, kind: str) -> str:
        self._skip()
        return self._tokens[0].text if self._tokens and self._tokens[0].kind == kind else ""

    def _skip(self) -> None:
        while self._tokens and self._tokens[0].kind == "space":
            self._tokens.pop(0)

    def _take(self) -> _Lexeme:
        if not self._tokens:
            raise TemplateFault("a value is missing in an action")
        return self._tokens.pop(0)

    def _done(self) -> None:
        self._skip()
        if self._tokens:
            raise TemplateFault(f"unexpected {self._tokens[0].text[:20]!r} in an action")


def _number(text: str) -> int | float:
    digits = text.lstrip("+-")
    if digits.isdecimal() and (digits == "0" or digits[0] != "0") and abs(int(text)) < INTEGERS_END:
        return int(text)
    if digits.isdecimal() or math.isinf(float(text)):
        raise TemplateFault(f"{text[:50]} is no decimal number that Go takes")
    return float(text)


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]

    def character(match: "re.Match[str]") -> str:
        digits = match[1] or match[2] or match[3]
        if digits or match[4]:
            code = int(digits, 16) if digits else int(match[4], 8)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise TemplateFault(f"{match[0]} is no character")
            return chr(code)
        if match[5] not in ESCAPED:
            raise TemplateFault(f"unknown escape \\{match[5]} in a string")
        return ESCAPED[match[5]]

    return ESCAPE.sub(character, text[1:-1])
