"""Rules of tenant a from the file to the stream: the evaluator, the notifier, and samples that arrive when put."""

from collections import Counter

import numpy as np
from carbyne.adapters.dynamodb.rule_groups import listed
from carbyne.core import labels as canonical
from carbyne.core.errors import RetryableError
from carbyne.core.meter import Meter
from carbyne.promql.labels import made
from carbyne.stream import records
from carbyne.wiring.evaluator import EvaluatorPorts, assemble

from tests.support.evaluation import Arrived
from tests.support.promqltest import Memory
from tests.support.registry_system import NOW_S, System
from tests.unit.test_notifier import Notified

MINUTE_S = 60
URL = "/carbyne/v1/rules/web.yml"


class Series(Memory):
    """``away``: samples can't be read; ``selects``: how often they were."""

    def __init__(self):
        super().__init__()
        self.away, self.selects = False, 0

    def select(self, selection):
        self.selects += 1
        if self.away:
            raise RetryableError("the hot tier is being rebuilt")
        return super().select(selection)


class Ruled(Notified):
    """``step``: minutes pass, each with an evaluation and a notifier's run, unless it is ``stopped``; ``over``: why
    tenants may write nothing."""

    def __init__(self, rules="", interval="1m"):
        super().__init__()
        self.now_s = NOW_S - NOW_S % MINUTE_S
        self.series, self.arrived, self.bodies = {"a": Series(), "b": Series()}, Arrived(), []
        self.stopped, self.targets, self.counted, self.over = False, {}, Counter(), None
        self.evaluator = self.another()
        if rules:
            self.load(rules, interval)

    def load(self, rules, interval="1m"):
        return self.ok("PUT", URL, f"groups:\n- name: g\n  interval: {interval}\n  rules:\n{rules}")

    def another(self, store=None):
        def series_of(tenant, behind):
            if behind:
                raise RetryableError("the stream is behind")
            return self.series[tenant]

        now_ms = lambda: self.now_s * 1000  # noqa: E731
        return assemble(
            EvaluatorPorts(
                *(store or self.store, self.arrived, self.arrived, self.arrived.rolled, self.arrived.query),
                *(now_ms, Meter(lambda: float(self.now_s), self.counted.update), lambda *_: self.over),
                *(lambda: 0.0, series_of),
            )
        )

    def put_sample(self, value, tenant="a", **labels):
        """One of the metric m, of the next minute."""
        samples = self.series[tenant].samples
        samples.setdefault(made({"__name__": "m", **labels}), {})[(self.now_s + MINUTE_S) * 1000] = float(value)

    def step(self, minutes=1):
        for _ in range(minutes):
            self.now_s += MINUTE_S
            self.evaluator.groups.run(lambda: 50.0)
            if not self.stopped:
                self.notify()

    def _put(self, entries, before=()):
        """The stream: what it takes can be read at once."""
        entries = [*before, *entries]
        System._put(self, entries)
        self.bodies += [data for _, data in entries]
        for _, data in entries:
            record = records.decode(data)
            if isinstance(record, records.SamplesRecord):
                for row in record.rows:
                    keys = record.lists[row.series].decode().split("\n")
                    for key, value in zip(keys, np.frombuffer(row.values, "<f8").tolist(), strict=True):
                        named = made({**canonical.parse(key), **self._target(record.tenant, row.source)})
                        self.series[record.tenant].samples.setdefault(named, {})[row.ts_ms] = value
            else:
                self.targets.update(((record.tenant, source), text) for source, text in record.targets.items())

    def _target(self, tenant, source):
        return canonical.parse(self.targets.get((tenant, source), ""))

    def recorded(self, name):
        """Minutes from now, negative -> value, of the only series of a name."""
        [samples] = [of for labels, of in self.series["a"].samples.items() if dict(labels)["__name__"] == name]
        return {(ts // 1000 - self.now_s) // MINUTE_S: value for ts, value in samples.items()}

    def rules(self):
        [group] = listed(self.store, "a")
        return group.rules

    def states(self, number=0):
        return Counter(alert.state for alert in self.rules()[number].alerts)
