"""Any order of arrival ends in the same intervals, for every type of monitor that judges values."""

from carbyne.core.keys import SourceKey
from carbyne.core.limits import REREAD_MINUTES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.alert_day import HISTORY_HOURS, LOAD, START, WITHDRAWN, all_alerts, key_of, last_statuses, shares_of
from tests.support.evaluation import Evaluation

MINUTES, LATEST, LAST = 14, 30, 48
MONITORS = {
    "host": {**LOAD, "duration": 2, "maxCheckAttempts": 2},
    "share": {**LOAD, "metric": "memory%", "warning": 40, "critical": 80, "duration": 1},
    "service": {**LOAD, "type": "service", "service": "shop", "duration": 1},
    "expression": {**LOAD, "type": "expression", "expression": "max(role(shop:web, load))"},
    "query": {**LOAD, "type": "query", "query": "", "legend": "{{source}}"},
    "anomaly": {
        **{"type": "anomalyDetection", "name": "unlike", "scopes": ["shop: web"], "maxCheckAttempts": 2},
        **{"warningSensitivity": "sensitive", "criticalSensitivity": "insensitive"},
    },
}
SOURCES = 3


def of_minutes(strategy):
    """One for each."""
    return st.lists(strategy, min_size=MINUTES, max_size=MINUTES)


value = st.sampled_from([1.0, 3.0, 3.0, 5.0, 9.0])
first_values = of_minutes(st.none() | value)
"""Values that others overwrite later, None for no other."""
delays = of_minutes(st.integers(-3, LATEST))
looks = st.sets(st.integers(1, LAST - 1), max_size=6)


def intervals(by_source, delays_of, look_at, first_of=None):
    """{(monitor, source): [(opened, closed, last status)]} after looks at some minutes, the last one, and one after all
    sources had their turn."""
    system = Evaluation()
    system.now_s = (START - 1) * 60
    hosts = [system.host(roleFullnames=["shop:web"]) for _ in range(SOURCES - 1)]
    query = 'load{source=~"host/(' + "|".join(hosts) + ')"}'
    bodies = MONITORS | {"query": {**MONITORS["query"], "query": query}}
    names = {system.ok("POST", "/api/v0/monitors", body)["id"]: name for name, body in bodies.items()}
    sources = [SourceKey("a", source) for source in (*(f"host/{host}" for host in hosts), "service/shop")]
    for source in sources[:-1]:
        for hour in range(1, HISTORY_HOURS):
            system.arrived.put(source, "loadavg5", (START - 60 * hour) * 60_000, 3.0 + hour % 7 / 10)
    left = [
        (minute + delay, minute, source, value)
        for source, values, delays in zip(sources, by_source, delays_of, strict=True)
        for minute, (value, delay) in enumerate(zip(values, delays, strict=True))
    ]
    if first_of:
        firsts = [value for values in first_of for value in values]
        again = [
            (came - 12, minute, source, first) for (came, minute, source, _), first in zip(left, firsts, strict=True)
        ]
        left = sorted(each for each in [*left, *again] if each[-1] is not None)
    for at in sorted({*look_at, LAST, LAST + REREAD_MINUTES}):
        for came, minute, source, value in left:
            if came <= at:
                for series, part in ({"load": value} | shares_of(value)).items():
                    system.arrived.put(source, series, (START + minute) * 60_000, part)
        left = [each for each in left if each[0] > at]
        system.now_s = (START + at - 1) * 60
        system.look()
    statuses, result = last_statuses(system), {}
    for alert in all_alerts(system):
        if alert.reason != WITHDRAWN:
            span = alert.opened_at, alert.closed_at, statuses[alert.id]
            result.setdefault(key_of(alert, names), []).append(span)
    return {key: sorted(spans) for key, spans in result.items()}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(*(st.tuples(*[each] * SOURCES) for each in (of_minutes(value), delays, first_values)), looks)
def test_any_order_of_arrival_ends_in_the_same_intervals(by_source, delays_of, first_of, look_at):
    """Of samples that overwrite others too: the one that arrives last is the sample."""
    assert intervals(by_source, delays_of, look_at, first_of) == intervals(by_source, [[0] * MINUTES] * SOURCES, ())


def test_every_type_of_monitor_has_alerts():
    by_source = [[3.0, 3.0, 9.0, 9.0, 9.0, 3.0, 5.0, 5.0, 5.0, 3.0, 3.0, 3.0, 3.0, 3.0]] * SOURCES
    told = intervals(by_source, [[5] * MINUTES] * SOURCES, (9, 12))
    assert {name for name, _ in told} == MONITORS.keys()
