"""A run of real senders against the door, with an outage, a reshard and a kill -9, and what their samples must be then.

A Prometheus of Debian's and a sender of remote write 2.0 scrape the same pages; writer, ingester, Redis Cluster and
sealer run beside them by the clock of the wall.
"""

import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from typing import NamedTuple

import numpy as np
from carbyne.core import keys
from carbyne.core.keys import RAW
from carbyne.core.labels import parse
from carbyne.read.reader import How
from carbyne.samples.columns import column

from harness.pipeline import APPS, Pipeline
from servers.valkey import Cluster
from tests.support.prometheus_door import DoorServer, Exporter, Prometheus, until
from tests.support.redis_load import Operator
from tests.support.remote_write import bits, stored_of
from tests.support.sender_2 import Sender2

STALE_BITS = 0x7FF0000000000002
NAN_BITS = 0x7FF8000000000001
"""Of every other NaN that Prometheus scrapes."""
SERIES_AT_ONCE = 50
DELIVERED_EACH_S = 0.5
SCRAPE_MS = 300
"""How long a scrape may take: the samples of one that was under way are not counted yet."""


class Times(NamedTuple):
    """``open_s``: before the outage and again after it; ``shut_s``: of the outage; ``interval_s``: of scrapes."""

    open_s: float
    shut_s: float
    interval_s: float


class Outcome(NamedTuple):
    """``statuses``: how often each was answered; ``samples``: of Prometheus' store; ``unsent``: of them not here, and
    ``unsent_max``: as many as it had not sent by its own metrics; ``samples_2``: of the 2.0 sender."""

    statuses: Counter[int]
    samples: int
    unsent: int
    unsent_max: int
    samples_2: int


class Ingesting:
    """The stream goes on into Redis while the block runs, and the pipeline's clock with the wall's."""

    def __init__(self, pipeline):
        self._pipeline, self._delivered, self._error = pipeline, 0, None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            while not self._stopping.wait(DELIVERED_EACH_S):
                self._some()
        except BaseException as error:  # noqa: BLE001 - raised where the thread is joined
            self._error = error

    def _some(self):
        self._pipeline.now_s = int(time.time())
        records = self._pipeline.stream.records[self._delivered :]
        self._pipeline.deliver(records)
        self._delivered += len(records)

    def close(self):
        self._stopping.set()
        self._thread.join()
        if self._error:
            raise self._error
        self._some()


class Here:
    """What the stream has: ``samples``: (labels as sorted pairs, ts_ms) -> bits; ``stored`` of its own names."""

    def __init__(self, stream):
        self._stream, self._seen = stream, 0
        self.stored = stored_of([])
        self.samples = {}

    def look(self):
        """The samples so far."""
        records = self._stream.records[self._seen :]
        self._seen += len(records)
        more = stored_of([(tag, data) for _, tag, data in records])
        for ours, theirs in zip(self.stored, more, strict=True):
            ours.update(theirs)
        for (_, source, key, ts_ms), value in more.samples.items():
            labels = parse(self.stored.targets.get(source, "")) | parse(key)
            self.samples[tuple(sorted(labels.items())), ts_ms] = value
        return self.samples


def run(folder, times, monkeypatch):
    """Scrape for ``open_s`` with a reshard of Redis, for ``shut_s`` with the door shut and a kill -9 of the senders,
    and for ``open_s`` with a reshard back; then compare."""
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(masters=3, replicas=1))
        pipeline = stack.enter_context(closing(Pipeline(cluster, int(time.time()))))
        operator = Operator(cluster.endpoint)
        stack.enter_context(operator.noting(monkeypatch, pipeline.table))
        door = stack.enter_context(
            closing(DoorServer(lambda event: APPS["writer"].handle(event, lambda: pipeline.writer)))
        )
        exporter = stack.enter_context(closing(Exporter()))
        with closing(Ingesting(pipeline)):
            prometheus = stack.enter_context(closing(Prometheus(folder, door.url, exporter.port, times.interval_s)))
            with closing(Sender2(door.url, [exporter.port, prometheus.port], times.interval_s)) as sender:
                _reshard(operator, times.open_s, "rebalance --weight {0}=3 --weight {1}=1", *cluster.nodes[:2])
                killed = _outage(door, prometheus, sender, times.shut_s)
                _reshard(operator, times.open_s, "rebalance")
                end_ms = int(1000 * time.time())
                until(lambda: not sender.pending, 60, "the 2.0 sender still has samples")
            here = Here(pipeline.stream)
            expected = prometheus.samples(end_ms)
            after = {key for key in expected if key[1] > killed.at_ms}
            until(lambda: not after - here.look().keys(), 60, "samples of Prometheus are not here")
            door.shut = True  # what comes from now on would be on the stream and not in Redis
            until(lambda: door.statuses[-1] == 503, 60, "Prometheus sends nothing more")
        seen = here.look()
        door.shut = False  # or Prometheus would wait at its end
        unsent = _compared(expected, seen, killed.at_ms)
        unsent_max = killed.unsent + sum(killed.counted_ms - SCRAPE_MS < ts_ms <= killed.at_ms for _, ts_ms in expected)
        assert len(unsent) <= unsent_max
        _compared_2(sender, here.samples)
        _stored_alike(pipeline, here.stored)
        assert here.stored.metrics["go_goroutines"][0] == here.stored.metrics["node_load1"][0] == "gauge"
        return Outcome(Counter(door.statuses), len(expected), len(unsent), unsent_max, len(sender.samples))


def _reshard(operator, seconds, command, *nodes):
    """Half of the time passes, then slots move under load, and the rest of the time passes."""
    end_s = time.monotonic() + seconds
    time.sleep(seconds / 2)
    assert operator.redis(command, *nodes), operator.remarks
    assert any("moves" in line or "slots" in line for line in operator.everything), operator.everything
    time.sleep(max(0.0, end_s - time.monotonic()))


def _outage(door, prometheus, sender, seconds):
    """How Prometheus was killed."""
    door.shut = True
    time.sleep(seconds / 2)
    killed = prometheus.kill()
    sender.kill()
    prometheus.start()
    time.sleep(seconds / 2)
    door.shut = False
    return killed


def _compared(expected, here, killed_ms):
    """The samples of the TSDB that are not here, all from before the kill; the others are here bit for bit, and nothing
    else of Prometheus' but stale markers."""
    assert len(expected) > 1_000
    unsent = expected.keys() - here.keys()
    wrong = [key for key in expected.keys() - unsent if here[key] != _bits(expected[key])]
    assert not wrong, sorted(wrong)[:5]
    end_ms = max(ts_ms for _, ts_ms in expected)
    own = {key for key in here if key[1] <= end_ms and ("job", "two") not in key[0]}
    assert {here[key] for key in own - expected.keys()} <= {STALE_BITS}
    assert max((ts_ms for _, ts_ms in unsent), default=0) <= killed_ms
    return unsent


def _bits(value):
    return bits(value) if value == value else NAN_BITS


def _compared_2(sender, here):
    assert not sender.problems, sender.problems[:3]
    assert len(sender.samples) > 1_000
    own = {key: value for key, value in here.items() if ("job", "two") in key[0]}
    missing = sender.samples.keys() - own.keys()
    assert missing <= sender.unsent
    assert own == {key: value for key, value in sender.samples.items() if key not in missing}


def _stored_alike(pipeline, stored):
    """Redis has what the stream has, once each, and after the seal the reader answers it from blocks."""
    hot = pipeline.reader.queries.reader
    by_source = {}
    for tenant, source, key, _ in stored.samples:
        by_source.setdefault(keys.SourceKey(tenant, source), set()).add(key)
    assert _read(hot, by_source) == stored.samples
    pipeline.now_s += 8 * 3600
    assert pipeline.seal() > 0
    assert not any(pipeline.store.series(source) for source in by_source), "blocks alone answer now"
    assert _read(hot, by_source) == stored.samples


def _read(reader, by_source):
    """The samples as the reader has them."""
    samples = {}
    for source, names in by_source.items():
        ordered = sorted(names)
        for first in range(0, len(ordered), SERIES_AT_ONCE):
            part = ordered[first : first + SERIES_AT_ONCE]
            columns = reader.read_many(source, part, 0, 2**43, How(RAW)).columns
            for name in part:
                ts_ms, values = column(columns, name)
                assert len(set(ts_ms.tolist())) == len(ts_ms), "none twice"
                for at_ms, value in zip(ts_ms.tolist(), values.view(np.uint64).tolist(), strict=True):
                    samples[(*source, name, at_ms)] = value
    return samples
