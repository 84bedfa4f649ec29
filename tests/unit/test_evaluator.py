"""What a look each minute makes of monitors: values, silence, scopes, and what can't be seen."""

import logging
import tracemalloc
from collections import Counter

import msgspec
import pytest
from carbyne.core import keys
from carbyne.core.errors import CorruptDataError, RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import (
    ALERT_HORIZON_MS,
    CLEARED_PER_LOOK,
    EVALUATE_RESERVE_S,
    EVALUATE_TENANT_S,
    HEARD_SHARDS,
    REMINDED_PER_LOOK,
    REREAD_MINUTES,
    SILENT_MINUTES,
)
from carbyne.evaluate import evaluator
from carbyne.evaluate.look import ComputedSeries
from carbyne.evaluate.plan import plan
from carbyne.registry import alerts
from carbyne.registry.alerts import Notice, Subject
from carbyne.registry.hosts import StoredHost
from carbyne.registry.monitor_types import HostMonitor
from carbyne.registry.rules import MonitorVersion, MonitorVersions

from tests.support.evaluation import Evaluation

HOST = {
    "type": "host",
    "name": "load",
    "metric": "loadavg5",
    "operator": ">",
    "warning": 1,
    "critical": 5,
    "duration": 1,
}
SERVICE = {**HOST, "type": "service", "name": "errors", "service": "shop", "metric": "errors"}
GONE = {"type": "connectivity", "name": "gone"}


@pytest.fixture
def system():
    return Evaluation()


def monitor(system, body):
    return system.ok("POST", "/api/v0/monitors", body)["id"]


def notices(system):
    """(saying, status) in the order in which they were made."""
    sent = [msgspec.json.decode(item.body, type=Notice) for item in system.store.items(keys.NOTIFICATIONS_ITEM)]
    return [(each.saying, each.status) for each in sorted(sent, key=lambda each: (each.created_s, each.entry))]


def test_a_metric_of_a_host_opens_and_closes_an_alert(system):
    host = system.host()
    monitor_id = monitor(system, {**HOST, "maxCheckAttempts": 2})
    for value in (0, 6, 6, 2, 0):
        system.post(f"host/{host}", "loadavg5", value)
        system.look()
    [alert] = system.all_alerts()
    assert (alert.monitor_id, alert.host_id, alert.type, alert.status) == (monitor_id, host, "host", "OK")
    assert alert.closed_at - alert.opened_at == 120 and alert.message == "loadavg5"
    assert notices(system) == [("opened", "CRITICAL"), ("changed", "WARNING"), ("closed", "OK")]


def test_only_sources_with_new_rows_are_read(system):
    first, second = system.host(), system.host()
    monitor(system, HOST)
    for host in (first, second):
        system.post(f"host/{host}", "loadavg5", 0)
    system.look()
    before = system.arrived.reads.copy()
    for _ in range(REREAD_MINUTES):
        system.post(f"host/{first}", "loadavg5", 0)
        system.look()
    reads = system.arrived.reads - before
    assert reads == {SourceKey("a", f"host/{first}"): REREAD_MINUTES, SourceKey("a", f"host/{second}"): 1}, "its turn"


@pytest.mark.parametrize("body", [HOST, {**HOST, "metric": "memory%", "warning": 80, "critical": None}])
def test_a_sample_that_overwrites_another_one_of_a_quiet_source_is_judged(system, body):
    """As a late one is whose window left Redis: neither changes the number of rows."""
    host = system.host()
    monitor(system, body)
    for series, value in (("loadavg5", 9), ("memory.used", 9), ("memory.total", 10)):
        system.post(f"host/{host}", series, value)
    system.look()
    [alert] = system.open_alerts()
    for series in ("loadavg5", "memory.used"):
        system.post(f"host/{host}", series, 0, ago=1)
    system.look(REREAD_MINUTES)
    assert system.open_alerts() == []
    assert system.ok("GET", f"/api/v0/alerts/{alert.id}/logs")["logs"][0]["saying"] == "withdrawn"


def test_a_late_minute_is_judged_when_it_comes_and_corrects(system):
    host = system.host()
    monitor(system, HOST)
    system.post(f"host/{host}", "loadavg5", 0, ago=1)
    system.look()
    system.now_s += 20 * 60
    system.post(f"host/{host}", "loadavg5", 9, ago=2)
    system.look()
    [alert] = system.open_alerts()
    system.post(f"host/{host}", "loadavg5", 9, ago=10)
    system.look()
    assert alert.opened_at - system.open_alerts()[0].opened_at == 7 * 60
    system.post(f"host/{host}", "loadavg5", 0, ago=7)
    system.look()
    assert notices(system) == [
        ("opened", "CRITICAL"),
        ("corrected", "CRITICAL"),
        ("opened", "CRITICAL"),
        ("closed", "OK"),
    ]


def test_scopes_take_in_and_leave_out(system):
    hosts = [system.host(roleFullnames=[role]) for role in ("shop:web", "shop:db", "blog:web")] + [system.host()]
    monitor(system, {**HOST, "scopes": ["shop", "blog: web"], "excludeScopes": ["shop: db"]})
    for host in hosts:
        system.post(f"host/{host}", "loadavg5", 9)
    system.look()
    assert {alert.host_id for alert in system.open_alerts()} == {hosts[0], hosts[2]}


def test_a_service_is_judged(system):
    monitor(system, SERVICE)
    system.post("service/shop", "errors", 3)
    system.look()
    [alert] = system.open_alerts()
    assert (alert.type, alert.host_id, alert.status, alert.value) == ("service", "", "WARNING", 3.0)


def test_a_host_that_stops_posting_is_gone_until_it_posts(system):
    host = system.host()
    monitor(system, {**GONE, "alertStatusOnGone": "WARNING"})
    system.post(f"host/{host}", "loadavg5", 0)
    system.look(SILENT_MINUTES)
    assert system.open_alerts() == []
    system.look()
    [alert] = system.open_alerts()
    assert (alert.status, alert.type, alert.message) == ("WARNING", "connectivity", "nothing was posted for 6 minutes")
    system.look(100)
    assert len(notices(system)) == 1
    system.post(f"host/{host}", "loadavg5", 0, ago=500)
    system.look()
    assert system.open_alerts() == [] and notices(system) == [("opened", "WARNING"), ("closed", "OK")]


@pytest.mark.parametrize("is_ended", [True, False], ids=["deleted", "over"])
def test_a_host_that_goes_in_a_downtime_is_told_of_after_it_if_it_is_gone_still(system, is_ended):
    """Mackerel documents so of connectivity alone.  One is back in time, one is of no downtime."""
    gone, back, other = (system.host(roleFullnames=[role]) for role in ("shop:web", "shop:web", "shop:db"))
    monitor(system, GONE)
    for host in (gone, back, other):
        system.post(f"host/{host}", "loadavg5", 0)
    body = {"name": "d", "start": system.now_s, "duration": 30, "roleScopes": ["shop: web"]}
    downtime = system.ok("POST", "/api/v0/downtimes", body)["id"]
    system.look(20)
    assert [alert.host_id for alert in system.open_alerts()] == [other]
    system.post(f"host/{back}", "loadavg5", 0)
    system.look(5)
    if is_ended:
        system.ok("DELETE", f"/api/v0/downtimes/{downtime}")
        system.look()
    else:
        system.post(f"host/{back}", "loadavg5", 0)
        system.look(5)
    assert {alert.host_id for alert in system.open_alerts()} == {gone, other}
    assert notices(system) == [("opened", "CRITICAL")] * 2


def test_a_host_that_is_gone_before_a_downtime_comes_back_in_it(system):
    host = system.host()
    monitor(system, GONE)
    system.look(10)
    assert len(system.open_alerts()) == 1
    system.ok("POST", "/api/v0/downtimes", {"name": "d", "start": system.now_s, "duration": 600})
    system.look(10)
    assert len(system.open_alerts()) == 1
    system.post(f"host/{host}", "loadavg5", 0)
    system.look()
    assert system.open_alerts() == []
    system.look(20)
    assert system.open_alerts() == [], "and is gone again"


def test_a_host_whose_alert_a_person_closed_has_to_be_heard_first(system):
    host = system.host()
    monitor(system, GONE)
    system.look(10)
    [alert] = system.open_alerts()
    system.ok("POST", f"/api/v0/alerts/{alert.id}/close", {"reason": "switched off"})
    system.look(30)
    assert system.open_alerts() == []
    system.post(f"host/{host}", "loadavg5", 0)
    system.look(10)
    assert len(system.open_alerts()) == 1


def test_a_metric_of_a_service_that_is_missing_opens_an_alert_of_its_own(system):
    monitor(system, {**SERVICE, "missingDurationWarning": 10, "missingDurationCritical": 20})
    system.post("service/shop", "errors", 0)
    statuses = {}
    for minute in range(1, 25):
        system.post("service/shop", "others", 0)
        system.look()
        statuses[minute] = [alert.status for alert in system.open_alerts()]
    assert (statuses[10], statuses[11], statuses[20], statuses[21]) == ([], ["WARNING"], ["WARNING"], ["CRITICAL"])
    system.post("service/shop", "errors", 0)
    system.look()
    assert system.open_alerts() == []


def test_nothing_opens_or_closes_while_it_can_not_be_seen(system):
    first, second = system.host(), system.host()
    monitor(system, GONE)
    monitor(system, HOST)
    system.post(f"host/{first}", "loadavg5", 0)
    system.post(f"host/{second}", "loadavg5", 9)
    system.look(4)
    before = notices(system)
    system.arrived.unseen |= {SourceKey("a", f"host/{host}") for host in (first, second)}
    system.post(f"host/{second}", "loadavg5", 0)
    system.look(30)
    assert notices(system) == before == [("opened", "CRITICAL")]
    system.arrived.unseen.clear()
    system.look(2)
    assert notices(system) == [("opened", "CRITICAL"), ("closed", "OK")], "silence of three minutes before counts"
    system.look()
    assert [alert.type for alert in system.open_alerts()] == ["connectivity"]


def test_silence_says_nothing_while_the_ingester_is_behind(system):
    host = system.host()
    source = SourceKey("a", f"host/{host}")
    monitor(system, GONE)
    monitor(system, HOST)
    system.post(source.source, "loadavg5", 0)
    system.look(2)
    system.arrived.lanes_behind.add(source.lane)
    system.look(60)
    assert system.open_alerts() == []
    system.post(source.source, "loadavg5", 9)
    system.look()
    assert [alert.type for alert in system.open_alerts()] == ["host"], "what comes is judged"
    system.arrived.lanes_behind.clear()
    system.look(SILENT_MINUTES)
    assert {alert.type for alert in system.open_alerts()} == {"host", "connectivity"}


def test_what_can_not_be_read_is_judged_once_it_can(system):
    host = system.host()
    monitor(system, HOST)
    system.arrived.unread.add(SourceKey("a", f"host/{host}"))
    system.post(f"host/{host}", "loadavg5", 9)
    system.look(5)
    assert system.open_alerts() == []
    system.arrived.unread.clear()
    system.look()
    assert len(system.open_alerts()) == 1
    system.look()
    assert system.arrived.reads.total() == 6, "and then it is read no more"


def test_two_evaluators_at_once_open_one_alert(system):
    host = system.host()
    monitor(system, HOST)
    system.post(f"host/{host}", "loadavg5", 9)
    other = system.another()
    system.now_s += 60
    system.store.before_write = lambda: other.run(lambda: 50.0)
    system.evaluator.run(lambda: 50.0)
    assert notices(system) == [("opened", "CRITICAL")] and len(system.all_alerts()) == 1
    system.look()
    assert len(system.all_alerts()) == 1


def test_a_change_that_was_not_written_is_judged_again(system):
    host = system.host()
    monitor(system, HOST)
    system.post(f"host/{host}", "loadavg5", 9)
    original = system.store.write
    system.store.write = lambda *changes: len(changes) == 1 and original(*changes)
    system.look()
    assert system.all_alerts() == []
    system.store.write = original
    system.look()
    assert len(system.open_alerts()) == 1


def test_a_rule_judges_samples_of_its_time(system):
    host = system.host()
    monitor_id = monitor(system, {**HOST, "warning": None})
    system.look(10)
    system.post(f"host/{host}", "loadavg5", 3)
    system.look(5)
    system.ok("PUT", f"/api/v0/monitors/{monitor_id}", {**HOST, "warning": None, "critical": 2})
    system.look()
    system.post(f"host/{host}", "loadavg5", 3, ago=8)
    system.look(2)
    assert system.open_alerts() == [], "late, and of the rule before"
    system.post(f"host/{host}", "loadavg5", 3)
    system.look()
    assert len(system.open_alerts()) == 1


def test_another_metric_makes_another_rule(system):
    host = system.host()
    monitor_id = monitor(system, HOST)
    system.post(f"host/{host}", "loadavg5", 9)
    system.look()
    system.ok("PUT", f"/api/v0/monitors/{monitor_id}", {**HOST, "metric": "loadavg1"})
    system.post(f"host/{host}", "loadavg1", 0)
    system.look()
    assert notices(system) == [("opened", "CRITICAL"), ("closed", "OK")]


@pytest.mark.parametrize(
    ("act", "reason", "trigger"),
    [
        ("retire", "the host was retired", "hostRetired"),
        ("delete", "the monitor was deleted", "monitorDeleted"),
        ("roles", "the monitor does not look at this any more", "outOfScope"),
    ],
    ids=lambda value: value.split()[0],
)
def test_an_alert_of_what_is_not_watched_any_more_is_closed(system, act, reason, trigger):
    host = system.host(roleFullnames=["shop:web"])
    monitor_id = monitor(system, {**HOST, "scopes": ["shop"]})
    system.post(f"host/{host}", "loadavg5", 9)
    system.look()
    [alert] = system.open_alerts()
    if act == "retire":
        system.ok("POST", f"/api/v0/hosts/{host}/retire", {})
    elif act == "delete":
        system.ok("DELETE", f"/api/v0/monitors/{monitor_id}")
    else:
        system.ok("PUT", f"/api/v0/hosts/{host}/role-fullnames", {"roleFullnames": ["blog:web"]})
    system.look()
    assert system.open_alerts() == []
    assert system.ok("GET", f"/api/v0/alerts/{alert.id}")["reason"] == reason
    assert system.ok("GET", f"/api/v0/alerts/{alert.id}/logs")["logs"][0]["trigger"] == trigger


@pytest.mark.parametrize("status", ["maintenance", "poweroff"])
def test_an_alert_stays_while_its_host_is_not_judged(system, status):
    host = system.host()
    monitor(system, {**HOST, "notificationInterval": 10})
    system.post(f"host/{host}", "loadavg5", 9)
    system.look()
    system.ok("POST", f"/api/v0/hosts/{host}/status", {"status": status})
    for _ in range(20):
        system.post(f"host/{host}", "loadavg5", 0)
        system.look()
    assert len(system.open_alerts()) == 1 and notices(system) == [("opened", "CRITICAL")]
    system.ok("POST", f"/api/v0/hosts/{host}/status", {"status": "working"})
    system.post(f"host/{host}", "loadavg5", 0)
    system.look()
    assert system.open_alerts() == [] and notices(system)[1:] == [("closed", "OK")]


def test_the_alert_of_a_check_ends_with_its_host(system):
    host = system.host()
    report = {"source": {"type": "host", "hostId": host}, "name": "ping", "status": "CRITICAL"}
    system.ok("POST", "/api/v0/monitoring/checks/report", {"reports": [{**report, "occurredAt": system.now_s}]})
    system.look()
    assert len(system.open_alerts()) == 1
    system.ok("POST", f"/api/v0/hosts/{host}/retire", {})
    system.look()
    assert system.open_alerts() == []


def test_an_open_alert_is_reminded_of(system):
    host = system.host()
    monitor(system, {**HOST, "notificationInterval": 10})
    monitor(system, {**HOST, "notificationInterval": 10, "isMute": True})
    system.post(f"host/{host}", "loadavg5", 9)
    system.look(25)
    assert notices(system) == [("opened", "CRITICAL")] * 2 + [("again", "CRITICAL")] * 2


def test_reminders_take_turns_and_keep_nothing_from_being_closed(system):
    """Of more alerts than a look reminds of, each minute: the oldest one's host is retired."""
    hosts = [system.host() for _ in range(2 * CLEARED_PER_LOOK)]
    monitor(system, {**HOST, "notificationInterval": 1})
    system.post(f"host/{hosts[0]}", "loadavg5", 9)
    system.look()
    for host in hosts[1:]:
        system.post(f"host/{host}", "loadavg5", 9)
    system.look(2)
    sent = len(notices(system))
    system.ok("POST", f"/api/v0/hosts/{hosts[0]}/retire", {})
    system.look()
    assert len(notices(system)) - sent == 1 + REMINDED_PER_LOOK and len(system.open_alerts()) == len(hosts) - 1
    system.look(4)
    reminded = [msgspec.json.decode(item.body, type=Notice) for item in system.store.items(keys.NOTIFICATIONS_ITEM)]
    assert {each.alert.host_id for each in reminded if each.again} == set(hosts)


def test_a_look_does_what_it_has_time_for_and_the_next_one_the_rest(system):
    hosts = [system.host() for _ in range(40)]
    monitor(system, HOST)
    for host in hosts:
        system.post(f"host/{host}", "loadavg5", 9)
    for _ in range(40):
        system.now_s += 60
        left = iter([50.0] * 12)
        system.evaluator.run(lambda left=left: next(left, 0.0))
    assert len(system.open_alerts()) == 40
    assert max(system.arrived.reads.values()) <= 2 + 40 // REREAD_MINUTES


class Slow(Evaluation):
    """Each question for the time takes a second of it."""

    seconds = 0.0

    @property
    def monotonic_s(self):
        self.seconds += 1.0
        return self.seconds

    @monotonic_s.setter
    def monotonic_s(self, _): ...


def test_tenants_with_few_monitors_are_looked_at_each_minute_beside_those_that_take_all_the_time(monkeypatch):
    system, clock_s = Evaluation(), [0.0]
    costs_s = {"a": 20.0, "b": 20.0, **{f"c{number}": 0.1 for number in range(20)}}
    monitors = system.evaluator.monitors
    monitors._turns._monotonic = lambda: clock_s[0]
    monkeypatch.setattr(evaluator.rules, "tenants", lambda _: costs_s)
    looks = []

    def look(tenant, _):
        clock_s[0] += costs_s[tenant]
        looks[-1].append(tenant)

    monitors._look = look
    for _ in range(12):
        looks.append([])
        begun_s = clock_s[0]
        monitors.run(lambda begun_s=begun_s: EVALUATE_RESERVE_S + 28 - (clock_s[0] - begun_s))
        system.now_s += 60
    learned = looks[3:]
    assert all({f"c{number}" for number in range(20)} <= set(each) for each in learned)
    assert all(sum(tenant in each for each in learned) >= 4 for tenant in ("a", "b"))


def test_a_tenant_with_too_much_takes_its_time_and_all_of_it_has_turns():
    """Thirty monitors on each of three hosts that post each minute, of which a look judges some twenty."""
    system = Slow()
    hosts = [system.host() for _ in range(3)]
    for number in range(30):
        monitor(system, {**HOST, "name": f"m{number}"})
    for _ in range(200):
        for host in hosts:
            system.post(f"host/{host}", "loadavg5", 9)
        before_s = system.seconds
        system.look()
        assert system.seconds - before_s < EVALUATE_TENANT_S + 20
    assert len(system.open_alerts()) == 90


def test_a_plan_lists_no_monitor_for_each_host():
    """Ten thousand monitors over a thousand hosts are ten million pairs."""
    hosts = [StoredHost(id=f"h{number}", created_s=0, roles={"shop": ["web"]}) for number in range(1_000)]
    rule = HostMonitor(name="m", metric="m", operator=">", warning=1, critical=2, duration=1)
    rules = [MonitorVersions(f"{number}", [MonitorVersion(0, rule)]) for number in range(10_000)]
    tracemalloc.start()
    made = plan(rules, hosts)
    plan_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(made.of("host/h999").values) == 10_000 and plan_bytes < 20_000_000
    assert made.has(Subject("9999", "host/h0", "host")) and not made.has(Subject("9999", "host/no", "host"))


def test_what_is_cleared_in_a_look_is_bounded(system):
    hosts = [system.host() for _ in range(CLEARED_PER_LOOK + 5)]
    monitor_id = monitor(system, HOST)
    for host in hosts:
        system.post(f"host/{host}", "loadavg5", 9)
    system.look()
    system.ok("DELETE", f"/api/v0/monitors/{monitor_id}")
    system.look()
    assert len(system.open_alerts()) == 5
    system.look()
    assert system.open_alerts() == []


@pytest.mark.parametrize("status", ["maintenance", "poweroff"])
def test_what_a_host_does_while_it_is_not_judged_opens_no_alert_afterwards(system, status):
    monitor(system, HOST)
    host = system.host()
    system.post(f"host/{host}", "loadavg5", 0)
    system.look()
    system.ok("POST", f"/api/v0/hosts/{host}/status", {"status": status})
    for _ in range(10):
        system.look()
        system.post(f"host/{host}", "loadavg5", 9)
    system.now_s += 60
    system.ok("POST", f"/api/v0/hosts/{host}/status", {"status": "working"})
    system.post(f"host/{host}", "loadavg5", 0)
    system.look()
    assert system.all_alerts() == []
    system.post(f"host/{host}", "loadavg5", 9)
    system.look()
    assert len(system.open_alerts()) == 1


def test_what_is_past_is_forgotten(system):
    """Hosts come and go, each with an alert: all that is known is read each minute."""
    monitor(system, HOST)
    hosts = [system.host() for _ in range(4)]
    for host in hosts:
        system.post(f"host/{host}", "loadavg5", 9)
    system.look()
    [first, *_] = system.open_alerts()
    system.ok("POST", f"/api/v0/alerts/{first.id}/close", {"reason": "seen"})
    gone = next(host for host in hosts if host != first.host_id)
    system.ok("POST", f"/api/v0/hosts/{gone}/retire", {})
    for host in set(hosts) - {gone, first.host_id}:
        system.post(f"host/{host}", "loadavg5", 0)
    system.look(2)
    assert len(alerts.watched(system.store, "a")) == 4 and system.open_alerts() == []
    system.look(2 * ALERT_HORIZON_MS // 60_000 + 2)
    assert alerts.watched(system.store, "a") == {}
    for host in hosts:
        if host != gone:
            system.post(f"host/{host}", "loadavg5", 9)
    system.look()
    assert len(system.open_alerts()) == 3


def test_an_evaluator_whose_table_is_away_says_so(system):
    host = system.host()
    monitor(system, HOST)
    system.post(f"host/{host}", "loadavg5", 9)
    system.store.away = True
    with pytest.raises(RetryableError):
        system.look()
    system.store.away = False
    system.look()
    assert len(system.open_alerts()) == 1


def test_every_tenant_has_its_turn(system):
    for tenant in ("a", "b"):
        system.ok("POST", "/api/v0/monitors", HOST, key=f"key-{tenant}")
    firsts = []
    for _ in range(4):
        system.now_s += 60
        left = iter([50.0, 0.0])
        tenants = []
        system.evaluator.monitors._look = lambda tenant, _, tenants=tenants: tenants.append(tenant)
        assert system.evaluator.monitors.run(lambda left=left: next(left)) == 1
        firsts += tenants
    assert sorted(firsts) == ["a", "a", "b", "b"]


def test_a_tenant_whose_monitors_can_not_be_read_holds_up_no_other(system, caplog):
    """A run that raised would keep the notices of all tenants as well: they follow a look that ended."""
    caplog.set_level(logging.CRITICAL + 1)
    for tenant in ("a", "b"):
        system.ok("POST", "/api/v0/monitors", HOST, key=f"key-{tenant}")
    looked = []

    def look(tenant, _):
        if tenant == "a":
            raise CorruptDataError("no monitor")
        looked.append(tenant)

    system.evaluator.monitors._look = look
    for _ in range(2):
        system.now_s += 60
        assert system.evaluator.run(lambda: 50.0) == 1
    assert looked == ["b", "b"]


def two_tenants_of_whom_one_meets_a_bug(system, monkeypatch, broken):
    """Tenant b, whose alert opens; ``broken``: what fails for tenant a."""
    other = system.ok("POST", "/api/v0/hosts", {"name": "h", "meta": {}}, key="key-b")["id"]
    for tenant in ("a", "b"):
        system.ok("POST", "/api/v0/monitors", HOST, key=f"key-{tenant}")
    broken(system, monkeypatch)
    for minute in range(2):  # each tenant begins once
        system.arrived.put(SourceKey("b", f"host/{other}"), "loadavg5", (system.now_s + 60 * minute) * 1000, 9.0)
        system.look()
    return [stored.alert.host_id for stored in alerts.opened(system.store, "b")] == [other]


def reads_of_a_fail(system, monkeypatch):
    host, read = system.host(), system.arrived.read_many
    system.post(f"host/{host}", "loadavg5", 9)

    def failing(source, *given):
        return {}[f"secret of {source.tenant}"] if source.tenant == "a" else read(source, *given)

    system.arrived.read_many = failing
    system.evaluator = system.another()


def plans_of_a_fail(system, monkeypatch):
    known = evaluator.hosts.everyone

    def failing(store, tenant):
        return {}[f"secret of {tenant}"] if tenant == "a" else known(store, tenant)

    monkeypatch.setattr(evaluator.hosts, "everyone", failing)


def queries_of_a_fail(system, monkeypatch):
    system.ok("POST", "/api/v0/monitors", {**HOST, "type": "query", "query": "m", "legend": ""})
    system.query = lambda tenant, *given: {}["secret of a"] if tenant == "a" else []
    system.evaluator = system.another()


@pytest.mark.parametrize("broken", [reads_of_a_fail, plans_of_a_fail, queries_of_a_fail])
def test_a_bug_of_ours_that_one_tenant_meets_holds_up_no_other(system, monkeypatch, caplog, broken):
    caplog.set_level(logging.ERROR)
    assert two_tenants_of_whom_one_meets_a_bug(system, monkeypatch, broken)
    assert system.counted == {"BugsMet": 2}
    assert "KeyError at" in caplog.text and "secret" not in caplog.text


def test_a_source_that_met_a_bug_is_judged_once_the_bug_is_mended(system):
    host = system.host()
    monitor(system, HOST)
    read, system.arrived.read_many = system.arrived.read_many, lambda *_: {}["m"]
    system.evaluator = system.another()
    system.post(f"host/{host}", "loadavg5", 9)
    system.look(3)
    assert system.open_alerts() == [] and system.counted == {"BugsMet": 3}
    system.arrived.read_many = read
    system.evaluator = system.another()
    system.look()
    assert [alert.host_id for alert in system.open_alerts()] == [host]


def test_a_monitor_that_meets_a_bug_holds_up_no_other_of_its_tenant(system):
    for query in ("bad", "good"):
        monitor(system, {**HOST, "type": "query", "name": query, "query": query, "legend": ""})
    answer = [ComputedSeries({}, [(system.now_s * 1000, 9.0), ((system.now_s + 60) * 1000, 9.0)])]
    system.query = lambda tenant, query, *_: {}["m"] if query == "bad" else answer
    system.evaluator = system.another()
    system.look(2)
    assert [alert.status for alert in system.open_alerts()] == ["CRITICAL"]


@pytest.mark.parametrize("metric", ["loadavg5", "disk%"])
def test_calls_of_a_look_do_not_grow_with_monitors_nor_with_quiet_sources(metric):
    small, large = (calls_of_a_look(metric, *size) for size in ((80, 20), (160, 200)))
    assert 5 <= small.pop("read") <= 5 + 80 / 5 and 5 <= large.pop("read") <= 5 + 160 / 5, "that posted, or in turn"
    assert small == large
    assert sum(small.values()) <= 2 * HEARD_SHARDS + 12


def calls_of_a_look(metric, hosts, monitors):
    """By kind, of a minute in which five hosts posted, after one in which all did."""
    system = Evaluation()
    ids = [system.host() for _ in range(hosts)]
    for number in range(monitors):
        monitor(system, {**HOST, "name": f"m{number}", "metric": metric, "warning": 90, "critical": None})
    for host in ids:
        system.post(f"host/{host}", "loadavg5", 0)
    system.look()
    for host in ids[:5]:
        system.post(f"host/{host}", "loadavg5", 0)
    calls = Counter(read=-sum(system.arrived.reads.values()))
    system.evaluator = system.another(Counted(system.store, calls))
    system.look()
    calls["read"] += sum(system.arrived.reads.values())
    return calls


class Counted:
    """A store that counts its calls."""

    def __init__(self, store, calls):
        self._store, self._calls = store, calls

    def __getattr__(self, name):
        self._calls[name] += 1
        return getattr(self._store, name)
