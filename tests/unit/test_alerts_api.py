"""Alerts as they are kept and asked for: one for each episode, its log, its notifications, pages, closing by hand."""

import json

import msgspec
import pytest
from carbyne.alerts.judging import Judgement
from carbyne.core import keys
from carbyne.core.limits import ALERT_CHANGES_MAX, ALERT_KEPT_S, ALERTS_PER_PAGE
from carbyne.registry import alerts
from carbyne.registry.alerts import Notice, Subject, Why
from carbyne.registry.store import Key

from tests.support.go_forms import GoAlert, GoAlerts, GoLogs, decoded
from tests.support.registry_system import NOW_S, System

SUBJECT = Subject("m1", "host/h1", "host")


@pytest.fixture
def system():
    return System()


def judge(system, text, subject=SUBJECT, tenant="a", from_s=NOW_S - 3600):
    """Judgements of the minutes since ``from_s``; one write, as an evaluator makes it."""
    names = {"O": "OK", "C": "CRITICAL", "W": "WARNING"}
    judged = [
        Judgement((from_s + 60 * number) * 1000, names[letter], float(number)) for number, letter in enumerate(text)
    ]
    before = alerts.known_of(system.store, tenant, subject)
    changes = alerts.changes(system.registry, tenant, before, judged, from_s * 1000, Why("loadavg5"))
    return not changes or system.store.write(*changes)


def notices(system):
    return [msgspec.json.decode(item.body, type=Notice) for item in system.store.items(keys.NOTIFICATIONS_ITEM)]


def said(system, alert_id):
    return [(each["status"], each["saying"]) for each in system.ok("GET", f"/api/v0/alerts/{alert_id}/logs")["logs"]]


def alerts_page(system, query=""):
    return decoded(system.call("GET", f"/api/v0/alerts?{query}").text, GoAlerts)


def test_an_alert_opens_changes_and_closes(system):
    assert judge(system, "O")
    assert alerts_page(system).alerts == [] and system.store.items("a:judgements") == []
    assert judge(system, "OW")
    [alert] = alerts_page(system).alerts
    assert (alert.status, alert.type, alert.monitor_id, alert.host_id) == ("WARNING", "host", "m1", "h1")
    assert (alert.opened_at, alert.closed_at, alert.value) == (NOW_S - 3540, 0, 1.0)
    assert judge(system, "OW") and len(notices(system)) == 1, "nothing changed"
    assert judge(system, "OWC")
    assert judge(system, "OWCO")
    assert alerts_page(system).alerts == []
    [closed] = alerts_page(system, "withClosed=true").alerts
    assert (closed.id, closed.status, closed.closed_at) == (alert.id, "OK", NOW_S - 3420)
    assert said(system, alert.id) == [("OK", "closed"), ("CRITICAL", "changed"), ("WARNING", "opened")]
    assert [(each.saying, each.entry) for each in notices(system)] == [("opened", 1), ("changed", 2), ("closed", 3)]
    assert decoded(system.call("GET", f"/api/v0/alerts/{alert.id}").text, GoAlert) == closed


def test_late_samples_are_said_as_corrections(system):
    judge(system, "OOOCC")
    [alert] = alerts_page(system).alerts
    judge(system, "OCCCC")
    assert alerts_page(system).alerts[0].opened_at == NOW_S - 3540
    judge(system, "OOOOO")
    [closed] = alerts_page(system, "withClosed=true").alerts
    assert (closed.id, closed.status, closed.reason) == (alert.id, "OK", "late samples show that this was not so")
    assert said(system, alert.id) == [("OK", "withdrawn"), ("CRITICAL", "corrected"), ("CRITICAL", "opened")]
    judge(system, "OCOOO")
    assert len(alerts_page(system, "withClosed=true").alerts) == 2


def test_two_evaluators_at_once_open_one_alert(system):
    system.store.before_write = lambda: judge(system, "OC")
    assert not judge(system, "OC")
    assert len(alerts_page(system, "withClosed=true").alerts) == len(notices(system)) == 1
    system.store.before_write = lambda: judge(system, "OCO")
    system.now_s += 1
    judge(system, "OCO")
    assert [each.saying for each in notices(system)] == ["opened", "closed"]


def test_a_person_closes_an_alert_and_the_next_bad_sample_opens_another_one(system):
    judge(system, "OC" + "C" * 58)
    [alert] = alerts_page(system).alerts
    closed = system.call("POST", f"/api/v0/alerts/{alert.id}/close?", {"reason": "known"})
    told = decoded(closed.text, GoAlert)
    assert (told.status, told.reason, told.closed_at) == ("OK", "known", NOW_S)
    assert system.ok("POST", f"/api/v0/alerts/{alert.id}/close?", {"reason": "again"})["reason"] == "known"
    [entry, _] = system.ok("GET", f"/api/v0/alerts/{alert.id}/logs")["logs"]
    assert (entry["trigger"], entry["status"], entry["targetValue"]) == ("manual", "OK", None)
    judge(system, "OC" + "C" * 58)
    assert alerts_page(system).alerts == [], "no sample came since"
    judge(system, "OC" + "C" * 58 + "CC")
    [next_alert] = alerts_page(system).alerts
    assert next_alert.id != alert.id and next_alert.opened_at == NOW_S + 60


def test_a_memo_stays(system):
    judge(system, "OC")
    [alert] = alerts_page(system).alerts
    assert system.ok("PUT", f"/api/v0/alerts/{alert.id}?", {"memo": "looking"}) == {"id": alert.id, "memo": "looking"}
    judge(system, "OCW")
    judge(system, "OCWO")
    assert system.ok("GET", f"/api/v0/alerts/{alert.id}")["memo"] == "looking"


def test_alerts_are_paged_the_latest_first(system):
    for number in range(7):
        judge(system, "OC", Subject(f"m{number}", "host/h1", "host"))
        if number % 2:
            judge(system, "OCO", Subject(f"m{number}", "host/h1", "host"))
        system.now_s += 1
    for query, expected in (("", "6420"), ("withClosed=true&", "6543210")):
        pages, next_id = "", ""
        while page := alerts_page(system, f"{query}limit=2&nextId={next_id}"):
            pages += "".join(alert.monitor_id[1] for alert in page.alerts)
            next_id = page.next_id
            if not next_id:
                break
        assert pages == expected


def test_a_log_is_paged_the_newest_first(system):
    for last in range(2, 9):
        judge(system, "OCWCWCWCW"[:last])
    [alert] = alerts_page(system).alerts
    page = decoded(system.call("GET", f"/api/v0/alerts/{alert.id}/logs?limit=5").text, GoLogs)
    rest = decoded(system.call("GET", f"/api/v0/alerts/{alert.id}/logs?limit=5&nextId={page.next_id}").text, GoLogs)
    assert [entry.target_value for entry in [*page.logs, *rest.logs]] == [7, 6, 5, 4, 3, 2, 1]
    assert not rest.next_id


@pytest.mark.parametrize("query", [f"limit={ALERTS_PER_PAGE + 1}", "limit=0", "limit=x", f"nextId={'x' * 2000}"])
def test_a_page_that_can_not_be_is_refused(system, query):
    name = query.partition("=")[0]
    assert name in system.refused(400, "GET", f"/api/v0/alerts?{query}")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("PUT", ""), ("POST", "/close"), ("GET", "/logs")], ids=lambda value: value
)
def test_an_unknown_alert_is_not_found(system, method, path):
    assert "unknown" in system.refused(404, method, f"/api/v0/alerts/x:y{path}", {})


def test_alerts_are_the_tenants_own(system):
    judge(system, "OC")
    [alert] = alerts_page(system).alerts
    assert system.ok("GET", "/api/v0/alerts?withClosed=true", key="key-b") == {"alerts": []}
    system.refused(404, "GET", f"/api/v0/alerts/{alert.id}", key="key-b")
    system.refused(404, "POST", f"/api/v0/alerts/{alert.id}/close", {}, key="key-b")
    system.refused(403, "POST", f"/api/v0/alerts/{alert.id}/close", {}, key="key-a-reads")


def test_more_changes_than_a_transaction_takes_come_one_after_the_other(system):
    text = "OC" * (ALERT_CHANGES_MAX + 5)
    assert judge(system, text)
    assert len(notices(system)) == ALERT_CHANGES_MAX
    assert judge(system, text)
    assert len(notices(system)) == ALERT_CHANGES_MAX + 5
    assert judge(system, text) and len(notices(system)) == ALERT_CHANGES_MAX + 5
    assert len(alerts_page(system, "withClosed=true").alerts) == ALERT_CHANGES_MAX + 5


def test_a_reminder_changes_nothing_but_when_it_was_notified(system):
    judge(system, "OC")
    [stored] = alerts.opened(system.store, "a")
    system.now_s += 600
    assert alerts.remind(system.registry, "a", stored)
    assert not alerts.remind(system.registry, "a", stored), "another evaluator did"
    assert [(each.saying, each.again) for each in notices(system)] == [("opened", False), ("again", True)]
    assert len(said(system, stored.alert.id)) == 1


def test_ids_of_later_alerts_sort_first(system):
    ids = []
    for _ in range(200):
        judge(system, "OC", Subject(f"m{len(ids)}", "host/h1", "host"))
        ids.append(alerts_page(system, "limit=1").alerts[0].id)
        system.now_s += 7
    assert ids == sorted(ids, reverse=True) and json.dumps(ids).isascii()


def report(system, host, status, message="m", **fields):
    body = {"source": {"type": "host", "hostId": host}, "name": "ping", "status": status, "message": message}
    system.ok("POST", "/api/v0/monitoring/checks/report", {"reports": [{**body, "occurredAt": system.now_s, **fields}]})


def test_check_reports_open_and_close_alerts(system):
    host = system.host()
    report(system, host, "OK")
    assert system.store.items("a:judgements") == []
    for status, attempts in (("WARNING", 2), ("CRITICAL", 2), ("CRITICAL", 2)):
        report(system, host, status, status.lower(), maxCheckAttempts=attempts)
        system.now_s += 60
    [alert] = alerts_page(system).alerts
    assert (alert.type, alert.status, alert.message, alert.host_id) == ("check", "CRITICAL", "critical", host)
    assert alert.monitor_id == keys.check_monitor("ping") and alert.opened_at == NOW_S + 60
    report(system, host, "OK", "fine")
    assert alerts_page(system).alerts == []
    [closing, _] = system.ok("GET", f"/api/v0/alerts/{alert.id}/logs")["logs"]
    assert closing["statusDetail"] == {"type": "check", "detail": {"message": "fine", "memo": ""}}


def test_a_check_that_fails_and_succeeds_within_a_second_was_an_alert(system):
    host = system.host()
    report(system, host, "CRITICAL")
    report(system, host, "OK")
    report(system, host, "CRITICAL", "again")
    assert sorted(each.saying for each in notices(system)) == ["closed", "opened", "opened"]


def test_a_check_that_fails_still_after_a_person_closed_its_alert_opens_another(system):
    host = system.host()
    report(system, host, "CRITICAL")
    [alert] = alerts_page(system).alerts
    system.ok("POST", f"/api/v0/alerts/{alert.id}/close", {})
    report(system, host, "CRITICAL")
    assert alerts_page(system).alerts == [], "the same report again"
    system.now_s += 60
    report(system, host, "CRITICAL")
    assert len(alerts_page(system).alerts) == 1


def test_a_report_whose_alert_could_not_be_written_is_not_taken(system):
    host = system.host()
    system.store.before_write = lambda: judge(
        system, "OC", Subject(keys.check_monitor("ping"), f"host/{host}", "check")
    )
    report(system, host, "CRITICAL")
    assert len(alerts_page(system).alerts) == 1, "it was made again, with what was there meanwhile"


def test_closed_alerts_and_entries_of_logs_expire_and_open_alerts_do_not(system):
    judge(system, "OC")
    [alert] = system.ok("GET", "/api/v0/alerts")["alerts"]
    opened = Key(keys.registry_partition("a", "alerts-open"), alert["id"])
    closed = Key(keys.registry_partition("a", "alerts-closed"), alert["id"])
    assert system.store.expires_s[opened] is None
    record = system.ok("POST", f"/api/v0/alerts/{alert['id']}/close", {"reason": "done"})
    assert opened not in system.store.table
    system.ok("PUT", f"/api/v0/alerts/{alert['id']}", {"memo": "seen"})
    assert system.store.expires_s[closed] == record["closedAt"] + ALERT_KEPT_S
    logs = [expires_s for key, expires_s in system.store.expires_s.items() if key.pk.endswith(alert["id"])]
    assert logs == [NOW_S + ALERT_KEPT_S] * 2
