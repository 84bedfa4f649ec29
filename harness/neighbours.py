"""Two tenants: one does at once all that is expensive, the other one posts a sample now and then and reads it.

Both go through the functions' own handlers and a real Redis Cluster.  ``Neighbours`` keeps what was accepted, and how
long the second tenant's samples took from the post until they were read.
"""

import json
import time
from collections import Counter

from carbyne.core.keys import RAW, SourceKey, Window
from carbyne.store.catalogue import Catalogue

from harness.pipeline import LENGTH_S

READABLE_S_MAX = 5.0
"""Within which the other tenant's samples are readable, at p99."""
DAYS = 460


class Neighbours:
    """``path``: a Pipeline with the keys ``loud`` and ``quiet``."""

    def __init__(self, path):
        self.path = path
        self.waited_s = []
        self.answers = Counter()
        self.accepted = {}
        self.delivered = 0

    def quiet(self):
        """The other tenant posts a sample; the stream is worked off up to it; it is read."""
        began_s, now_s = time.monotonic(), self.path.now_s
        value = float(len(self.waited_s))
        assert self.path.post([("q", "m", now_s, value)], api_key="quiet")["statusCode"] == 200
        self.accepted["quiet", "q", "m", now_s // 60 * 60] = value
        self.deliver()
        status, _, points = self.path.get_metric("q", "m", now_s // 60 * 60, now_s, api_key="quiet")
        assert (status, points) == (200, [(now_s // 60 * 60, value)])
        self.waited_s.append(time.monotonic() - began_s)

    def deliver(self):
        new = self.path.stream.records[self.delivered :]
        self.delivered += len(new)
        self.path.deliver(new)

    def minute(self):
        """A minute passes, in which the sealer runs; what it takes is not the other tenant's time: it runs beside."""
        self.path.now_s += 60
        self.path.seal()

    def seal_windows(self, host):
        """The index says that the host has blocks of 460 days."""
        source, first_s = SourceKey("loud", f"host/{host}"), self.path.now_s // LENGTH_S * LENGTH_S
        windows = {Window(first_s - number * LENGTH_S, LENGTH_S) for number in range(1, DAYS * 86_400 // LENGTH_S)}
        Catalogue(self.path.table).of(source)._change(RAW, lambda index: index.sealed.update(windows) or True)

    def delete(self, host, number):
        """A delete of ten minutes of long ago, each number of others; whether it was accepted."""
        from_s = self.path.now_s - 30 * 86_400 - number * 2 * LENGTH_S
        to_s = from_s + 600
        status = self.path.delete(f"host/{host}", api_key="loud", from_s=from_s, to_s=to_s)["statusCode"]
        self.answers["delete", status] += 1
        return status == 200

    def sparse(self, hosts, windows, oldest_s=0):
        """One sample in each of so many windows of each host, all in one post; whether it was accepted."""
        first_s = self.path.now_s // LENGTH_S * LENGTH_S - oldest_s
        samples = [
            (host, "late", first_s - number * LENGTH_S + 600, float(number))
            for host in hosts
            for number in range(1, windows + 1)
        ]
        return self._post("late", samples)

    def new_series(self, host, number, series):
        """So many series that were never seen, in one post; whether it was accepted."""
        names = [f"new.{number}.{index}" for index in range(series)]
        return self._post("new", [(host, name, self.path.now_s, 1.0) for name in names])

    def _post(self, kind, samples):
        status = self.path.post(samples, api_key="loud")["statusCode"]
        self.answers[kind, status] += 1
        if status == 200:
            times = ((host, name, time_s // 60 * 60, value) for host, name, time_s, value in samples)
            self.accepted |= {("loud", host, name, time_s): value for host, name, time_s, value in times}
        return status == 200

    def settle(self):
        """All is sealed that was taken."""
        for _ in range(6):
            self.path.now_s += LENGTH_S
            self.path.seal()

    def expect_all(self):
        """Every accepted sample of both reads back, each (host, series) over all time."""
        series = {}
        for (tenant, host, name, time_s), value in self.accepted.items():
            series.setdefault((tenant, host, name), {})[time_s] = value
        for number, ((tenant, host, name), samples) in enumerate(series.items()):
            if name.startswith("new.") and number % 997:
                continue  # one in many: each is a read of its own
            for time_s in sorted(samples)[:: max(1, len(samples) // 400)]:
                answer = self.path.get_metric(host, name, time_s, time_s, api_key=tenant)
                assert (answer[0], answer[2]) == (200, [(time_s, samples[time_s])]), (
                    tenant,
                    host,
                    name,
                    json.dumps(answer[2]),
                )

    def expect_quick(self):
        waited_s = sorted(self.waited_s)
        p99_s = waited_s[min(len(waited_s) - 1, len(waited_s) * 99 // 100)]
        print(
            f"\nreadable after {waited_s[len(waited_s) // 2]:.3f} s at p50, {p99_s:.3f} s at p99; {dict(self.answers)}"
        )
        assert p99_s < READABLE_S_MAX
