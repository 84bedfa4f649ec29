"""A day of hosts with outages, backlogs, wrong clocks and repeated posts, and what a plain loop says of it.

The oracle knows all samples and when each came, and nothing of turns, episodes or decisions; it shares no code with
what it checks, and says its numbers again.  There are monitors of every type, and checks of agents.
"""

import random
from itertools import groupby
from statistics import mean, median
from typing import NamedTuple
from zlib import crc32

import msgspec
from carbyne.checks.asking import Asked
from carbyne.checks.scheduler import CheckJob, CheckTaken
from carbyne.checks.worker import CheckWorker
from carbyne.core import keys
from carbyne.core.keys import SourceKey
from carbyne.registry import alerts
from carbyne.registry.alerts import Notice
from carbyne.registry.store import Registry

from tests.support.evaluation import Evaluation
from tests.support.registry_system import NOW_S

START = NOW_S // 60 + 1
SINCE = START - 3
"""The first minute that monitors judge which are made in the minute before START."""
WITHDRAWN = "late samples show that this was not so"
LOAD = {"type": "host", "name": "load", "metric": "load", "operator": ">", "warning": 4, "critical": 8}
MONITORS = {
    "newest": {**LOAD, "duration": 1},
    "averages": {**LOAD, "duration": 3, "maxCheckAttempts": 2},
    "attempts": {**LOAD, "operator": "<", "warning": None, "critical": 2, "duration": 1, "maxCheckAttempts": 3},
    "gone": {"type": "connectivity", "name": "gone"},
}
WEB = 4
"""Hosts of the role web, which an expression, a query, anomaly detection and a monitor of a share look at."""
SHARE = {**LOAD, "duration": 2, "maxCheckAttempts": 2}
SERVICE = {**LOAD, "type": "service", "service": "shop", "duration": 2}
COMPUTED = {
    "share": {**SHARE, "metric": "memory%", "warning": 40, "critical": 80, "scopes": ["shop:web"]},
    "service": {**SERVICE, "missingDurationWarning": 4, "missingDurationCritical": 9},
    "external": {"type": "external", "name": "site", "url": "https://example.com", "maxCheckAttempts": 2},
    "expression": {**LOAD, "type": "expression", "expression": "avg(role(shop:web, load))"},
    "query": {**LOAD, "type": "query", "query": "", "legend": "{{source}}"},
    "anomaly": {"type": "anomalyDetection", "name": "unlike", "scopes": ["shop: web"], "warningSensitivity": "normal"},
}
WEEKS = 5
WEEK_HOURS = 168
HISTORY_HOURS = 3 * WEEK_HOURS
SILENT_MINUTES = 6


class Post(NamedTuple):
    """A sample of minute ``ts`` by the host's clock, which comes in minute ``at``."""

    ts: int
    at: int
    value: float


def posts_of(rng, minutes):
    """What one host sends: bursts of load, an outage now and then, of which half are sent later."""
    skew, load, posts, quiet_until, burst_until, is_buffered = rng.choice([0, 0, 0, 4, -3]), 3.0, [], 0, 0, False
    for minute in range(START, START + minutes):
        if minute >= quiet_until and rng.random() < 0.01:
            quiet_until, is_buffered = minute + rng.randint(2, 40), rng.random() < 0.5
        if rng.random() < 0.05:
            burst_until = minute + rng.randint(1, 8)
        load = rng.choice([1.0, 3.0, 3.0, 3.0]) if minute >= burst_until else rng.choice([5.0, 9.0])
        at = minute + rng.choice([0, 1, 1, 2])
        if minute < quiet_until:
            at = quiet_until + 1 + rng.randint(0, 5)
        if minute >= quiet_until or is_buffered:
            posts.append(Post(minute + skew, at, load))
            posts += [posts[-1]._replace(at=at + rng.randint(0, 3))] if rng.random() < 0.1 else []
    return posts


def status_of(monitor, value):
    """Empty for one that is not bad."""
    for status in ("CRITICAL", "WARNING"):
        bound = monitor[status.lower()]
        if bound is not None and (value > bound if monitor["operator"] == ">" else value < bound):
            return status
    return ""


def spans_of_rows(rows):
    """(opened, closed, last status) of (minute, status), ascending."""
    spans, opened, last = [], None, ""
    for minute, status in rows:
        if status and opened is None:
            opened = minute
        if not status and opened is not None:
            spans.append((opened, minute, last))
            opened = None
        last = status
    return spans + ([(opened, None, last)] if opened is not None else [])


def spans_of_values(monitor, posts):
    """By a loop over all samples in the order of their times."""
    samples = sorted({post.ts: post.value for post in posts}.items())
    duration, attempts = monitor["duration"], monitor.get("maxCheckAttempts", 1)
    known, rows = [], []
    for number, (minute, _) in enumerate(samples):
        last = samples[number + 1 - duration : number + 1] if number + 1 >= duration else []
        if not last or minute - last[0][0] >= 10 * duration:
            continue
        known.append((minute, status_of(monitor, sum(value for _, value in last) / duration)))
        row = known[-attempts:]
        is_bad = len(row) == attempts and all(status for _, status in row) and minute - row[0][0] < 10 * attempts
        rows.append((minute, known[-1][1] if is_bad else ""))
    return spans_of_rows(rows)


def spans_of_silence(posts, last):
    """By a loop over the minutes in which something new came."""
    seen, came = set(), set()
    for post in sorted(posts, key=lambda post: post.at):
        if post.ts not in seen:
            came.add(post.at)
        seen.add(post.ts)
    heard, rows = START, []
    for minute in range(START, last + 1):
        heard = minute if minute in came else heard
        rows.append((minute, "CRITICAL" if minute - heard >= SILENT_MINUTES else ""))
    return spans_of_rows(rows)


def spans_of_missing(posts, last, warning, critical):
    """By a loop over the minutes in which a sample came that is newer than all before."""
    newest, heard, rows = 0, START, []
    for minute in range(START, last + 1):
        came = max((post.ts for post in posts if post.at == minute), default=0)
        newest, heard = (came, minute) if came > newest else (newest, heard)
        silent = minute - heard
        rows.append((minute, "CRITICAL" if silent >= critical else "WARNING" if silent >= warning else ""))
    return spans_of_rows(rows)


def spans_of_averages(all_posts, last):
    """Of the mean of what the hosts have in a minute."""
    by_minute = {}
    for posts in all_posts:
        for minute, value in {post.ts: post.value for post in posts}.items():
            by_minute.setdefault(minute, []).append(value)
    until = last - 2
    return spans_of_rows(
        (minute, status_of(LOAD, mean(by_minute[minute]))) for minute in sorted(by_minute) if minute <= until
    )


def spans_of_newest(posts, last):
    """Of the newest sample of the last five minutes, in each minute."""
    samples, rows = {post.ts: post.value for post in posts}, []
    for minute in range(SINCE, last + 1):
        recent = [samples[ts] for ts in range(minute, minute - 5, -1) if ts in samples]
        rows += [(minute, status_of(LOAD, recent[0]))] if recent else []
    return spans_of_rows(rows)


def learned_until(host, minute):
    """The hour until which samples teach: a day's hour of the host's own, an hour before the sample at least."""
    own = crc32(f"a/host/{host}".encode()) % 24
    return (minute // 60 - 1 - own) // 24 * 24 + own


def spans_of_anomalies(host, posts, history):
    """Of the distance from the median of the hours of the week, in units of the median distance."""
    samples = {**dict(history), **{post.ts: post.value for post in posts}}
    hourly = {hour: mean(samples[ts] for ts in of) for hour, of in groupby(sorted(samples), key=lambda ts: ts // 60)}
    rows, known = [], {}
    for minute in sorted({post.ts for post in posts}):
        until, hour = learned_until(host, minute), minute // 60
        if (until, hour) not in known:
            own = until + (hour - until) % WEEK_HOURS
            near = [own - WEEK_HOURS * week + side for week in range(1, WEEKS + 1) for side in (-1, 0, 1)]
            near += [own + 1 - WEEK_HOURS * (WEEKS + 1)] if own + 1 - WEEK_HOURS == until else []
            values = [hourly[each] for each in near if until - WEEKS * WEEK_HOURS <= each < until and each in hourly]
            middle = median(values)
            known[until, hour] = (
                middle,
                max(1.4826 * median(abs(value - middle) for value in values), 0.05 * middle, 0.2),
            )
        usual, spread = known[until, hour]
        rows.append((minute, abs(samples[minute] - usual) / spread > 6))
    return spans_of_rows(
        (
            minute,
            "WARNING"
            if at >= 2 and all(bad for _, bad in rows[at - 2 : at + 1]) and minute - rows[at - 2][0] < 30
            else "",
        )
        for at, (minute, _) in enumerate(rows)
    )


def spans_of_reports(reports, attempts):
    """Of (minute, whether it is bad): so many in a row."""
    row, rows = 0, []
    for minute, is_bad in reports:
        row = row + 1 if is_bad else 0
        rows.append((minute, "CRITICAL" if row >= attempts else ""))
    return spans_of_rows(rows)


def shares_of(load):
    """What a host of the web posts too: a load of one is a tenth of the memory."""
    return {"loadavg5": load, "memory.used": load, "memory.total": 10.0}


def last_statuses(system):
    """The last status of each alert that is not OK, as it was told."""
    notices = [msgspec.json.decode(item.body, type=Notice) for item in system.store.items(keys.NOTIFICATIONS_ITEM)]
    return {each.alert.id: each.was for each in sorted(notices, key=lambda notice: notice.entry)}


class Checks:
    """External checks by the real worker, each published once a minute or not at all, and some delivered twice; and
    reports of an agent."""

    def __init__(self, system, rng, monitor, host):
        self.system, self.rng, self.host, self.monitor = system, rng, host, monitor
        self.external, self.reported, self.taken, self.is_bad = [], [], [], False
        registry = Registry(system.store, lambda: system.now_s, str, lambda _: None)
        self.worker = CheckWorker(registry, self, self, lambda _: None)

    def take(self, most, lease_s):
        taken, self.taken = self.taken, []
        return taken

    def acknowledge(self, leases): ...

    def ask(self, monitor):
        return Asked("no answer" if self.is_bad else "", 200, b"", 0.1)

    def make(self, minute):
        """Of one minute."""
        self.is_bad = self.rng.random() < (0.7 if self.is_bad else 0.1)
        times = self.rng.choice([0, 1, 1, 1, 2])
        if times:
            self.external.append((minute, self.is_bad))
            job = CheckTaken("lease", CheckJob("a", self.monitor, minute))
            self.taken = [job] * times
            left = iter([50.0, 0.0])
            self.worker.run(lambda: next(left))
        status = "CRITICAL" if self.rng.random() < 0.3 else "OK"
        self.reported.append((minute, status != "OK"))
        source = {"type": "host", "hostId": self.host}
        report = {"source": source, "name": "http", "status": status, "message": "m", "maxCheckAttempts": 2}
        for _ in range(times or 1):
            self.system.ok(
                "POST", "/api/v0/monitoring/checks/report", {"reports": [{**report, "occurredAt": minute * 60}]}
            )


def run(seed, hosts, minutes):
    """({(monitor, source): spans} of the alerts, the same of the oracle); a span is (opened, closed, last status)."""
    rng, system = random.Random(seed), Evaluation()
    system.now_s = (START - 1) * 60
    ids = [system.host(roleFullnames=["shop:web"] if number < WEB else []) for number in range(hosts)]
    web, monitors = ids[:WEB], dict(MONITORS) | COMPUTED
    monitors["query"] = {**monitors["query"], "query": 'load{source=~"host/(' + "|".join(web) + ')"}'}
    names = {system.ok("POST", "/api/v0/monitors", body)["id"]: name for name, body in monitors.items()}
    days = {f"host/{host}": posts_of(rng, minutes) for host in ids} | {"service/shop": posts_of(rng, minutes)}
    history = [(START - 60 * hour, 3.0 + hour % 7 / 10) for hour in range(1, HISTORY_HOURS)]
    for host in web:
        for ts, value in history:
            system.arrived.put(SourceKey("a", f"host/{host}"), "loadavg5", ts * 60_000, value)
    arriving = {}
    for source, posts in days.items():
        for post in posts:
            arriving.setdefault(post.at, []).append((source, post))
    checks = Checks(system, rng, next(each for each, name in names.items() if name == "external"), ids[-1])
    last = START + minutes + 50
    for minute in range(START, last + 1):
        for source, post in arriving.get(minute, ()):
            is_web = source.removeprefix("host/") in web
            row = {"load": post.value} | (shares_of(post.value) if is_web else {})
            for series, value in row.items():
                system.arrived.put(SourceKey("a", source), series, post.ts * 60_000, value)
        system.look()
        assert system.now_s == minute * 60
        checks.make(minute)
    expected = {
        (name, host): spans_of_values(MONITORS[name], days[f"host/{host}"])
        for name in MONITORS
        if name != "gone"
        for host in ids
    }
    shop = days["service/shop"]
    expected |= {("gone", host): spans_of_silence(days[f"host/{host}"], last) for host in ids}
    expected |= {("anomaly", host): spans_of_anomalies(host, days[f"host/{host}"], history) for host in web}
    expected |= {("share", host): spans_of_values(SHARE, days[f"host/{host}"]) for host in web}
    expected |= {("query", f"host/{host}"): spans_of_newest(days[f"host/{host}"], last) for host in web}
    expected |= {
        ("expression", ""): spans_of_averages([days[f"host/{host}"] for host in web], last),
        ("service", ""): spans_of_values(SERVICE, shop),
        ("missing", ""): spans_of_missing(shop, last, 4, 9),
        ("external", ""): spans_of_reports(checks.external, 2),
        ("check", ids[-1]): spans_of_reports(checks.reported, 2),
    }
    told, statuses = {key: [] for key in expected}, last_statuses(system)
    for alert in all_alerts(system):
        if alert.reason != WITHDRAWN:
            closed = None if alert.closed_at is None else alert.closed_at // 60
            told[key_of(alert, names)].append((alert.opened_at // 60, closed, statuses[alert.id]))
    return _sorted(told), _sorted(expected)


def key_of(alert, names):
    """What the alert is of, as the oracle has it."""
    name = names.get(alert.monitor_id, "check")
    if name == "service" and alert.message.startswith("no sample"):
        name = "missing"
    return name, alert.message if name == "query" else alert.host_id


def _sorted(spans):
    return {key: sorted(of, key=str) for key, of in spans.items()}


def all_alerts(system):
    """Read at once: a day has tens of thousands, and each page reads the table in memory from its beginning."""
    return alerts.find(system.store, "a", with_closed=True, after="", most=10**9)[0]
