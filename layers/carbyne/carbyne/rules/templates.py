"""Templates of labels and annotations: what Prometheus' have of Go's text/template without queries.

``template_tree`` says what is served.  A template takes a bounded number of steps and writes a bounded text, whatever
its author meant.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from carbyne.core.limits import TEMPLATE_OUT_BYTES_MAX, TEMPLATE_STEPS_MAX
from carbyne.rules.printf import plain
from carbyne.rules.template_calls import CALLS, LAZY, OF_TIME, CallFault, is_true
from carbyne.rules.template_tree import (
    TemplateBlock,
    TemplateFault,
    TemplateFunction,
    TemplateLiteral,
    TemplateOperand,
    TemplatePath,
    TemplatePipe,
    parse,
    parse_once,
)

DATA: Final = ("Labels", "ExternalLabels", "ExternalURL", "Value")


class TemplateData(NamedTuple):
    """What a template is about; ``labels``: of the series; ``now_ms``: of the evaluation."""

    labels: Mapping[str, str]
    value: float
    now_ms: int


def check_template(text: str) -> None:
    """TemplateFault."""
    parse(text)


def expand(text: str, data: TemplateData, check_time: Callable[[], None]) -> str:
    """A template's text; what went wrong is written into it, as Prometheus does.  What ``check_time``, which is called
    at each step, raises goes to the caller."""
    if "{{" not in text:
        return text
    try:
        return _Run(data, check_time).text(parse_once(text))
    except (CallFault, TemplateFault) as fault:
        return f"<error expanding template: {fault}>"


class _Break(Exception):
    """The innermost range ends."""


class _Continue(Exception):
    """The innermost range goes on with its next label."""


LEAVES: Final = {"break": _Break, "continue": _Continue}


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

    def text(self, blocks: Sequence[TemplateBlock]) -> str:
        return "".join(self._written(blocks, self._data))

    def _written(self, blocks: Sequence[TemplateBlock], dot: Any) -> Iterator[str]:  # noqa: ANN401
        for block in blocks:
            self._step()
            if block.kind == "text":
                yield self._counted(block.text)
            elif block.kind == "action":
                assert block.pipe
                value = self._piped(block.pipe, dot)
                if value is self._data:
                    raise CallFault("the whole of the data is no value")
                if not block.pipe.names:
                    yield self._counted(plain(value))
            elif block.kind in LEAVES:
                raise LEAVES[block.kind]
            else:
                self._scopes.append({})
                try:
                    yield from self._control(block, dot)
                finally:
                    self._scopes.pop()

    def _control(self, block: TemplateBlock, dot: Any) -> Iterator[str]:  # noqa: ANN401
        assert block.pipe
        if block.kind == "range":
            yield from self._range(block, dot)
            return
        value = self._piped(block.pipe, dot)
        inner = value if block.kind == "with" and is_true(value) else dot
        yield from self._written(block.body if is_true(value) else block.other, inner)

    def _range(self, block: TemplateBlock, dot: Any) -> Iterator[str]:  # noqa: ANN401
        assert block.pipe
        value = self._value_of(block.pipe, dot)
        if not isinstance(value, Mapping) or value is self._data:
            raise TemplateFault("range can't iterate over this; it goes over labels alone")
        for name in sorted(value):
            self._set(block.pipe, [name, value[name]][-len(block.pipe.names) :] if block.pipe.names else [])
            try:
                yield from self._written(block.body, value[name])
            except _Continue:
                continue
            except _Break:
                break
        if not value:
            yield from self._written(block.other, dot)

    def _piped(self, pipe: TemplatePipe, dot: Any) -> Any:  # noqa: ANN401
        value = self._value_of(pipe, dot)
        self._set(pipe, [value] if pipe.names else [])
        return value

    def _set(self, pipe: TemplatePipe, values: Sequence[Any]) -> None:
        for name, value in zip(pipe.names, values, strict=True):
            scope = next((each for each in reversed(self._scopes) if name in each), self._scopes[-1])
            (self._scopes[-1] if pipe.declares else scope)[name] = value

    def _value_of(self, pipe: TemplatePipe, dot: Any) -> Any:  # noqa: ANN401
        value: Any = None
        for number, command in enumerate(pipe.commands):
            self._step()
            value = self._command(command, dot, [value] if number else [])
        return value

    def _command(self, command: tuple[TemplateOperand, ...], dot: Any, piped: "list[Any]") -> Any:  # noqa: ANN401
        first, rest = command[0], command[1:]
        if not isinstance(first, TemplateFunction):
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

    def _lazy(self, name: str, rest: "tuple[TemplateOperand, ...]", dot: Any, piped: "list[Any]") -> Any:  # noqa: ANN401
        value: Any = None
        for each in [*rest, *piped]:
            value = (
                self._operand(each, dot)
                if isinstance(each, TemplateLiteral | TemplatePath | TemplateFunction)
                else each
            )
            if is_true(value) == (name == "or"):
                return value
        return value

    def _operand(self, operand: TemplateOperand, dot: Any) -> Any:  # noqa: ANN401
        self._step()
        if isinstance(operand, TemplateLiteral):
            return operand.value
        if isinstance(operand, TemplateFunction):
            return self._command((operand,), dot, [])
        if isinstance(operand.root, TemplatePipe):
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
