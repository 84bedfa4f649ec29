"""Seals by volume through real stores: exact, and what they cost."""

import gzip
import json
import struct
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks
from carbyne.core.keys import BlockKey, SourceKey, Window, join_series, lane_tag, series_hash
from carbyne.samples import blocks
from carbyne.samples.columns import column, merge
from carbyne.samples.schedule import LATE_SHARE
from carbyne.store.tiers import read_blocks
from carbyne.stream import records

from harness.pipeline import LENGTH_S, SCHEDULE, Pipeline, flush
from tests.support.fakes import FakeTable, item_bytes, write_units
from tests.support.stores import create_blocks_table

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "host-metrics.jsonl.gz"
START_S = (int(time.time()) // LENGTH_S + 10) * LENGTH_S
DUE_S = START_S + LENGTH_S + SCHEDULE.grace_s + SCHEDULE.jitter_s
WINDOW = Window(START_S, LENGTH_S)
MINUTES = LENGTH_S // 60
WHOLE_ITEM_BYTES_MAX = 2.1
"""Bytes per sample of a whole item on the reference data."""


def reference():
    """(names, values [rows, names]) of one machine; made up in its likeness where the data is not at hand."""
    if not REFERENCE.exists():
        print(f"\n{REFERENCE.name} is not here: made up instead")
        return _made_up()
    with gzip.open(REFERENCE) as lines:
        rows = [values for _, values in map(json.loads, lines)]
    names = sorted(rows[0])
    return names, np.array([[row[name] for name in names] for row in rows], np.float64)


def _made_up(rows=1440):
    chance = np.random.default_rng(1)
    kinds = [
        lambda: np.full(rows, float(chance.integers(1, 2**35))),
        lambda: np.cumsum(chance.integers(-3, 4, rows) * (chance.random(rows) < 0.2)) * 4096.0 + 2**33,
        lambda: np.round(np.abs(np.cumsum(chance.normal(0, 0.05, rows))), 2),
        lambda: chance.integers(0, 40, rows) * (chance.random(rows) < 0.3) * 1.0,
        lambda: np.round(chance.gamma(2, 1.5, rows), 6),
    ]
    return [f"made.up.metric{i:02d}" for i in range(50)], np.array([kinds[i % 5]() for i in range(50)]).T


def put_rows(path, host, names, values, start_s=START_S):
    """One stream record for each row, as an agent's posts make them; ``values`` [rows, names], names ascending."""
    source, blob = SourceKey("acme", f"host/{host}"), join_series(names)
    for number, row in enumerate(values):
        rows = [(source.source, (start_s + 60 * number) * 1000, blob, row.astype("<f8").tobytes())]
        (record,) = records.pack(source.tenant, rows, 10**8)
        path.stream.append(lane_tag(source.lane), record)
    return source


def deliver(path, batch=500):
    """What the stream holds, and then it is empty: volume is no reason to keep it."""
    assert path.deliver(batch=batch) == 0
    path.stream.FIRST += (len(path.stream.records) + 1) << 70
    path.stream.records.clear()


def stored(path, source, series, window=WINDOW):
    """The columns of these series in the table."""
    warm, key = WarmBlocks(path.table), BlockKey(source, "raw", window)
    parts = read_blocks(warm, key, warm.get(key), series)
    return merge([columns for columns in parts if columns is not None])


def expect(path, source, names, values):
    """Every sample of the source in the table, bit for bit, and none besides."""
    columns = stored(path, source, names)
    assert columns.samples == values.size
    rows = {name: at for at, name in enumerate(names)}
    for group in columns.groups:
        assert (group.ts_ms == (START_S + 60 * np.arange(len(values))) * 1000).all()
        expected_values = np.ascontiguousarray(values[:, [rows[name] for name in group.series]].T)
        assert (group.values == expected_values.view(np.uint64)).all(), source


class Priced:
    """A table that adds up write units and bytes of what is put, by the kind of item."""

    def __init__(self, table):
        self._table = table
        self.get, self.query, self.remove, self.write = table.get, table.query, table.remove, table.write
        self.units, self.bytes, self.puts = Counter(), Counter(), Counter()

    def put(self, partition, sort, item, replaces):
        done = self._table.put(partition, sort, item, replaces)
        if done:
            kind = partition.partition(":")[0]
            self.units[kind] += write_units(partition, sort, item)
            self.bytes[kind] += item_bytes(partition, sort, item)
            self.puts[kind] += 1
        return done

    def report(self, samples, hosts):
        return "; ".join(
            f"{kind}: {self.puts[kind] / hosts:.1f} puts, {self.units[kind] / hosts:.1f} write units a source,"
            f" {self.bytes[kind] / samples:.3f} B a sample"
            for kind in self.units
        )


@pytest.fixture
def make(cluster):
    flush(cluster)
    opened = []

    def make_path(**options):
        opened.append(Pipeline(cluster, START_S, **options))
        return opened[-1]

    yield make_path
    for path in opened:
        path.close()
    flush(cluster)


def real_table(aws):
    client = aws.client("dynamodb")
    return DynamoTable(client, create_blocks_table(client))


def test_reference_data_costs_at_most_so_many_bytes(make):
    """Six windows of one machine, as its agent posts them."""
    names, values = reference()
    path = make(table=Priced(FakeTable()), hot_s=0)
    windows = len(values) // MINUTES
    sources = [put_rows(path, f"h{i}", names, values[i * MINUTES : (i + 1) * MINUTES]) for i in range(windows)]
    deliver(path)
    path.now_s = DUE_S
    assert path.seal() == windows
    for i, source in enumerate(sources):
        expect(path, source, names, values[i * MINUTES : (i + 1) * MINUTES])
    samples = windows * MINUTES * len(names)
    a_sample = path.table.bytes["raw"] / samples
    print(f"\n{len(names)} metrics, 4 h: {a_sample:.3f} bytes a sample of a whole item")
    print(path.table.report(samples, windows))
    if REFERENCE.exists():
        assert a_sample <= WHOLE_ITEM_BYTES_MAX


@pytest.mark.parametrize("hosts", [40, pytest.param(1000, marks=pytest.mark.nightly)])
def test_hosts_of_100_metrics_over_4_hours_are_exact(make, aws, hosts):
    """Through the ingester, Redis, the sealer, DynamoDB (moto) and the reader; each host has a course of its own."""
    path = make(table=Priced(real_table(aws)))
    names, values = reference()
    names = sorted([*names, *(f"second.{name}" for name in names)])
    chance = np.random.default_rng(7)
    expected = {}
    for host in range(hosts):
        offsets = chance.integers(0, len(values) - MINUTES, 2)
        course = np.hstack([values[offset : offset + MINUTES] for offset in offsets]) + host % 7
        expected[put_rows(path, f"h{host:04d}", names, course)] = course
        if host % 10 == 9:
            deliver(path)
    deliver(path)
    path.now_s, began_s = DUE_S, time.process_time()
    sealed = 0
    while done := path.seal():
        sealed += done
    seconds = time.process_time() - began_s
    assert sealed == hosts
    samples = hosts * MINUTES * len(names)
    for source, course in expected.items():
        expect(path, source, names, course)
    for source in list(expected)[:: max(1, hosts // 20)]:
        for name in (names[0], names[57]):
            _, _, points = path.get_metric(source.source.removeprefix("host/"), name, START_S, DUE_S)
            expected_points = [struct.pack("<d", value) for value in expected[source][:, names.index(name)]]
            assert [struct.pack("<d", value) for _, value in points] == expected_points
    print(f"\n{hosts} x {len(names)} x 4 h: {path.table.report(samples, hosts)}")
    print(f"{seconds / samples * 1e6:.2f} us CPU a sample, the table's client included")


def wide(count, rows, seed=1):
    names = sorted(f"plugin.wide{i % 97}.metric{i:05d}" for i in range(count))
    return names, np.random.default_rng(seed).normal(size=(rows, count))


def put_wide(path, names, values, start_s=START_S):
    """Rows of more series than a record holds, split by hash prefix as the writer does."""
    source = SourceKey("acme", "host/wide")
    by_part = {}
    for at, name in enumerate(names):
        by_part.setdefault(series_hash(name) >> 60, []).append(at)
    for number, row in enumerate(values):
        for mine in by_part.values():
            blob = join_series([names[at] for at in mine])
            packed = [(source.source, (start_s + 60 * number) * 1000, blob, row[mine].astype("<f8").tobytes())]
            for record in records.pack(source.tenant, packed, 10**8):
                path.stream.append(lane_tag(source.lane), record)
    return source


@pytest.mark.parametrize(("count", "rows"), [(20_000, 12), pytest.param(50_000, 12, marks=pytest.mark.nightly)])
def test_a_wide_source_seals_into_parts_and_takes_late_samples(make, count, rows):
    path = make()
    names, values = wide(count, rows)
    source = put_wide(path, names, values)
    deliver(path, batch=20)
    path.now_s, began_s = DUE_S, time.process_time()
    assert path.seal() == 1
    print(f"\n{count} series, {rows} rows: sealed in {time.process_time() - began_s:.1f} s CPU")
    expect(path, source, names, values)
    items = [BlockKey.of_item(*key) for key in path.table.items if key[0].startswith("raw:")]
    assert len(items) > 4 and any(blocks.parts_of(path.table.get(key.partition, key.sort).data) for key in items)
    assert set(path.store.series(source)) == set(names)

    late = 30
    (row,) = np.random.default_rng(3).normal(size=(1, 2))
    put_rows(path, "wide", ["plugin.late", names[5]], [row], START_S + 60 * late)
    deliver(path)
    path.now_s += LENGTH_S // LATE_SHARE + SCHEDULE.jitter_s
    assert path.seal() == 1
    for name, before, value in (("plugin.late", [], row[0]), (names[5], values[:, 5], row[1])):
        status, _, points = path.get_metric("wide", name, START_S, DUE_S)
        expected_points = [(START_S + 60 * number, x) for number, x in enumerate(before)] + [
            (START_S + 60 * late, value)
        ]
        assert status == 200
        assert [(t, struct.pack("<d", v)) for t, v in points] == [(t, struct.pack("<d", v)) for t, v in expected_points]
        values_held = column(stored(path, source, [name]), name)[1].view(np.float64).tolist()
        assert values_held == [x for _, x in expected_points], "in the block as well"
