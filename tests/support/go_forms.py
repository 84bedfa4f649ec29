"""The structs of mackerel-client-go that mkr reads and writes, as Go's ``encoding/json`` does: what it refuses is
refused, fields come in their order, and ``omitempty`` leaves out what is zero."""

import json
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Uint64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Go(msgspec.Struct, rename="camel", kw_only=True):
    """``KEPT``: fields without ``omitempty``, and those that it never leaves out; ``POINTERS``: those that it leaves
    out only where nothing is set."""

    KEPT = frozenset()
    POINTERS = frozenset()

    def written(self):
        """The object as Go writes it, in the order of its fields."""
        names = [(field.name, field.encode_name) for field in msgspec.structs.fields(self)]
        values = {name: getattr(self, field) for field, name in names}
        return {name: _written(value) for name, value in values.items() if self._has(name, value)}

    def _has(self, name, value):
        return name in self.KEPT or (value is not None if name in self.POINTERS else bool(value))


def _written(value):
    if isinstance(value, Go):
        return value.written()
    return list(map(_written, value)) if isinstance(value, list) else value


class _GoMonitor(Go):
    id: str = ""
    name: str = ""
    memo: str = ""


class _GoRest(_GoMonitor):
    type: str = ""
    is_mute: bool = False
    notification_interval: Uint64 = 0


class GoConnectivity(_GoMonitor):
    alert_status_on_gone: str = ""
    type: str = ""
    is_mute: bool = False
    notification_interval: Uint64 = 0
    scopes: list[str] | None = None
    exclude_scopes: list[str] | None = None


class GoHostMetric(_GoRest):
    KEPT = frozenset({"warning", "critical"})
    metric: str = ""
    operator: str = ""
    warning: float | None = None
    critical: float | None = None
    duration: Uint64 = 0
    max_check_attempts: Uint64 = 0
    scopes: list[str] | None = None
    exclude_scopes: list[str] | None = None


class GoServiceMetric(_GoRest):
    KEPT = frozenset({"warning", "critical"})
    service: str = ""
    metric: str = ""
    operator: str = ""
    warning: float | None = None
    critical: float | None = None
    duration: Uint64 = 0
    max_check_attempts: Uint64 = 0
    missing_duration_warning: Uint64 = 0
    missing_duration_critical: Uint64 = 0


class GoHeader(Go):
    KEPT = frozenset({"name", "value"})
    name: str = ""
    value: str = ""


class GoExternal(_GoRest):
    KEPT = frozenset({"headers"})
    POINTERS = frozenset(
        {
            "responseTimeCritical",
            "responseTimeWarning",
            "responseTimeDuration",
            "certificationExpirationCritical",
            "certificationExpirationWarning",
            "expectedStatusCode",
        }
    )
    method: str = ""
    url: str = ""
    max_check_attempts: Uint64 = 0
    service: str = ""
    response_time_critical: float | None = None
    response_time_warning: float | None = None
    response_time_duration: Uint64 | None = None
    request_body: str = ""
    contains_string: str = ""
    certification_expiration_critical: Uint64 | None = None
    certification_expiration_warning: Uint64 | None = None
    skip_certificate_verification: bool = False
    follow_redirect: bool = False
    expected_status_code: Int64 | None = None
    headers: list[GoHeader] | None = None


class GoExpression(_GoRest):
    KEPT = frozenset({"warning", "critical"})
    POINTERS = frozenset({"evaluateBackwardMinutes"})
    expression: str = ""
    operator: str = ""
    warning: float | None = None
    critical: float | None = None
    evaluate_backward_minutes: Uint64 | None = None


class GoAnomaly(_GoRest):
    KEPT = frozenset({"scopes"})
    warning_sensitivity: str = ""
    critical_sensitivity: str = ""
    training_period_from: Uint64 = 0
    max_check_attempts: Uint64 = 0
    scopes: list[str] | None = None


class GoQuery(_GoRest):
    KEPT = frozenset({"warning", "critical"})
    POINTERS = frozenset({"evaluateBackwardMinutes"})
    query: str = ""
    operator: str = ""
    warning: float | None = None
    critical: float | None = None
    legend: str = ""
    evaluate_backward_minutes: Uint64 | None = None


MONITORS = {
    "connectivity": GoConnectivity,
    "host": GoHostMetric,
    "service": GoServiceMetric,
    "external": GoExternal,
    "expression": GoExpression,
    "anomalyDetection": GoAnomaly,
    "query": GoQuery,
}


class GoRecurrence(Go):
    KEPT = frozenset({"type", "interval"})
    type: str
    interval: Int64
    weekdays: list[str] | None = None
    until: Int64 = 0


class GoDowntime(Go):
    KEPT = frozenset({"name", "start", "duration"})
    id: str = ""
    name: str = ""
    memo: str = ""
    start: Int64 = 0
    duration: Int64 = 0
    recurrence: GoRecurrence | None = None
    service_scopes: list[str] | None = None
    service_exclude_scopes: list[str] | None = None
    role_scopes: list[str] | None = None
    role_exclude_scopes: list[str] | None = None
    monitor_scopes: list[str] | None = None
    monitor_exclude_scopes: list[str] | None = None


class GoMentions(Go):
    ok: str = ""
    warning: str = ""
    critical: str = ""


class GoChannel(Go):
    KEPT = frozenset({"name", "type", "mentions"})
    POINTERS = frozenset(
        {"suspendedAt", "emails", "userIds", "enabledGraphImage", "events", "addToDefaultNotificationGroup"}
    )
    id: str = ""
    name: str = ""
    type: str = ""
    suspended_at: Int64 | None = None
    emails: list[str] | None = None
    user_ids: list[str] | None = None
    mentions: GoMentions = msgspec.field(default_factory=GoMentions)
    enabled_graph_image: bool | None = None
    url: str = ""
    events: list[str] | None = None
    add_to_default_notification_group: bool | None = None


class GoGroupMonitor(Go):
    KEPT = frozenset({"id", "skipDefault"})
    id: str = ""
    skip_default: bool = False


class GoGroupService(Go):
    KEPT = frozenset({"name"})
    name: str = ""


class GoGroup(Go):
    KEPT = frozenset({"name", "notificationLevel", "childNotificationGroupIds", "childChannelIds"})
    id: str = ""
    type: str = ""
    name: str = ""
    notification_level: str = ""
    child_notification_group_ids: list[str] | None = None
    child_channel_ids: list[str] | None = None
    monitors: list[GoGroupMonitor] | None = None
    services: list[GoGroupService] | None = None


class GoSetting(Go):
    KEPT = frozenset({"name"})
    id: str = ""
    name: str = ""
    memo: str = ""
    service_scopes: list[str] | None = None
    role_scopes: list[str] | None = None
    monitor_scopes: list[str] | None = None
    notification_interval: Uint64 = 0


class GoAlert(Go):
    id: str = ""
    status: str = ""
    monitor_id: str = ""
    type: str = ""
    host_id: str = ""
    value: float = 0.0
    message: str = ""
    reason: str = ""
    opened_at: Int64 = 0
    closed_at: Int64 = 0
    memo: str = ""


class GoAlerts(Go):
    alerts: list[GoAlert]
    next_id: str = ""


class GoDetailText(Go):
    message: str = ""
    memo: str = ""


class GoDetail(Go):
    type: str = ""
    detail: GoDetailText | None = None


class GoLog(Go):
    id: str = ""
    created_at: Int64 = 0
    status: str = ""
    trigger: str = ""
    monitor_id: str | None = None
    target_value: float | None = None
    status_detail: GoDetail | None = None


class GoLogs(Go):
    logs: list[GoLog]
    next_id: str = ""


def decoded(text, kind):
    """What Go's decoder makes of a JSON text; null leaves a zero value."""
    return msgspec.convert(_without_nulls(json.loads(text)), kind)


def monitor_of(text):
    return decoded(text, MONITORS[json.loads(text)["type"]])


def _without_nulls(value):
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [*map(_without_nulls, value)] if isinstance(value, list) else value


def pulled(name, items):
    """The file that mkr writes: an object of one list, indented by four, and a line feed."""
    return _text({name: [item.written() for item in items]}, "\n") + "\n"


def _text(value, line):
    """``line``: a line feed and the blanks of this depth."""
    inner = f"{line}    "
    if isinstance(value, dict) and value:
        pairs = (f"{_string(name)}: {_text(part, inner)}" for name, part in value.items())
        return f"{{{inner}{f',{inner}'.join(pairs)}{line}}}"
    if isinstance(value, list) and value:
        return f"[{inner}{f',{inner}'.join(_text(part, inner) for part in value)}{line}]"
    if isinstance(value, str):
        return _string(value)
    return _number(value) if isinstance(value, float) else json.dumps(value)


def _string(text):
    """Go escapes ``<``, ``>``, ``&`` and two line separators; mkr undoes it for the first two."""
    quoted = json.dumps(text, ensure_ascii=False).replace("&", "\\u0026")
    return quoted.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _number(value):
    """The shortest digits that give the same number; with an exponent below a millionth and from 10**21 on."""
    digits = Decimal(repr(value))
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        text = format(digits, "f")
        return text.removesuffix(".0")
    return format(digits, "e").replace(".0e", "e")
