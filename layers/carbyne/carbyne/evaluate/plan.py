"""Which monitor looks at which source, of one tenant."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from carbyne.alerts.absence import Bounds
from carbyne.alerts.judging import Rule, RuleVersion
from carbyne.alerts.rates import NAMED_RATE
from carbyne.core.limits import SILENT_MINUTES
from carbyne.registry.alerts import Subject
from carbyne.registry.hosts import RolesByService, StoredHost
from carbyne.registry.monitor_types import (
    AnomalyMonitor,
    ConnectivityMonitor,
    ExpressionMonitor,
    HostMonitor,
    QueryMonitor,
    ServiceMonitor,
)
from carbyne.registry.rules import MonitorVersion, MonitorVersions
from carbyne.registry.scopes import is_in

WATCHED: Final = ("working", "standby")
"""Statuses of hosts that are judged, as Mackerel documents."""
MISSING: Final = "missing"
"""The part of a service's monitor that waits for samples."""
ANOMALY_ATTEMPTS: Final = 3
"""Samples in a row where a monitor names no ``maxCheckAttempts``."""
FAILED: Final = "failed"
"""The part of a computed monitor that says that it can't be computed."""


class ValueTarget(NamedTuple):
    """A metric of a source that a monitor judges."""

    subject: Subject
    series: str
    versions: tuple[RuleVersion, ...]


class AnomalyTarget(NamedTuple):
    """A host that a monitor compares with what was usual since ``since_ms``."""

    subject: Subject
    since_ms: int
    versions: tuple[RuleVersion, ...]


class SilenceTarget(NamedTuple):
    """A source that a monitor hears; ``series``: of a metric alone, empty for any row."""

    subject: Subject
    series: str
    bounds: Bounds


class WatchPlan(NamedTuple):
    """By source; ``reminders``: minutes between two notifications, by monitor; ``rules``: ids of monitors; ``hosts``:
    of the live ones, ``resting``: those of them that are not judged now; ``computed``: expressions and queries, by
    monitor; ``roles``: sources by ``service:role``."""

    values: dict[str, list[ValueTarget]]
    silences: dict[str, list[SilenceTarget]]
    reminders: dict[str, int]
    rules: frozenset[str]
    hosts: frozenset[str]
    resting: frozenset[str]
    computed: dict[str, MonitorVersions]
    roles: dict[str, list[str]]
    anomalies: dict[str, list[AnomalyTarget]]

    @property
    def sources(self) -> list[str]:
        return sorted(self.values.keys() | self.silences.keys() | self.anomalies.keys())

    def role(self, fullname: str) -> list[str]:
        """The sources of a role's hosts, whose name may have blanks beside its colon."""
        return self.roles.get(":".join(part.strip() for part in fullname.split(":")), [])

    def roles_by_source(self) -> dict[str, RolesByService]:
        """Of the hosts that are judged; those without a role are not in it."""
        roles: dict[str, RolesByService] = {}
        for fullname, sources in self.roles.items():
            service, _, role = fullname.partition(":")
            for source in sources:
                roles.setdefault(source, {}).setdefault(service, []).append(role)
        return roles

    def has(self, subject: Subject) -> bool:
        if subject.monitor in self.computed:
            return True
        by_kind = self.values, self.silences, self.anomalies
        return any(target.subject == subject for targets in by_kind for target in targets.get(subject.source, ()))


def plan(rules: Iterable[MonitorVersions], hosts: Iterable[StoredHost]) -> WatchPlan:
    """Scopes are looked at once for all hosts that have the same roles."""
    live = list(hosts)
    working = [host for host in live if host.status in WATCHED]
    scoping = _Scoping(working)
    resting = frozenset(host.id for host in live if host.status not in WATCHED)
    ids = frozenset(each.id for each in rules), frozenset(host.id for host in live), resting
    made = WatchPlan({}, {}, {}, *ids, {}, _by_role(working), {})
    for versions in rules:
        _add(made, versions, scoping)
    return made


def _add(made: WatchPlan, versions: MonitorVersions, scoping: "_Scoping") -> None:
    monitor = versions.current
    if monitor.notification_interval and not monitor.is_mute:
        made.reminders[versions.id] = monitor.notification_interval
    match monitor:
        case HostMonitor():
            rules = _rules(versions.versions)
            for source in scoping.sources(monitor.scopes, monitor.exclude_scopes):
                target = ValueTarget(Subject(versions.id, source, "host"), monitor.metric, rules)
                made.values.setdefault(source, []).append(target)
        case ServiceMonitor():
            source = f"service/{monitor.service}"
            subject = Subject(versions.id, source, "service")
            target = ValueTarget(subject, monitor.metric, _rules(versions.versions))
            made.values.setdefault(source, []).append(target)
            bounds = Bounds(monitor.missing_duration_warning, monitor.missing_duration_critical)
            if bounds != Bounds(None, None):
                missing = SilenceTarget(Subject(versions.id, source, "service", MISSING), monitor.metric, bounds)
                made.silences.setdefault(source, []).append(missing)
        case ConnectivityMonitor():
            is_warning = monitor.alert_status_on_gone == "WARNING"
            bounds = Bounds(SILENT_MINUTES, None) if is_warning else Bounds(None, SILENT_MINUTES)
            for source in scoping.sources(monitor.scopes, monitor.exclude_scopes):
                silence = SilenceTarget(Subject(versions.id, source, "connectivity"), "", bounds)
                made.silences.setdefault(source, []).append(silence)
        case AnomalyMonitor() if monitor.scopes:
            since_ms = (monitor.training_period_from or 0) * 1000
            for source in scoping.sources(monitor.scopes, None):
                subject = Subject(versions.id, source, "anomalyDetection")
                anomaly = AnomalyTarget(subject, since_ms, anomaly_rules(versions.versions))
                made.anomalies.setdefault(source, []).append(anomaly)
        case ExpressionMonitor() | QueryMonitor():
            made.computed[versions.id] = versions


def _by_role(hosts: Iterable[StoredHost]) -> dict[str, list[str]]:
    """In the order of ids, so that sums over them are the same in every look."""
    sources: dict[str, list[str]] = {}
    for host in sorted(hosts, key=lambda host: host.id):
        for service, roles in host.roles.items():
            for role in roles:
                sources.setdefault(f"{service}:{role}", []).append(f"host/{host.id}")
    return sources


def computed_rules(versions: Sequence[MonitorVersion]) -> tuple[RuleVersion, ...]:
    """Of an expression or query; another text makes another monitor, as another metric does."""
    alike = [version for version in versions if _text(version) == _text(versions[-1])]
    rules = []
    for version in alike:
        monitor = version.monitor
        assert isinstance(monitor, ExpressionMonitor | QueryMonitor)
        rules.append(RuleVersion(version.since_ms, Rule(monitor.operator, monitor.warning, monitor.critical)))
    return tuple(rules)


def anomaly_rules(versions: Sequence[MonitorVersion]) -> tuple[RuleVersion, ...]:
    """By the sensitivities; another time of training makes another monitor."""
    rules, last = [], versions[-1].monitor
    for version in versions:
        monitor = version.monitor
        assert isinstance(monitor, AnomalyMonitor) and isinstance(last, AnomalyMonitor)
        if monitor.training_period_from == last.training_period_from:
            attempts = monitor.max_check_attempts or ANOMALY_ATTEMPTS
            rules.append(RuleVersion(version.since_ms, Rule(">", *monitor.scores, attempts=attempts)))
    return tuple(rules)


def _text(version: MonitorVersion) -> str:
    monitor = version.monitor
    assert isinstance(monitor, ExpressionMonitor | QueryMonitor)
    return monitor.expression if isinstance(monitor, ExpressionMonitor) else monitor.query


def _rules(versions: Sequence[MonitorVersion]) -> tuple[RuleVersion, ...]:
    """What a change of the metric made of a monitor is another monitor: its samples before that say nothing."""
    last = versions[-1].monitor
    alike = [version for version in versions if _judges(version) == _judges(versions[-1])]
    assert isinstance(last, HostMonitor | ServiceMonitor)
    return tuple(RuleVersion(version.since_ms, _rule(version)) for version in alike)


def _judges(version: MonitorVersion) -> tuple[str, str]:
    monitor = version.monitor
    assert isinstance(monitor, HostMonitor | ServiceMonitor)
    if isinstance(monitor, ServiceMonitor):
        return monitor.metric, monitor.service
    return monitor.metric, monitor.operator if monitor.metric == NAMED_RATE else ""  # which says what is worst


def _rule(version: MonitorVersion) -> Rule:
    monitor = version.monitor
    assert isinstance(monitor, HostMonitor | ServiceMonitor)
    attempts = monitor.max_check_attempts or 1
    return Rule(monitor.operator, monitor.warning, monitor.critical, monitor.duration, attempts)


class _Scoping:
    """Hosts by their roles: a tenant has few sets of roles, however many hosts."""

    def __init__(self, hosts: Sequence[StoredHost]) -> None:
        self._by_roles: dict[str, list[StoredHost]] = {}
        for host in hosts:
            self._by_roles.setdefault(repr(sorted((name, sorted(of)) for name, of in host.roles.items())), []).append(
                host
            )
        self._known: dict[tuple[str, str], list[str]] = {}

    def sources(self, scopes: Sequence[str] | None, excluded: Sequence[str] | None) -> list[str]:
        """Of the hosts in the scopes, of all without any, that are in none of the excluded ones."""
        key = repr(scopes or []), repr(excluded or [])
        if key not in self._known:
            self._known[key] = [
                f"host/{host.id}"
                for alike in self._by_roles.values()
                if (not scopes or is_in(scopes, alike[0].roles)) and not is_in(excluded, alike[0].roles)
                for host in alike
            ]
        return self._known[key]
