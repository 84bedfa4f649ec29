"""Functions of labels: changing them, ordering by them, and saying that nothing has them."""

import re
from collections.abc import Sequence
from functools import cmp_to_key
from typing import Final

import numpy as np

from carbyne.core.errors import QueryError
from carbyne.promql.called import Called
from carbyne.promql.frames import Frame, anywhere, joined, single
from carbyne.promql.labels import NAME, Labels, get, made, put
from carbyne.promql.remarks import sort_in_range
from carbyne.promql.select import pattern
from carbyne.promql.tree import Expr, Match, Range, Select, bare

REFERENCE: Final = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)
CHUNK: Final = re.compile(r"\d+|\D+", re.ASCII)


def replace_label(called: Called) -> Frame:
    """``label_replace``: a label made of what a regular expression finds in another one."""
    target, template, source = (called.text(at) for at in (1, 2, 3))
    compiled = pattern(called.text(4), "label_replace()", "execution")
    _check_name(target, "destination", "label_replace")

    def changed(labels: Labels) -> Labels | None:
        match = compiled.fullmatch(get(labels, source))
        return put(labels, target, _expanded(template, match, compiled.groupindex)) if match else None

    return _renamed(called.frame(), target, [changed(labels) for labels in called.frame().labels])


def _expanded(template: str, match: "re.Match[str]", names: "dict[str, int]") -> str:
    def of(reference: "re.Match[str]") -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        number = int(name) if name.isdecimal() else names.get(name, -1)
        return (match.group(number) or "") if 0 <= number <= len(match.groups()) else ""

    return REFERENCE.sub(of, template)


def join_labels(called: Called) -> Frame:
    """``label_join``: a label of others' values with a separator between."""
    target, separator = called.text(1), called.text(2)
    sources = [called.text(at) for at in range(3, len(called))]
    for source in sources:
        _check_name(source, "source", "label_join")
    _check_name(target, "destination", "label_join")
    frame = called.frame()
    values = [separator.join(get(labels, source) for source in sources) for labels in frame.labels]
    pairs = zip(frame.labels, values, strict=True)
    return _renamed(frame, target, [put(labels, target, value) for labels, value in pairs])


def _renamed(frame: Frame, target: str, labels: Sequence[Labels | None]) -> Frame:
    """``labels``: None for a series that stays as it is; one that gets a name keeps that."""
    made_of = tuple(old if new is None else new for new, old in zip(labels, frame.labels, strict=True))
    changed = np.array([new is not None for new in labels], bool)
    unnamed = frame.unnamed & ~changed if target == NAME else frame.unnamed
    return joined(Frame(made_of, frame.values, frame.there, unnamed))


def _check_name(name: str, which: str, function: str) -> None:
    if not name:
        raise QueryError("execution", f"invalid {which} label name in {function}(): {name}")


def sort_ascending(called: Called) -> Frame:
    """``sort``: by value, NaN last."""
    return _by_value(called, 1)


def sort_descending(called: Called) -> Frame:
    """``sort_desc``: by value, NaN last."""
    return _by_value(called, -1)


def _by_value(called: Called, sign: int) -> Frame:
    frame = called.frame()
    if called.is_range:
        called.notes.add(sort_in_range(called.node.start))
        return frame
    frame = frame.filled()
    column = frame.values[:, 0]
    return frame.rows(np.lexsort((sign * column, np.isnan(column))))


def sort_by_label(called: Called) -> Frame:
    """``sort_by_label``: by values of labels, numbers within them by their value."""
    return _by_label(called, 1)


def sort_by_label_descending(called: Called) -> Frame:
    """``sort_by_label_desc``."""
    return _by_label(called, -1)


def _by_label(called: Called, sign: int) -> Frame:
    frame = called.frame()
    if called.is_range:
        called.notes.add(sort_in_range(called.node.start))
        return frame
    names = [called.text(at) for at in range(1, len(called))]

    def compared(first: int, second: int) -> int:
        for name in names:
            a, b = get(frame.labels[first], name), get(frame.labels[second], name)
            if a != b:
                return sign * (-1 if _comes_before(a, b) else 1)
        return sign * (-1 if frame.labels[first] < frame.labels[second] else 1)

    return frame.rows(sorted(range(frame.series), key=cmp_to_key(compared)))


def _comes_before(first: str, second: str) -> bool:
    """Whether the first comes before the second by their chunks of digits and of others."""
    firsts, seconds = CHUNK.findall(first), CHUNK.findall(second)
    for a, b in zip(firsts, seconds, strict=False):
        if a.isdecimal() and b.isdecimal():
            if int(a) != int(b):
                return int(a) < int(b)
        elif a != b:
            return bool(a < b)
    return len(firsts) <= len(seconds)


def absent(called: Called) -> Frame:
    """``absent``: 1 where no series has a value."""
    return single(_sought(called.node.arguments[0]), np.ones(len(called.times_ms)), ~anywhere(called.frame().there, 0))


def absent_over_time(called: Called) -> Frame:
    """``absent_over_time``: 1 where no series has a sample in the window."""
    there = ~anywhere(called.windows().there, 0)
    return single(_sought(called.node.arguments[0]), np.ones(len(called.times_ms)), there)


def _sought(node: Expr) -> Labels:
    """The labels that a selector gives exactly one value."""
    node = bare(node)
    select = node.select if isinstance(node, Range) else node
    if not isinstance(select, Select):
        return ()
    labels: dict[str, str] = {}
    seen: set[str] = set()
    for match in select.matches:
        if match.name != NAME:
            _note_match(match, labels, seen)
    return made(labels)


def _note_match(match: Match, labels: dict[str, str], seen: set[str]) -> None:
    if match.op == "=" and match.name not in seen:
        labels[match.name] = match.value
        seen.add(match.name)
    else:
        labels.pop(match.name, None)
