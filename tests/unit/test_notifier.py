"""Notifications: who hears of an alert, what is told, and that it is told until it was taken."""

import hashlib
import hmac
import json
import logging
import time
from base64 import b64encode
from datetime import UTC, datetime

import msgspec
import pytest
from carbyne.adapters.deliveries import InvokedDeliveries, InvokedDeliveryQueue
from carbyne.adapters.invoke import InvokedQueues
from carbyne.adapters.redis import queue as redis_queue
from carbyne.checks.asking import Asked
from carbyne.checks.posting import Posting
from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.limits import NOTICES_TOGETHER
from carbyne.notify import hosts, messages
from carbyne.notify.links import Links
from carbyne.notify.notifier import Notifier, Ways
from carbyne.notify.routing import about
from carbyne.registry.alerts import AlertRecord, AlertSeries, Notice, Subject
from carbyne.registry.channels import Channel
from carbyne.registry.downtimes import Downtime, Recurrence
from carbyne.registry.monitors import ExternalState, keep_state
from carbyne.registry.muting import Muting
from carbyne.registry.recurrences import is_active

from tests.support import pictures
from tests.support.queue_stores import MemoryQueueWorld
from tests.support.registry_system import NOW_S, System
from tests.unit.test_invoke import Lambda

HOOK = {"type": "webhook", "name": "hook", "url": "https://hook.example/a"}
SLACK = {"type": "slack", "name": "slack", "url": "https://slack.example/b", "mentions": {"critical": "<!here>"}}
MAIL = {"type": "email", "name": "mail", "emails": ["ops@example.com"]}


class Notified(System):
    """``posts`` and ``mails``: what was taken; ``problem``: why nothing is."""

    def __init__(self):
        super().__init__()
        self.world = MemoryQueueWorld()
        self.posts, self.mails, self.htmls, self.problem = [], [], [], ""
        deliveries = InvokedDeliveries(InvokedQueues(Lambda(self.world), "carbyne-queue"))
        ways, self.links = Ways(self._post, self._mail), Links("https://door.example", lambda: pictures.SECRET)
        self.notifier = Notifier(
            self.store, deliveries, ways, lambda: self.now_s, self._put, self.links, time.monotonic
        )

    def _post(self, url, body, headers):
        if not self.problem:
            self.posts.append((url, body, headers))
        return self.problem

    def _mail(self, addresses, subject, text, html=""):
        if not self.problem:
            self.mails.append((addresses, subject, text))
            self.htmls.append(html)
        return self.problem

    def channel(self, body):
        return self.ok("POST", "/api/v0/channels", body)["id"]

    def report(self, host, status, name="ping"):
        source = {"type": "host", "hostId": host}
        report = {"source": source, "name": name, "status": status, "message": "m<1>", "occurredAt": self.now_s}
        self.ok("POST", "/api/v0/monitoring/checks/report", {"reports": [report]})
        self.now_s += 60

    def notify(self):
        return self.notifier.run(lambda: 50.0)

    def told(self):
        """(host of the URL, status) of each post."""
        return [(url.split("/")[2], _status(body)) for url, body, _ in self.posts]


def _status(body):
    told = json.loads(body)
    return told["alert"]["status"] if "alert" in told else told["attachments"][0]["color"]


@pytest.fixture
def system():
    return Notified()


def test_every_channel_of_the_default_group_hears_of_it(system):
    host = system.host(roleFullnames=["shop:web"])
    for body in (HOOK, SLACK, MAIL):
        system.channel(body)
    assert system.notify() == 0
    system.report(host, "CRITICAL")
    assert system.notify() == 3
    assert sorted(system.told()) == [("hook.example", "critical"), ("slack.example", "danger")]
    [(addresses, subject, text)], [html] = system.mails, system.htmls
    assert addresses == ["ops@example.com"] and subject == "[a] CRITICAL: ping at web" and "m<1>" in text
    assert "m&lt;1&gt;" in html and "<1>" not in html and "<img" not in html
    assert system.notify() == 0 and system.store.items(keys.NOTIFICATIONS_ITEM) == []
    system.report(host, "OK")
    system.notify()
    assert ("hook.example", "ok") in system.told()


def test_a_webhook_has_mackerels_json(system):
    host = system.host(roleFullnames=["shop:web"])
    system.channel(HOOK)
    system.report(host, "WARNING")
    system.notify()
    [(url, body, headers)] = system.posts
    told = json.loads(body)
    assert (url, headers) == (HOOK["url"], {"Content-Type": "application/json"})
    assert (told["orgName"], told["event"], told["type"], told["message"]) == ("a", "alert", "check", "m<1>")
    assert told["host"]["id"] == host
    page = "https://door.example/#"
    assert told["host"]["url"] == f"{page}/hosts/{host}"
    urls = dict.fromkeys(("serviceUrl", "roleUrl"), f"{page}/services/shop")
    assert told["host"]["roles"] == [{"fullname": "shop: web", "serviceName": "shop", "roleName": "web", **urls}]
    assert told["imageUrl"] is None, "a check has no values"
    alert = told["alert"]
    assert (alert["status"], alert["isOpen"], alert["openedAt"], alert["closedAt"]) == ("warning", True, NOW_S, None)
    assert (alert["monitorName"], alert["trigger"]) == ("ping", "monitor")
    assert (alert["createdAt"], alert["statusChangedAt"]) == (NOW_S * 1000, NOW_S)
    assert told["notifiedAt"] == NOW_S


def test_a_webhook_says_since_when_the_status_is_and_what_ended_it(system):
    host = system.host()
    system.channel(HOOK)
    for status in ("WARNING", "CRITICAL"):
        system.report(host, status)
    [opened] = system.ok("GET", "/api/v0/alerts")["alerts"]
    system.now_s += 60
    system.ok("POST", f"/api/v0/alerts/{opened['id']}/close", {"reason": "done"})
    system.notify()
    told = sorted((json.loads(body) for _, body, _ in system.posts), key=lambda each: each["notifiedAt"])
    alerts = [(each["alert"]["status"], each["alert"]["trigger"], each["alert"]["statusChangedAt"]) for each in told]
    closed_s = NOW_S + 180
    assert alerts == [("warning", "monitor", NOW_S), ("critical", "monitor", NOW_S + 60), ("ok", "manual", closed_s)]
    assert {each["alert"]["createdAt"] for each in told} == {NOW_S * 1000}


WEBHOOK = Channel(name="hook", type="webhook")
LOAD = {"type": "service", "name": "orders", "service": "shop", "metric": "n", "operator": "<", "duration": 1}


@pytest.mark.parametrize(
    ("status", "value", "text"),
    [
        ("CRITICAL", 3.14159, "n 3.14 < 5"),
        ("WARNING", 8.0, "n 8 < 9.5"),
        ("WARNING", 0.001234, "n 0.00123 < 9.5"),
        ("OK", 12345678.0, "n 12345678"),
        ("UNKNOWN", 1.0, "n"),
    ],
)
def test_a_message_has_the_value_and_the_bound_that_it_crossed(system, status, value, text):
    system.ok("POST", "/api/v0/services", {"name": "shop", "memo": "sells"})
    for role in ("web", "db"):
        system.ok("POST", "/api/v0/services/shop/roles", {"name": role, "memo": ""})
    system.ok("POST", "/api/v0/services", {"name": "shop-2", "memo": "another one"})
    monitor = system.ok("POST", "/api/v0/monitors", {**LOAD, "warning": 9.5, "critical": 5})["id"]
    alert = AlertRecord(
        id="x", status=status, monitor_id=monitor, type="service", opened_at=NOW_S, value=value, message="n"
    )
    notice = Notice("a", alert, Subject(monitor, "service/shop", "service"), "opened", status, 1, NOW_S)
    subject = about(system.store, "a", notice)
    assert messages.text_of(notice, subject) == text
    told = json.loads(messages.webhook(notice, subject, WEBHOOK, system.links))
    assert told["message"] == text
    service = told["service"]
    assert (service["memo"], service["orgId"]) == ("sells", "a")
    assert [role["fullname"] for role in service["roles"]] == ["shop: db", "shop: web"]


def test_a_webhook_has_the_labels_of_the_series_of_a_query(system):
    query = {"type": "query", "name": "load of {{h}}", "query": "m", "legend": "", "operator": ">", "critical": 1}
    monitor = system.ok("POST", "/api/v0/monitors", query)["id"]
    alert = AlertRecord(id="x", status="CRITICAL", monitor_id=monitor, type="query", opened_at=NOW_S, value=2.0)
    alert = msgspec.structs.replace(alert, series=AlertSeries("m", {"h": "a"}))
    subject = Subject(monitor, f"query/{monitor}", "query", '{"__name__":"m","h":"a"}')
    notice = Notice("a", alert, subject, "opened", "CRITICAL", 1, NOW_S)
    told = json.loads(messages.webhook(notice, about(system.store, "a", notice), WEBHOOK, system.links))
    assert told["metric"] == {"name": "m", "labels": {"h": "a"}}
    assert (told["alert"]["monitorName"], told["message"]) == ("load of a", "2 > 1")


def test_slack_is_told_with_the_mention_of_the_status_and_nothing_else_mentions(system):
    host = system.host()
    system.channel(SLACK)
    system.report(host, "CRITICAL")
    system.notify()
    told = json.loads(system.posts[0][1])
    [attachment] = told["attachments"]
    assert told["text"] == "<!here>" and attachment["title"] == "[a] CRITICAL: ping at web"
    assert attachment["text"].startswith("m&lt;1&gt;\n")


def test_user_and_password_of_a_url_are_sent_as_basic_authorization():
    asked = []

    class Asking:
        def ask(self, monitor):
            asked.append({header.name: header.value for header in monitor.headers})
            return Asked("", 204)

    post = Posting(Asking())
    for url in ("https://me:p%40ss@hook.example/a", "https://hook.example/a"):
        assert post(url, b"{}", {"Content-Type": "application/json"}) == ""
    plain = {"Content-Type": "application/json", "User-Agent": "carbyne-notifier"}
    assert asked == [{**plain, "Authorization": f"Basic {b64encode(b'me:p@ss').decode()}"}, plain]


def test_what_is_sent_is_signed(system):
    host = system.host()
    system.channel({**HOOK, "secret": "s3cret"})
    system.report(host, "CRITICAL")
    system.notify()
    [(_, body, headers)] = system.posts
    time_s, digest = (part.partition("=")[2] for part in headers["X-Carbyne-Signature"].split(","))
    assert digest == hmac.new(b"s3cret", time_s.encode() + b"." + body, hashlib.sha256).hexdigest()


def test_a_delivery_that_fails_comes_again_and_is_a_dead_letter_in_the_end(system, caplog):
    caplog.set_level(logging.CRITICAL)
    host = system.host()
    system.channel(HOOK)
    system.report(host, "CRITICAL")
    system.problem = "the status is 500"
    assert system.notify() == 0
    system.problem = ""
    assert system.notify() == 0, "not at once"
    system.world.sleep(61)
    assert system.notify() == 1 and len(system.posts) == 1
    system.problem = "the status is 500"
    system.report(host, "OK")
    for _ in range(6):
        system.notify()
        system.world.sleep(901)
    assert len(system.world.queues.dead(keys.QueueKey("carbyne", "notifications.a"), "", 10)) == 1


def test_a_notice_that_was_published_before_a_crash_is_told_once(system):
    host = system.host()
    system.channel(HOOK)
    system.report(host, "CRITICAL")
    original = system.store.write
    system.store.write = lambda *changes: False
    system.notify()
    system.store.write = original
    system.notify()
    assert len(system.posts) == 1 and system.store.items(keys.NOTIFICATIONS_ITEM) == []


def test_nothing_is_lost_while_the_queue_is_away(system):
    host = system.host()
    system.channel(HOOK)
    system.report(host, "CRITICAL")
    system.world.table.away = True
    with pytest.raises(RetryableError):
        system.notify()
    system.world.table.away = False
    assert system.notify() == 1


def test_a_group_that_names_a_monitor_hears_of_it_alone_if_it_says_so(system):
    host = system.host(roleFullnames=["shop:web"])
    system.channel(HOOK)
    slack = system.channel({**SLACK, "addToDefaultNotificationGroup": False})
    monitor = keys.check_monitor("ping")
    group = {"name": "night", "childChannelIds": [slack], "monitors": [{"id": monitor, "skipDefault": True}]}
    made = system.ok("POST", "/api/v0/notification-groups", group)
    system.report(host, "CRITICAL")
    system.notify()
    assert system.told() == [("slack.example", "danger")]
    group["monitors"][0]["skipDefault"] = False
    system.ok("PUT", f"/api/v0/notification-groups/{made['id']}", group)
    system.report(host, "OK")
    system.notify()
    assert sorted(system.told()[1:]) == [("hook.example", "ok"), ("slack.example", "good")]


def test_a_group_hears_of_its_service_and_of_its_level_through_its_children(system):
    host, other = system.host(roleFullnames=["shop:web"]), system.host(roleFullnames=["blog:web"])
    hook = system.channel({**HOOK, "addToDefaultNotificationGroup": False})
    child = system.ok("POST", "/api/v0/notification-groups", {"name": "child", "childChannelIds": [hook]})["id"]
    parent = {"name": "parent", "notificationLevel": "critical", "services": [{"name": "shop"}]}
    made = system.ok("POST", "/api/v0/notification-groups", {**parent, "childNotificationGroupIds": [child]})["id"]
    system.ok(
        "PUT",
        f"/api/v0/notification-groups/{child}",
        {"name": "child", "childChannelIds": [hook], "childNotificationGroupIds": [made]},
    )
    for each, status in ((other, "CRITICAL"), (host, "WARNING"), (host, "CRITICAL"), (host, "OK")):
        system.report(each, status)
    system.notify()
    assert sorted(system.told()) == [("hook.example", "critical"), ("hook.example", "ok")]


@pytest.mark.parametrize("how", ["downtime", "suspended", "events", "deleted"])
def test_what_mutes(system, how):
    host = system.host(roleFullnames=["shop:web"])
    channel = system.channel({**HOOK, **({"events": ["hostRetire"]} if how == "events" else {})})
    if how == "downtime":
        system.ok(
            "POST", "/api/v0/downtimes", {"name": "d", "start": NOW_S - 60, "duration": 60, "roleScopes": ["shop: web"]}
        )
    if how == "suspended":
        system.ok("PUT", f"/api/v0/channels/{channel}", {**HOOK, "suspendedAt": NOW_S})
    system.report(host, "CRITICAL")
    if how == "deleted":
        system.ok("DELETE", f"/api/v0/channels/{channel}")
    system.notify()
    assert system.posts == [] and system.store.items(keys.NOTIFICATIONS_ITEM) == []


def test_a_muted_monitor_is_not_notified_but_has_alerts(system):
    system.channel(HOOK)
    body = {"type": "external", "name": "x", "url": "https://x.example/", "isMute": True}
    monitor = system.ok("POST", "/api/v0/monitors", body)["id"]
    assert keep_state(system.registry, "a", monitor, ExternalState("CRITICAL", "m", NOW_S // 60, 1, "CRITICAL"))
    system.notify()
    assert system.posts == [] and len(system.ok("GET", "/api/v0/alerts")["alerts"]) == 1
    system.ok("DELETE", f"/api/v0/monitors/{monitor}")
    assert system.ok("GET", "/api/v0/alerts")["alerts"] == []


def test_a_channel_can_be_tried(system):
    first = system.channel({**HOOK, "addToDefaultNotificationGroup": False})
    system.channel(SLACK)
    for _ in range(3):
        system.ok("POST", f"/carbyne/v1/channels/{first}/test", {})
    system.refused(404, "POST", f"/carbyne/v1/channels/{first}/test", {}, key="key-b")
    system.notify()
    [(url, body, _)] = system.posts
    assert url == HOOK["url"] and json.loads(body)["saying"] == "test"
    assert json.loads(body)["alert"]["url"] == "https://door.example/#/", "there is no alert to be seen"
    system.now_s += 60
    system.ok("POST", f"/carbyne/v1/channels/{first}/test", {})
    system.notify()
    assert len(system.posts) == 2, "once a minute"


def test_what_is_in_the_queue_is_sent_while_nothing_can_be_published(system, monkeypatch, caplog):
    """A queue that is full is emptied by sending alone."""
    caplog.set_level(logging.CRITICAL + 1)
    host = system.host()
    system.channel(HOOK)
    system.report(host, "CRITICAL")
    system.problem = "the status is 500"
    assert system.notify() == 0
    system.problem = ""
    system.report(host, "OK")
    system.world.sleep(61)
    with monkeypatch.context() as patch:
        patch.setattr(InvokedDeliveryQueue, "publish", refused)
        with pytest.raises(RetryableError):
            system.notify()
    assert len(system.posts) == 1
    assert system.notify() == 1, "the other notice waited in the table"


def test_a_host_that_does_not_answer_rests_for_posts_and_for_mails(system, monkeypatch):
    monkeypatch.setattr(hosts, "HOST_SILENT_TENANTS", 1)
    monkeypatch.setattr(hosts, "SEND_SLOW_S", 0.0)
    asked = []

    def away(to, *_):
        asked.append(to)
        return "no answer"

    host = system.host()
    for number in range(2):
        system.channel({**HOOK, "name": f"{number}", "url": f"https://hook.example/{number}"})
        system.channel({**MAIL, "name": f"mail {number}"})
    system.report(host, "CRITICAL")
    with monkeypatch.context() as patch:
        patch.setattr(system.notifier, "_ways", Ways(away, away))
        assert system.notify() == 0 and len(asked) == 2, "one post and one mail of two"
    system.now_s += 61
    system.world.sleep(61)
    assert system.notify() == 4


def test_a_full_queue_of_a_tenant_fails_no_run(system, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(redis_queue, "QUEUE_LENGTH_MAX", 1)
    host = system.host()
    system.channel(HOOK)
    system.problem = "the status is 500"
    for status in ("CRITICAL", "OK"):
        system.report(host, status)
    assert system.notify() == 0 and len(system.store.items(keys.NOTIFICATIONS_ITEM)) == 1
    assert "notices of a wait until its queue has room: over the limit queue-length: 1 of" in caplog.text
    system.problem = ""
    system.world.sleep(61)
    assert system.notify() == 1
    assert system.notify() == 1 and system.store.items(keys.NOTIFICATIONS_ITEM) == []


def refused(*_):
    raise RetryableError("away")


def test_a_storm_of_one_tenant_does_not_hold_up_another(system):
    host = system.host()
    system.channel(HOOK)
    for number in range(2 * NOTICES_TOGETHER + 20):
        system.report(host, "CRITICAL", f"c{number}")
    assert system.notify() == 2 * NOTICES_TOGETHER
    assert system.notify() == 20


def test_of_notices_that_wait_the_oldest_are_told_first(system):
    """Under a storm that brings more each minute than a run tells, none waits for ever."""
    host = system.host()
    system.channel(HOOK)
    for minute in range(3):
        for number in range(2 * NOTICES_TOGETHER):
            system.report(host, "CRITICAL", f"{minute}-{number}")
        system.now_s += 3600
    system.notify()
    first = {json.loads(body)["alert"]["openedAt"] for _, body, _ in system.posts}
    assert len(first) == 2 * NOTICES_TOGETHER and max(first) < NOW_S * 1000 + 3_600_000 * 2


def test_each_tenant_has_turns_and_what_rules_recorded_has_time_of_its_own(system, monkeypatch):
    for key in ("key-a", "key-b"):
        host = system.ok("POST", "/api/v0/hosts", {"name": "h", "meta": {}}, key=key)["id"]
        report = {"source": {"type": "host", "hostId": host}, "name": "p", "status": "CRITICAL", "message": ""}
        report["occurredAt"] = system.now_s
        system.ok("POST", "/api/v0/monitoring/checks/report", {"reports": [report]}, key=key)
    done, left_s = [], 60.0

    def step(kind, seconds):
        def made(*given):
            nonlocal left_s
            left_s -= seconds
            done.append((kind, given[-1]))
            return kind == "dispatch"

        return made

    monkeypatch.setattr(system.notifier, "_dispatch", step("dispatch", 12))
    monkeypatch.setattr(system.notifier, "_record", step("record", 1))
    system.notifier.run(lambda: left_s)
    first, second = (tenant for _, tenant in done[:2])
    assert sorted((first, second)) == ["a", "b"]
    ways = [("dispatch", first), ("dispatch", second), ("record", first), ("record", second), ("dispatch", first)]
    assert done == ways


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def downtime(start, minutes, **recurrence):
    return Downtime(
        name="d", start=at(start), duration=minutes, recurrence=Recurrence(**recurrence) if recurrence else None
    )


@pytest.mark.parametrize(
    ("lasting", "active", "inactive"),
    [
        (
            downtime("2026-03-02 10:00", 60),
            ["2026-03-02 10:00", "2026-03-02 10:59"],
            ["2026-03-02 09:59", "2026-03-02 11:00"],
        ),
        (
            downtime("2026-03-02 10:10", 5, type="hourly", interval=2),
            ["2026-03-02 12:14", "2027-01-01 00:10"],
            ["2026-03-02 11:10", "2026-03-02 12:15", "2026-03-02 08:10"],
        ),
        (
            downtime("2026-03-02 23:00", 120, type="daily", interval=1, until=at("2026-03-04 12:00")),
            ["2026-03-03 00:30", "2026-03-03 23:30", "2026-03-04 00:59"],
            ["2026-03-03 01:00", "2026-03-04 23:30"],
        ),
        (
            downtime("2026-03-03 08:00", 60, type="weekly", interval=2, weekdays=["Monday", "Tuesday"]),
            ["2026-03-03 08:30", "2026-03-16 08:30", "2026-03-17 08:30", "2026-03-31 08:00"],
            ["2026-03-02 08:30", "2026-03-09 08:30", "2026-03-10 08:30", "2026-03-18 08:30"],
        ),
        (
            downtime("2026-01-31 00:00", 60, type="monthly", interval=1),
            ["2026-02-28 00:30", "2026-03-31 00:30", "2026-04-30 00:30", "2026-05-31 00:00"],
            ["2026-02-27 00:30", "2026-03-30 00:30", "2026-03-01 00:30"],
        ),
        (
            downtime("2024-02-29 00:00", 60, type="yearly", interval=1),
            ["2026-02-28 00:30", "2028-02-29 00:30"],
            ["2028-02-28 00:30", "2026-03-01 00:30"],
        ),
    ],
    ids=["once", "hourly", "daily", "weekly", "monthly", "yearly"],
)
def test_a_downtime_lasts_when_it_says(lasting, active, inactive):
    assert [text for text in active if not is_active(lasting, at(text))] == []
    assert [text for text in inactive if is_active(lasting, at(text))] == []


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ({}, True),
        ({"service_scopes": ["shop"]}, True),
        ({"service_scopes": ["blog"]}, False),
        ({"role_scopes": ["blog: web", "shop: web"]}, True),
        ({"role_scopes": ["shop: db"]}, False),
        ({"service_scopes": ["shop"], "role_exclude_scopes": ["shop: web"]}, False),
        ({"service_exclude_scopes": ["blog"]}, True),
        ({"monitor_scopes": ["m"]}, True),
        ({"monitor_scopes": ["n"]}, False),
        ({"monitor_exclude_scopes": ["m"]}, False),
        ({"monitor_scopes": ["m"], "service_scopes": ["blog"]}, False),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else str(value),
)
def test_a_downtime_is_of_its_scopes(scopes, expected):
    assert Muting([Downtime(name="d", start=0, duration=1, **scopes)], 0).mutes("m", {"shop": ["web"]}) is expected
