"""Rule files of Prometheus 3: what they hold, and every way in which they are refused."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from carbyne.core.errors import QueryError, RequestError
from carbyne.core.limits import (
    LABEL_NAME_BYTES_MAX,
    LABEL_VALUE_BYTES_MAX,
    LABELS_MAX,
    METRIC_NAME_BYTES_MAX,
    RULE_FILE_BYTES_MAX,
    RULE_GROUPS_PER_FILE_MAX,
    RULE_TEXT_BYTES_MAX,
    RULES_PER_GROUP_MAX,
)
from carbyne.promql.parsed import parse as parse_query
from carbyne.rules.forms import DURATION_MS_MAX, FileGroup, GroupRule, RuleGroups, duration_ms
from carbyne.rules.template_tree import TemplateFault
from carbyne.rules.templates import check_template
from carbyne.rules.yaml_tree import TreeFault, YamlList, YamlMap, YamlNode, YamlText, tree_of

LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
WHOLE: Final = re.compile(r"[+-]?\d{1,9}")
OF_QUERY: Final = 'invalid parameter "query": '
GROUP_FIELDS: Final = ("name", "interval", "query_offset", "limit", "labels", "rules")
RULE_FIELDS: Final = ("record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations")


class _Fault(Exception):
    """``where``: from the outside to the inside, as ``group "a"``."""

    def __init__(self, line: int, message: str, *where: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.where = where


def read(body: bytes, name: str) -> RuleGroups:
    """The groups of a rule file; RequestError 400 that names file, line, group, rule and field, 413 if it is too
    large."""
    if len(body) > RULE_FILE_BYTES_MAX:
        raise RequestError(413, f"{name}: {len(body)} bytes; a rule file has at most {RULE_FILE_BYTES_MAX}")
    try:
        return _file(tree_of(body.decode()))
    except UnicodeDecodeError:
        raise RequestError(400, f"{name}: the file is not UTF-8") from None
    except TreeFault as fault:
        raise RequestError(400, f"{name}:{fault.line}: {fault.message}") from None
    except _Fault as fault:
        raise RequestError(400, f"{name}:{fault.line}: {', '.join([*fault.where, fault.message])}") from None


def _file(root: YamlNode | None) -> RuleGroups:
    if root is None or (isinstance(root, YamlText) and root.is_nothing):
        return RuleGroups(groups=[])
    fields = _fields(root, ("groups",))
    groups = [_group(node, number) for number, node in enumerate(_items(fields.get("groups"), "groups"), 1)]
    if len(groups) > RULE_GROUPS_PER_FILE_MAX:
        raise _Fault(root.line, f"{len(groups)} groups; a file has at most {RULE_GROUPS_PER_FILE_MAX}")
    names: set[str] = set()
    for group, node in zip(groups, _items(fields.get("groups"), "groups"), strict=True):
        if group.name in names:
            raise _Fault(node.line, f"group {group.name!r} is there twice")
        names.add(group.name)
    return RuleGroups(groups=groups)


def _group(node: YamlNode, number: int) -> FileGroup:
    where = f"group {number}"
    with _at(where):
        fields = _fields(node, GROUP_FIELDS)
        name = _text(fields.get("name"))
        if not name:
            raise _Fault(node.line, "name is missing")
        _bytes_at_most(fields["name"], LABEL_VALUE_BYTES_MAX, "name")
    with _at(f"group {name!r}"):
        nodes = _items(fields.get("rules"), "rules")
        if len(nodes) > RULES_PER_GROUP_MAX:
            raise _Fault(node.line, f"{len(nodes)} rules; a group has at most {RULES_PER_GROUP_MAX}")
        group_labels = _texts(fields.get("labels"), "labels", _check_label)
        return FileGroup(
            name=name,
            interval=_duration(fields.get("interval"), "interval"),
            query_offset=_duration(fields.get("query_offset"), "query_offset"),
            limit=_limit(fields.get("limit")),
            labels=group_labels,
            rules=[_rule(each, number, group_labels) for number, each in enumerate(nodes, 1)],
        )


def _rule(node: YamlNode, number: int, group_labels: Mapping[str, str]) -> GroupRule:
    with _at(f"rule {number}"):
        fields = _fields(node, RULE_FIELDS)
        record, alert = _text(fields.get("record")), _text(fields.get("alert"))
        if bool(record) == bool(alert):
            raise _Fault(node.line, "exactly one of record and alert must be set")
    with _at(f"rule {number} ({(record or alert)[:100]!r})"):
        if record:
            for field in ("for", "keep_firing_for", "annotations"):
                if field in fields:
                    raise _Fault(fields[field].line, f"{field}: only alerting rules have it")
            _check_metric(fields["record"])
        elif alert:
            _bytes_at_most(fields["alert"], LABEL_VALUE_BYTES_MAX, "alert")
        check = _check_label if record else _check_templated_label
        made = GroupRule(
            record=record,
            alert=alert,
            expr=_expression(fields.get("expr"), node),
            hold=_duration(fields.get("for"), "for"),
            keep_firing_for=_duration(fields.get("keep_firing_for"), "keep_firing_for"),
            labels=_texts(fields.get("labels"), "labels", check),
            annotations=_texts(fields.get("annotations"), "annotations", _check_annotation),
        )
        if len({**group_labels, **made.labels}) > LABELS_MAX:
            raise _Fault(node.line, f"labels: a rule has at most {LABELS_MAX}, those of its group among them")
        return made


class _at:
    """Says where a fault is."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, fault: object, __: object) -> None:
        if isinstance(fault, _Fault):
            fault.where = (self._where, *fault.where)


def _fields(node: YamlNode, known: Sequence[str]) -> dict[str, YamlNode]:
    """Fields that have a value."""
    if not isinstance(node, YamlMap):
        raise _Fault(node.line, f"a mapping is expected here, with {', '.join(known)}")
    for name, value in node.pairs.items():
        if name not in known:
            raise _Fault(value.line, f"{name[:100]!r} is no field; there are {', '.join(known)}")
    return {name: value for name, value in node.pairs.items() if not (isinstance(value, YamlText) and value.is_nothing)}


def _items(node: YamlNode | None, name: str) -> list[YamlNode]:
    if node is None:
        return []
    if not isinstance(node, YamlList):
        raise _Fault(node.line, f"{name}: a list is expected")
    return node.items


def _text(node: YamlNode | None) -> str:
    if node is None:
        return ""
    if not isinstance(node, YamlText):
        raise _Fault(node.line, "text is expected here, not a list or a mapping")
    if "\0" in node.text or any("\ud800" <= character <= "\udfff" for character in node.text):
        raise _Fault(node.line, "text can't have the character NUL, nor half of a pair of surrogates")
    return node.text


def _bytes_at_most(node: YamlNode, most: int, name: str) -> str:
    text = _text(node)
    if len(text.encode()) > most:
        raise _Fault(node.line, f"{name}: longer than {most} bytes")
    return text


def _duration(node: YamlNode | None, name: str) -> str:
    if node is None:
        return ""
    text = _text(node)
    given_ms = duration_ms(text)
    if given_ms is None:
        raise _Fault(node.line, f"{name}: {text[:50]!r} is no duration; write it as 30s, 5m or 1h30m")
    if given_ms > DURATION_MS_MAX:
        raise _Fault(node.line, f"{name}: {text[:50]!r} is longer than ten years")
    return text


def _limit(node: YamlNode | None) -> int:
    if node is None:
        return 0
    text = _text(node)
    if not WHOLE.fullmatch(text) or int(text) < 0:
        raise _Fault(node.line, f"limit: {text[:50]!r} is no whole number from 0 to 999999999")
    return int(text)


def _expression(node: YamlNode | None, rule: YamlNode) -> str:
    text = _text(node).strip()
    if node is None or not text:
        raise _Fault(rule.line, "expr is missing")
    try:
        kind = parse_query(text).kind
    except QueryError as error:
        raise _Fault(node.line, f"expr: {error.message.removeprefix(OF_QUERY)}") from None
    if kind not in ("vector", "scalar"):
        raise _Fault(node.line, f"expr: it gives a {kind}; a rule needs an instant vector or a scalar")
    return text


def _texts(node: YamlNode | None, name: str, check: Callable[[str, str], str]) -> dict[str, str]:
    """Labels or annotations; ``check``: what is wrong with one."""
    if node is None:
        return {}
    if not isinstance(node, YamlMap):
        raise _Fault(node.line, f"{name}: a mapping is expected")
    made: dict[str, str] = {}
    for each, value in node.pairs.items():
        is_nothing = isinstance(value, YamlText) and value.is_nothing
        made[each] = "" if is_nothing else _bytes_at_most(value, RULE_TEXT_BYTES_MAX, f"{name}.{each[:100]}")
        if fault := check(each, made[each]):
            raise _Fault(value.line, f"{name}.{each[:100]}: {fault}")
    if len(made) > LABELS_MAX:
        raise _Fault(node.line, f"{name}: {len(made)} of them; at most {LABELS_MAX}")
    return made


def _check_name(name: str) -> str:
    is_name = LABEL_NAME.fullmatch(name) and name != "__name__" and len(name) <= LABEL_NAME_BYTES_MAX
    return "" if is_name else "the name of a label has letters, digits and _, and is not __name__"


def _check_label(name: str, value: str) -> str:
    too_long = f"longer than {LABEL_VALUE_BYTES_MAX} bytes" if len(value.encode()) > LABEL_VALUE_BYTES_MAX else ""
    return _check_name(name) or too_long


def _check_templated_label(name: str, value: str) -> str:
    return _check_name(name) or _check_template(value)


def _check_annotation(name: str, value: str) -> str:
    is_name = LABEL_NAME.fullmatch(name) and len(name) <= LABEL_NAME_BYTES_MAX
    return _check_template(value) if is_name else "the name of an annotation has letters, digits and _"


def _check_template(text: str) -> str:
    try:
        check_template(text)
    except TemplateFault as fault:
        return str(fault)
    return ""


def _check_metric(node: YamlNode) -> None:
    text = _bytes_at_most(node, METRIC_NAME_BYTES_MAX, "record")
    if "{" in text or "}" in text:
        raise _Fault(node.line, "record: a name has no braces; does it belong into expr?")
