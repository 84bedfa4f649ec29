"""YAML from strangers, as a tree in which each value knows its line.

Events of the parser are taken one by one, so that depth and number are bounded before anything is built.  Scalars are
text as it was written: who reads a field knows its type.  There are no anchors, aliases and tags.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from carbyne.core.limits import RULE_FILE_DEPTH_MAX, RULE_FILE_NODES_MAX

LOADER: Final = yaml.SafeLoader
"""Not the one in C: see docs/decisions/0256-the-layer-has-no-libyaml.md."""
NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})


class TreeFault(Exception):
    """What is wrong with a text; ``line`` begins with 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True)
class YamlText:
    """``is_plain``: without quotes, so that it may be a number or nothing."""

    line: int
    text: str
    is_plain: bool

    @property
    def is_nothing(self) -> bool:
        return self.is_plain and self.text in NOTHING


@dataclass(frozen=True)
class YamlList:
    """A list."""

    line: int
    items: "list[YamlNode]" = field(default_factory=list)


@dataclass(frozen=True)
class YamlMap:
    """A mapping; no name is there twice."""

    line: int
    pairs: "dict[str, YamlNode]" = field(default_factory=dict)


YamlNode = YamlText | YamlList | YamlMap


def tree_of(text: str) -> YamlNode | None:
    """The only document of a text, None if it is empty; TreeFault."""
    try:
        events = iter(list(_bounded(yaml.parse(text, Loader=LOADER))))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise TreeFault(mark.line + 1 if mark else 1, f"this is no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise TreeFault(1, f"this is no YAML: {str(error)[:200]}") from None
    except (ValueError, OverflowError):  # of an escape as \\UFFFFFFFF, or a version of 5,000 digits
        raise TreeFault(1, "this is no YAML: a number is too large, in an escape or a version") from None
    roots = [_node(event, events) for event in events if isinstance(event, yaml.NodeEvent)]
    if len(roots) > 1:
        raise TreeFault(roots[1].line, "a second document; a file has one")
    return roots[0] if roots else None


def _bounded(events: Iterator[Any]) -> Iterator[Any]:
    depth = nodes = 0
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise TreeFault(line, "anchors and aliases are not read; write the value where it belongs")
        if getattr(event, "tag", None):
            raise TreeFault(line, f"tags are not read: {str(event.tag)[:50]}")
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > RULE_FILE_DEPTH_MAX:
            raise TreeFault(line, f"nested deeper than {RULE_FILE_DEPTH_MAX} levels")
        if nodes > RULE_FILE_NODES_MAX:
            raise TreeFault(line, f"more than {RULE_FILE_NODES_MAX} values; write several files")
        yield event


def _node(event: Any, events: Iterator[Any]) -> YamlNode:  # noqa: ANN401 - an event of the library
    line = event.start_mark.line + 1
    if isinstance(event, yaml.ScalarEvent):
        return YamlText(line, event.value, not event.style)
    if isinstance(event, yaml.SequenceStartEvent):
        return YamlList(line, [_node(each, events) for each in _until(events, yaml.SequenceEndEvent)])
    made = YamlMap(line)
    for key in _until(events, yaml.MappingEndEvent):
        name = _node(key, events)
        if not isinstance(name, YamlText):
            raise TreeFault(name.line, "a name of a field must be text")
        if name.text in made.pairs:
            raise TreeFault(name.line, f"{name.text[:100]!r} is there twice")
        made.pairs[name.text] = _node(next(events), events)
    return made


def _until(events: Iterator[Any], end: type) -> Iterator[Any]:
    for event in events:
        if isinstance(event, end):
            return
        yield event
