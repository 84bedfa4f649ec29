"""An evaluator over the registry in a dict, and samples that arrive when a test says so."""

from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict

import numpy as np
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.meter import Meter
from carbyne.evaluate.look import ComputedSeries
from carbyne.promql.labels import made
from carbyne.promql.query import Options, over
from carbyne.promql.scope import QuerySpan
from carbyne.promql.select import SeriesSamples, tests_of
from carbyne.registry import alerts
from carbyne.samples.columns import Rows, from_rows
from carbyne.samples.rollups import roll
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
        self.samples, self.times = defaultdict(dict), defaultdict(list)
        self.counts = Counter()
        self.unseen, self.unread, self.reads = set(), set(), Counter()
        self.lanes_behind, self._unknown = set(), set()

    def behind(self, now_ms):
        return self.lanes_behind

    def put(self, source, series, ts_ms, value):
        """A sample; the same time again is no other row."""
        samples = self.samples[source, series]
        if ts_ms not in samples:
            self.counts[source] += 1
            insort(self.times[source, series], ts_ms)
        samples[ts_ms] = value

    def between(self, source, series, from_ms, to_ms):
        """(time, value), ascending."""
        times, samples = self.times[source, series], self.samples[source, series]
        return [(ts, samples[ts]) for ts in times[bisect_left(times, from_ms) : bisect_right(times, to_ms)]]

    def rows(self, sources, from_ms, to_ms):
        return {source: None if source in self.unseen else self.counts[source] for source in sources}

    def read_many(self, source, series, from_ms, to_ms):
        self.reads[source] += 1
        if source in self.unread:
            raise RetryableError("the hot tier is being rebuilt")
        rows = []
        for name in series:
            pairs = self.between(source, name, from_ms, to_ms)
            if pairs:
                bits = np.array([[value] for _, value in pairs], np.float64).view(np.uint64)
                times = np.array([ts for ts, _ in pairs], np.int64)
                rows.append(Rows((name,), times, [b"\0" * 26] * len(pairs), bits))
        return Read(from_rows(rows))

    def rolled(self, source, series, from_ms, to_ms, resolution):
        """Buckets of 5m or 1h that begin within a span, out of raw samples."""
        bucket_ms = {"5m": 300_000, "1h": 3_600_000}[resolution]
        raw = self.read_many(source, series, from_ms - from_ms % bucket_ms, to_ms - to_ms % bucket_ms + bucket_ms - 1)
        return Read(roll(roll(raw.columns, 300), bucket_ms // 1000) if bucket_ms > 300_000 else roll(raw.columns, 300))

    def series(self, source):
        return {series for of, series in self.samples if of == source}

    def select(self, selection):
        """A Selector of PromQL: the tenant's samples under ``__name__`` and ``source``."""
        matches, chosen = tests_of(selection.matches), []
        for source, series in sorted(self.samples):
            if source in self.unread or source.lane in self._unknown:
                raise RetryableError("the hot tier is being rebuilt, or behind")
            labels = made({"__name__": series, "source": source.source})
            inside = self.between(source, series, selection.after_ms + 1, selection.until_ms)
            if inside and matches(labels):
                ts_ms, values = zip(*inside, strict=True)
                chosen.append(SeriesSamples(labels, np.array(ts_ms, np.int64), np.array(values, np.float64)))
        return sorted(chosen, key=lambda series: series.labels)

    def query(self, tenant, text, span_ms, timeout_s, behind):
        (from_ms, until_ms), self._unknown = span_ms, behind
        frame = over(text, QuerySpan(from_ms, until_ms, MINUTE_MS), self, Options(lambda: 0.0)).frame
        times = np.arange(from_ms, until_ms + 1, MINUTE_MS)
        return [
            ComputedSeries(dict(labels), list(zip(times[there].tolist(), values[there].tolist(), strict=True)))
            for labels, values, there in zip(frame.labels, frame.values, frame.there, strict=True)
        ]


class Evaluation(System):
    """``counted``: by metric; ``minute``: passes with each ``look``; ``post``: a sample of tenant a, of this minute
    unless ``ago`` says."""

    def __init__(self):
        super().__init__()
        self.now_s = NOW_S - NOW_S % 60
        self.monotonic_s = 0.0
        self.arrived = Arrived()
        self.counted = Counter()
        self.evaluator = self.another()
        self.seconds_left = 50.0

    def another(self, store=None):
        arrived = self.arrived
        return assemble(
            EvaluatorPorts(
                *(store or self.store, arrived, arrived, arrived.rolled, self.query),
                lambda: self.now_s * 1000,
                Meter(lambda: float(self.now_s), self.counted.update),
                lambda *_: None,
                lambda: self.monotonic_s,
            )
        )

    def query(self, *given):
        return self.arrived.query(*given)

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
