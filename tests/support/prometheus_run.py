"""A run of a real Prometheus against the door, with an outage, and what its samples must be then."""

import time
from collections import Counter

import numpy as np
from carbyne.adapters.redis.commands import checked
from carbyne.core import keys
from carbyne.samples.columns import column
from carbyne.samples.rows import HotQuery

from harness.pipeline import APPS, LENGTH_S, Pipeline
from tests.support.prometheus_door import DoorServer, Prometheus, until
from tests.support.remote_write import bits, stored_of

STALE_BITS = 0x7FF0000000000002
NAN_BITS = 0x7FF8000000000001
"""Of every other NaN that Prometheus scrapes."""
SERIES_AT_ONCE = 50


def run(cluster, folder, open_s, shut_s):
    """Scrape for ``open_s``, shut the door for ``shut_s``, open it again for ``open_s``; then compare."""
    pipeline = Pipeline(cluster, int(time.time()))
    try:
        door = DoorServer(lambda event: APPS["writer"].handle(event, lambda: pipeline.writer))
        try:
            prometheus = Prometheus(folder, door.url)
            try:
                time.sleep(open_s)
                door.shut = True
                time.sleep(shut_s)
                door.shut = False
                time.sleep(open_s)
                end_ms = int(1000 * time.time())
                until(lambda: _newest_ms(pipeline) > end_ms + 2_000, 30)
                expected = prometheus.samples(end_ms)
            finally:
                prometheus.close()
        finally:
            door.close()
        return _compared(pipeline, door, expected, end_ms)
    finally:
        pipeline.close()


def _newest_ms(pipeline):
    return max((ts_ms for *_, ts_ms in _stored(pipeline).samples), default=0)


def _stored(pipeline):
    return stored_of([(tag, data) for _, tag, data in pipeline.stream.records])


def _compared(pipeline, door, expected, end_ms):
    """How often each status was answered; every sample of the TSDB is on the stream and in Redis bit for bit, and
    nothing else but stale markers."""
    stored = _stored(pipeline)
    here = {key: value for key, value in stored.by_labels().items() if key[1] <= end_ms}
    assert len(expected) > 1_000
    wrong = {key for key, value in expected.items() if here.get(key) != (bits(value) if value == value else NAN_BITS)}
    assert not wrong, sorted(wrong)[:5]
    assert {here[key] for key in here.keys() - expected.keys()} <= {STALE_BITS}
    pipeline.deliver()
    assert _in_redis(pipeline, stored) == stored.samples
    assert stored.metrics["go_goroutines"][0] == "gauge"
    return Counter(door.statuses)


def _in_redis(pipeline, stored):
    """The samples as the hot store reads them."""
    found = {}
    by_source = {}
    for tenant, source, key, _ in stored.samples:
        by_source.setdefault(keys.SourceKey(tenant, source), set()).add(key)
    for source, names in by_source.items():
        ordered = sorted(names)
        for first in range(0, len(ordered), SERIES_AT_ONCE):
            part = ordered[first : first + SERIES_AT_ONCE]
            answer = checked(pipeline.store.read_each([source], HotQuery(0, 2**43, LENGTH_S, part))[source])
            assert answer.whole
            for name in part:
                ts_ms, values = column(answer.columns, name)
                for at_ms, value in zip(ts_ms.tolist(), values.view(np.uint64).tolist(), strict=True):
                    found[(*source, name, at_ms)] = value
    return found
