"""What six hours without a network cost: the agent's backlog is late and out of order, and gets sealed as it comes.

The same day of one host is posted twice by an agent as it is, once without a fault and once with an outage.  Both read
back exactly, and the second one may cost three times the write units of the first at most.
"""

import json
import random
from collections import Counter

import numpy as np
from carbyne.core.keys import SourceKey, Window
from carbyne.registry.ids import new_host_id
from carbyne.samples.rollups import AGGREGATES

from harness.pipeline import LENGTH_S, SCHEDULE, Pipeline, flush
from servers import plain
from tests.integration.test_agent import KEY, Endpoint, ingesting
from tests.integration.test_sealing_volume import reference
from tests.support.agent import COLLECT_S, QUEUE_ENTRIES, Agent, Entry, Simulation
from tests.support.fakes import FakeTable, write_units
from tests.support.registry_system import System

DAY_S = 86_400
START_S = 19_675 * DAY_S
HOUR_S = 3_600
OUTAGE_S = int(9.5 * HOUR_S), int(15.5 * HOUR_S) - 300
"""An agent's memory is full five minutes later."""
END_S = 26 * HOUR_S
SEAL_EACH_S = 300
METRICS = 100
RATIO_MAX = 3.0
JITTER_MS = 60_000
"""The hosts of the tests are sealed within a minute: the less they wait, the more often a backlog is sealed."""


class Priced(FakeTable):
    """``written``: write units by kind of item, ``puts``: how many puts."""

    def __init__(self):
        super().__init__()
        self.written, self.puts = Counter(), Counter()

    def put(self, partition, sort, item, replaces):
        done = super().put(partition, sort, item, replaces)
        kind = partition.partition(":")[0]
        self.written[kind] += write_units(partition, sort, item) * done
        self.puts[kind] += done
        return done

    def write(self, puts, removals):
        before = self.units_of.total()
        super().write(puts, removals)
        self.written["late rows"] += self.units_of.total() - before
        self.puts["late rows"] += len(puts) + len(removals)

    def remove(self, partition, sort, item):
        done = super().remove(partition, sort, item)
        self.written[partition.partition(":")[0]] += write_units(partition, sort, item) * done
        return done


class Host(Agent):
    """An agent of ``course`` [1440, names], a day of minutes."""

    def __init__(self, simulation, send, names, course):
        self.names, self.course = names, course
        super().__init__(simulation, "backlog", send)

    def _collect(self, tick_s):
        yield COLLECT_S
        while len(self.queue) >= QUEUE_ENTRIES:
            yield 1
        minute = int(tick_s - START_S) // 60
        if minute < len(self.course):
            values = dict(zip(self.names, self.course[minute].tolist(), strict=True))
            for name, value in values.items():
                self.collected.setdefault(name, {})[int(tick_s) // 60 * 60_000] = value
            self.queue.append(
                Entry([{"hostId": self.host_id, "name": n, "time": int(tick_s), "value": v} for n, v in values.items()])
            )
        self._collecting -= 1


class Day:
    """One host for a day and two hours.  ``fault(now_s)``: as ``Endpoint`` takes it; seconds from the day's start."""

    def __init__(self, cluster, host_id, fault):
        flush(cluster)
        names, rows = reference()
        chance = np.random.default_rng(3)
        course = np.hstack([np.roll(rows, shift, axis=0) for shift in chance.integers(0, len(rows), 2)])
        names = sorted([*names, *(f"second.{name}" for name in names)])
        assert course.shape == (DAY_S // 60, METRICS)
        self.simulation = Simulation(START_S)
        self.path = Pipeline(cluster, START_S, tenants={KEY: "a"}, table=Priced(), clocked=True)
        registry = System()
        registry.registry = registry.registry._replace(new_id=lambda: host_id)
        self.endpoint = Endpoint(self.path, registry, self.simulation, lambda now_s: fault(now_s - START_S))
        self.host = Host(self.simulation, self.endpoint.send, names, course)
        self.sealed = 0
        self.simulation.start(ingesting(self.path, self.simulation, 5))
        self.simulation.start(self._seal())

    def run(self):
        self.simulation.run_until(START_S + END_S)
        self.path.now_s = START_S + END_S

    def _seal(self):
        while True:
            yield SEAL_EACH_S
            self.path.now_s = int(self.simulation.now_s)
            self.sealed += self.path.seal()

    def expect(self):
        """Raw samples of all metrics, and every aggregate of some metrics' rollups, bit for bit."""
        assert self.host.abandoned == 0 and not self.host.queue and not self.host.dropped_ticks
        assert all(len(samples) == DAY_S // 60 for samples in self.host.collected.values())
        assert not self.unsealed(), "all of it is in blocks"
        for number, (name, samples) in enumerate(self.host.collected.items()):
            self._expect_view(name, samples, "raw", None)
            for resolution in plain.BUCKET_MS if number % 7 == 0 else ():
                for aggregate in ("avg", *AGGREGATES):
                    self._expect_view(name, samples, resolution, aggregate)

    def _expect_view(self, name, samples, resolution, aggregate):
        asked = [("name", name), ("from", START_S), ("to", START_S + DAY_S - 1), ("resolution", resolution)]
        asked += [("agg", aggregate)] if aggregate else []
        answer = self.path.get(f"/api/v0/hosts/{self.host.host_id}/metrics", *asked, api_key=KEY)
        assert answer["statusCode"] == 200, answer
        seen = {m["time"] * 1000: plain.bits(m["value"]) for m in json.loads(answer["body"])["metrics"]}
        span = START_S * 1000, (START_S + DAY_S - 1) * 1000
        assert seen == plain.view(samples, resolution, aggregate, *span), f"{aggregate} {resolution} of {name}"

    def unsealed(self):
        far_ms = (START_S + 400 * DAY_S) * 1000
        return self.path.sealer._hot.due(far_ms).windows

    def report(self):
        written, puts = self.path.table.written, self.path.table.puts
        kinds = ", ".join(f"{kind} {written[kind]} in {puts[kind]}" for kind in sorted(written))
        return f"{written.total()} write units, {self.sealed} seals; units in puts: {kinds}"


def host_of_little_jitter():
    """A host that is sealed as soon as its windows can be."""
    window = Window(START_S, LENGTH_S)
    earliest_ms = (window.end_s + SCHEDULE.grace_s) * 1000
    ids = (new_host_id(random.Random(seed).choice) for seed in range(10_000))
    return next(
        host_id
        for host_id in ids
        if SCHEDULE.due_ms(SourceKey("a", f"host/{host_id}"), window, 0) < earliest_ms + JITTER_MS
    )


def outage(now_s):
    """No network for six hours; while the backlog is sent, now and then a gateway that fails."""
    begin_s, end_s = OUTAGE_S
    if begin_s <= now_s < end_s:
        return "refused"
    return "bad gateway" if end_s <= now_s < end_s + 3 * HOUR_S and now_s % 1_200 < 30 else None


def test_a_backlog_of_six_hours_reads_back_exactly_and_costs_at_most_three_times_as_much(cluster):
    host_id = host_of_little_jitter()
    days = {}
    for name, fault in (("in order", lambda _: None), ("six hours late", outage)):
        days[name] = day = Day(cluster, host_id, fault)
        day.run()
        day.expect()
        day.path.close()
        print(f"\n{name}: {day.report()}")
    assert sum(not done for _, _, done in days["six hours late"].host.posts) > 300
    units = [days[name].path.table.written.total() for name in ("in order", "six hours late")]
    print(f"ratio {units[1] / units[0]:.2f}")
    assert units[1] <= RATIO_MAX * units[0]
