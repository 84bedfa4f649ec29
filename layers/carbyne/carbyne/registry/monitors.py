"""Monitors, as Mackerel's API has them, and what the last check of an external one found.

Beside an external monitor there is an item in one list of all tenants' monitors, which the scheduler reads.  Beside a
tenant's first monitor of another type there is one in the list of the tenants that the evaluator looks at.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import msgspec

from carbyne.alerts.judging import OK
from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    COMPUTED_MONITORS_PER_TENANT_MAX,
    EXTERNAL_MONITORS_PER_TENANT_MAX,
    MONITORS_PER_TENANT_MAX,
)
from carbyne.registry import alerts, rules
from carbyne.registry.alerts import Subject, Why
from carbyne.registry.documents import Documents
from carbyne.registry.monitor_types import (
    AnomalyMonitor,
    AnyMonitor,
    ConnectivityMonitor,
    ExpressionMonitor,
    ExternalMonitor,
    QueryMonitor,
    checked,
)
from carbyne.registry.store import Key, Registry, RegistryChange, Store, body_of, settle

MONITORS: Final[Documents[AnyMonitor]] = Documents("monitors", "monitor", AnyMonitor, MONITORS_PER_TENANT_MAX)


COMPUTED: Final = (ExpressionMonitor, QueryMonitor)


class ExternalState(msgspec.Struct, frozen=True):
    """What the last check of a monitor found.  ``minute``: of the check, since 1970; ``attempts``: checks in a row that
    were not OK; ``alert``: the status after as many as the monitor allows; ``times_ms``: the last response times."""

    status: str
    message: str
    minute: int
    attempts: int = 0
    alert: str = "OK"
    times_ms: list[float] = []


class ExternalJob(msgspec.Struct, frozen=True):
    """One monitor to be checked."""

    tenant: str
    monitor: str


def create(registry: Registry, tenant: str, form: AnyMonitor) -> AnyMonitor:
    """A new one; RequestError 400 for a field that is wrong, or one monitor too many."""
    form = checked(form)
    _check_training(registry, form)
    if isinstance(form, ExternalMonitor):
        _check_number(registry.store, tenant)
    if isinstance(form, COMPUTED):
        _check_computed(registry.store, tenant)
    return MONITORS.create(registry, tenant, form, lambda made: _beside(registry, tenant, made, is_new=True))


def replace(registry: Registry, tenant: str, monitor_id: str, form: AnyMonitor) -> AnyMonitor:
    """RequestError 404 for an unknown id, 400 as of ``create``, and for another type."""
    form_checked = checked(form)
    _check_training(registry, form)

    def beside(made: AnyMonitor) -> list[RegistryChange]:
        return _beside(registry, tenant, made, is_new=False)

    return MONITORS.replace(registry, tenant, monitor_id, form_checked, lambda old, _: _joined(old, form), beside)


def delete(registry: Registry, tenant: str, monitor_id: str) -> AnyMonitor:
    """One as it was; RequestError 404 for an unknown id."""

    def beside(monitor: AnyMonitor) -> list[RegistryChange]:
        items = map(registry.store.get, (_job_key(tenant, monitor.id), _state_key(tenant, monitor.id)))
        removals = [RegistryChange(item.key, None, item.version) for item in items if item]
        return [*removals, *rules.removed(registry.store, tenant, monitor.id)]

    gone = MONITORS.delete(registry, tenant, monitor_id, beside)
    if isinstance(gone, ExternalMonitor):  # alerts of other types are closed by the evaluator
        _close_alert(registry, tenant, monitor_id)
    return gone


def external(store: Store, tenant: str, monitor_id: str) -> ExternalMonitor:
    """RequestError 404 for an unknown id, or one of another type."""
    monitor = MONITORS.get(store, tenant, monitor_id)
    if not isinstance(monitor, ExternalMonitor):
        raise RequestError(404, f"monitor {monitor_id[:100]!r} is not external")
    return monitor


def jobs(store: Store) -> Iterator[ExternalJob]:
    """Every monitor of every tenant."""
    return (msgspec.json.decode(item.body, type=ExternalJob) for item in store.scan(keys.EXTERNAL_ITEM))


def state(store: Store, tenant: str, monitor_id: str) -> ExternalState | None:
    """What the last check found; None before the first one."""
    item = store.get(_state_key(tenant, monitor_id))
    return msgspec.json.decode(item.body, type=ExternalState) if item else None


def states(store: Store, tenant: str) -> dict[str, ExternalState]:
    """What the last checks found, by monitor."""
    items = store.items(_state_key(tenant, "").pk)
    return {unquote(item.key.sk): msgspec.json.decode(item.body, type=ExternalState) for item in items}


def keep_state(registry: Registry, tenant: str, monitor_id: str, state: ExternalState) -> bool:
    """Unless a check of this minute, or of a later one, was kept already; whether it was kept now."""
    key = _state_key(tenant, monitor_id)

    def attempt() -> bool | None:
        item = registry.store.get(key)
        if item and msgspec.json.decode(item.body, type=ExternalState).minute >= state.minute:
            return False
        before = msgspec.json.decode(item.body, type=ExternalState).alert if item else OK
        change = RegistryChange(key, body_of(state), item.version if item else 0)
        return registry.store.write(change, *_alerted(registry, tenant, monitor_id, before, state)) or None

    return settle(attempt)


def _alerted(
    registry: Registry, tenant: str, monitor_id: str, before: str, state: ExternalState
) -> list[RegistryChange]:
    """What a check changes of the monitor's alert; a bad one opens another alert after a person closed the first."""
    if state.alert == before == OK:
        return []
    why = Why(state.message, has_value=False)
    changes = alerts.turned(registry, tenant, _subject(monitor_id), state.alert, state.minute * 60, why)
    return [*changes, *rules.listed(registry.store, tenant)]  # by which what must be notified is found


def _check_number(store: Store, tenant: str) -> None:
    """RequestError 400 for one external monitor too many."""
    prefix = f"{keys.escape(tenant)}:"
    known = len(store.items(keys.EXTERNAL_ITEM, prefix))
    if known >= EXTERNAL_MONITORS_PER_TENANT_MAX:
        raise RequestError(400, f"there are {known} external monitors, which is the limit; delete one first")


def _check_training(registry: Registry, form: AnyMonitor) -> None:
    """RequestError 400 for a training that begins in the future."""
    if isinstance(form, AnomalyMonitor) and (form.training_period_from or 0) > registry.now_s():
        raise RequestError(400, "trainingPeriodFrom: it lies in the future")


def _check_computed(store: Store, tenant: str) -> None:
    """RequestError 400 for one expression or query too many."""
    known = sum(isinstance(versions.current, COMPUTED) for versions in rules.find(store, tenant))
    if known >= COMPUTED_MONITORS_PER_TENANT_MAX:
        raise RequestError(400, f"there are {known} expressions and queries, which is the limit; delete one first")


def _joined(old: AnyMonitor, form: AnyMonitor) -> AnyMonitor:
    """The form as it is kept.  Null for headers leaves those that are there, and so does ``alertStatusOnGone``, as
    Mackerel documents."""
    if type(old) is not type(form):
        raise RequestError(400, "type: a monitor keeps its type; delete it and make another one")
    if isinstance(form, ExternalMonitor) and isinstance(old, ExternalMonitor) and form.headers is None:
        return msgspec.structs.replace(form, headers=old.headers or [])
    if isinstance(form, ConnectivityMonitor) and isinstance(old, ConnectivityMonitor):
        return msgspec.structs.replace(form, alert_status_on_gone=form.alert_status_on_gone or old.alert_status_on_gone)
    return checked(form)


def _beside(registry: Registry, tenant: str, made: AnyMonitor, *, is_new: bool) -> list[RegistryChange]:
    """What the scheduler or the evaluator finds a monitor by."""
    if isinstance(made, ExternalMonitor):
        return [RegistryChange(_job_key(tenant, made.id), body_of(ExternalJob(tenant, made.id)), 0)] if is_new else []
    return rules.changed(registry, tenant, made, is_new=is_new)


def _subject(monitor_id: str) -> Subject:
    return Subject(monitor_id, f"external/{monitor_id}", "external")


def _close_alert(registry: Registry, tenant: str, monitor_id: str) -> None:
    known, _ = alerts.known_of(registry.store, tenant, _subject(monitor_id))
    for said in known.said:
        if said.closed_ms is None:
            alerts.close(registry, tenant, said.id, "the monitor was deleted", "monitorDeleted")


def _job_key(tenant: str, monitor_id: str) -> Key:
    return Key(keys.EXTERNAL_ITEM, f"{keys.escape(tenant)}:{keys.escape(monitor_id)}")


def _state_key(tenant: str, monitor_id: str) -> Key:
    return Key(keys.registry_partition(tenant, "monitor-states"), keys.escape(monitor_id))
