"""Groups of alerting rules and their alerts, as Prometheus' API lists them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

import msgspec

RuleState = Literal["firing", "pending", "inactive", "unknown"]


class AlertOfRule(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One alert; ``active_at``: RFC 3339; ``value``: a number as Prometheus writes it."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: RuleState
    active_at: str
    value: str


class RuleOfGroup(msgspec.Struct, frozen=True, rename="camel"):
    """An alerting rule; ``duration``: seconds for which it is pending; times in RFC 3339."""

    name: str
    query: str
    state: RuleState
    duration: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    alerts: Sequence[AlertOfRule]
    health: Literal["ok", "err", "unknown"]
    last_evaluation: str
    evaluation_time: float
    type: Literal["alerting"] = "alerting"


class RuleGroup(msgspec.Struct, frozen=True, rename="camel"):
    """``interval``: seconds between evaluations; ``file``: where rules are written, empty where that is no file."""

    name: str
    file: str
    rules: Sequence[RuleOfGroup]
    interval: float
    last_evaluation: str
    evaluation_time: float


ListRules = Callable[[str], Sequence[RuleGroup]]
"""A tenant's groups of rules; RetryableError if they can't be read."""


def no_rules(_: str) -> Sequence[RuleGroup]:
    """In the place of a monitoring system, where there is none."""
    return ()


class RuleFilter(msgspec.Struct, frozen=True):
    """What ``rules`` lists: each empty collection stands for all."""

    kind: str = ""
    names: Collection[str] = ()
    groups: Collection[str] = ()
    files: Collection[str] = ()
    with_alerts: bool = True


def listed(groups: Sequence[RuleGroup], only: RuleFilter) -> list[RuleGroup]:
    """The groups that a filter leaves, each with the rules that it leaves, none without a rule."""
    kept = [
        msgspec.structs.replace(group, rules=[_shown(rule, only) for rule in group.rules if _passes(rule, only)])
        for group in groups
        if group.name in (only.groups or {group.name}) and group.file in (only.files or {group.file})
    ]
    return [group for group in kept if group.rules]


def _passes(rule: RuleOfGroup, only: RuleFilter) -> bool:
    return only.kind != "record" and rule.name in (only.names or {rule.name})


def _shown(rule: RuleOfGroup, only: RuleFilter) -> RuleOfGroup:
    return rule if only.with_alerts else msgspec.structs.replace(rule, alerts=[])


def alerts_of(groups: Sequence[RuleGroup]) -> list[AlertOfRule]:
    """All alerts that are pending or firing."""
    return [alert for group in groups for rule in group.rules for alert in rule.alerts]
