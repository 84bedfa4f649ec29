"""What a year of one host costs to write, and what a reader's views of one of its metrics cost in CPU.

    python bench/reads.py path/to/host-metrics.jsonl.gz [days]

The file has one row a line, ``[index, {metric: value}]``, taken as a day of minutes; the metrics are taken twice (the
second time shifted by half a day) to be 100, and each window begins at another row.  The real sealer, roller, archiver
and reader run over stores in memory, at accelerated time, with the template's windows and retention; CPU is that of the
reader's handler with its stores in memory, without any AWS client.  A view that differs from a plain computation over
the raw samples ends the run.
"""

# ruff: noqa: E402
import gc
import gzip
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "layers" / "carbyne"), str(ROOT)]

from carbyne.adapters.redis.hot import HotRead
from carbyne.adapters.redis.windows import WindowRows
from carbyne.core import stamps
from carbyne.core.keys import Window, is_block
from carbyne.read.mackerel import Queries
from carbyne.samples.columns import EMPTY, Columns, Rows, between, from_rows, restrict
from carbyne.samples.rollups import choose
from carbyne.tenants.accounts import BOTH, Accounts, Grant
from carbyne.wiring.reader import ReaderDeps

from tests.support import plain
from tests.support.fakes import write_units
from tests.support.pipeline import APPS, http_event
from tests.support.rolling import BASE_MS, DAY_MS, HOUR_MS, SOURCE, Table, World

WINDOW_S = 14_400
WINDOW_MINUTES = WINDOW_S // 60
MINUTES = 1440
DAY_S = 86_400
WARM_S = {"raw": 7 * DAY_S, "5m": 30 * DAY_S, "1h": 460 * DAY_S, "1d": 5 * 365 * DAY_S}
VIEWS_MS = {
    "1 h": HOUR_MS,
    "6 h": 6 * HOUR_MS,
    "1 day": DAY_MS,
    "1 week": 7 * DAY_MS,
    "1 month": 30 * DAY_MS,
    "1 year": 365 * DAY_MS,
}
ROUNDS = 3
"""Reads of each metric in each view."""
CHECKED = 5
"""Metrics of which every view is compared with the oracle."""


class Host:
    """``names`` [S]; ``rows`` [1440, S] float64: a day of minutes."""

    def __init__(self, path: str) -> None:
        with gzip.open(path, "rt") as lines:
            read = [json.loads(line)[1] for line in lines][:MINUTES]
        names = sorted(set.intersection(*map(set, read)))
        day = np.array([[row[name] for name in names] for row in read], np.float64)
        self.names = tuple(f"{name}.{half}" for half in "ab" for name in names)
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        self.names = tuple(self.names[at] for at in order)
        self.starts = np.random.default_rng(1).integers(0, MINUTES, 10_007)
        self.rows = np.concatenate([day, np.roll(day, len(day) // 2, axis=0)], axis=1)[:, order]

    def values(self, ts_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """[T, S]"""
        minutes = (ts_ms - BASE_MS) // 60_000
        return self.rows[(minutes + self.starts[minutes // WINDOW_MINUTES % len(self.starts)]) % len(self.rows)]

    def window(self, from_ms: int, to_ms: int) -> Columns:
        ts_ms = np.arange(from_ms, to_ms, 60_000)
        arrivals = [stamps.pack(1, str((49_590_338 << 160) + int(t) * 7919)) for t in ts_ms]
        return from_rows([Rows(self.names, ts_ms, arrivals, self.values(ts_ms).view(np.uint64))])


class Hot:
    """Windows in Redis, already as columns."""

    def __init__(self) -> None:
        self.windows: dict[Window, Columns] = {}

    def expire(self) -> None:
        pass

    def read(self, source, from_ms, to_ms, length_s, series, *, newest=False):
        held = [columns for window, columns in self.windows.items() if window.overlaps(from_ms, to_ms)]
        found = between(restrict(held[0], set(series).__contains__), from_ms, to_ms + 1) if held else EMPTY
        return HotRead(True, [bool(found.groups)] * len(series), found, [*self.windows], {*self.windows})

    def rows(self, source, window):
        return WindowRows([(b"", b"")], self.windows[window], 0)

    def confirm(self, source, window, pairs, *, expiry_ms, again_ms):
        del self.windows[window]
        return True


class CountingTable(Table):
    """``written``: write units by kind of item."""

    def __init__(self) -> None:
        super().__init__()
        self.written: Counter[str] = Counter()

    def put(self, partition, sort, item, replaces):
        done = super().put(partition, sort, item, replaces)
        self.written[partition.partition(":")[0]] += write_units(partition, sort, item) * done
        return done


class AnyAccount:
    def grant_of(self, api_key):
        return Grant(SOURCE.tenant, BOTH)

    def has_tenant(self, tenant):
        return True


def a_year(host: Host, days: int) -> World:
    """A world in which the host has posted for some days and 10 hours; the last window of them is still in Redis."""
    world = World(WINDOW_S, warm_s=WARM_S)
    world.hot, world.table = Hot(), CountingTable()
    world.catalogue = type(world.catalogue)(world.table)
    world.reader = world.new_reader(lambda port: port)
    sealer = world.new_sealer(lambda port: port)
    for start_ms in range(BASE_MS, BASE_MS + days * DAY_MS + 8 * HOUR_MS, WINDOW_S * 1000):
        window = Window(start_ms // 1000, WINDOW_S)
        world.hot.windows[window] = host.window(start_ms, start_ms + WINDOW_S * 1000)
        world.now_ms = start_ms + WINDOW_S * 1000 + 600_000
        sealer.seal(SOURCE, window)
        world.archive()
        world.expire()
    last_ms = BASE_MS + days * DAY_MS + 8 * HOUR_MS
    world.hot.windows[Window(last_ms // 1000, WINDOW_S)] = host.window(last_ms, last_ms + 2 * HOUR_MS)
    world.now_ms = last_ms + 2 * HOUR_MS
    return world


def read(deps: ReaderDeps, name: str, from_ms: int, to_ms: int) -> tuple[float, list[dict[str, float]]]:
    """(CPU seconds of the handler, points)."""
    query = [("name", name), ("from", from_ms // 1000), ("to", to_ms // 1000)]
    event = http_event("GET", "/api/v0/hosts/a/metrics", query=query, headers={"X-Api-Key": "secret"})
    start = time.process_time()
    answer = APPS["reader"].handle(event, lambda: deps)
    took = time.process_time() - start
    assert answer["statusCode"] == 200, answer
    return took, json.loads(answer["body"])["metrics"]


def compare(host: Host, world: World, deps: ReaderDeps) -> None:
    """Every view of some metrics equals the plain computation."""
    ts_ms = np.arange(BASE_MS, world.now_ms, 60_000)
    values = host.values(ts_ms)
    for at in range(0, len(host.names), len(host.names) // CHECKED):
        samples = dict(zip(ts_ms.tolist(), values[:, at].tolist(), strict=True))
        buckets = {resolution: plain.rolled(samples, resolution) for resolution in plain.BUCKET_MS}
        for view, length_ms in VIEWS_MS.items():
            span = world.now_ms - length_ms, world.now_ms
            want = plain.view(samples, choose(*span), "avg", *span, buckets)
            _, points = read(deps, host.names[at], *span)
            seen = {point["time"] * 1000: plain.bits(point["value"]) for point in points}
            assert seen == want, f"{view} of {host.names[at]} differs"


def main() -> None:
    host, days = Host(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 366
    start = time.process_time()
    world = a_year(host, days)
    took = time.process_time() - start
    deps = ReaderDeps(Accounts(AnyAccount(), time.monotonic), Queries(world.reader, None, None))
    compare(host, world, deps)
    gc.freeze()  # a year of blocks in memory is no part of a reader
    print(f"{days} days of {len(host.names)} metrics, CPU of a seal with its rollups {took / days / 6 * 1000:.0f} ms\n")
    print("| items | write units a day | bytes in the table |\n|---|---|---|")
    held: Counter[str] = Counter()
    for (partition, _), item in world.table.items.items():
        held[partition.partition(":")[0]] += len(item.data)
    for kind, units in world.table.written.items():
        print(f"| {kind} | {units / days:.0f} | {held[kind]:,} |")
    asked, puts = world.cold.calls["get"], world.cold.calls["put"]
    print(f"| S3 requests a day: {asked / days:.1f} GET, {puts / days:.1f} PUT | | |")
    print("\n| view | resolution | points | CPU ms, p50 | p99 | table calls | S3 GETs |\n|---|---|---|---|---|---|---|")
    for view, length_ms in VIEWS_MS.items():
        span = world.now_ms - length_ms, world.now_ms
        before = world.table.calls.total(), world.cold.calls.total()
        found = [read(deps, name, *span) for _ in range(ROUNDS) for name in host.names]
        calls = [world.table.calls.total() - before[0], world.cold.calls.total() - before[1]]
        table, cold = (number / len(found) for number in calls)
        p50, p99 = np.percentile([took * 1000 for took, _ in found], (50, 99))
        print(f"| {view} | {choose(*span)} | {len(found[0][1])} | {p50:.1f} | {p99:.1f} | {table:.0f} | {cold:.0f} |")
    assert all(is_block(key[0]) or key[0].split(":")[0] in ("series", "windows") for key in world.table.items)


if __name__ == "__main__":
    main()
