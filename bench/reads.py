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
import importlib.util
import json
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "layers" / "carbyne"), str(ROOT)]

from carbyne.adapters.redis.hot import HotRead
from carbyne.adapters.redis.windows import WindowRows
from carbyne.archive.archiver import Archiver, archive
from carbyne.core import stamps
from carbyne.core.keys import BlockKey, SourceKey, Window, is_block
from carbyne.core.meter import Meter
from carbyne.core.settings import ReaderSettings, SealerSettings, load
from carbyne.samples.columns import EMPTY, Columns, Rows, between, from_rows, restrict
from carbyne.samples.rollups import choose
from carbyne.store.catalogue import Catalogue
from carbyne.stream.arrived import Image
from carbyne.tenants.accounts import BOTH, Accounts, Grant
from carbyne.wiring import reader as wiring_reader
from carbyne.wiring import sealer as wiring_sealer

from local.template import Template
from servers import plain
from servers.memory import MemoryBlocks, MemoryTable

SOURCE = SourceKey("acme", "host/a")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
BASE_MS = 655 * 30 * DAY_MS
"""A boundary of daily blocks, and so of days and hours."""
WINDOW_S = 14_400
WINDOW_MINUTES = WINDOW_S // 60
MINUTES = 1440
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

    def read_each(self, sources, query):
        held = [columns for window, columns in self.windows.items() if window.overlaps(query.from_ms, query.to_ms)]
        asked = set(query.series).__contains__
        found = between(restrict(held[0], asked), query.from_ms, query.to_ms + 1) if held else EMPTY
        read = HotRead(True, [bool(found.groups)] * len(query.series), found, [*self.windows], {*self.windows})
        return dict.fromkeys(sources, read)

    def rows(self, source, window):
        return WindowRows([(b"", b"")], self.windows[window], [], 0)

    def confirm(self, source, window, pairs, *, expiry_ms, again_ms, early=False):
        del self.windows[window]
        return True


class AnyAccount:
    def grant_of(self, api_key):
        return Grant(SOURCE.tenant, BOTH)

    def has_tenant(self, tenant):
        return True


class NoCache:
    """Every read is measured as the first of its kind."""

    def get(self, source, key):
        return None

    def put(self, source, key, value): ...


class World:
    """The functions around one host, with the template's settings, over stores in memory."""

    def __init__(self) -> None:
        self.now_ms = BASE_MS
        self.hot, self.table, self.cold = Hot(), MemoryTable(), MemoryBlocks()
        self.meter = Meter(time.monotonic, lambda sums: None)
        self.archiver = Archiver(self.cold, Catalogue(self.table), None, self._now, self.meter)
        self.sealer = wiring_sealer.assemble(settings_of("Sealer", SealerSettings), self._sealer_ports())
        self.reader = wiring_reader.assemble(settings_of("Reader", ReaderSettings), self._reader_ports())

    def _now(self) -> int:
        return self.now_ms

    def _sealer_ports(self) -> wiring_sealer.SealerPorts:
        hot, table, cold = self.hot, self.table, self.cold
        return wiring_sealer.SealerPorts(hot, table, cold, None, lambda: True, str, self._now, self.meter)

    def _reader_ports(self) -> wiring_reader.ReaderPorts:
        accounts = Accounts(AnyAccount(), time.monotonic)
        return wiring_reader.ReaderPorts(self.hot, self.hot, self.table, self.cold, accounts, self._now, NoCache())

    def seal(self, window: Window, columns: Columns) -> None:
        """Seal and archive a window shortly after its end; TTL removes what has expired by then."""
        self.hot.windows[window] = columns
        self.now_ms = window.end_s * 1000 + 600_000
        self.sealer.seal(SOURCE, window)
        changes = [(place, item) for place, item in self.table.changed.items() if is_block(place[0])]
        self.archiver.take(Image("", BlockKey.of_item(*place), item.data, False) for place, item in changes)
        self.table.changed.clear()
        for place, item in self.table.expire(self.now_ms // 1000).items():
            archive(self.cold, Catalogue(self.table), BlockKey.of_item(*place), item.data)


def settings_of(function, kind):
    """What the template gives the function, where everything has its default."""
    template = Template(ROOT / "template.yaml", "RedisEndpoint=none:0")
    return load(kind, {name: str(value) for name, value in environment(template, function).items()})


def environment(template: Template, function: str) -> dict[str, object]:
    return template.values(function, "Environment")["Environment"]["Variables"]


def a_year(host: Host, days: int) -> World:
    """A world in which the host has posted for some days and 10 hours; the last window of them is still in Redis."""
    world = World()
    last_ms = BASE_MS + days * DAY_MS + 8 * HOUR_MS
    for start_ms in range(BASE_MS, last_ms, WINDOW_S * 1000):
        world.seal(Window(start_ms // 1000, WINDOW_S), host.window(start_ms, start_ms + WINDOW_S * 1000))
    world.hot.windows[Window(last_ms // 1000, WINDOW_S)] = host.window(last_ms, last_ms + 2 * HOUR_MS)
    world.now_ms = last_ms + 2 * HOUR_MS
    return world


def reader_app():
    """The reader's handler."""
    spec = importlib.util.spec_from_file_location("reader_app", ROOT / "functions/reader/app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


APP = reader_app()


def read(world: World, name: str, from_ms: int, to_ms: int) -> tuple[float, list[dict[str, float]]]:
    """(CPU seconds of the handler, points)."""
    query = urlencode({"name": name, "from": from_ms // 1000, "to": to_ms // 1000})
    where = {"http": {"method": "GET", "path": "/api/v0/hosts/a/metrics"}, "stage": "$default"}
    event = {"rawPath": where["http"]["path"], "rawQueryString": query, "requestContext": where}
    event |= {"version": "2.0", "headers": {"x-api-key": "secret"}}
    start = time.process_time()
    answer = APP.handle(event, lambda: world.reader)
    took = time.process_time() - start
    assert answer["statusCode"] == 200, answer
    return took, json.loads(answer["body"])["metrics"]


def compare(host: Host, world: World) -> None:
    """Every view of some metrics equals the plain computation."""
    ts_ms = np.arange(BASE_MS, world.now_ms, 60_000)
    values = host.values(ts_ms)
    for at in range(0, len(host.names), len(host.names) // CHECKED):
        samples = dict(zip(ts_ms.tolist(), values[:, at].tolist(), strict=True))
        buckets = {resolution: plain.rolled(samples, resolution) for resolution in plain.BUCKET_MS}
        for view, length_ms in VIEWS_MS.items():
            span = world.now_ms - length_ms, world.now_ms
            want = plain.view(samples, choose(*span), "avg", *span, buckets)
            _, points = read(world, host.names[at], *span)
            seen = {point["time"] * 1000: plain.bits(point["value"]) for point in points}
            assert seen == want, f"{view} of {host.names[at]} differs"


def main(path: str, days: int = 366) -> None:
    host = Host(path)
    start = time.process_time()
    world = a_year(host, days)
    took = time.process_time() - start
    compare(host, world)
    gc.freeze()  # a year of blocks in memory is no part of a reader
    print(f"{days} days of {len(host.names)} metrics, CPU of a seal with its rollups {took / days / 6 * 1000:.0f} ms\n")
    print("| items | write units a day | bytes in the table |\n|---|---|---|")
    held: Counter[str] = Counter()
    for (partition, _), item in world.table.items.items():
        held[partition.partition(":")[0]] += len(item.data)
    for kind, units in world.table.units_of.items():
        print(f"| {kind} | {units / days:.0f} | {held[kind]:,} |")
    asked, puts = world.cold.calls["get"], world.cold.calls["put"]
    print(f"| S3 requests a day: {asked / days:.1f} GET, {puts / days:.1f} PUT | | |")
    print("\n| view | resolution | points | CPU ms, p50 | p99 | table calls | S3 GETs |\n|---|---|---|---|---|---|---|")
    for view, length_ms in VIEWS_MS.items():
        span = world.now_ms - length_ms, world.now_ms
        before = world.table.calls.total(), world.cold.calls.total()
        found = [read(world, name, *span) for _ in range(ROUNDS) for name in host.names]
        calls = [world.table.calls.total() - before[0], world.cold.calls.total() - before[1]]
        table, cold = (number / len(found) for number in calls)
        p50, p99 = np.percentile([took * 1000 for took, _ in found], (50, 99))
        print(f"| {view} | {choose(*span)} | {len(found[0][1])} | {p50:.1f} | {p99:.1f} | {table:.0f} | {cold:.0f} |")
    assert all(is_block(key[0]) or key[0].split(":")[0] in ("series", "windows") for key in world.table.items)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
