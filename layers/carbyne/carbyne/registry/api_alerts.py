"""Mackerel's calls on alerts."""

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from carbyne.core.errors import RequestError
from carbyne.core.limits import ALERTS_PER_PAGE, SORT_KEY_BYTES_MAX
from carbyne.http.answers import Answer
from carbyne.http.forms import loose_form
from carbyne.http.routes import Call, Parameter, Route, Text
from carbyne.registry import alerts
from carbyne.registry.alerts import AlertRecord, LogEntry
from carbyne.registry.monitor_types import MemoText
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, Permission


class Alerts(Answer, frozen=True):
    """The latest opened first."""

    alerts: list[AlertRecord]
    next_id: str | UnsetType = UNSET


class Logs(Answer, frozen=True):
    """The newest first."""

    logs: list[LogEntry]
    next_id: str | UnsetType = UNSET


class AlertMemo(Answer, frozen=True):
    """The memo of an alert."""

    id: str
    memo: str


class MemoForm(msgspec.Struct, frozen=True):
    memo: MemoText = ""


class ReasonForm(msgspec.Struct, frozen=True):
    reason: MemoText = ""


def get_alerts(registry: Registry, call: Call) -> Alerts:
    with_closed = call.request.query.get("withClosed", ["false"])[-1] == "true"
    after, most = _page(call)
    page, next_id = alerts.find(registry.store, call.tenant, with_closed=with_closed, after=after, most=most)
    return Alerts(page, next_id or UNSET)


def get_alert(registry: Registry, call: Call) -> AlertRecord:
    return alerts.get(registry.store, call.tenant, call.parts["id"])


def put_alert(registry: Registry, call: Call) -> AlertMemo:
    alert_id, memo = call.parts["id"], loose_form(call, MemoForm).memo
    alerts.set_memo(registry, call.tenant, alert_id, memo)
    return AlertMemo(alert_id, memo)


def close_alert(registry: Registry, call: Call) -> AlertRecord:
    return alerts.close(registry, call.tenant, call.parts["id"], loose_form(call, ReasonForm).reason)


def get_logs(registry: Registry, call: Call) -> Logs:
    after, most = _page(call)
    page, next_id = alerts.logs(registry.store, call.tenant, call.parts["id"], after, most)
    return Logs(page, next_id or UNSET)


def _page(call: Call) -> tuple[str, int]:
    """``nextId`` and ``limit``; RequestError 400."""
    after, limit = (call.request.query.get(name, [""])[-1] for name in ("nextId", "limit"))
    if limit and not (re.fullmatch(r"[0-9]{1,3}", limit) and 1 <= int(limit) <= ALERTS_PER_PAGE):
        raise RequestError(400, f"limit must be a number from 1 to {ALERTS_PER_PAGE}; got {limit[:32]!r}")
    if len(after.encode()) > SORT_KEY_BYTES_MAX:
        raise RequestError(400, "nextId is none that an answer gave")
    return after, int(limit) if limit else ALERTS_PER_PAGE


ALL: Final = "/api/v0/alerts"
ONE: Final = "/api/v0/alerts/{id}"
NEXT: Final = (
    Parameter("nextId", Text, "Continue behind a page: the `nextId` of its answer"),
    Parameter("limit", Annotated[int, Meta(ge=1, le=ALERTS_PER_PAGE)], "Elements of a page"),
)
CLOSED: Final = Parameter("withClosed", Literal["true", "false"], "true: closed ones as well")
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("GET", ALL, Permission.READ, "Alerts", Alerts, get_alerts, parameters=(CLOSED, *NEXT)),
    Route("GET", ONE, Permission.READ, "An alert", AlertRecord, get_alert),
    Route("PUT", ONE, BOTH, "Change the memo of an alert", AlertMemo, put_alert, body=MemoForm),
    Route("POST", f"{ONE}/close", BOTH, "Close an alert", AlertRecord, close_alert, body=ReasonForm),
    Route("GET", f"{ONE}/logs", Permission.READ, "What was said of an alert", Logs, get_logs, parameters=NEXT),
)
