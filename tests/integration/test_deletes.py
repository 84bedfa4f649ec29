"""Deletes through all tiers: what was posted before is gone from every read and every store, and stays away."""

import random
from itertools import count

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.keys import RAW, BlockKey
from carbyne.samples import blocks
from carbyne.samples.columns import column

from harness.pipeline import flush
from tests.integration.test_archive import HOST, MINUTES, NAMES, SOURCE, WINDOWS, Path
from tests.support.fakes import Crash, Steps

GONE = NAMES[0]
FROM_S, TO_S = WINDOWS[0].start_s + 60 * MINUTES[1], WINDOWS[2].start_s + 60 * MINUTES[3]
"""Of a delete that ends within the first window of three and begins within the last one."""


class Deleting(Path):
    """``expected``: what the samples that are left must give, at every resolution."""

    def forget(self, **span):
        """A delete is posted and ingested; ``name``, ``from_s`` and ``to_s`` as of the API."""
        start = len(self.stream.records)
        answer = self.delete(SOURCE.source, **span)
        assert answer["statusCode"] == 200, answer["body"]
        self.deliver(self.stream.records[start:])
        self.expected = {
            (name, time_s): bits
            for (name, time_s), bits in self.expected.items()
            if span.get("name", name) != name or not span.get("from_s", 0) <= time_s <= span.get("to_s", 2**40)
        }

    def check(self):
        super().check()
        for resolution, length_s in (("5m", 300), ("1h", 3600), ("1d", 86_400)):
            for name in NAMES:
                assert self.counts_of(name, resolution) == self.expected_counts(name, length_s), (name, resolution)

    def counts_of(self, name, resolution):
        span = WINDOWS[0].start_s, WINDOWS[-1].end_s
        status, _, points = self.get_metric(HOST, name, *span, resolution=resolution, agg="count")
        assert status == 200, points
        return dict(points)

    def expected_counts(self, name, length_s):
        counts = {}
        for of, time_s in self.expected:
            if of == name:
                start_s = time_s // length_s * length_s
                counts[start_s] = counts.get(start_s, 0) + 1
        return counts

    def seal_due(self):
        """Everything that is due within the next hours."""
        for _ in range(3):
            self.now_s += 3_600
            self.seal()

    def archive_all(self):
        self.archive()
        self.expire()
        self.archive()

    def stored(self):
        """{(name, time_s)} of what blocks of both tiers hold."""
        samples = set()
        for key in [BlockKey(SOURCE, RAW, window) for window in WINDOWS]:
            items = [self.table.get(key.partition, key.sort), self.cold.get(key)]
            for item in filter(None, items):
                columns = blocks.decode(item.data)
                samples |= {(name, int(ts) // 1000) for name in NAMES for ts in column(columns, name)[0]}
        return samples


@pytest.fixture
def path(cluster, aws):
    flush(cluster)
    running = Deleting(cluster, aws)
    for number, window in enumerate(WINDOWS):
        running.fill(window, number)
    running.seal_window(WINDOWS[0])
    running.archive_all()
    running.seal_window(WINDOWS[1])
    assert running.tiers() == {(0, "cold"), (1, "warm"), (2, "hot")}
    yield running
    running.close()


@pytest.mark.parametrize(
    "span",
    [
        {"name": GONE, "from_s": FROM_S, "to_s": TO_S},
        {"from_s": FROM_S, "to_s": TO_S},
        {"name": GONE},
        {},
        {"name": "never", "from_s": FROM_S, "to_s": TO_S},
        {"from_s": WINDOWS[0].start_s - 1, "to_s": WINDOWS[0].start_s - 1},
    ],
    ids=["one series, a span", "all series, a span", "one series", "everything", "an unknown series", "another span"],
)
def test_it_is_gone_at_once_from_all_tiers_and_then_from_the_stores(path, span):
    path.check()
    path.forget(**span)
    path.check()
    path.seal_due()
    path.check()
    path.archive()
    assert path.stored() == path.expected.keys()
    path.check()
    path.archive_all()
    assert path.stored() == path.expected.keys()
    path.check()


def test_what_is_posted_behind_it_stays(path):
    path.forget()
    for number, window in enumerate(WINDOWS):
        path.fill(window, 10 + number, MINUTES[1:3])
    path.check()
    path.seal_due()
    path.check()
    path.archive_all()
    assert path.stored() == path.expected.keys() != set()
    path.check()


def test_it_does_not_come_back_with_records_that_come_again(path):
    path.forget(from_s=FROM_S, to_s=TO_S)
    path.seal_due()
    again = list(path.stream.records)
    random.Random(1).shuffle(again)
    path.deliver(again, batch=1)
    path.check()
    path.seal_due()
    path.check()
    assert path.stored() == path.expected.keys()


def test_nor_with_a_replay_after_everything_in_redis_is_lost(path, cluster):
    path.forget(name=GONE)
    flush(cluster)
    path.store.init()
    path.reconnect()
    path.deliver()
    path.check()
    path.seal_due()
    path.archive_all()
    path.check()
    assert path.stored() == path.expected.keys()


def test_nor_with_a_change_that_the_archiver_gets_late(path):
    """Its image is from before the delete."""
    late = list(path.table.records)
    assert late
    path.forget(from_s=FROM_S, to_s=TO_S)
    path.seal_due()
    path.archive_all()
    path.table.records += late
    path.archive()
    path.check()
    assert path.stored() == path.expected.keys()


@pytest.mark.parametrize(
    ("offset", "every"),
    [(0, 12), (7, 12), *(pytest.param(offset, 6, marks=pytest.mark.nightly) for offset in range(6))],
)
def test_a_sealer_that_dies_anywhere_leaves_nothing_of_it(path, offset, every):
    path.forget(from_s=FROM_S, to_s=TO_S)
    for stop in range(offset, 500, every):
        steps = Steps(stop)
        try:
            for window in WINDOWS:
                path.seal_window(window, steps)
        except Crash:
            path.check()
        else:
            break
    assert stop > 60
    path.check()
    path.seal_due()
    path.archive_all()
    path.check()
    assert path.stored() == path.expected.keys()


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_reader_asks_at_the_steps_of_the_seal(path, every):
    path.forget(name=GONE, from_s=FROM_S, to_s=TO_S)
    steps = count()
    for window in WINDOWS:
        path.seal_window(window, Steps(look=lambda: next(steps) % every or path.check()))
    assert next(steps) > 60, "calls of three seals; the delete is a row of the window that Redis has, not of each"


def test_the_same_source_of_another_tenant_keeps_its_samples(path):
    path.accounts.tenant_of_key["other"] = "globex"
    start = len(path.stream.records)
    time_s = WINDOWS[2].start_s + 60
    assert path.post([(HOST, GONE, time_s, 5.0)], api_key="other")["statusCode"] == 200
    path.deliver(path.stream.records[start:])
    path.forget()
    assert path.get_metric(HOST, GONE, WINDOWS[0].start_s, WINDOWS[2].end_s, api_key="other")[2] == [(time_s, 5.0)]


def test_a_delete_that_the_stream_does_not_take_is_503_and_changes_nothing(path, monkeypatch):
    def away(entries):
        raise RetryableError("the stream is away")

    monkeypatch.setattr(path.stream, "put", away)
    before = len(path.stream.records)
    assert path.delete(SOURCE.source)["statusCode"] == 503
    path.deliver(path.stream.records[before:])
    path.check()
