"""Mackerel's calls on monitors, and what the last check of each external one found."""

from typing import Any, Final

from carbyne.http.answers import Answer
from carbyne.http.forms import loose_form
from carbyne.http.listing import listing, page_of
from carbyne.http.message import Response
from carbyne.http.routes import Call, Route
from carbyne.registry import monitors
from carbyne.registry.monitor_types import AnyMonitor
from carbyne.registry.monitors import MONITORS, ExternalState
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, Permission

_ORDER: Final = ("connectivity", "host", "service", "external", "expression", "anomalyDetection", "query")


class Monitors(Answer, frozen=True):
    """By type and name, as Mackerel lists them."""

    monitors: list[AnyMonitor]


class OneMonitor(Answer, frozen=True):
    """One alone."""

    monitor: AnyMonitor


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


def get_monitors(registry: Registry, call: Call) -> Response:
    known = sorted(MONITORS.find(registry.store, call.tenant), key=_type_of)
    numbered = ((f"{number:06d}", monitor) for number, monitor in enumerate(known))
    return Response(200, listing("monitors", numbered, page_of({})))


def post_monitor(registry: Registry, call: Call) -> AnyMonitor:
    return monitors.create(registry, call.tenant, _form(call))


def get_monitor(registry: Registry, call: Call) -> OneMonitor:
    return OneMonitor(MONITORS.get(registry.store, call.tenant, call.parts["id"]))


def put_monitor(registry: Registry, call: Call) -> AnyMonitor:
    return monitors.replace(registry, call.tenant, call.parts["id"], _form(call))


def delete_monitor(registry: Registry, call: Call) -> AnyMonitor:
    return monitors.delete(registry, call.tenant, call.parts["id"])


def get_states(registry: Registry, call: Call) -> CheckedMonitors:
    states = monitors.states(registry.store, call.tenant)
    known = [monitor for monitor in MONITORS.find(registry.store, call.tenant) if monitor.id in states]
    return CheckedMonitors([_checked(monitor, states[monitor.id]) for monitor in known])


def _type_of(monitor: AnyMonitor) -> int:
    return _ORDER.index(str(monitor.__struct_config__.tag))


def _form(call: Call) -> AnyMonitor:
    kind: Any = AnyMonitor
    monitor: AnyMonitor = loose_form(call, kind)
    return monitor


def _checked(monitor: AnyMonitor, state: ExternalState) -> CheckedMonitor:
    return CheckedMonitor(
        monitor.id, monitor.name, state.status, state.alert, state.message, checked_at=state.minute * 60
    )


ALL: Final = "/api/v0/monitors"
ONE: Final = "/api/v0/monitors/{id}"
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("GET", ALL, Permission.READ, "Monitors", Monitors, get_monitors),
    Route("POST", ALL, BOTH, "Make a monitor", AnyMonitor, post_monitor, body=AnyMonitor),
    Route("GET", ONE, Permission.READ, "A monitor", OneMonitor, get_monitor),
    Route("PUT", ONE, BOTH, "Replace a monitor", AnyMonitor, put_monitor, body=AnyMonitor),
    Route("DELETE", ONE, BOTH, "Delete a monitor", AnyMonitor, delete_monitor),
    Route("GET", "/carbyne/v1/monitor-states", Permission.READ, "What checks found", CheckedMonitors, get_states),
)
