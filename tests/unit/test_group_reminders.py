"""Reminders of an open group: of what is not muted now, and what a plain loop over all minutes says."""

import json
import random
from collections import Counter

import pytest
from carbyne.core import keys
from carbyne.core.limits import GROUP_ALERTS_PER_MESSAGE, GROUP_BYTES_MAX, GROUP_OPEN_MAX, REMINDER_READS_MAX
from carbyne.registry import alert_groups, alerts
from carbyne.registry.alert_groups import AlertGroup, GroupMember
from carbyne.registry.alerts import AlertRecord, StoredAlert, Subject
from carbyne.registry.downtimes import Downtime, Recurrence
from carbyne.registry.monitors import ExternalState, keep_state
from carbyne.registry.muting import Muting
from carbyne.registry.recurrences import is_active
from carbyne.registry.store import RegistryChange, body_of

from tests.support.registry_system import NOW_S
from tests.unit.test_alert_groups import BOTH, SETTING, Grouped
from tests.unit.test_notifier import HOOK, MAIL, SLACK

CHECKS = ("ping", "disk", "http")
ROLES = (["shop:web"], ["shop:db"], ["blog:web"], ["shop:web", "blog:web"], [])
WORSE = ("OK", "UNKNOWN", "WARNING", "CRITICAL")


class Reminded(Grouped):
    """``told``: (saying, status, ids of alerts, number of open ones) of each message."""

    def check(self, host, status, name="ping"):
        source = {"type": "host", "hostId": host}
        report = {"source": source, "name": name, "status": status, "message": "m", "occurredAt": self.now_s}
        self.ok("POST", "/api/v0/monitoring/checks/report", {"reports": [report]})

    def downtime(self, **fields):
        body = {"name": "d", "start": self.now_s - 60, "duration": 600, **fields}
        return self.ok("POST", "/api/v0/downtimes", body)["id"]

    def external(self, is_mute=False):
        body = {"type": "external", "name": "x", "url": "https://x.example/", "isMute": is_mute}
        return self.ok("POST", "/api/v0/monitors", body)["id"]

    def mute(self, monitor, is_mute):
        body = {"type": "external", "name": "x", "url": "https://x.example/", "isMute": is_mute}
        self.ok("PUT", f"/api/v0/monitors/{monitor}", body)

    def outside(self, monitor, status):
        assert keep_state(self.registry, "a", monitor, ExternalState(status, "m", self.now_s // 60, 1, status))

    def told(self):
        bodies = [json.loads(body) for _, body, _ in self.posts]
        return [
            (each["saying"], each["alertGroup"]["status"], [a["id"] for a in each["alerts"]], each["openAlerts"])
            for each in bodies
        ]

    def minutes(self, number):
        """What is told in each."""
        told = []
        for _ in range(number):
            self.posts.clear()
            self.run()
            told.append(self.told())
        return told

    def reads(self):
        """Counts the reads of single items by the kind of what is read."""
        counts, get = Counter(), self.store.get

        def counted(key):
            counts[key.pk.partition(":")[2] or key.pk] += 1
            return get(key)

        self.store.get = counted
        return counts

    def with_group(self, number, subject_of, open_number=None):
        """An open group of so many alerts, the first of which are in the table."""
        setting, members = self.setting["id"], {}
        changes = []
        for each in range(number):
            alert = AlertRecord(
                id=f"a{each:04d}", status="WARNING", monitor_id="m", type="check", opened_at=NOW_S, message="m"
            )
            subject = subject_of(each)
            members[alert.id] = GroupMember("WARNING", subject.monitor, subject.source)
            if open_number is None or each < open_number:
                key = alerts.Key(alerts._partition("a", is_open=True), alert.id)
                changes.append(RegistryChange(key, body_of(StoredAlert(alert, subject, 1, NOW_S)), 0))
        assert self.store.write(*changes)
        group = AlertGroup(id="a0000", setting=setting, name="shop", opened_s=NOW_S, members=members, told_s=NOW_S)
        assert alert_groups.write(self.store, "a", setting, group, 0)
        self.ok("POST", f"/carbyne/v1/channels/{self.ok('GET', '/api/v0/channels')['channels'][0]['id']}/test", {})
        self.notify()
        self.now_s += 600
        self.posts.clear()

    def group(self):
        [(group, _)] = alert_groups.find(self.store, "a").values()
        return group


def first_id(system, host):
    [alert] = [each for each in system.ok("GET", "/api/v0/alerts")["alerts"] if each.get("hostId") == host]
    return alert["id"]


def test_a_downtime_of_all_ends_reminders_which_go_on_after_it_when_they_are_due():
    system = Reminded()
    system.check(system.hosts[0], "CRITICAL")
    assert [len(told) for told in system.minutes(12)] == [1] + [0] * 9 + [1, 0]
    downtime = system.downtime(duration=20)
    assert system.minutes(18) == [[]] * 18, "it ends a minute later, a minute before the next reminder"
    system.ok("DELETE", f"/api/v0/downtimes/{downtime}")
    alert = first_id(system, system.hosts[0])
    assert system.minutes(11) == [[("again", "CRITICAL", [alert], 1)]] + [[]] * 9 + [
        [("again", "CRITICAL", [alert], 1)]
    ]


@pytest.mark.parametrize(
    "scopes",
    [
        {"serviceScopes": ["shop"]},
        {"roleScopes": ["shop: web"]},
        {"monitorScopes": [keys.check_monitor("ping")]},
        {"serviceScopes": ["shop"], "monitorScopes": [keys.check_monitor("ping")]},
        {"serviceExcludeScopes": ["blog"]},
        {"roleExcludeScopes": ["blog:web"]},
        {"monitorExcludeScopes": [keys.check_monitor("disk")]},
        {"recurrence": {"type": "hourly", "interval": 1}, "start": NOW_S - 36_000, "roleScopes": ["shop:web"]},
    ],
    ids=",".join,
)
def test_a_reminder_is_of_what_no_downtime_is_of(scopes):
    system = Reminded()
    shop, blog = (system.host(roleFullnames=[role]) for role in ("shop:web", "blog:web"))
    system.check(shop, "CRITICAL")
    system.check(blog, "WARNING", "disk")
    system.run()
    system.downtime(**scopes)
    system.posts.clear()
    system.run(10)
    assert system.told() == [("again", "WARNING", [first_id(system, blog)], 2)]
    system.check(blog, "OK", "disk")
    system.posts.clear()
    assert [told for told in system.minutes(31) if told][1:] == [], "one says that it is closed; the other is muted"


@pytest.mark.parametrize("status", ["standby", "maintenance", "poweroff"])
def test_muted_monitors_and_hosts_that_do_not_work_are_not_reminded_of(status):
    system = Reminded()
    monitor = system.external()
    system.outside(monitor, "CRITICAL")
    system.check(system.hosts[0], "WARNING")
    system.run()
    system.mute(monitor, True)
    system.posts.clear()
    system.run(10)
    assert system.told() == [("again", "WARNING", [first_id(system, system.hosts[0])], 2)]
    system.ok("POST", f"/api/v0/hosts/{system.hosts[0]}/status", {"status": status})
    assert system.minutes(15) == [[]] * 15
    system.mute(monitor, False)
    assert [told[0][:2] for told in system.minutes(6) if told] == [("again", "CRITICAL")]


def test_a_host_that_changes_its_roles_is_muted_by_what_it_has_now():
    system = Reminded()
    host = system.host(roleFullnames=["shop:web"])
    system.check(host, "CRITICAL")
    system.run()
    system.downtime(roleScopes=["shop:web"])
    assert system.minutes(10) == [[]] * 10
    system.ok("PUT", f"/api/v0/hosts/{host}/role-fullnames", {"roleFullnames": ["blog:web"]})
    assert [bool(told) for told in system.minutes(10)] == [False] * 9 + [True]


def test_a_retired_host_is_muted_by_the_roles_that_it_had():
    """Until the evaluator closes its alerts, a minute later."""
    system = Reminded()
    host = system.host(roleFullnames=["shop:web"])
    system.check(host, "CRITICAL")
    system.run()
    system.downtime(roleScopes=["shop:web"])
    system.ok("POST", f"/api/v0/hosts/{host}/retire", {})
    assert system.minutes(11) == [[]] * 11
    alerts.close(system.registry, "a", first_id(system, host), "the host was retired", "hostRetired")
    system.run(12)
    assert system.kept() == []


def test_a_deleted_monitor_leaves_no_reminder():
    system = Reminded()
    monitor = system.external()
    system.outside(monitor, "CRITICAL")
    system.run()
    system.downtime(duration=5)
    system.ok("DELETE", f"/api/v0/monitors/{monitor}")
    assert system.minutes(25) == [[]] * 25 and system.kept() == []


def test_an_alert_that_closes_in_a_downtime_leaves_its_group_in_silence():
    """As by itself, and as Mackerel documents; what waited to be told is told as it is now."""
    system = Reminded()
    first, second, _ = system.hosts
    system.check(first, "CRITICAL")
    system.run()
    system.check(second, "WARNING")
    system.run()
    alert = first_id(system, second)
    downtime = system.downtime()
    for host in (first, second):
        system.check(host, "OK")
    system.posts.clear()
    system.run(10)
    [told] = [json.loads(body) for _, body, _ in system.posts]
    assert (told["alertGroup"]["status"], told["openAlerts"]) == ("OK", 0)
    assert [(each["id"], each["status"], "closedAt" in each) for each in told["alerts"]] == [(alert, "OK", True)]
    system.ok("DELETE", f"/api/v0/downtimes/{downtime}")
    assert system.minutes(12) == [[]] * 12 and system.kept() == []


def test_a_setting_that_loses_its_interval_reminds_no_more():
    system = Reminded()
    system.check(system.hosts[0], "CRITICAL")
    system.run(11)
    assert len(system.told()) == 2
    system.ok("PUT", f"{SETTING}/{system.setting['id']}", {"name": "shop"})
    assert system.minutes(25) == [[]] * 25
    system.ok("DELETE", f"{SETTING}/{system.setting['id']}")
    assert system.minutes(25) == [[]] * 25


def test_a_reminder_lists_the_worst_and_counts_all():
    system = Reminded()
    for each in range(GROUP_ALERTS_PER_MESSAGE + 5):
        system.check(system.hosts[0], "WARNING", f"w{each}")
    for host in system.hosts:
        system.check(host, "CRITICAL")
    system.channel({**MAIL, "events": ["alertGroup"]})
    system.channel({**SLACK, "events": ["alertGroup"]})
    system.run(1)
    system.posts.clear()
    system.mails.clear()
    system.run(10)
    hook, slack = sorted((json.loads(body) for _, body, _ in system.posts), key=len, reverse=True)
    assert (hook["saying"], hook["part"], hook["parts"], hook["openAlerts"]) == ("again", 1, 1, 28)
    assert [each["status"] for each in hook["alerts"]] == ["CRITICAL"] * 3 + ["WARNING"] * 17
    [(_, subject, text)] = system.mails
    assert subject == "[a] CRITICAL: shop (still open)" and text.count("(still open)") == 21
    assert "28 open alerts" in text and "28 open alerts" in slack["attachments"][0]["text"]


def test_a_channel_is_reminded_of_what_it_hears_of_now():
    """A channel of critical alerts alone, and one that left the group that hears."""
    system = Reminded()
    [hook] = system.ok("GET", "/api/v0/channels")["channels"]
    critical = {**HOOK, "name": "c", "url": "https://critical.example/", "events": BOTH}
    channel = system.channel({**critical, "addToDefaultNotificationGroup": False})
    level = {"name": "night", "notificationLevel": "critical", "services": [{"name": "shop"}]}
    system.ok("POST", "/api/v0/notification-groups", {**level, "childChannelIds": [channel]})
    host = system.host(roleFullnames=["shop:web"])
    system.check(host, "CRITICAL")
    system.check(host, "WARNING", "disk")
    system.run()
    system.ok("PUT", "/api/v0/notification-groups/default", {"name": "Default", "childChannelIds": []})
    system.posts.clear()
    system.run(10)
    [(url, body, _)] = system.posts
    assert url == critical["url"] and [each["status"] for each in json.loads(body)["alerts"]] == ["CRITICAL"]
    assert hook["events"] == BOTH


def test_two_thousand_alerts_in_a_downtime_of_all_cost_no_read():
    system = Reminded()
    system.with_group(GROUP_OPEN_MAX, lambda each: Subject(f"m{each}", f"host/h{each}", "check"))
    system.downtime()
    counts = system.reads()
    assert system.minutes(3) == [[]] * 3
    assert sum(counts.values()) == 0
    assert system.group().passed_s == system.now_s - 180


def test_two_thousand_alerts_of_a_muted_monitor_cost_one_read():
    system = Reminded()
    monitor = system.external(is_mute=True)
    system.with_group(GROUP_OPEN_MAX, lambda each: Subject(monitor, f"host/h{each}", "host"))
    counts = system.reads()
    assert system.minutes(2) == [[]] * 2
    assert counts == {"monitors": 1}


def test_the_one_alert_of_two_thousand_that_is_not_muted_is_found_with_few_reads_a_minute():
    """All of them are on hosts of their own, of which roles must be read."""
    system = Reminded()
    hosts = {each: system.host(roleFullnames=["shop:web"]) for each in range(300)}
    hosts[299] = system.host(roleFullnames=["blog:web"])
    system.with_group(300, lambda each: Subject("m", f"host/{hosts[each]}", "check"))
    system.downtime(roleScopes=["shop:web"])
    counts = system.reads()
    assert system.minutes(1) == [[]]
    assert sum(counts.values()) == REMINDER_READS_MAX and system.group().looked_to
    assert system.minutes(1) == [[("again", "WARNING", ["a0299"], 300)]]
    assert sum(counts.values()) < 2 * REMINDER_READS_MAX
    assert system.minutes(9) == [[]] * 9


def test_groups_take_turns_with_the_reads():
    """Two that are due each minute, and have more alerts than a run may read, do not keep another from its turn."""
    system = Reminded(notificationInterval=1)
    system.downtime(monitorScopes=["m"], roleExcludeScopes=["shop:web"])
    system.with_group(REMINDER_READS_MAX * 3 // 2, lambda each: Subject("m", f"host/h{each}", "check"))
    second, third = (
        system.ok("POST", SETTING, {"name": name, "notificationInterval": minutes})["id"]
        for name, minutes in (("second", 1), ("third", 10))
    )
    alert = AlertRecord(id="b", status="WARNING", monitor_id="n", type="check", opened_at=NOW_S)
    subject = Subject("n", f"host/{system.hosts[0]}", "check")
    key = alerts.Key(alerts._partition("a", is_open=True), "b")
    assert system.store.write(RegistryChange(key, body_of(StoredAlert(alert, subject, 1, NOW_S)), 0))
    of = {
        second: {f"c{each}": GroupMember("WARNING", "m", f"host/g{each}") for each in range(1_000)},
        third: {"b": GroupMember("WARNING", "n", subject.source)},
    }
    for setting, members in of.items():
        group = AlertGroup(id="b", setting=setting, name="n", opened_s=NOW_S, members=members, told_s=system.now_s)
        assert alert_groups.write(system.store, "a", setting, group, 0)
    told = [bool(minute) for minute in system.minutes(45)]
    assert sum(told[:20]) == 1 and sum(told) >= 2


def test_an_alert_that_is_closed_is_not_reminded_of_and_keeps_no_group_open():
    system = Reminded()
    system.with_group(3, lambda each: Subject("m", f"host/{system.hosts[0]}", "check"), open_number=1)
    assert system.minutes(1) == [[("again", "WARNING", ["a0000"], 1)]]
    assert list(system.group().members) == ["a0000"]


def test_the_largest_group_fits_an_item():
    members = {
        f"{each:022d}": GroupMember("CRITICAL", "m" * 11, f"service/{'s' * 63}") for each in range(GROUP_OPEN_MAX)
    }
    group = AlertGroup(id="i", setting="s", name="n", opened_s=NOW_S, members=members)
    size = len(body_of(group))
    assert 200_000 < size < GROUP_BYTES_MAX + 10_000


# What a plain loop says.


class Plain:
    """Groups as a reader of the documents would keep them, with one alert a line; ``alerts``: open ones by what they
    are of, [number, status, monitor, host]."""

    def __init__(self):
        self.alerts, self.number, self.news_of_minute = {}, 0, []
        self.hosts, self.resting, self.muted, self.downtimes = {}, set(), set(), {}
        self.intervals, self.groups = {}, {}

    def report(self, name, monitor, host, status):
        alert = self.alerts.get(name)
        if status == (alert[1] if alert else "OK"):
            return
        if alert is None:
            self.number += 1
            alert = self.alerts[name] = [self.number, status, monitor, host]
        alert[1] = status
        self.news_of_minute.append(alert)
        if status == "OK":
            del self.alerts[name]

    def is_muted(self, alert, now_s):
        _, _, monitor, host = alert
        roles = self.hosts.get(host, [])
        scopes = {*roles, *(role.split(":")[0] for role in roles)}
        return (
            monitor in self.muted
            or host in self.resting
            or any(self.lasts(each, now_s) and self.takes(each, monitor, scopes) for each in self.downtimes.values())
        )

    @staticmethod
    def lasts(downtime, now_s):
        step = {"hourly": 3_600, "daily": 86_400}.get(downtime.get("recurrence", {}).get("type"), 0)
        starts = range(downtime["start"], now_s + 1, step) if step else [downtime["start"]]
        return any(start <= now_s < start + downtime["duration"] * 60 for start in starts)

    @staticmethod
    def takes(downtime, monitor, scopes):
        named = downtime.get("serviceScopes", []) + downtime.get("roleScopes", [])
        but = downtime.get("serviceExcludeScopes", []) + downtime.get("roleExcludeScopes", [])
        return (
            (not downtime.get("monitorScopes") or monitor in downtime["monitorScopes"])
            and monitor not in downtime.get("monitorExcludeScopes", [])
            and (not named or not scopes.isdisjoint(named))
            and scopes.isdisjoint(but)
        )

    def minute(self, now_s):
        """What is told: (saying, status, [(number, status)], open ones) of each group."""
        for alert in self.news_of_minute:
            self.take(alert, self.is_muted(alert, now_s))
        self.news_of_minute = []
        return sorted(each for setting in list(self.groups) for each in self.tell(setting, now_s))

    def take(self, alert, is_muted):
        of = [setting for setting, group in self.groups.items() if alert[0] in group["open"]]
        setting = (of or list(self.intervals) or [None])[0]
        is_member = bool(of)
        if setting is None or (is_muted and not is_member):
            return
        group = self.groups.setdefault(setting, {"open": {}, "news": {}, "told": 0, "status": "OK", "passed": 0})
        group["open"].pop(alert[0], None)
        if alert[1] != "OK":
            group["open"][alert[0]] = alert
        if not is_muted or alert[0] in group["news"]:
            group["news"][alert[0]] = alert[1]

    def tell(self, setting, now_s):
        group, interval_s = self.groups[setting], self.intervals.get(setting, 0) * 60
        status = max((alert[1] for alert in group["open"].values()), key=WORSE.index, default="OK")
        is_time = now_s - group["told"] >= interval_s
        number = len(group["open"])
        if not group["open"] and not group["news"] and is_time:
            del self.groups[setting]
        elif group["news"]:
            if is_time or WORSE.index(status) > WORSE.index(group["status"]):
                told, group["news"] = sorted(group["news"].items()), {}
                group["told"], group["status"] = now_s, status
                yield "changed", status, told, number
        elif interval_s and group["open"] and now_s - max(group["told"], group["passed"]) >= interval_s:
            heard = [alert for alert in group["open"].values() if not self.is_muted(alert, now_s)]
            group["passed"] = now_s
            if heard:
                status = max((alert[1] for alert in heard), key=WORSE.index)
                group["told"], group["status"] = now_s, status
                yield "again", status, sorted((alert[0], alert[1]) for alert in heard), number


class Schedule:
    """Does the same to the system and to the plain loop."""

    def __init__(self, seed):
        self.rng, self.plain = random.Random(seed), Plain()
        self.system = Reminded(notificationInterval=self.rng.choice([2, 3, 5, 7]))
        self.plain.intervals[self.system.setting["id"]] = self.system.setting["notificationInterval"]
        self.monitors = [self.system.external() for _ in range(2)]
        self.numbers = {}
        for host in self.system.hosts:
            self.give_roles(host)

    def act(self):
        if not self.plain.intervals and self.rng.random() < 0.2:
            self.regroup()
        acts = {self.report: 8, self.move: 1, self.mute: 1, self.begin: 2, self.end: 2, self.rest: 1, self.regroup: 0.3}
        for act in self.rng.choices(list(acts), list(acts.values()), k=self.rng.randrange(4)):
            act()

    def report(self):
        status = self.rng.choice(["OK", "OK", "WARNING", "CRITICAL", "UNKNOWN"])
        if self.rng.random() < 0.3:
            name = monitor = self.rng.choice(self.monitors)
            host = ""
        else:
            host, check = self.rng.choice(self.system.hosts), self.rng.choice(CHECKS)
            name, monitor = (host, check), keys.check_monitor(check)
        if name in self.reported:
            return
        self.reported.add(name)
        if host:
            self.system.check(host, status, check)
        else:
            self.system.outside(monitor, status)
        self.plain.report(name, monitor, host, status)

    def give_roles(self, host):
        self.plain.hosts[host] = self.rng.choice(ROLES)
        self.system.ok("PUT", f"/api/v0/hosts/{host}/role-fullnames", {"roleFullnames": self.plain.hosts[host]})

    def move(self):
        self.give_roles(self.rng.choice(self.system.hosts))

    def mute(self):
        monitor = self.rng.choice(self.monitors)
        self.plain.muted ^= {monitor}
        self.system.mute(monitor, monitor in self.plain.muted)

    def rest(self):
        host = self.rng.choice(self.system.hosts)
        self.plain.resting ^= {host}
        status = self.rng.choice(["standby", "maintenance", "poweroff"]) if host in self.plain.resting else "working"
        self.system.ok("POST", f"/api/v0/hosts/{host}/status", {"status": status})

    def begin(self):
        of = {
            "serviceScopes": ["shop", "blog"],
            "roleScopes": ["shop:web", "shop:db", "blog:web"],
            "monitorScopes": [*self.monitors, *map(keys.check_monitor, CHECKS)],
        }
        body = {"name": "d", "start": self.system.now_s + self.rng.randrange(-300, 600), "duration": 0}
        for kind, values in of.items():
            for field, share in ((kind, 0.35), (kind.replace("Scopes", "ExcludeScopes"), 0.2)):
                if self.rng.random() < share:
                    body[field] = self.rng.sample(values, self.rng.randrange(1, 3))
        if self.rng.random() < 0.3:
            body["recurrence"] = {"type": self.rng.choice(["hourly", "daily"]), "interval": 1}
            body["start"] -= self.rng.randrange(3) * 3_600
        body["duration"] = self.rng.randrange(1, 15)
        self.plain.downtimes[self.system.ok("POST", "/api/v0/downtimes", body)["id"]] = body

    def end(self):
        if self.plain.downtimes:
            gone = self.rng.choice(list(self.plain.downtimes))
            del self.plain.downtimes[gone]
            self.system.ok("DELETE", f"/api/v0/downtimes/{gone}")

    def regroup(self):
        """The setting is deleted, or there is a new one."""
        if self.plain.intervals:
            self.system.ok("DELETE", f"{SETTING}/{self.plain.intervals.popitem()[0]}")
        else:
            minutes = self.rng.choice([2, 3, 5])
            made = self.system.ok("POST", SETTING, {"name": "new", "notificationInterval": minutes})
            self.plain.intervals[made["id"]] = minutes

    def minute(self):
        """What the system tells, and what the plain loop does."""
        self.reported = set()
        self.act()
        now_s = self.system.now_s
        self.system.posts.clear()
        self.system.run()
        return self.told(), self.plain.minute(now_s)

    def told(self):
        """Alerts by their numbers, in the order in which they were opened; of a group, as those of none are told by
        themselves."""
        listed = self.system.ok("GET", "/api/v0/alerts?withClosed=true&limit=100")["alerts"]
        for number, _, monitor, host in self.plain.alerts.values():
            for each in listed:
                if each["status"] != "OK" and (each.get("monitorId"), each.get("hostId", "")) == (monitor, host):
                    self.numbers[each["id"]] = number
        bodies = [json.loads(body) for _, body, _ in self.system.posts]
        return sorted(
            (
                each["saying"],
                each["alertGroup"]["status"],
                sorted((self.numbers[alert["id"]], alert["status"]) for alert in each["alerts"]),
                each["openAlerts"],
            )
            for each in bodies
            if each["event"] == "alertGroup"
        )


@pytest.mark.parametrize("seed", range(8))
def test_what_is_told_is_what_a_plain_loop_says(seed):
    schedule, told = Schedule(seed), Counter()
    for minute in range(120):
        got, expected = schedule.minute()
        assert got == expected, f"minute {minute}"
        told.update(saying for saying, *_ in got)
    assert told["again"] and told["changed"]


@pytest.mark.parametrize("seed", range(5))
def test_downtimes_as_bits_are_what_a_plain_look_at_each_says(seed):
    rng = random.Random(seed)
    of = {"service": ["s1", "s2", "s3"], "role": ["s1:a", "s1: b", "s2:a"], "monitor": ["m1", "m2", "m3"]}

    def scopes():
        for kind, values in of.items():
            for field, share in ((f"{kind}_scopes", 0.4), (f"{kind}_exclude_scopes", 0.25)):
                if rng.random() < share:
                    yield field, rng.sample(values, rng.randrange(3))

    for _ in range(300):
        downtimes = [
            Downtime(
                name="d",
                start=rng.randrange(100),
                duration=1,
                recurrence=Recurrence("hourly", 1) if rng.random() < 0.2 else None,
                **dict(scopes()),
            )
            for _ in range(rng.randrange(5))
        ]
        muting, now_s = Muting(downtimes, 70), 70
        lasting = [each for each in downtimes if is_active(each, now_s)]
        for monitor in of["monitor"]:
            for roles in ({}, {"s1": ["a"]}, {"s1": ["b"], "s2": ["a"]}, {"s3": []}):
                assert muting.mutes(monitor, roles) is any(plainly_of(each, monitor, roles) for each in lasting)
            everywhere = [each for each in lasting if is_everywhere(each, monitor)]
            assert muting.mutes_everywhere(monitor) is bool(everywhere)


def plainly_of(downtime, monitor, roles):
    scopes = {*roles, *(f"{service}:{role}" for service, names in roles.items() for role in names)}
    named = {each.replace(" ", "") for each in (downtime.service_scopes or []) + (downtime.role_scopes or [])}
    but = {
        each.replace(" ", "") for each in (downtime.service_exclude_scopes or []) + (downtime.role_exclude_scopes or [])
    }
    if monitor in (downtime.monitor_exclude_scopes or []) or scopes & but:
        return False
    return (not downtime.monitor_scopes or monitor in downtime.monitor_scopes) and (not named or bool(scopes & named))


def is_everywhere(downtime, monitor):
    of_places = ("service_scopes", "role_scopes", "service_exclude_scopes", "role_exclude_scopes")
    return not any(getattr(downtime, field) for field in of_places) and plainly_of(downtime, monitor, {})
