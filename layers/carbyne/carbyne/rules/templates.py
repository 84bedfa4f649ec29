"""Templates of labels and annotations: what Prometheus' have of Go's text/template without queries.

Served: text, comments, ``{{- -}}``, pipelines, variables, ``if``, ``with``, ``range`` over labels, fields of labels,
and the functions of ``template_calls``.  All else is refused when a file is checked.  A template takes a bounded number
of steps and writes a bounded text, whatever its author meant.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from carbyne.core.limits import (
    TEMPLATE_DEPTH_MAX,
    TEMPLATE_OUT_BYTES_MAX,
    TEMPLATE_STEPS_MAX,
    TEMPLATES_REMEMBERED,
)
from carbyne.rules.printf import GoValue, plain
from carbyne.rules.template_calls import CALLS, LAZY, NAMES, OF_TIME, CallFault, is_true

TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
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
    **dict.fromkeys(("break", "continue"), "ranges end by themselves here"),
    **dict.fromkeys(("toTime", "toDuration"), "types of time are not served; use humanizeTimestamp, humanizeDuration"),
    **dict.fromkeys(("html", "js", "call", "slice"), "this function is not served"),
}
ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
ESCAPED: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
DATA: Final = ("Labels", "ExternalLabels", "ExternalURL", "Value")
GIVEN: Final = {"$labels", "$externalLabels", "$externalURL", "$value", "$"}


class TemplateFault(Exception):
    """A text that is no template, or a part of templates that is not served."""


class TemplateData(NamedTuple):
    """What a template is about; ``labels``: of the series; ``now_ms``: of the evaluation."""

    labels: Mapping[str, str]
    value: float
    now_ms: int


class _Lexeme(NamedTuple):
    kind: str
    text: str


@dataclass(frozen=True)
class _Literal:
    value: GoValue


@dataclass(frozen=True)
class _Path:
    """``root``: a variable, empty for the dot, or a pipe in parentheses."""

    root: "str | _Pipe"
    fields: tuple[str, ...]


@dataclass(frozen=True)
class _Function:
    name: str


_Operand = _Literal | _Path | _Function


@dataclass(frozen=True)
class _Pipe:
    """``names``: variables that it sets; ``declares``: they are new ones."""

    names: tuple[str, ...]
    declares: bool
    commands: tuple[tuple[_Operand, ...], ...]


@dataclass(frozen=True)
class _Block:
    """``kind``: if, with or range; or ``action``, which writes its pipe, or ``text``."""

    kind: str
    text: str = ""
    pipe: _Pipe | None = None
    body: "tuple[_Block, ...]" = ()
    other: "tuple[_Block, ...]" = ()


def check_template(text: str) -> None:
    """TemplateFault."""
    _blocks_of(text)


def expand(text: str, data: TemplateData, check_time: Callable[[], None]) -> str:
    """A template's text; what went wrong is written into it, as Prometheus does.  What ``check_time``, which is called
    at each step, raises goes to the caller."""
    if "{{" not in text:
        return text
    try:
        return _Run(data, check_time).text(_parsed(text))
    except (CallFault, TemplateFault) as fault:
        return f"<error expanding template: {fault}>"


def _blocks_of(text: str) -> "tuple[_Block, ...]":
    return _Parser(list(_pieces(text))).template()


_parsed = lru_cache(TEMPLATES_REMEMBERED)(_blocks_of)


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
        if end := re.compile(r"(\s-)?}}").match(text, at):
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

    def template(self) -> tuple[_Block, ...]:
        body, end = self._blocks(0)
        if end:
            raise TemplateFault(f"unexpected {{{{{end}}}}}")
        return body

    def _blocks(self, depth: int) -> tuple[tuple[_Block, ...], str]:
        """Blocks until an end or else, and which it was, empty at the end of the text."""
        if depth > TEMPLATE_DEPTH_MAX:
            raise TemplateFault(f"blocks nested deeper than {TEMPLATE_DEPTH_MAX}")
        made: list[_Block] = []
        while self._at < len(self._pieces):
            before, self._tokens = self._pieces[self._at]
            self._at += 1
            made += [_Block("text", before)] if before else []
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

    def _block(self, word: str, depth: int) -> _Block:
        if word not in ("if", "with", "range"):
            block = _Block("action", pipe=self._pipe(depth))
            self._done()
            return block
        self._take()
        self._known.append(set())
        pipe = self._pipe(depth, is_range=word == "range")
        self._done()
        body, end = self._blocks(depth + 1)
        other: tuple[_Block, ...] = ()
        if end == "else":
            self._take()
            self._skip()
            if self._peek("word") == "if" and word == "if":
                other = (self._block("if", depth + 1),)
                self._known.pop()
                return _Block(word, pipe=pipe, body=body, other=other)
            self._done()
            other, end = self._blocks(depth + 1)
        if end != "end":
            raise TemplateFault(f"{{{{{word}}}}} has no {{{{end}}}}")
        self._take()
        self._done()
        self._known.pop()
        return _Block(word, pipe=pipe, body=body, other=other)

    def _pipe(self, depth: int, *, is_range: bool = False) -> _Pipe:
        names, declares = self._declared(is_range=is_range)
        commands = [self._command(depth)]
        while self._peek("sign") == "|":
            self._take()
            commands.append(self._command(depth))
        for number, command in enumerate(commands):
            self._check(command, 1 if number else 0)
        if declares:
            self._known[-1].update(names)
        return _Pipe(names, declares, tuple(commands))

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

    def _command(self, depth: int) -> tuple[_Operand, ...]:
        operands: list[_Operand] = []
        while True:
            self._skip()
            if not self._tokens or self._tokens[0].text in ("|", ")"):
                break
            operands.append(self._operand(depth))
        if not operands:
            raise TemplateFault("a value is missing in an action")
        return tuple(operands)

    def _operand(self, depth: int) -> _Operand:
        token = self._take()
        if token.kind == "text":
            return _Literal(_unquoted(token.text))
        if token.kind == "number":
            is_whole = token.text.lstrip("+-").isdecimal() and len(token.text) < 20
            return _Literal(int(token.text) if is_whole else float(token.text))
        if token.kind == "word":
            return self._word(token.text)
        if token.kind == "variable":
            self._check_known(token.text)
            return _Path(token.text, self._fields())
        if token.kind == "field":
            return _Path("", (token.text[1:], *self._fields()))
        return _Path("", ()) if token.text == "." else self._bracket(token, depth)

    def _bracket(self, token: _Lexeme, depth: int) -> _Path:
        if token.text != "(":
            raise TemplateFault(f"unexpected {token.text!r} in an action")
        if depth >= TEMPLATE_DEPTH_MAX:
            raise TemplateFault(f"parentheses nested deeper than {TEMPLATE_DEPTH_MAX}")
        inner = self._pipe(depth + 1)
        if self._peek("sign") != ")":
            raise TemplateFault("a parenthesis is not closed")
        self._take()
        return _Path(inner, self._fields())

    def _word(self, word: str) -> _Operand:
        if word in REFUSED:
            raise TemplateFault(f"{word}: {REFUSED[word]}")
        if word in ("true", "false", "nil"):
            return _Literal({"true": True, "false": False}.get(word))
        if word not in NAMES:
            raise TemplateFault(f"function {word[:50]!r} is not defined; there are {', '.join(NAMES)}")
        return _Function(word)

    def _fields(self) -> tuple[str, ...]:
        fields: list[str] = []
        while self._tokens and self._tokens[0].kind == "field":
            fields.append(self._take().text[1:])
        return tuple(fields)

    def _check(self, command: tuple[_Operand, ...], piped: int) -> None:
        first, given = command[0], len(command) - 1 + piped
        if isinstance(first, _Function) and first.name in CALLS:
            _, least, most = CALLS[first.name]
            if not least <= given <= most:
                few = f"{least}" if least == most else f"{least} to {most}"
                raise TemplateFault(f"{first.name} takes {few} arguments; got {given}")
        if isinstance(first, _Function) and first.name in LAZY and not given:
            raise TemplateFault(f"{first.name} takes at least 1 argument")
        if not isinstance(first, _Function) and given:
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


class _Run:
    """One expansion.  ``scopes``: variables by the blocks that are open."""

    def __init__(self, data: TemplateData, check_time: Callable[[], None]) -> None:
        self._check_time = check_time
        self._now_s = data.now_ms / 1000
        values: list[Any] = [data.labels, {}, "", data.value]
        self._data: Any = dict(zip(DATA, values, strict=True))
        self._scopes: list[dict[str, Any]] = [
            {"$labels": values[0], "$externalLabels": {}, "$externalURL": "", "$value": values[3], "$": self._data}
        ]
        self._steps = self._bytes = 0

    def text(self, blocks: Sequence[_Block]) -> str:
        return "".join(self._written(blocks, self._data))

    def _written(self, blocks: Sequence[_Block], dot: Any) -> Iterator[str]:  # noqa: ANN401
        for block in blocks:
            self._step()
            if block.kind == "text":
                yield self._counted(block.text)
            elif block.kind == "action":
                assert block.pipe
                value = self._piped(block.pipe, dot)
                if not block.pipe.names:
                    yield self._counted(plain(value))
            else:
                self._scopes.append({})
                yield from self._control(block, dot)
                self._scopes.pop()

    def _control(self, block: _Block, dot: Any) -> Iterator[str]:  # noqa: ANN401
        assert block.pipe
        if block.kind == "range":
            yield from self._range(block, dot)
            return
        value = self._piped(block.pipe, dot)
        inner = value if block.kind == "with" and is_true(value) else dot
        yield from self._written(block.body if is_true(value) else block.other, inner)

    def _range(self, block: _Block, dot: Any) -> Iterator[str]:  # noqa: ANN401
        assert block.pipe
        value = self._value_of(block.pipe, dot)
        if not isinstance(value, Mapping) or value is self._data:
            raise TemplateFault("range can't iterate over this; it goes over labels alone")
        for name in sorted(value):
            self._set(block.pipe, [name, value[name]][-len(block.pipe.names) :] if block.pipe.names else [])
            yield from self._written(block.body, value[name])
        if not value:
            yield from self._written(block.other, dot)

    def _piped(self, pipe: _Pipe, dot: Any) -> Any:  # noqa: ANN401
        value = self._value_of(pipe, dot)
        self._set(pipe, [value] if pipe.names else [])
        return value

    def _set(self, pipe: _Pipe, values: Sequence[Any]) -> None:
        for name, value in zip(pipe.names, values, strict=True):
            scope = next((each for each in reversed(self._scopes) if name in each), self._scopes[-1])
            (self._scopes[-1] if pipe.declares else scope)[name] = value

    def _value_of(self, pipe: _Pipe, dot: Any) -> Any:  # noqa: ANN401
        value: Any = None
        for number, command in enumerate(pipe.commands):
            self._step()
            value = self._command(command, dot, [value] if number else [])
        return value

    def _command(self, command: tuple[_Operand, ...], dot: Any, piped: "list[Any]") -> Any:  # noqa: ANN401
        first, rest = command[0], command[1:]
        if not isinstance(first, _Function):
            return self._operand(first, dot)
        if first.name == OF_TIME:
            return self._now_s
        if first.name in LAZY:
            return self._lazy(first.name, rest, dot, piped)
        given = [*(self._operand(each, dot) for each in rest), *piped]
        if any(each is self._data for each in given):
            raise CallFault(f"{first.name}: the whole of the data is no value")
        made = CALLS[first.name][0](*given)
        if isinstance(made, str) and len(made) > TEMPLATE_OUT_BYTES_MAX:
            raise TemplateFault(f"the text is longer than {TEMPLATE_OUT_BYTES_MAX} bytes")
        return made

    def _lazy(self, name: str, rest: "tuple[_Operand, ...]", dot: Any, piped: "list[Any]") -> Any:  # noqa: ANN401
        value: Any = None
        for each in [*rest, *piped]:
            value = self._operand(each, dot) if isinstance(each, _Literal | _Path | _Function) else each
            if is_true(value) == (name == "or"):
                return value
        return value

    def _operand(self, operand: _Operand, dot: Any) -> Any:  # noqa: ANN401
        self._step()
        if isinstance(operand, _Literal):
            return operand.value
        if isinstance(operand, _Function):
            return self._command((operand,), dot, [])
        if isinstance(operand.root, _Pipe):
            value = self._value_of(operand.root, dot)
        else:
            value = dot if not operand.root else self._variable(operand.root)
        for field in operand.fields:
            value = self._field(value, field)
        return value

    def _variable(self, name: str) -> Any:  # noqa: ANN401
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise CallFault(f"undefined variable {name[:50]!r}")  # set where the template did not come along

    def _field(self, value: Any, name: str) -> Any:  # noqa: ANN401
        if not isinstance(value, Mapping):
            raise CallFault(f"can't evaluate field {name} in {plain(value)[:50]!r}")
        if value is self._data and name not in DATA:
            raise CallFault(f"can't evaluate field {name}; there are {', '.join(DATA)}")
        return value.get(name, "")

    def _step(self) -> None:
        self._check_time()
        self._steps += 1
        if self._steps > TEMPLATE_STEPS_MAX:
            raise TemplateFault(f"more than {TEMPLATE_STEPS_MAX} steps")

    def _counted(self, text: str) -> str:
        self._bytes += len(text.encode())
        if self._bytes > TEMPLATE_OUT_BYTES_MAX:
            raise TemplateFault(f"the text is longer than {TEMPLATE_OUT_BYTES_MAX} bytes")
        return text


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
