"""Monitors of expressions and queries, judged each minute."""

import json
import time

import msgspec
import pytest
from carbyne.core import keys
from carbyne.core.errors import QueryError, RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import COMPUTED_FAILS_MINUTES, COMPUTED_TENANT_S, LANES, QUERY_MONITOR_SERIES_MAX
from carbyne.evaluate import leaves
from carbyne.evaluate.leaves import _like
from carbyne.evaluate.recent import Recent
from carbyne.notify.routing import about
from carbyne.registry import monitors
from carbyne.registry.alerts import LogEntry, Notice
from carbyne.wiring.evaluator import computed_by
from carbyne.wiring.expressions import rolled_by
from carbyne.wiring.rules import series_by

from tests.support.evaluation import Evaluation
from tests.support.memory_system import MemorySystem
from tests.support.registry_system import NOW_S, event

EXPRESSION = {
    "type": "expression",
    "name": "load of the role",
    "expression": "avg(role(shop:web, load))",
    "operator": ">",
    "warning": 4,
    "critical": 8,
    "evaluateBackwardMinutes": 0,
}
QUERY = {
    "type": "query",
    "name": "load of {{source}}",
    "query": "load",
    "operator": ">",
    "warning": 4,
    "critical": 8,
    "legend": "{{ source }} now",
}


@pytest.fixture
def system():
    return Evaluation()


def monitor(system, body):
    return system.ok("POST", "/api/v0/monitors", body)["id"]


def post(system, hosts, *values, ago=0):
    for host, value in zip(hosts, values, strict=True):
        system.post(f"host/{host}", "load", value, ago=ago)


def two(system):
    return [system.host(roleFullnames=["shop:web"]) for _ in range(2)]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({**EXPRESSION, "expression": "role(shop:web, load)"}, "expression: it has several lines"),
        ({**EXPRESSION, "expression": "avg(role(shop:web, load)"}, "expression: character last: ')' is missing"),
        ({**QUERY, "query": "sum by ("}, "query: "),
        ({**QUERY, "query": "load[5m]"}, "query: it gives a matrix"),
    ],
    ids=range(4),
)
def test_a_monitor_that_can_not_be_computed_is_refused(system, body, told):
    answer = system.call("POST", "/api/v0/monitors", body)
    assert answer.status == 400
    assert answer.body["error"]["message"].startswith(told)


def test_an_expression_over_a_role_opens_and_closes_one_alert(system):
    hosts, monitor_id = two(system), monitor(system, EXPRESSION)
    for values in ((1, 1), (5, 5), (9, 11), (1, 1)):
        system.look()
        post(system, hosts, *values)
    system.look()
    [alert] = system.all_alerts()
    assert (alert.monitor_id, alert.type, alert.host_id, alert.status) == (monitor_id, "expression", "", "OK")
    assert (alert.closed_at - alert.opened_at, alert.message) == (120, EXPRESSION["expression"])
    logs = [LogEntry(**{to_snake(k): v for k, v in each.items()}) for each in log_of(system, alert.id)]
    assert [each.status for each in reversed(logs)] == ["WARNING", "CRITICAL", "OK"]


def to_snake(name):
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


def log_of(system, alert_id):
    return system.ok("GET", f"/api/v0/alerts/{alert_id}/logs")["logs"]


def test_an_expression_waits_until_it_is_stable(system):
    """Two minutes unless it says otherwise: hosts that post later than others count."""
    hosts = two(system)
    monitor(system, {key: value for key, value in EXPRESSION.items() if key != "evaluateBackwardMinutes"})
    post(system, hosts[:1], 9)
    system.look()
    assert system.all_alerts() == []
    post(system, hosts[1:], -9, ago=1)
    system.look(3)
    assert system.all_alerts() == []
    post(system, hosts, 9, 9)
    system.look()
    assert system.open_alerts() == []
    system.look()
    assert len(system.open_alerts()) == 1


def test_late_samples_correct_the_alert_of_an_expression(system):
    hosts = two(system)
    monitor(system, EXPRESSION)
    post(system, hosts[:1], 9)
    system.look()
    assert len(system.open_alerts()) == 1
    post(system, hosts[1:], -9, ago=1)
    system.look()
    [alert] = system.all_alerts()
    assert (alert.status, alert.reason) == ("OK", "late samples show that this was not so")


def test_a_query_has_an_alert_for_each_of_its_series(system):
    hosts, monitor_id = two(system), monitor(system, QUERY)
    post(system, hosts, 5, 9)
    system.look()
    statuses = {alert.message: alert.status for alert in system.open_alerts()}
    assert statuses == {f"host/{hosts[0]} now": "WARNING", f"host/{hosts[1]} now": "CRITICAL"}
    shown = {alert["message"]: alert["series"] for alert in system.ok("GET", "/api/v0/alerts")["alerts"]}
    assert shown[f"host/{hosts[0]} now"] == {"name": "load", "labels": {"source": f"host/{hosts[0]}"}}
    post(system, hosts, 5, 1)
    system.look()
    [alert] = system.open_alerts()
    assert (alert.message, alert.monitor_id) == (f"host/{hosts[0]} now", monitor_id)
    assert [each.message for each in system.all_alerts() if each.status == "OK"] == [f"host/{hosts[1]} now"]


def test_the_alert_of_a_series_that_the_query_has_not_any_more_is_closed(system):
    [host, _] = two(system)
    monitor(system, QUERY)
    system.post(f"host/{host}", "load", 9)
    system.look(60)
    assert len(system.open_alerts()) == 1
    system.look(6)
    [alert] = system.all_alerts()
    assert (alert.status, alert.reason) == ("OK", "the query does not have this series any more")


def test_what_can_not_be_computed_is_an_alert_of_its_own(system, monkeypatch):
    [host, _] = two(system)
    monitor(system, QUERY)

    def fails(*_):
        raise QueryError("execution", "the query has too many samples")

    system.post(f"host/{host}", "load", 9)
    with monkeypatch.context() as patch:
        patch.setattr(system.arrived, "query", fails)
        system.look(3)
        [alert] = system.open_alerts()
        assert (alert.status, alert.message, alert.value) == ("UNKNOWN", "the query has too many samples", None)
        system.ok("POST", f"/api/v0/alerts/{alert.id}/close", {"reason": "seen"})
        system.look(3)
        assert system.open_alerts() == []
    system.look()
    assert [alert.status for alert in system.open_alerts()] == ["CRITICAL"]
    monkeypatch.setattr(system.arrived, "query", fails)
    system.look(COMPUTED_FAILS_MINUTES - 1)
    assert [alert.status for alert in system.open_alerts()] == ["CRITICAL"]
    system.look()
    assert sorted(alert.status for alert in system.open_alerts()) == ["CRITICAL", "UNKNOWN"]
    monkeypatch.undo()
    system.look()
    assert [alert.status for alert in system.open_alerts()] == ["CRITICAL"]


def test_series_of_a_query_are_bounded(system):
    monitor(system, QUERY)
    for number in range(QUERY_MONITOR_SERIES_MAX + 1):
        system.post(f"host/h{number:03d}", "load", 9)
    system.look(COMPUTED_FAILS_MINUTES)
    [alert] = system.open_alerts()
    assert (alert.status, alert.message) == ("UNKNOWN", "the query has 101 series, over 100")


def test_points_of_an_expression_are_counted_before_they_are_read(system, monkeypatch):
    monkeypatch.setattr(leaves, "EXPRESSION_POINTS_MAX", 120)
    host = system.host(roleFullnames=["shop:web"])
    monitor(system, {**EXPRESSION, "expression": "sum(role(shop:web, load.*))"})
    for number in range(50):
        system.post(f"host/{host}", f"load.{number}", 9)
    system.look(COMPUTED_FAILS_MINUTES)
    [alert] = system.open_alerts()
    assert (alert.status, alert.message) == ("UNKNOWN", "the expression reads more than 120 points")
    assert system.arrived.reads[SourceKey("a", f"host/{host}")] == 0


def test_an_expression_without_values_for_an_hour_is_an_alert(system):
    two(system)
    monitor(system, EXPRESSION)
    system.look(57)
    assert system.open_alerts() == []
    system.arrived.lanes_behind = {1}
    system.look(3)
    assert system.open_alerts() == []
    system.arrived.lanes_behind = set()
    system.look(COMPUTED_FAILS_MINUTES)
    [alert] = system.open_alerts()
    assert (alert.status, alert.message) == ("UNKNOWN", "the expression has had no value for 60 minutes")


@pytest.mark.parametrize("body", [EXPRESSION, QUERY], ids=["expression", "query"])
def test_nothing_opens_or_closes_while_a_store_is_away(system, body):
    hosts = two(system)
    monitor(system, body)
    post(system, hosts, 9, 9)
    system.arrived.unread = {SourceKey("a", f"host/{host}") for host in hosts}
    system.look()
    assert system.all_alerts() == []
    system.arrived.unread = set()
    system.look()
    opened = len(system.open_alerts())
    assert opened
    post(system, hosts, 1, 1)
    system.arrived.unread = {SourceKey("a", f"host/{host}") for host in hosts}
    system.look()
    assert len(system.open_alerts()) == opened


def test_what_is_absent_is_judged_by_arrival(system):
    """A late sample ends it when it comes, and does not say that it was never so."""
    hosts = two(system)
    query = f'absent(load{{source="host/{hosts[0]}"}})'
    monitor(system, {**QUERY, "query": query, "warning": None, "critical": 0})
    post(system, hosts, 3, 3)
    system.look(4)
    assert system.all_alerts() == []
    system.look()
    [alert] = system.open_alerts()
    system.look(10)
    system.post(f"host/{hosts[0]}", "load", 3, ago=2)
    system.post(f"host/{hosts[0]}", "load", 3, ago=8)
    system.look()
    [closed] = system.all_alerts()
    assert (closed.id, closed.opened_at, closed.closed_at) == (alert.id, alert.opened_at, system.now_s)
    assert closed.message == alert.message == f"host/{hosts[0]} now"
    log = system.ok("GET", f"/api/v0/alerts/{alert.id}/logs")["logs"]
    assert [(each["saying"], each["status"]) for each in log] == [("closed", "OK"), ("opened", "CRITICAL")]
    system.look(5)
    assert [each["saying"] for each in system.ok("GET", f"/api/v0/alerts/{alert.id}/logs")["logs"]] == [
        "closed",
        "opened",
    ]


def test_an_absence_whose_alert_a_person_closed_has_to_end_first(system):
    hosts = two(system)
    monitor(system, {**QUERY, "query": "absent(load)", "warning": None, "critical": 0})
    system.look()
    [alert] = system.open_alerts()
    system.ok("POST", f"/api/v0/alerts/{alert.id}/close", {"reason": "known"})
    system.look(70)
    assert system.open_alerts() == []
    post(system, hosts, 3, 3)
    system.look(2)
    assert system.open_alerts() == []
    system.look(10)
    [again] = system.open_alerts()
    assert again.id != alert.id


@pytest.mark.parametrize(
    "body",
    [
        {**EXPRESSION, "expression": "min(role(shop:web, load))", "operator": "<", "critical": 1},
        {**EXPRESSION, "expression": "sum(role(shop:web, load))", "operator": "<", "critical": 5},
        {**QUERY, "query": "absent(load)", "operator": ">", "critical": 0},
        {**QUERY, "query": "time() - max(timestamp(load))", "operator": ">", "critical": 240},
        {**QUERY, "query": "count(load) or vector(0)", "operator": "<", "critical": 2},
    ],
    ids=["min", "sum", "absent", "age", "count"],
)
@pytest.mark.parametrize("lanes", ["all", "of one host"])
def test_nothing_opens_or_closes_while_the_ingester_is_behind(system, body, lanes):
    """What was posted meanwhile is judged as ever once it is there."""
    hosts = two(system)
    monitor(system, {**body, "warning": None})
    for ago in range(-2, 5):
        post(system, hosts, 3, 3, ago=ago)
    system.look(3)
    assert system.all_alerts() == []
    of_one = {SourceKey("a", f"host/{hosts[0]}").lane}
    system.arrived.lanes_behind = set(range(LANES)) if lanes == "all" else of_one
    for _ in range(15):
        system.look()
        if lanes != "all":
            system.post(f"host/{hosts[1]}", "load", 3)
    assert system.all_alerts() == []
    for ago in range(16):
        for host in hosts:
            system.post(f"host/{host}", "load", 3, ago=ago)
    system.arrived.lanes_behind = set()
    system.look()
    assert system.all_alerts() == []


@pytest.mark.parametrize("body", [EXPRESSION, QUERY], ids=["expression", "query"])
def test_another_text_is_judged_from_its_time_on(system, body):
    hosts = two(system)
    monitor_id = monitor(system, body)
    post(system, hosts, 9, 9)
    system.look()
    before = len(system.open_alerts())
    text = {"expression": "max(role(shop:web, load))", "query": "load + 0"}
    system.ok("PUT", f"/api/v0/monitors/{monitor_id}", {**body, body["type"]: text[body["type"]]})
    post(system, hosts, 1, 1)
    system.look()
    assert system.all_alerts() and not [alert for alert in system.open_alerts() if alert.type == "expression"]
    assert len(system.all_alerts()) >= before
    system.ok("DELETE", f"/api/v0/monitors/{monitor_id}")
    system.look()
    assert system.open_alerts() == []


def test_a_tenant_whose_queries_take_long_waits_for_itself(system):
    """Who waited longest is first: each of many slow queries has its turn, and those of others each minute."""
    ran = []

    def slow(tenant, query, *_):
        ran.append((tenant, query))
        system.monotonic_s += COMPUTED_TENANT_S * 0.4 if tenant == "a" else 0.01
        return []

    system.arrived.query = slow
    for number in range(6):
        monitor(system, {**QUERY, "query": f"load + {number}"})
    system.call("POST", "/api/v0/monitors", {**QUERY, "query": "others"}, key="key-b")
    system.look()
    assert len([each for each in ran if each[0] == "a"]) == 3 and ("b", "others") in ran
    ran.clear()
    system.look()
    assert len([each for each in ran if each[0] == "a"]) == 3 and ("b", "others") in ran
    assert len({query for tenant, query in ran if tenant == "a"}) == 3
    ran.clear()
    system.look()
    assert ran[0] == ("b", "others")  # which took less time


def test_expressions_and_queries_of_a_tenant_are_bounded(system, monkeypatch):
    monkeypatch.setattr(monitors, "COMPUTED_MONITORS_PER_TENANT_MAX", 2)
    first = monitor(system, EXPRESSION)
    monitor(system, QUERY)
    answer = system.call("POST", "/api/v0/monitors", QUERY)
    assert (answer.status, answer.body["error"]["message"][:38]) == (400, "there are 2 expressions and queries, w")
    system.ok("DELETE", f"/api/v0/monitors/{first}")
    monitor(system, QUERY)


def test_a_query_that_is_away_holds_up_no_other(system, caplog):
    def away(tenant, query, *_):
        if query == "load":
            raise RetryableError("away")
        return []

    system.arrived.query = away
    monitor(system, QUERY)
    monitor(system, {**QUERY, "query": "other"})
    system.look()
    assert "is computed in the next minute: away" in caplog.text


def test_a_notification_names_the_labels_of_the_series(system):
    [host, _] = two(system)
    monitor(system, QUERY)
    system.post(f"host/{host}", "load", 9)
    system.look()
    [item] = system.store.items(keys.NOTIFICATIONS_ITEM)
    notice = msgspec.json.decode(item.body, type=Notice)
    assert about(system.store, "a", notice).name_of(notice) == f"load of host/{host}"


def test_expressions_and_queries_read_through_the_real_reader():
    """The parts that wiring hands to the evaluator, over stores in memory."""
    now_s = NOW_S - NOW_S % 3_600
    system = MemorySystem(now_s=lambda: now_s)
    host = system.handle(event("POST", "/api/v0/hosts", {"name": "h"}))
    host_id = json.loads(host["body"])["id"]
    times = range(now_s - 7_200, now_s, 60)
    samples = [{"hostId": host_id, "name": "load", "time": ts, "value": ts // 60 % 60} for ts in times]
    assert system.handle(event("POST", "/api/v0/tsdb", samples))["statusCode"] == 200
    queries = system.deps["reader"].queries
    source, span = SourceKey("a", f"host/{host_id}"), ((now_s - 7_200) * 1000, now_s * 1000 - 1)
    read = Recent(queries.reader, rolled_by(queries.reader))
    assert len(read.read(source, ["load"], *span)["load"]) == 120
    assert read.means(source, ["load", "none"], *span, "1h") == {
        "load": [(span[0], 29.5), (span[0] + 3_600_000, 29.5)],
        "none": [],
    }
    assert read.names(source) == {"load"}
    run, span_ms = computed_by(series_by(queries)), (now_s * 1000 - 120_000, now_s * 1000)
    [series] = run("a", "load * 2", span_ms, 5.0, ())
    assert series.labels == {"source": f"host/{host_id}"}
    assert series.pairs == [(now_s * 1000 - 120_000, 116.0), (now_s * 1000 - 60_000, 118.0), (now_s * 1000, 118.0)]
    with pytest.raises(QueryError, match="timed out"):
        run("a", "load * 2", span, -1.0, ())
    with pytest.raises(RetryableError, match="the stream is behind"):
        run("a", "absent(other)", span_ms, 5.0, {source.lane})


@pytest.mark.parametrize(
    "metric, name, is_like",
    [
        ("custom.*.size", "custom.a.size", True),
        ("custom.*.size", "custom.a.b.size", False),
        ("*", "load", True),
        ("*.b*c", "a.bbcc", True),
        ("a*b*", "ab", True),
        ("a*ab", "ab", False),
        ("*a" * 5 + "*b", "a" * 120, False),
    ],
)
def test_stars_of_a_metric_are_compared_in_a_time_that_names_of_hosts_can_not_stretch(metric, name, is_like):
    begun_s = time.process_time()
    assert _like(metric)(name) is is_like
    assert time.process_time() - begun_s < 1  # by trying all places the last one takes six seconds
