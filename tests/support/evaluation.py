"""An evaluator over the registry in a dict, and samples that arrive when a test says so."""

from collections import Counter, defaultdict

import numpy as np
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.registry import alerts
from carbyne.samples.columns import Rows, from_rows
from carbyne.wiring.evaluator import EvaluatorPorts, assemble

from tests.support.registry_system import NOW_S, System

MINUTE_MS = 60_000


class Read:
    def __init__(self, columns):
        self.columns = columns


class Arrived:
    """``Arriving`` and ``ManyReader``: what has arrived; ``unseen``: sources whose lane is not whole; ``unread``: those
    that can't be read; ``reads``: how often each was."""

    def __init__(self):
        self.samples = defaultdict(dict)
        self.counts = Counter()
        self.unseen, self.unread, self.reads = set(), set(), Counter()
        self.lanes_behind = set()

    def behind(self, now_ms):
        return self.lanes_behind

    def put(self, source, series, ts_ms, value):
        """A sample; the same time again is no other row."""
        self.counts[source] += ts_ms not in self.samples[source, series]
        self.samples[source, series][ts_ms] = value

    def rows(self, sources, from_ms, to_ms):
        return {source: None if source in self.unseen else self.counts[source] for source in sources}

    def read_many(self, source, series, from_ms, to_ms):
        self.reads[source] += 1
        if source in self.unread:
            raise RetryableError("the hot tier is being rebuilt")
        rows = []
        for name in series:
            pairs = sorted((ts, value) for ts, value in self.samples[source, name].items() if from_ms <= ts <= to_ms)
            if pairs:
                bits = np.array([[value] for _, value in pairs], np.float64).view(np.uint64)
                times = np.array([ts for ts, _ in pairs], np.int64)
                rows.append(Rows((name,), times, [b"\0" * 26] * len(pairs), bits))
        return Read(from_rows(rows))


class Evaluation(System):
    """``minute``: passes with each ``look``; ``post``: a sample of tenant a, of this minute unless ``ago`` says."""

    def __init__(self):
        super().__init__()
        self.now_s = NOW_S - NOW_S % 60
        self.arrived = Arrived()
        self.evaluator = self.another()
        self.seconds_left = 50.0

    def another(self, store=None):
        return assemble(
            EvaluatorPorts(store or self.store, self.arrived, self.arrived, lambda: self.now_s * 1000, lambda: 0.0)
        )

    def post(self, source, series, value, ago=0):
        self.arrived.put(SourceKey("a", source), series, (self.now_s - 60 * ago) * 1000, float(value))

    def look(self, minutes=1):
        """Let minutes pass, each with a look."""
        for _ in range(minutes):
            self.now_s += 60
            self.evaluator.run(lambda: self.seconds_left)

    def open_alerts(self):
        return [stored.alert for stored in alerts.opened(self.store, "a")]

    def all_alerts(self):
        return alerts.find(self.store, "a", with_closed=True, after="", most=100)[0]
