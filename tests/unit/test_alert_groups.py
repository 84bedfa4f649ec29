"""Alerts that a setting groups: told together, once in an interval, each at least once whatever dies."""

import json
import logging
import random

import pytest
from carbyne.adapters.deliveries import InvokedDeliveryQueue
from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.limits import GROUP_ALERTS_PER_MESSAGE, GROUP_HEARERS_MAX, GROUP_NEWS_MAX, NOTICES_READ_MAX
from carbyne.notify import grouping
from carbyne.registry import alert_groups
from carbyne.registry.alerts import Subject

from tests.unit.test_notifier import HOOK, MAIL, SLACK, Notified

BOTH = ["alert", "alertGroup"]
SETTING = "/api/v0/alert-group-settings"


class Grouped(Notified):
    """A setting of all alerts, told at most every ten minutes, and a channel that takes groups and alerts."""

    def __init__(self, **setting):
        super().__init__()
        self.channel({**HOOK, "events": BOTH})
        self.setting = self.ok("POST", SETTING, {"name": "shop", "memo": "m", "notificationInterval": 10, **setting})
        self.hosts = [self.host() for _ in range(3)]

    def run(self, minutes=1):
        for _ in range(minutes):
            self.notify()
            self.now_s += 60
            self.world.sleep(60)

    def groups(self):
        """(status, ids of alerts) of each message about a group."""
        told = [json.loads(body) for _, body, _ in self.posts]
        return [
            (each["alertGroup"]["status"], [alert["id"] for alert in each["alerts"]])
            for each in told
            if each["event"] == "alertGroup"
        ]

    def alerts(self):
        return [json.loads(body)["alert"]["id"] for _, body, _ in self.posts if json.loads(body)["event"] == "alert"]

    def kept(self):
        return self.store.items(keys.GROUPED_ITEM)


def ids(system):
    return [alert["id"] for alert in system.ok("GET", "/api/v0/alerts?withClosed=true")["alerts"]][::-1]


def test_alerts_of_a_setting_are_told_together_and_again_after_the_interval():
    system = Grouped()
    first, second, third = system.hosts
    system.report(first, "CRITICAL")
    system.report(second, "CRITICAL")
    system.run()
    a, b = ids(system)
    assert system.groups() == [("CRITICAL", [a, b])] and system.alerts() == []
    system.report(third, "CRITICAL")
    system.report(first, "OK")
    system.run(7)
    assert len(system.groups()) == 1, "what is new waits for the interval"
    system.run(2)
    c = ids(system)[2]
    assert system.groups()[1:] == [("CRITICAL", [a, c])]
    for host in (second, third):
        system.report(host, "OK")
    system.run(10)
    assert system.groups()[2:] == [("OK", [b, c])]
    system.run(11)
    assert system.kept() == [] and len(system.groups()) == 3


def test_what_is_worse_than_all_that_was_told_is_told_at_once():
    system = Grouped()
    for host, status in zip(system.hosts, ("WARNING", "WARNING", "CRITICAL"), strict=True):
        system.report(host, status)
        system.run()
    a, b, c = ids(system)
    assert system.groups() == [("WARNING", [a]), ("CRITICAL", [b, c])]


def test_an_open_group_is_reminded_of_after_each_interval():
    system = Grouped()
    system.report(system.hosts[0], "WARNING")
    system.run(21)
    [(_, body, _), *again] = system.posts
    assert json.loads(body)["saying"] == "changed"
    assert [json.loads(body)["saying"] for _, body, _ in again] == ["again", "again"]


def test_without_an_interval_each_minute_is_told():
    system = Grouped(notificationInterval=None)
    for status in ("WARNING", "OK", "WARNING", "OK"):
        system.report(system.hosts[0], status)
        system.run(2)
    assert [status for status, _ in system.groups()] == ["WARNING", "OK", "WARNING", "OK"]
    assert system.kept() == []


def test_a_webhook_has_mackerels_fields():
    system = Grouped()
    system.report(system.hosts[0], "CRITICAL")
    system.run()
    [told] = [json.loads(body) for _, body, _ in system.posts]
    [alert] = told.pop("alerts")
    opened_s, setting = alert["openedAt"], system.setting["id"]
    assert told == {
        "orgName": "a",
        "event": "alertGroup",
        "imageUrl": None,
        "alertGroup": {
            "id": alert["id"],
            "url": "https://door.example/#/alerts",
            "status": "CRITICAL",
            "createdAt": opened_s,
            "closedAt": None,
        },
        "alertGroupSetting": {"id": setting, "url": None, "name": "shop", "memo": "m"},
        "saying": "changed",
        "notifiedAt": system.now_s - 60,
        "openAlerts": 1,
        "part": 1,
        "parts": 1,
    }
    assert (alert["status"], alert["message"], alert["hostId"]) == ("CRITICAL", "m<1>", system.hosts[0])


def test_mail_and_slack_are_told_of_groups():
    system = Grouped()
    for channel in (MAIL, SLACK):
        system.channel({**channel, "events": ["alertGroup"]})
    system.report(system.hosts[0], "CRITICAL")
    system.report(system.hosts[1], "WARNING")
    system.run()
    [(addresses, title, text)] = system.mails
    assert (addresses, title) == (MAIL["emails"], "[a] CRITICAL: shop")
    assert text.count("alert ") == 3 and all(each in text for each in ids(system)) and "\nm\n" in text
    [slack] = [json.loads(body) for url, body, _ in system.posts if "slack" in url]
    assert slack["text"] == "<!here>" and "m&lt;1&gt;" in slack["attachments"][0]["text"]


@pytest.mark.parametrize(
    ("events", "alerts", "groups"), [(["alert"], 3, 0), (["alertGroup"], 0, 1), (BOTH, 1, 1), ([], 0, 0)]
)
def test_a_channel_hears_of_what_it_takes(events, alerts, groups):
    """Of two alerts in a group and one that is in none."""
    system = Grouped(serviceScopes=["shop"])
    [channel] = system.ok("GET", "/api/v0/channels")["channels"]
    system.ok("PUT", f"/api/v0/channels/{channel['id']}", {**HOOK, "events": events})
    hosts = [system.host(roleFullnames=["shop:web"]) for _ in range(2)] + [system.host(roleFullnames=["blog:web"])]
    for host in hosts:
        system.report(host, "CRITICAL")
    system.run()
    assert (len(system.alerts()), len(system.groups())) == (alerts, groups)


@pytest.mark.parametrize(
    ("scopes", "is_grouped"),
    [
        ({"serviceScopes": ["shop"]}, True),
        ({"roleScopes": ["shop: web"]}, True),
        ({"roleScopes": ["shop: db"]}, False),
        ({"serviceScopes": ["blog"], "roleScopes": ["shop: web"]}, True),
        ({"monitorScopes": [keys.check_monitor("ping")]}, True),
        ({"monitorScopes": ["other"]}, False),
        ({"serviceScopes": ["shop"], "monitorScopes": ["other"]}, False),
        ({}, True),
    ],
)
def test_an_alert_is_in_the_scopes_of_a_setting(scopes, is_grouped):
    system = Grouped(**scopes)
    system.report(system.host(roleFullnames=["shop:web"]), "CRITICAL")
    system.run()
    assert (len(system.groups()), len(system.alerts())) == ((1, 0) if is_grouped else (0, 1))


def test_an_alert_belongs_to_the_first_setting_by_name_that_takes_it_in():
    system = Grouped()
    for name, scopes in (("c", {}), ("b", {"serviceScopes": ["shop"]}), ("a", {"roleScopes": ["shop:db"]})):
        system.ok("POST", SETTING, {"name": name, "notificationInterval": 10, **scopes})
    for role in ("shop:web", "shop:db", "blog:web"):
        system.report(system.host(roleFullnames=[role]), "CRITICAL")
        system.run()
    assert [json.loads(body)["alertGroupSetting"]["name"] for _, body, _ in system.posts] == ["b", "a", "c"]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)], ids=["in-order", "late"])
def test_news_of_an_alert_are_its_newest_for_all_who_heard_of_any(order):
    """Whichever notice comes first."""
    group = alert_groups.AlertGroup(id="x", setting="s", name="n", opened_s=1)
    for entry in order:
        alert = alert_groups.GroupedAlert(
            id="x", entry=entry, status="WARNING", title=f"t{entry}", message="m", monitor_id="m", opened_at=1
        )
        group = group.with_alert(alert, Subject("m", "host/h", "check"), "WARNING", (f"c{entry}",))
    [news] = group.news
    assert (news.alert.entry, set(news.hearers)) == (2, {"c1", "c2"})


def test_a_muted_alert_opens_no_group_and_one_that_is_muted_when_it_closes_leaves_it():
    system = Grouped()
    body = {"name": "d", "start": system.now_s - 60, "duration": 3}
    system.ok("POST", "/api/v0/downtimes", body)
    system.report(system.hosts[0], "CRITICAL")
    system.run(5)
    assert system.groups() == [] and system.kept() == []
    system.report(system.hosts[1], "CRITICAL")
    system.run()
    system.ok("POST", "/api/v0/downtimes", {**body, "start": system.now_s - 60})
    system.report(system.hosts[1], "OK")
    system.run(12)
    assert len(system.groups()) == 1 and system.kept() == []


def test_a_setting_that_is_deleted_tells_what_waited():
    system = Grouped()
    for host in system.hosts[:2]:
        system.report(host, "CRITICAL")
        system.run()
    system.ok("DELETE", f"{SETTING}/{system.setting['id']}")
    system.run()
    assert [len(told) for _, told in system.groups()] == [1, 1]
    for host in system.hosts[:2]:
        system.report(host, "OK")
    system.run(2)
    assert system.groups()[-1][0] == "OK" and system.kept() == []


def test_a_storm_is_told_in_parts_and_before_it_is_too_much_to_be_kept():
    system = Grouped(notificationInterval=60)
    system.report(system.hosts[0], "CRITICAL")
    system.run()
    for number in range(GROUP_NEWS_MAX + 3):
        system.report(system.hosts[0], "CRITICAL", f"c{number}")
    system.run(3)
    told = system.groups()[1:]
    assert [len(alerts) for _, alerts in told] == [GROUP_ALERTS_PER_MESSAGE] * 2 + [GROUP_NEWS_MAX - 40]
    parts = [(json.loads(body)["part"], json.loads(body)["parts"]) for _, body, _ in system.posts[1:]]
    assert parts == [(1, 3), (2, 3), (3, 3)]
    assert len({each for _, alerts in told for each in alerts}) == GROUP_NEWS_MAX
    [(group, _)] = alert_groups.find(system.store, "a").values()
    assert len(group.news) == 3 and len(group.members) == GROUP_NEWS_MAX + 4


def test_channels_beyond_those_of_a_group_hear_of_the_alert_alone():
    system = Grouped()
    for number in range(GROUP_HEARERS_MAX + 2):
        system.channel({**HOOK, "name": f"h{number}", "events": ["alertGroup"]})
    system.report(system.hosts[0], "CRITICAL")
    system.run()
    assert (len(system.groups()), len(system.alerts())) == (GROUP_HEARERS_MAX, 3)


def test_alerts_of_a_group_too_many_are_told_by_themselves(monkeypatch):
    """Also to a channel that takes groups alone."""
    monkeypatch.setattr(grouping, "GROUPS_OPEN_MAX", 1)
    system = Grouped(serviceScopes=["shop"])
    system.ok("POST", SETTING, {"name": "blog", "serviceScopes": ["blog"]})
    system.channel({**HOOK, "name": "groups", "events": ["alertGroup"]})
    for role in ("shop:web", "blog:web", "shop:web"):
        system.report(system.host(roleFullnames=[role]), "CRITICAL")
        system.run()
    assert (len(system.alerts()), len(system.groups())) == (2, 2)
    system.run(10)
    assert len(system.groups()) == 4, "the open group goes on"


def test_an_alert_that_opens_again_is_told_again():
    """Its group has the same id as before, and its message another key."""
    system = Grouped(notificationInterval=None)
    for status in ("CRITICAL", "OK", "CRITICAL"):
        system.report(system.hosts[0], status)
        system.run()
    assert [status for status, _ in system.groups()] == ["CRITICAL", "OK", "CRITICAL"]


def test_tenants_have_their_own_groups():
    system = Grouped()
    host = system.ok("POST", "/api/v0/hosts", {"name": "h", "meta": {}}, key="key-b")["id"]
    system.ok("POST", "/api/v0/channels", {**HOOK, "events": BOTH}, key="key-b")
    report = {"source": {"type": "host", "hostId": host}, "name": "p", "status": "CRITICAL", "message": "m"}
    report["occurredAt"] = system.now_s
    system.ok("POST", "/api/v0/monitoring/checks/report", {"reports": [report]}, key="key-b")
    system.run()
    assert system.groups() == [] and len(system.alerts()) == 1


class Faults:
    """The table and the queue of a notifier fail now and then, before or after what they were asked for."""

    def __init__(self, system, rng):
        self.rng, self.is_on = rng, True
        store, of = system.notifier._store, system.notifier._deliveries.of
        store.write = self.failing(store.write)
        system.notifier._deliveries.of = lambda tenant: self.failing_queue(of(tenant))

    def failing_queue(self, queue):
        queue.publish, queue.acknowledge = self.failing(queue.publish), self.failing(queue.acknowledge)
        return queue

    def failing(self, call):
        def made(*given, **named):
            if self.is_on and self.rng.random() < 0.15:
                raise RetryableError("before")
            answer = call(*given, **named)
            if self.is_on and self.rng.random() < 0.15:
                raise RetryableError("after")
            return answer

        return made


@pytest.mark.parametrize("seed", range(12))
def test_every_alert_is_told_and_an_interval_has_few_notices_whatever_fails(seed, caplog):
    caplog.set_level(logging.CRITICAL + 1)
    rng, system = random.Random(seed), Grouped()
    faults = Faults(system, rng)
    for minute in range(60):
        if rng.random() < 0.5:
            faults.is_on = False  # reports are acknowledged; what becomes of them is the notifier's
            system.report(rng.choice(system.hosts), rng.choice(["CRITICAL", "WARNING", "OK"]), rng.choice("pq"))
            system.now_s -= 60
            faults.is_on = True
        faults.is_on = minute < 40
        try:
            system.run()
        except RetryableError:
            system.now_s += 60
            system.world.sleep(60)
    system.run(12)
    told = [json.loads(body) for _, body, _ in system.posts]
    last = {alert["id"]: alert for each in told for alert in each["alerts"]}
    listed = system.ok("GET", "/api/v0/alerts?withClosed=true")["alerts"]
    assert {each["id"]: each.get("closedAt") for each in listed} == {
        each: alert.get("closedAt") for each, alert in last.items()
    }
    times = sorted({each["notifiedAt"] for each in told})
    assert max(sum(at <= each < at + 600 for each in times) for at in times) <= 1 + len(
        ("UNKNOWN", "WARNING", "CRITICAL")
    )


def storm(system, host, number, status="CRITICAL"):
    """So many checks become critical, with texts of three bytes a character."""
    for first in range(0, number, 50):
        reports = [
            {
                "source": {"type": "host", "hostId": host},
                "name": f"検査 {each}",
                "status": status,
                "message": "データベースの応答がありません。" * 10,
                "occurredAt": system.now_s,
            }
            for each in range(first, min(first + 50, number))
        ]
        system.ok("POST", "/api/v0/monitoring/checks/report", {"reports": reports})


def told_ids(system):
    return {alert for _, alerts in system.groups() for alert in alerts}


def test_a_group_whose_messages_are_over_a_mebibyte_together_is_told():
    """The queues' function takes no more than that at once: what is published is cut by bytes as well."""
    system = Grouped(notificationInterval=60)
    for number in range(GROUP_HEARERS_MAX - 1):
        system.channel({**HOOK, "name": f"h{number}", "events": BOTH})
    system.report(system.hosts[0], "CRITICAL")
    system.run()
    storm(system, system.hosts[1], GROUP_NEWS_MAX - 1)
    system.run()
    storm(system, system.hosts[2], GROUP_NEWS_MAX)
    system.run(3)
    assert told_ids(system) == {alert["id"] for alert in system.ok("GET", "/api/v0/alerts")["alerts"]}
    assert len(told_ids(system)) == 2 * GROUP_NEWS_MAX


def test_a_group_takes_no_more_than_an_item_while_the_queue_is_away(monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL + 1)
    system = Grouped(notificationInterval=60)
    system.report(system.hosts[0], "CRITICAL")
    system.run()
    monkeypatch.setattr(InvokedDeliveryQueue, "publish", away)
    for host in (system.host() for _ in range(3)):
        storm(system, host, 3 * GROUP_NEWS_MAX)
    for _ in range(12):
        with pytest.raises(RetryableError):
            system.notify()
        system.now_s += 60
        system.world.sleep(60)
    [item] = system.kept()
    assert len(item.body) < 200_000, "an item of the table has 400,000"
    monkeypatch.undo()
    system.run(12)
    assert len(told_ids(system)) == 1 + 9 * GROUP_NEWS_MAX


def test_notices_behind_those_of_a_full_group_do_not_wait():
    system = Grouped(roleScopes=["shop: web"])
    storm(system, system.host(roleFullnames=["shop:web"]), NOTICES_READ_MAX - 10)
    storm(system, system.hosts[0], 10)
    system.run()
    assert len(system.alerts()) == 10
    system.run()
    assert len(told_ids(system)) == 3 * GROUP_NEWS_MAX, "so many twice a minute; the rest is told after the interval"
    system.run(10)
    assert len(told_ids(system)) == NOTICES_READ_MAX - 10


def away(*_):
    raise RetryableError("the queue is away")


def test_a_group_that_can_t_be_told_holds_up_no_other(monkeypatch):
    system = Grouped(monitorScopes=["none"])
    [channel] = system.ok("GET", "/api/v0/channels")["channels"]
    system.ok("POST", SETTING, {"name": "all", "notificationInterval": 10})
    system.report(system.hosts[0], "CRITICAL")
    keep = grouping.Grouping._keep
    group = alert_groups.AlertGroup(id="x", setting=system.setting["id"], name="shop", opened_s=1)
    alert = alert_groups.GroupedAlert(
        id="x", entry=1, status="CRITICAL", title="t", message="m", monitor_id="m", opened_at=1
    )
    group = group.with_alert(alert, Subject("m", "host/h", "check"), "CRITICAL", (channel["id"],))
    alert_groups.write(system.store, "a", system.setting["id"], group, 0)

    def one_fails(self, setting, *before):
        if setting == system.setting["id"]:
            raise RetryableError("this one")
        return keep(self, setting, *before)

    monkeypatch.setattr(grouping.Grouping, "_keep", one_fails)
    with pytest.raises(RetryableError, match="this one"):
        system.notify()
    assert told_ids(system) == set(ids(system))


def test_two_runs_of_one_second_tell_of_what_is_worse():
    """The queue drops a message whose key it knows."""
    system = Grouped()
    for host, status in zip(system.hosts, ("WARNING", "CRITICAL"), strict=False):
        storm(system, host, 1, status)
        system.notify()
    assert [status for status, _ in system.groups()] == ["WARNING", "CRITICAL"]


def test_a_channel_that_no_longer_hears_of_groups_is_not_reminded():
    system = Grouped()
    system.report(system.hosts[0], "CRITICAL")
    system.run()
    [channel] = system.ok("GET", "/api/v0/channels")["channels"]
    for change in ({"events": ["alert"]}, {"events": BOTH, "suspendedAt": system.now_s}):
        system.ok("PUT", f"/api/v0/channels/{channel['id']}", {**HOOK, **change})
        system.run(25)
        assert len(system.groups()) == 1
    system.ok("PUT", f"/api/v0/channels/{channel['id']}", {**HOOK, "events": BOTH})
    system.run(11)
    assert len(system.groups()) == 2
