"""The monitors that the evaluator judges, each with its versions: a sample is judged by the one of its time."""

from collections.abc import Iterator

import msgspec

from carbyne.core import keys
from carbyne.core.limits import ALERT_HORIZON_MS, RULE_BACK_MS
from carbyne.registry.monitor_types import AnyMonitor
from carbyne.registry.store import Key, Registry, RegistryChange, Store, body_of


class MonitorVersion(msgspec.Struct, frozen=True):
    """In force from ``since_ms`` on."""

    since_ms: int
    monitor: AnyMonitor


class MonitorVersions(msgspec.Struct, frozen=True):
    """Of one monitor, ascending: those that were in force within the horizon."""

    id: str
    versions: list[MonitorVersion]

    @property
    def current(self) -> AnyMonitor:
        return self.versions[-1].monitor


def find(store: Store, tenant: str) -> list[MonitorVersions]:
    """All of a tenant."""
    return list(map(_read, (item.body for item in store.scan(_key(tenant, "").pk))))


def tenants(store: Store) -> Iterator[str]:
    """Those that have, or had, monitors which the evaluator judges."""
    return (msgspec.json.decode(item.body, type=str) for item in store.scan(keys.JUDGED_ITEM))


def changed(registry: Registry, tenant: str, monitor: AnyMonitor, *, is_new: bool) -> list[RegistryChange]:
    """What to write beside a monitor that is made or replaced.  A new one judges what agents are posting just now."""
    now_ms = registry.now_s() * 1000
    item = registry.store.get(_key(tenant, monitor.id))
    version = MonitorVersion(now_ms - RULE_BACK_MS if is_new else now_ms, monitor)
    known = _read(item.body).versions if item else []
    made = MonitorVersions(monitor.id, [*_of_horizon(known, now_ms), version])
    change = RegistryChange(_key(tenant, monitor.id), body_of(made), item.version if item else 0)
    return [change, *listed(registry.store, tenant)]


def listed(store: Store, tenant: str) -> list[RegistryChange]:
    """What to write so that the evaluator looks at a tenant."""
    key = Key(keys.JUDGED_ITEM, keys.escape(tenant))
    return [] if store.get(key) else [RegistryChange(key, body_of(tenant), 0)]


def removed(store: Store, tenant: str, monitor_id: str) -> list[RegistryChange]:
    """What to write beside a monitor that is deleted."""
    item = store.get(_key(tenant, monitor_id))
    return [RegistryChange(item.key, None, item.version)] if item else []


def _of_horizon(versions: list[MonitorVersion], now_ms: int) -> list[MonitorVersion]:
    """Without those that ended before the horizon, and at most the last ten."""
    ends = [version.since_ms for version in versions[1:]] + [now_ms]
    return [version for version, end in zip(versions, ends, strict=False) if end > now_ms - ALERT_HORIZON_MS][-9:]


def _read(body: bytes) -> MonitorVersions:
    return msgspec.json.decode(body, type=MonitorVersions)


def _key(tenant: str, monitor_id: str) -> Key:
    return Key(keys.registry_partition(tenant, "rules"), keys.escape(monitor_id))
