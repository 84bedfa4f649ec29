"""Groups of rules as Prometheus' API lists them, out of the registry's table."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import UNSET

from carbyne.read.rules import AlertOfRule, RecordingRule, RuleGroup, RuleOfGroup, RuleState

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from carbyne.registry.rule_states import GroupName
    from carbyne.registry.store import Store
    from carbyne.rules.alerting import KeptAlert
    from carbyne.rules.forms import FileGroup, GroupRule
    from carbyne.rules.kept import KeptGroup, KeptRule

NEVER = "0001-01-01T00:00:00Z"
"""What Prometheus says of a time that was not."""


class DynamoRules:
    """``of`` is a ListRules; its modules are imported when it is asked for the first time."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def of(self, tenant: str) -> Sequence[RuleGroup]:
        """By file and name."""
        from carbyne.adapters.dynamodb.registry import DynamoRegistry  # noqa: PLC0415 - which few readers need

        return listed(DynamoRegistry(self._client, self._table), tenant)


def listed(store: "Store", tenant: str) -> Sequence[RuleGroup]:
    """Of the registry's table."""
    from carbyne.registry import rule_files, rule_states  # noqa: PLC0415
    from carbyne.registry.rule_states import GroupName, StoredGroup  # noqa: PLC0415

    files = rule_files.find(store, tenant)
    known = rule_states.find(store, tenant) if files else {}
    groups = [(GroupName(file.id, group.name), group) for file in files for group in file.groups]
    groups.sort(key=lambda named: named[0])
    return [_group(name, group, known.get(name, StoredGroup()).kept) for name, group in groups]


def _group(name: "GroupName", group: "FileGroup", kept: "KeptGroup") -> RuleGroup:
    return RuleGroup(
        name=group.name,
        file=name.file,
        rules=list(_rules(group, kept)),
        interval=group.interval_s,
        limit=group.limit,
        evaluation_time=round(kept.took_s, 6),
        last_evaluation=_time(kept.evaluated_ms),
    )


def _rules(group: "FileGroup", kept: "KeptGroup") -> Iterator[RuleOfGroup | RecordingRule]:
    from carbyne.rules.kept import KeptRule, keys_of, labels_of  # noqa: PLC0415

    for key, rule in keys_of(group):
        known, labels = kept.rules.get(key, KeptRule()), labels_of(group, rule)
        is_known = key in kept.rules
        evaluated = _time(kept.evaluated_ms if is_known else None)
        yield _recording(rule, labels, known, evaluated) if rule.record else _alerting(rule, labels, known, evaluated)


def _recording(rule: "GroupRule", labels: dict[str, str], known: "KeptRule", evaluated: str) -> RecordingRule:
    return RecordingRule(
        name=rule.record,
        query=rule.expr,
        labels=labels,
        health=_health(known, evaluated),
        last_error=known.error or UNSET,
        evaluation_time=known.took_s,
        last_evaluation=evaluated,
    )


def _alerting(rule: "GroupRule", labels: dict[str, str], known: "KeptRule", evaluated: str) -> RuleOfGroup:
    active = [alert for alert in known.alerts if alert.state != "inactive"]
    states = {alert.state for alert in active}
    state: RuleState = "firing" if "firing" in states else "pending" if states else "inactive"
    return RuleOfGroup(
        name=rule.alert,
        query=rule.expr,
        state=state if evaluated != NEVER else "unknown",
        duration=rule.hold_ms / 1000,
        keep_firing_for=rule.keep_ms / 1000,
        labels=labels,
        annotations=rule.annotations,
        alerts=list(map(_alert, active)),
        health=_health(known, evaluated),
        last_error=known.error or UNSET,
        evaluation_time=known.took_s,
        last_evaluation=evaluated,
    )


def _alert(alert: "KeptAlert") -> AlertOfRule:
    from carbyne.promql.numbers import exponential  # noqa: PLC0415

    return AlertOfRule(
        labels=alert.labels,
        annotations=alert.annotations,
        state="firing" if alert.state == "firing" else "pending",
        active_at=_time(alert.active_ms),
        keep_firing_since="" if alert.keep_since_ms is None else _time(alert.keep_since_ms),
        value=exponential(float(alert.value)),
    )


def _health(known: "KeptRule", evaluated: str) -> str:
    return "unknown" if evaluated == NEVER else "err" if known.error else "ok"


def _time(ms: int | None) -> str:
    if ms is None:
        return NEVER
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
