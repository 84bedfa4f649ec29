"""Groups of rules and their alerts, as Prometheus' API lists them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha1
from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from carbyne.core.errors import QueryError

RuleState = Literal["firing", "pending", "inactive", "unknown"]
Matches = Callable[[Mapping[str, str]], bool]
"""Whether labels match."""


class AlertOfRule(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One alert; ``active_at``, ``keep_firing_since``: RFC 3339; ``value``: a number as Prometheus writes it."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: RuleState
    active_at: str
    value: str
    keep_firing_since: str = ""


class RuleOfGroup(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An alerting rule; ``duration``, ``keep_firing_for``: seconds; times in RFC 3339."""

    name: str
    query: str
    state: RuleState
    duration: float
    keep_firing_for: float = 0.0
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    alerts: Sequence[AlertOfRule]
    health: str
    last_error: str | UnsetType = UNSET
    last_evaluation: str
    evaluation_time: float
    type: Literal["alerting"] = "alerting"


class RecordingRule(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A recording rule, with the fields of an alerting one that it has."""

    name: str
    query: str
    labels: Mapping[str, str]
    health: str
    last_error: str | UnsetType = UNSET
    last_evaluation: str
    evaluation_time: float
    type: Literal["recording"] = "recording"


class RuleGroup(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``interval``: seconds between evaluations; ``file``: where rules are written, empty where that is no file;
    ``limit``: of series or alerts of a rule, 0 for none."""

    name: str
    file: str
    rules: Sequence[RuleOfGroup | RecordingRule]
    interval: float
    limit: int = 0
    last_evaluation: str
    evaluation_time: float


ListRules = Callable[[str], Sequence[RuleGroup]]
"""A tenant's groups of rules, by file and name; RetryableError if they can't be read."""


def no_rules(_: str) -> Sequence[RuleGroup]:
    """In the place of a monitoring system, where there is none."""
    return ()


class RuleFilter(msgspec.Struct, frozen=True):
    """What ``rules`` lists: each empty collection stands for all; ``matches``: of labels; at least one must match."""

    kind: str = ""
    names: Collection[str] = ()
    groups: Collection[str] = ()
    files: Collection[str] = ()
    with_alerts: bool = True
    matches: Sequence[Matches] = ()


class RulePage(NamedTuple):
    """``most``: groups, 0 for all; ``after``: the token of the group to begin with, empty for the first."""

    most: int = 0
    after: str = ""


def listed(groups: Sequence[RuleGroup], only: RuleFilter) -> list[RuleGroup]:
    """The groups that a filter leaves, each with the rules that it leaves, none without a rule."""
    kept = [
        msgspec.structs.replace(group, rules=[_shown(rule, only) for rule in group.rules if _passes(rule, only)])
        for group in groups
        if group.name in (only.groups or {group.name}) and group.file in (only.files or {group.file})
    ]
    return [group for group in kept if group.rules]


def paged(groups: Sequence[RuleGroup], only: RuleFilter, page: RulePage) -> tuple[list[RuleGroup], str]:
    """A page of what a filter leaves, and the token of the next, empty at the end.  QueryError for an unknown token."""
    if page.after:
        starts = [number for number, group in enumerate(groups) if token_of(group) == page.after]
        if not starts:
            message = f"invalid group_next_token '{page.after[:64]}'. were rule groups changed?"
            raise QueryError("bad_data", f'invalid parameter "group_next_token": {message}')
        groups = groups[starts[0] :]
    left = listed(groups, only)
    if not page.most or len(left) <= page.most:
        return left, ""
    return left[: page.most], token_of(left[page.most])


def token_of(group: RuleGroup) -> str:
    """The token of a group, as Prometheus makes it."""
    return sha1(f"{group.file};{group.name}".encode(), usedforsecurity=False).hexdigest()


def _passes(rule: RuleOfGroup | RecordingRule, only: RuleFilter) -> bool:
    kinds = {"alert": "alerting", "record": "recording"}
    is_kind = not only.kind or kinds[only.kind] == rule.type
    is_matched = not only.matches or any(matches(rule.labels) for matches in only.matches)
    return is_kind and rule.name in (only.names or {rule.name}) and is_matched


def _shown(rule: RuleOfGroup | RecordingRule, only: RuleFilter) -> RuleOfGroup | RecordingRule:
    if only.with_alerts or isinstance(rule, RecordingRule):
        return rule
    return msgspec.structs.replace(rule, alerts=[])


def alerts_of(groups: Sequence[RuleGroup]) -> list[AlertOfRule]:
    """All alerts that are pending or firing."""
    rules = [rule for group in groups for rule in group.rules if isinstance(rule, RuleOfGroup)]
    return [alert for rule in rules for alert in rule.alerts]
