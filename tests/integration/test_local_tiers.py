"""`make run` with short windows: samples go through Redis, DynamoDB and S3 while a client reads them."""

import itertools
import time
from collections import defaultdict
from urllib.parse import urlencode

import pytest
from carbyne.alerts.pictures import HEIGHT, WIDTH

from tests.support.hook import HOOK_NETWORKS, hooked
from tests.support.make_run import running

PARAMETERS = "RawWindowSeconds=60 SealGraceSeconds=1 SealJitterSeconds=1 WarmRawSeconds=8 HotSeconds=1"
MINUTES = 10
"""So far back the client posts at first."""
SETTLED_S = 5.0
"""So long after its 2xx a sample must be readable; 2 s are promised, on a machine that does nothing else."""


class Client:
    """Posts values of which no two are the same, and knows what a read may answer."""

    def __init__(self, system):
        self.system, self.values = system, itertools.count(1)
        self.first_s = int(time.time()) // 60 * 60 - MINUTES * 60
        self.posted = defaultdict(list)  # (name, time) -> [(monotonic seconds of the 2xx, value)]

    def post(self, name, times):
        body = [{"hostId": "web1", "name": name, "time": ts, "value": next(self.values) + 0.5} for ts in times]
        assert self.system.call("/api/v0/tsdb", body) == (200, {"success": True})
        for sample in body:
            self.posted[name, sample["time"]].append((time.monotonic(), sample["value"]))

    def check(self, name):
        """Every sample of a metric is there with its last value, or with one that came after the last settled one."""
        asked_s = time.monotonic()
        query = urlencode({"name": name, "from": self.first_s, "to": int(time.time())})
        status, answer = self.system.call(f"/api/v0/hosts/web1/metrics?{query}")
        assert status in (200, 404), answer
        answered = {point["time"]: point["value"] for point in answer.get("metrics", [])}
        times = {ts for of, ts in self.posted if of == name}
        assert answered.keys() <= times
        for ts in times:
            values = self.posted[name, ts]
            due = [i for i, (acknowledged_s, _) in enumerate(values) if acknowledged_s < asked_s - SETTLED_S]
            allowed = [value for _, value in values[max(due, default=0) :]]
            assert answered.get(ts) in (allowed if due else [*allowed, None]), (name, ts, values)

    def tiers(self):
        """start of a window -> the tiers that hold some of it."""
        query = urlencode({"source": "host/web1", "from": self.first_s, "to": int(time.time())})
        status, parts = self.system.call(f"/carbyne/v1/storage?{query}")
        assert status == 200, parts
        tiers_of = defaultdict(set)
        for part in parts:
            if part["resolution"] == "raw":
                tiers_of[part["window"]["start"]].add(part["tier"])
        return tiers_of


def follow(client, is_over, limit_s):
    """Post and read without a pause until it is over; all combinations of tiers that were seen."""
    names, seen, tiers_of, end_s = (
        itertools.cycle(f"m{i}" for i in range(5)),
        set(),
        client.tiers(),
        time.monotonic() + limit_s,
    )
    while not is_over(tiers_of):
        assert time.monotonic() < end_s, (tiers_of, seen)
        client.post(next(names), [int(time.time()) // 60 * 60])
        for name in {name for name, _ in client.posted}:
            client.check(name)
        tiers_of = client.tiers()
        seen |= {frozenset(tiers) for tiers in tiers_of.values()}
        time.sleep(1)
    return seen


def test_late_samples_go_through_all_tiers_and_a_webhook_is_told_with_a_picture():
    with hooked() as hook, running(PARAMETERS=f"{PARAMETERS} {HOOK_NETWORKS}", SCHEDULE_MINUTE_S="10") as system:
        hook.watch(system)
        client = Client(system)
        old = range(client.first_s, client.first_s + 5 * 60, 60)
        client.post("m0", old)
        seen = follow(client, lambda tiers_of: all(tiers_of[ts] == {"cold"} for ts in old), limit_s=110)
        assert {"hot", "warm", "cold"} <= set().union(*seen)
        client.check("m0")
        assert hook.picture().shape == (HEIGHT, WIDTH, 4)


@pytest.mark.nightly
def test_five_minutes_of_samples_go_through_all_tiers():
    with running(PARAMETERS=PARAMETERS) as system:
        client, first_s = Client(system), int(time.time()) // 60 * 60
        seen = follow(client, lambda tiers_of: tiers_of[first_s] == tiers_of[first_s + 60] == {"cold"}, limit_s=300)
        assert {"hot", "warm", "cold"} <= set().union(*seen)
        client.post("m0", [first_s])  # into a window that only the archive has
        end_s = time.monotonic() + 100
        follow(client, lambda tiers_of: time.monotonic() > end_s, limit_s=120)
        assert "cold" in client.tiers()[first_s]
