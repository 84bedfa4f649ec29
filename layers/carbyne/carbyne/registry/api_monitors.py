"""Mackerel's calls on monitors, of the type external alone, and what the last check of each found."""

from typing import Any, Final

import msgspec

from carbyne.core.errors import RequestError
from carbyne.http.answers import Answer
from carbyne.http.forms import form, json_of
from carbyne.http.routes import Call, Route
from carbyne.registry import monitors
from carbyne.registry.monitors import ExternalForm, ExternalMonitor, ExternalState
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, Permission


class Monitors(Answer, frozen=True):
    """By name."""

    monitors: list[ExternalMonitor]


class OneMonitor(Answer, frozen=True):
    """One alone."""

    monitor: ExternalMonitor


class CheckedMonitor(Answer, frozen=True):
    """``status`` and ``message`` of the last check; ``alert``: the status once as many in a row were not OK as the
    monitor allows; ``checked_at`` in seconds."""

    id: str
    name: str
    status: str
    alert: str
    message: str
    checked_at: int


class CheckedMonitors(Answer, frozen=True):
    """Those that were checked at least once, by name."""

    monitors: list[CheckedMonitor]


def get_monitors(registry: Registry, call: Call) -> Monitors:
    return Monitors(monitors.find(registry.store, call.tenant))


def post_monitor(registry: Registry, call: Call) -> ExternalMonitor:
    return monitors.create(registry, call.tenant, _form(call))


def get_monitor(registry: Registry, call: Call) -> OneMonitor:
    return OneMonitor(monitors.get(registry.store, call.tenant, call.parts["id"]))


def put_monitor(registry: Registry, call: Call) -> ExternalMonitor:
    return monitors.replace(registry, call.tenant, call.parts["id"], _form(call))


def delete_monitor(registry: Registry, call: Call) -> ExternalMonitor:
    return monitors.delete(registry, call.tenant, call.parts["id"])


def get_states(registry: Registry, call: Call) -> CheckedMonitors:
    states = monitors.states(registry.store, call.tenant)
    known = [monitor for monitor in monitors.find(registry.store, call.tenant) if monitor.id in states]
    return CheckedMonitors([_checked(monitor, states[monitor.id]) for monitor in known])


def _checked(monitor: ExternalMonitor, state: ExternalState) -> CheckedMonitor:
    return CheckedMonitor(
        monitor.id, monitor.name, state.status, state.alert, state.message, checked_at=state.minute * 60
    )


def _form(call: Call) -> ExternalForm:
    body: Any = msgspec.json.decode(json_of(call))
    kind = body.get("type") if isinstance(body, dict) else None
    if isinstance(kind, str) and kind in ("host", "service", "connectivity", "expression", "anomalyDetection", "query"):
        raise RequestError(400, f"monitors of the type {kind} are not there yet; this one takes the type external")
    return form(call, ExternalForm)


ALL: Final = "/api/v0/monitors"
ONE: Final = "/api/v0/monitors/{id}"
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("GET", ALL, Permission.READ, "Monitors of the type external", Monitors, get_monitors),
    Route("POST", ALL, BOTH, "Make an external monitor", ExternalMonitor, post_monitor, body=ExternalForm),
    Route("GET", ONE, Permission.READ, "A monitor", OneMonitor, get_monitor),
    Route("PUT", ONE, BOTH, "Replace a monitor", ExternalMonitor, put_monitor, body=ExternalForm),
    Route("DELETE", ONE, BOTH, "Delete a monitor", ExternalMonitor, delete_monitor),
    Route("GET", "/carbyne/v1/monitor-states", Permission.READ, "What checks found", CheckedMonitors, get_states),
)
