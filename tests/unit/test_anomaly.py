"""What is usual at an hour of the week, and hosts that behave otherwise."""

import statistics

import numpy as np
import pytest
from carbyne.alerts.judging import OK
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import AHEAD_MS_MAX, ALERT_HORIZON_MS, ANOMALY_BASELINES_PER_LOOK
from carbyne.evaluate import anomaly
from carbyne.evaluate.anomaly import (
    HOUR_MS,
    SPREADS,
    VALUES_MIN,
    WEEK_HOURS,
    WEEKS,
    Baselines,
    learned_until_ms,
    worst,
)

from tests.support.evaluation import Evaluation

HOST = SourceKey("a", "host/h")
UNTIL = 2_833_000 * HOUR_MS // 10
MONITOR = {
    "type": "anomalyDetection",
    "name": "unlike before",
    "scopes": ["shop: web"],
    "warningSensitivity": "sensitive",
    "criticalSensitivity": "insensitive",
}


class Means:
    """``hours``: (ts_ms, value) of loadavg5."""

    def __init__(self, hours):
        self.hours, self.reads = hours, 0

    def means(self, source, series, from_ms, to_ms, resolution):
        assert (resolution, series) == ("1h", list(SPREADS))
        self.reads += 1
        return {"loadavg5": [pair for pair in self.hours if from_ms <= pair[0] <= to_ms]}


def hours_of(values):
    """The last hours before UNTIL."""
    return [(UNTIL - (len(values) - at) * HOUR_MS, float(value)) for at, value in enumerate(values)]


def test_the_usual_values_are_medians_of_the_hour_and_those_beside_it():
    values = np.random.default_rng(1).normal(10, 3, WEEKS * WEEK_HOURS).round(2).tolist()
    pairs = hours_of(values)
    usual = Baselines(Means(pairs)).of(HOST, UNTIL, 0)["loadavg5"]
    for hour in range(WEEK_HOURS):
        near = [
            value
            for at, (ts_ms, value) in enumerate(pairs)
            if any(
                0 <= at + side < len(pairs) and (ts_ms + side * HOUR_MS) // HOUR_MS % WEEK_HOURS == hour
                for side in (-1, 0, 1)
            )
        ]
        median = statistics.median(near)
        mad = statistics.median(abs(value - median) for value in near)
        assert usual.median[hour] == pytest.approx(median)
        assert usual.spread[hour] == pytest.approx(max(1.4826 * mad, 0.05 * median, 0.2))


def test_with_few_values_nothing_is_usual():
    weeks = VALUES_MIN // 3
    values = [5.0] * (weeks * WEEK_HOURS)
    enough = Baselines(Means(hours_of(values))).of(HOST, UNTIL, 0)["loadavg5"]
    assert enough.score(UNTIL + 5 * HOUR_MS, 6.0) == pytest.approx(4)
    few = Baselines(Means(hours_of(values[1:]))).of(HOST, UNTIL - HOUR_MS, 0)["loadavg5"]
    assert np.isnan(few.median).any()
    assert Baselines(Means([])).of(HOST, UNTIL, 0) == {}


def test_an_hour_whose_mean_is_no_number_teaches_nothing():
    values = [5.0] * (2 * WEEK_HOURS) + [float("inf")] * (3 * WEEK_HOURS)
    usual = Baselines(Means(hours_of(values))).of(HOST, UNTIL, 0)["loadavg5"]
    assert usual.score(UNTIL, 6.0) == pytest.approx(4)


def test_only_what_came_since_the_training_began_teaches():
    means = Means(hours_of([5.0] * (3 * WEEK_HOURS) + [50.0] * (2 * WEEK_HOURS)))
    since_ms = UNTIL - 2 * WEEK_HOURS * HOUR_MS
    late = Baselines(means).of(HOST, UNTIL, since_ms)["loadavg5"]
    assert np.nanmax(np.abs(late.median - 50.0)) == 0


def test_the_worst_metric_counts():
    means = Means(hours_of([5.0] * (WEEKS * WEEK_HOURS)))
    load = Baselines(means).of(HOST, UNTIL, 0)["loadavg5"]
    usual = {"loadavg5": load, "memory.used": load}
    scores = worst(usual, {"loadavg5": [(UNTIL, 6.0), (UNTIL + 60_000, 5.0)], "memory.used": [(UNTIL, 7.0)]})
    assert [(each.ts_ms, each.metric) for each in scores] == [(UNTIL, "memory.used"), (UNTIL + 60_000, "loadavg5")]
    assert [each.score for each in scores] == pytest.approx([8, 0])
    assert worst(usual, {}) == []


@pytest.mark.parametrize("source", ["host/a", "host/b", "service/c"])
def test_what_is_learned_ends_before_the_horizon_and_once_a_day(source):
    ends = {learned_until_ms(SourceKey("a", source), UNTIL + minute * 60_000) for minute in range(3 * 1_440)}
    assert len(ends) in (3, 4)
    assert all(end % HOUR_MS == 0 for end in ends)
    for minute in range(0, 3 * 1_440, 7):
        ts_ms = UNTIL + minute * 60_000
        assert (
            0
            <= ts_ms - AHEAD_MS_MAX - ALERT_HORIZON_MS - learned_until_ms(SourceKey("a", source), ts_ms)
            < 24 * HOUR_MS
        )


def test_what_is_usual_is_read_once_and_kept_while_there_is_room(monkeypatch):
    monkeypatch.setattr(anomaly, "ANOMALY_BASELINES_MAX", 3)
    means = Means(hours_of([5.0] * WEEK_HOURS))
    baselines = Baselines(means)
    for _ in range(2):
        baselines.of(HOST, UNTIL, 0)
    assert means.reads == 1 and baselines.has(HOST, UNTIL, 0)
    for number in range(3):
        baselines.of(SourceKey("a", f"host/{number}"), UNTIL, 0)
    assert not baselines.has(HOST, UNTIL, 0)


@pytest.fixture
def system():
    return Evaluation()


def teach(system, host, value, weeks=3):
    """A sample each hour of the last weeks."""
    for hour in range(weeks * WEEK_HOURS):
        system.post(f"host/{host}", "loadavg5", value + hour % 3 / 10, ago=60 * hour)


def test_a_host_that_is_unlike_before_opens_an_alert(system):
    host, other = (system.host(roleFullnames=[f"shop:{role}"]) for role in ("web", "db"))
    for each in (host, other):
        teach(system, each, 1.0)
    monitor_id = system.ok("POST", "/api/v0/monitors", MONITOR)["id"]
    for value in (1, 9, 9, 9, 2.2, 1, 1):
        system.look()
        for each in (host, other):
            system.post(f"host/{each}", "loadavg5", value)
    system.look()
    [alert] = system.all_alerts()
    assert (alert.monitor_id, alert.host_id, alert.type) == (monitor_id, host, "anomalyDetection")
    assert (alert.status, alert.closed_at - alert.opened_at) == (OK, 120)
    logs = system.ok("GET", f"/api/v0/alerts/{alert.id}/logs")["logs"]
    assert [each["status"] for each in reversed(logs)] == ["CRITICAL", "WARNING", "OK"]
    assert alert.message == "loadavg5 is unlike at this hour of other weeks"


def test_a_host_that_is_new_is_not_judged(system):
    host = system.host(roleFullnames=["shop:web"])
    system.ok("POST", "/api/v0/monitors", MONITOR)
    for value in (1, 9, 9, 9, 9):
        system.post(f"host/{host}", "loadavg5", value)
        system.look()
    assert system.all_alerts() == []


def test_a_look_learns_of_some_hosts_and_the_next_one_of_the_others(system):
    hosts = [system.host(roleFullnames=["shop:web"]) for _ in range(ANOMALY_BASELINES_PER_LOOK + 10)]
    reads, rolled = [], system.arrived.rolled
    system.arrived.rolled = lambda source, *rest: reads.append(source) or rolled(source, *rest)
    system.evaluator = system.another()
    system.ok("POST", "/api/v0/monitors", MONITOR)
    for host in hosts:
        system.post(f"host/{host}", "loadavg5", 1)
    system.look()
    assert len(set(reads)) == ANOMALY_BASELINES_PER_LOOK
    system.look()
    assert len(set(reads)) == len(hosts)


def test_what_can_not_be_learned_is_judged_later(system):
    host = system.host(roleFullnames=["shop:web"])
    teach(system, host, 1.0)
    system.ok("POST", "/api/v0/monitors", MONITOR)
    rolled = system.arrived.rolled

    def away(*_):
        raise RetryableError("the archive is away")

    system.arrived.rolled = away
    system.evaluator = system.another()
    for _ in range(3):
        system.post(f"host/{host}", "loadavg5", 9)
        system.look()
    assert system.all_alerts() == []
    system.arrived.rolled = rolled
    system.evaluator = system.another()
    system.look()
    assert [alert.status for alert in system.open_alerts()] == ["CRITICAL"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"warningSensitivity": None, "criticalSensitivity": None}, "warningSensitivity: it or criticalSensitivity"),
        ({"trainingPeriodFrom": 2**33}, "trainingPeriodFrom: it lies in the future"),
        ({"scopes": ["sh op"]}, "scopes[0]"),
    ],
    ids=range(3),
)
def test_a_refusal_names_the_field(system, change, told):
    answer = system.call("POST", "/api/v0/monitors", {**MONITOR, **change})
    assert answer.status == 400 and answer.body["error"]["message"].startswith(told)
