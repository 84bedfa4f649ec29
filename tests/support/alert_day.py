"""A day of hosts with outages, backlogs, wrong clocks and repeated posts, and what a plain loop says of it.

The oracle knows all samples and when each came, and nothing of turns, episodes or decisions.
"""

import random
from typing import NamedTuple

from carbyne.core.keys import SourceKey
from carbyne.core.limits import SILENT_MINUTES

from tests.support.evaluation import Evaluation
from tests.support.registry_system import NOW_S

START = NOW_S // 60 + 1
WITHDRAWN = "late samples show that this was not so"
LOAD = {"type": "host", "name": "load", "metric": "load", "operator": ">", "warning": 4, "critical": 8}
MONITORS = {
    "newest": {**LOAD, "duration": 1},
    "averages": {**LOAD, "duration": 3, "maxCheckAttempts": 2},
    "attempts": {**LOAD, "operator": "<", "warning": None, "critical": 2, "duration": 1, "maxCheckAttempts": 3},
    "gone": {"type": "connectivity", "name": "gone"},
}


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


def spans_of_values(monitor, posts):
    """(opened, closed) by a loop over all samples in the order of their times; minutes."""
    samples = sorted({post.ts: post.value for post in posts}.items())
    duration, attempts = monitor["duration"], monitor.get("maxCheckAttempts", 1)
    bounds = [bound for bound in (monitor["warning"], monitor["critical"]) if bound is not None]
    bad, spans, opened = [], [], None
    for number, (minute, _) in enumerate(samples):
        last = samples[number + 1 - duration : number + 1] if number + 1 >= duration else []
        if not last or minute - last[0][0] >= 10 * duration:
            continue
        mean = sum(value for _, value in last) / duration
        is_bad = any(mean > bound if monitor["operator"] == ">" else mean < bound for bound in bounds)
        bad.append((minute, is_bad))
        row = bad[-attempts:]
        is_open = len(row) == attempts and all(each for _, each in row) and minute - row[0][0] < 10 * attempts
        if is_open and opened is None:
            opened = minute
        if not is_open and opened is not None:
            spans.append((opened, minute))
            opened = None
    return spans + ([(opened, None)] if opened is not None else [])


def spans_of_silence(posts, last):
    """(opened, closed) by a loop over the minutes in which something new came."""
    seen, came = set(), set()
    for post in sorted(posts, key=lambda post: post.at):
        if post.ts not in seen:
            came.add(post.at)
        seen.add(post.ts)
    heard, spans, opened = START, [], None
    for minute in range(START, last + 1):
        if minute in came:
            heard = minute
        is_gone = minute - heard >= SILENT_MINUTES
        if is_gone and opened is None:
            opened = minute
        if not is_gone and opened is not None:
            spans.append((opened, minute))
            opened = None
    return spans + ([(opened, None)] if opened is not None else [])


def run(seed, hosts, minutes):
    """({(monitor, host): spans} of the alerts, the same of the oracle)."""
    rng, system = random.Random(seed), Evaluation()
    system.now_s = (START - 1) * 60
    ids = [system.host() for _ in range(hosts)]
    monitors = {name: system.ok("POST", "/api/v0/monitors", body)["id"] for name, body in MONITORS.items()}
    days = {host: posts_of(rng, minutes) for host in ids}
    arriving = {}
    for host, posts in days.items():
        for post in posts:
            arriving.setdefault(post.at, []).append((host, post))
    last = START + minutes + 50
    for minute in range(START, last + 1):
        for host, post in arriving.get(minute, ()):
            system.arrived.put(SourceKey("a", f"host/{host}"), "load", post.ts * 60_000, post.value)
        system.look()
        assert system.now_s == minute * 60
    told = {(name, host): [] for name in monitors for host in ids}
    names = {monitor: name for name, monitor in monitors.items()}
    for alert in all_alerts(system):
        if alert.reason != WITHDRAWN:
            span = alert.opened_at // 60, None if alert.closed_at is None else alert.closed_at // 60
            told[names[alert.monitor_id], alert.host_id].append(span)
    expected = {(name, host): spans_of_values(MONITORS[name], days[host]) for name, host in told if name != "gone"}
    expected |= {("gone", host): spans_of_silence(days[host], last) for host in ids}
    return {key: sorted(spans, key=str) for key, spans in told.items()}, {
        key: sorted(spans, key=str) for key, spans in expected.items()
    }


def all_alerts(system):
    found, after = [], ""
    while True:
        page = system.ok("GET", f"/api/v0/alerts?withClosed=true&nextId={after}")
        found += page["alerts"]
        after = page.get("nextId", "")
        if not after:
            return [_Alert(**{"closedAt": None, "reason": "", **alert}) for alert in found]


class _Alert:
    def __init__(self, **fields):
        self.opened_at, self.closed_at = fields["openedAt"], fields["closedAt"]
        self.reason, self.monitor_id, self.host_id = fields["reason"], fields["monitorId"], fields["hostId"]
