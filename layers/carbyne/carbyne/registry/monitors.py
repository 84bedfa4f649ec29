"""Monitors, as Mackerel's API has them, and what the last check of an external one found.

Beside an external monitor there is an item in one list of all tenants' monitors, which the scheduler reads.  Beside a
tenant's first monitor of another type there is one in the list of the tenants that the evaluator looks at.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import msgspec

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import EXTERNAL_MONITORS_PER_TENANT_MAX, MONITORS_PER_TENANT_MAX
from carbyne.registry.documents import Documents
from carbyne.registry.monitor_types import AnyMonitor, ExternalMonitor, checked
from carbyne.registry.store import Key, Registry, RegistryChange, Store, body_of, settle

MONITORS: Final[Documents[AnyMonitor]] = Documents("monitors", "monitor", AnyMonitor, MONITORS_PER_TENANT_MAX)


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
    if isinstance(form, ExternalMonitor):
        _check_number(registry.store, tenant)
    return MONITORS.create(registry, tenant, form, lambda made: _listed(registry.store, tenant, made))


def replace(registry: Registry, tenant: str, monitor_id: str, form: AnyMonitor) -> AnyMonitor:
    """RequestError 404 for an unknown id, 400 as of ``create``, and for another type."""
    return MONITORS.replace(registry, tenant, monitor_id, checked(form), lambda old, _: _joined(old, form))


def delete(registry: Registry, tenant: str, monitor_id: str) -> AnyMonitor:
    """One as it was; RequestError 404 for an unknown id."""

    def beside(monitor: AnyMonitor) -> list[RegistryChange]:
        items = map(registry.store.get, (_job_key(tenant, monitor.id), _state_key(tenant, monitor.id)))
        return [RegistryChange(item.key, None, item.version) for item in items if item]

    return MONITORS.delete(registry, tenant, monitor_id, beside)


def external(store: Store, tenant: str, monitor_id: str) -> ExternalMonitor:
    """RequestError 404 for an unknown id, or one of another type."""
    monitor = MONITORS.get(store, tenant, monitor_id)
    if not isinstance(monitor, ExternalMonitor):
        raise RequestError(404, f"monitor {monitor_id[:100]!r} is not external")
    return monitor


def judged_tenants(store: Store) -> list[str]:
    """Those that have, or had, monitors which the evaluator judges."""
    return [unquote(item.key.sk) for item in store.scan(keys.JUDGED_ITEM)]


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


def keep_state(registry: Registry, tenant: str, monitor_id: str, found: ExternalState) -> bool:
    """Unless a check of this minute, or of a later one, was kept already; whether it was kept now."""
    key = _state_key(tenant, monitor_id)

    def attempt() -> bool | None:
        item = registry.store.get(key)
        if item and msgspec.json.decode(item.body, type=ExternalState).minute >= found.minute:
            return False
        written = registry.store.write(RegistryChange(key, body_of(found), item.version if item else 0))
        return True if written else None

    return settle(attempt)


def _check_number(store: Store, tenant: str) -> None:
    """RequestError 400 for one external monitor too many."""
    prefix = f"{keys.escape(tenant)}:"
    known = len(store.items(keys.EXTERNAL_ITEM, prefix))
    if known >= EXTERNAL_MONITORS_PER_TENANT_MAX:
        raise RequestError(400, f"there are {known} external monitors, which is the limit; delete one first")


def _joined(old: AnyMonitor, form: AnyMonitor) -> AnyMonitor:
    """The form as it is kept.  Null for headers leaves those that are there, as Mackerel documents."""
    if type(old) is not type(form):
        raise RequestError(400, "type: a monitor keeps its type; delete it and make another one")
    if isinstance(form, ExternalMonitor) and isinstance(old, ExternalMonitor) and form.headers is None:
        return msgspec.structs.replace(form, headers=old.headers or [])
    return checked(form)


def _listed(store: Store, tenant: str, made: AnyMonitor) -> list[RegistryChange]:
    """The item by which the scheduler or the evaluator finds a new monitor."""
    if isinstance(made, ExternalMonitor):
        return [RegistryChange(_job_key(tenant, made.id), body_of(ExternalJob(tenant, made.id)), 0)]
    key = Key(keys.JUDGED_ITEM, keys.escape(tenant))
    return [] if store.get(key) else [RegistryChange(key, body_of(tenant), 0)]


def _job_key(tenant: str, monitor_id: str) -> Key:
    return Key(keys.EXTERNAL_ITEM, f"{keys.escape(tenant)}:{keys.escape(monitor_id)}")


def _state_key(tenant: str, monitor_id: str) -> Key:
    return Key(keys.registry_partition(tenant, "monitor-states"), keys.escape(monitor_id))
