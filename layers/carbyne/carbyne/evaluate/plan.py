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


class MonitorWatch(NamedTuple):
    """What a monitor looks at in each source of its scope; ``kind`` and ``part``: as of the subject."""

    monitor: str
    kind: str
    part: str = ""

    def of(self, source: str) -> Subject:
        return Subject(self.monitor, source, self.kind, self.part)


class ValueTarget(NamedTuple):
    """A metric that a monitor judges."""

    watch: MonitorWatch
    series: str
    versions: tuple[RuleVersion, ...]


class AnomalyTarget(NamedTuple):
    """A monitor that compares hosts with what was usual since ``since_ms``."""

    watch: MonitorWatch
    since_ms: int
    versions: tuple[RuleVersion, ...]


class SilenceTarget(NamedTuple):
    """A monitor that hears sources; ``series``: a metric of them alone, empty for any row."""

    watch: MonitorWatch
    series: str
    bounds: Bounds


class WatchTargets(NamedTuple):
    """Of one service, or of all hosts that have the same roles: no monitor is listed for each host."""

    number: int
    values: list[ValueTarget]
    silences: list[SilenceTarget]
    anomalies: list[AnomalyTarget]

    @property
    def is_empty(self) -> bool:
        return not (self.values or self.silences or self.anomalies)


class WatchScope(NamedTuple):
    """``targets``: of what is in it; ``numbers``: theirs."""

    targets: list[WatchTargets]
    numbers: frozenset[int]


_NONE: Final = WatchTargets(-1, [], [], [])
_NOWHERE: Final = WatchScope([], frozenset())


class WatchPlan(NamedTuple):
    """``targets``: by source; ``scopes``: of each watch; ``reminders``: minutes between two
    notifications, by monitor; ``rules``: ids of monitors; ``hosts``: of the live ones, ``resting``: those of them that
    are not judged now; ``since_ms``: from when on others are judged again; ``computed``: expressions and queries, by
    monitor; ``roles``: sources by ``service:role``."""

    targets: dict[str, WatchTargets]
    scopes: dict[MonitorWatch, WatchScope]
    reminders: dict[str, int]
    rules: frozenset[str]
    hosts: frozenset[str]
    resting: frozenset[str]
    since_ms: dict[str, int]
    computed: dict[str, MonitorVersions]
    roles: dict[str, list[str]]

    @property
    def sources(self) -> list[str]:
        return sorted(self.targets)

    def of(self, source: str) -> WatchTargets:
        return self.targets.get(source, _NONE)

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
        scope = self.scopes.get(MonitorWatch(subject.monitor, subject.kind, subject.part), _NOWHERE)
        return self.of(subject.source).number in scope.numbers


def plan(rules: Iterable[MonitorVersions], hosts: Iterable[StoredHost]) -> WatchPlan:
    """Scopes are looked at once for all hosts that have the same roles."""
    live = list(hosts)
    working = [host for host in live if host.status in WATCHED]
    scoping = _Scoping(working)
    resting = frozenset(host.id for host in live if host.status not in WATCHED)
    ids = frozenset(each.id for each in rules), frozenset(host.id for host in live), resting
    made = WatchPlan(scoping.targets, {}, {}, *ids, _since_ms(working), {}, _by_role(working))
    for versions in rules:
        _add(made, versions, scoping)
    for source in [source for source, of in made.targets.items() if of.is_empty]:
        del made.targets[source]
    return made


def _add(made: WatchPlan, versions: MonitorVersions, scoping: "_Scoping") -> None:
    monitor, each = versions.current, versions.id
    if monitor.notification_interval and not monitor.is_mute:
        made.reminders[each] = monitor.notification_interval
    match monitor:
        case HostMonitor():
            value = ValueTarget(MonitorWatch(each, "host"), monitor.metric, _rules(versions.versions))
            for targets in _in_scope(made, value.watch, scoping.hosts(monitor.scopes, monitor.exclude_scopes)):
                targets.values.append(value)
        case ServiceMonitor():
            value = ValueTarget(MonitorWatch(each, "service"), monitor.metric, _rules(versions.versions))
            service = scoping.service(monitor.service)
            for targets in _in_scope(made, value.watch, service):
                targets.values.append(value)
            bounds = Bounds(monitor.missing_duration_warning, monitor.missing_duration_critical)
            missing = SilenceTarget(MonitorWatch(each, "service", MISSING), monitor.metric, bounds)
            for targets in _in_scope(made, missing.watch, service if bounds != Bounds(None, None) else _NOWHERE):
                targets.silences.append(missing)
        case ConnectivityMonitor():
            is_warning = monitor.alert_status_on_gone == "WARNING"
            bounds = Bounds(SILENT_MINUTES, None) if is_warning else Bounds(None, SILENT_MINUTES)
            silence = SilenceTarget(MonitorWatch(each, "connectivity"), "", bounds)
            for targets in _in_scope(made, silence.watch, scoping.hosts(monitor.scopes, monitor.exclude_scopes)):
                targets.silences.append(silence)
        case AnomalyMonitor() if monitor.scopes:
            since_ms = (monitor.training_period_from or 0) * 1000
            anomaly = AnomalyTarget(MonitorWatch(each, "anomalyDetection"), since_ms, anomaly_rules(versions.versions))
            for targets in _in_scope(made, anomaly.watch, scoping.hosts(monitor.scopes, None)):
                targets.anomalies.append(anomaly)
        case ExpressionMonitor() | QueryMonitor():
            made.computed[each] = versions


def _in_scope(made: WatchPlan, watch: MonitorWatch, scope: WatchScope) -> list[WatchTargets]:
    made.scopes[watch] = scope
    return scope.targets


def _since_ms(hosts: Iterable[StoredHost]) -> dict[str, int]:
    """By source, of those that were not judged before: what happened then is none of an alert's business."""
    rested = {
        f"host/{host.id}": [past.until_s * 1000 for past in host.past if past.status not in WATCHED] for host in hosts
    }
    return {source: times[-1] for source, times in rested.items() if times}


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
    """Hosts by their roles: a tenant has few sets of roles, however many hosts.  ``targets``: by source."""

    def __init__(self, hosts: Sequence[StoredHost]) -> None:
        self.targets: dict[str, WatchTargets] = {}
        self._by_roles: dict[str, tuple[RolesByService, WatchTargets]] = {}
        self._known: dict[tuple[str, str], WatchScope] = {}
        for number, host in enumerate(hosts):
            roles = repr(sorted((name, sorted(of)) for name, of in host.roles.items()))
            alike = self._by_roles.setdefault(roles, (host.roles, WatchTargets(number, [], [], [])))
            self.targets[f"host/{host.id}"] = alike[1]

    def service(self, name: str) -> WatchScope:
        targets = self.targets.setdefault(f"service/{name}", WatchTargets(len(self.targets), [], [], []))
        return WatchScope([targets], frozenset([targets.number]))

    def hosts(self, scopes: Sequence[str] | None, excluded: Sequence[str] | None) -> WatchScope:
        """Of the hosts in the scopes, of all without any, that are in none of the excluded ones."""
        key = repr(scopes or []), repr(excluded or [])
        if key not in self._known:
            targets = [
                targets
                for roles, targets in self._by_roles.values()
                if (not scopes or is_in(scopes, roles)) and not is_in(excluded, roles)
            ]
            self._known[key] = WatchScope(targets, frozenset(each.number for each in targets))
        return self._known[key]
