"""What a year of one host costs to write, and what reading it costs in CPU, beside VictoriaMetrics and Prometheus.

    python -m bench.query [--small] [--days 366] [--metrics 100] [--data path]

The metrics are a day of minutes over and over; each window begins at another minute.  The real sealer, roller and
archiver run over stores in memory, at accelerated time, with the template's windows and retention.  Then the items go
to an embedded AWS on loopback, the open window into a real Redis, and the reader's handler is asked over these: one
series, the same again by a reader that keeps what blocks said, and one host of all its metrics.  Figures are CPU in ms
of the handler with its clients, without the stores, which are AWS' own, and of all of VictoriaMetrics and Prometheus,
which have the same samples, for the same spans at the same resolution.  A view that differs from a plain computation
over the raw samples ends the run, and so does a peer that lacks one.  A host's view that has more points than a request
may ask for is read by several, added up.
"""

import base64
import gc
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from botocore.credentials import Credentials
from carbyne.adapters.dynamodb.client import blocks_client
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.adapters.redis.hot import HotRead, HotStore
from carbyne.adapters.redis.windows import HotWindows, WindowRows
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.archive.archiver import Archiver, archive
from carbyne.core import stamps
from carbyne.core.keys import BlockKey, SourceKey, Window, is_block, join_series, list_identity
from carbyne.core.limits import BATCH_POINTS_MAX
from carbyne.core.meter import Meter
from carbyne.core.settings import ReaderSettings, RedisSettings, SealerSettings, load
from carbyne.samples.columns import EMPTY, Columns, Rows, between, from_rows, restrict
from carbyne.samples.rollups import choose
from carbyne.samples.rows import HotRow, RowGroup
from carbyne.store.catalogue import Catalogue
from carbyne.stream.arrived import Image
from carbyne.tenants.accounts import BOTH, Accounts, Grant
from carbyne.wiring import reader as wiring_reader
from carbyne.wiring import sealer as wiring_sealer
from carbyne.wiring.redis import nodes
from numpy.typing import NDArray

from bench import peers
from bench.common import MINUTES, ROOT, arguments, day_of, machine, metric_of, percentiles, quick_cpu_of, report
from harness.pipeline import load_app
from local.template import Template
from servers import plain
from servers.aws import Aws
from servers.memory import MemoryBlocks, MemoryTable
from servers.valkey import Cluster

SOURCE = SourceKey("acme", "host/a")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
BASE_MS = 655 * 30 * DAY_MS
"""A boundary of daily blocks, and so of days and hours."""
WINDOW_S = 14_400
WINDOW_MINUTES = WINDOW_S // 60
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
HOST_READS = 5
"""Reads of all metrics in each view and round but the first, and one more."""
BLOCK_HOURS = 486
"""Of Prometheus' blocks; each is made in a run of its own, which reads its samples alone."""
CHECKED = 5
"""Metrics of which every view is compared with the oracle."""


class Host:
    """``names`` [S]; ``rows`` [1440, S] float64: a day of minutes; ``step_ms``: between two samples."""

    def __init__(self, path: str, metrics: int, step_s: int = 60) -> None:
        self.names, self.rows = day_of(path, metrics)
        self.step_ms = 1000 * step_s
        self.starts = np.random.default_rng(1).integers(0, MINUTES, 10_007)

    def values(self, ts_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """[T, S]"""
        minutes = (ts_ms - BASE_MS) // 60_000
        return self.rows[(minutes + self.starts[minutes // WINDOW_MINUTES % len(self.starts)]) % len(self.rows)]

    def window(self, from_ms: int, to_ms: int) -> Columns:
        ts_ms = np.arange(from_ms, to_ms, self.step_ms)
        arrivals = [stamp_of(int(at_ms)) for at_ms in ts_ms]
        return from_rows([Rows(self.names, ts_ms, arrivals, self.values(ts_ms).view(np.uint64))])


def stamp_of(ts_ms: int) -> bytes:
    """Of the record that brought the row of this time."""
    return stamps.pack(1, str((49_590_338 << 160) + ts_ms * 7919))


class Hot:
    """Windows in Redis, already as columns."""

    def __init__(self) -> None:
        self.windows: dict[Window, Columns] = {}

    def read_each(self, sources, query):
        windows = [columns for window, columns in self.windows.items() if window.overlaps(query.from_ms, query.to_ms)]
        asked = set(query.series).__contains__
        within = between(restrict(windows[0], asked), query.from_ms, query.to_ms + 1) if windows else EMPTY
        read = HotRead(True, [bool(within.groups)] * len(query.series), within, [*self.windows], {*self.windows})
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


class Kept:
    """What blocks said to earlier reads, as an instance keeps it."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    def get(self, source, key):
        return self.entries.get(key)

    def put(self, source, key, value):
        self.entries[key] = value


class World:
    """The functions around one host over stores in memory, with the template's settings; ``counted``: their metrics."""

    def __init__(self) -> None:
        self.now_ms, self.metrics = BASE_MS, 0
        self.hot, self.table, self.cold = Hot(), MemoryTable(), MemoryBlocks()
        self.counted: set[str] = set()
        self.meter = Meter(time.monotonic, self.counted.update)
        self.archiver = Archiver(self.cold, Catalogue(self.table), None, self._now, self.meter)
        self.sealer = wiring_sealer.assemble(settings_of("Sealer", SealerSettings), self._sealer_ports())
        self.reader = wiring_reader.assemble(settings_of("Reader", ReaderSettings), self._reader_ports())
        self.again = self.reader

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
    return load(kind, {name: str(value) for name, value in environment(template(), function).items()})


@cache
def template() -> Template:
    return Template(ROOT / "template.yaml", "RedisEndpoint=none:0")


def environment(template: Template, function: str) -> dict[str, object]:
    return template.values(function, "Environment")["Environment"]["Variables"]


def a_year(host: Host, days: int) -> World:
    """A world in which the host has posted for some days and 10 hours; the last window of them is still in Redis."""
    world = World()
    world.metrics = len(host.names)
    last_ms = BASE_MS + days * DAY_MS + 8 * HOUR_MS
    for start_ms in range(BASE_MS, last_ms, WINDOW_S * 1000):
        world.seal(Window(start_ms // 1000, WINDOW_S), host.window(start_ms, start_ms + WINDOW_S * 1000))
    world.hot.windows[Window(last_ms // 1000, WINDOW_S)] = host.window(last_ms, last_ms + 2 * HOUR_MS)
    world.now_ms = last_ms + 2 * HOUR_MS
    return world


APP = load_app("reader")


def asked(reader: wiring_reader.ReaderDeps, path: str, **query: object) -> tuple[float, Any]:
    """(CPU seconds of the handler, its answer)."""
    http = {"http": {"method": "GET", "path": path}, "stage": "$default"}
    event = {"rawPath": path, "rawQueryString": urlencode(query, doseq=True), "requestContext": http}
    event |= {"version": "2.0", "headers": {"x-api-key": "secret"}}
    start = time.process_time()
    answer = APP.handle(event, lambda: reader)
    took = time.process_time() - start
    assert answer["statusCode"] == 200, answer
    body = answer["body"]
    return took, json.loads(base64.b64decode(body) if answer.get("isBase64Encoded") else body)


def read(
    world: World, name: str, from_ms: int, to_ms: int, *, again: bool = False
) -> tuple[float, list[dict[str, float]]]:
    """(CPU seconds of the handler, points); ``again``: of a reader that keeps what it read."""
    span = {"from": from_ms // 1000, "to": to_ms // 1000}
    took, answer = asked(world.again if again else world.reader, "/api/v0/hosts/a/metrics", name=name, **span)
    return took, answer["metrics"]


def read_host(world: World, names: Sequence[str], from_ms: int, to_ms: int) -> float:
    """CPU seconds of the handler for all metrics of the host."""
    span = {"from": from_ms // 1000, "to": to_ms // 1000}
    points = 3 * ((to_ms - from_ms) // 1000 // steps_of((from_ms, to_ms)) + 1)
    each, total = BATCH_POINTS_MAX // points, 0.0
    for first in range(0, len(names), each):
        part = names[first : first + each]
        asked_for = part if len(part) < len(names) else ()  # all of them: without a name
        took, answer = asked(world.reader, "/carbyne/v1/batch", source=SOURCE.source, name=asked_for, **span)
        [source] = answer["sources"]
        assert [series["name"] for series in source["series"]] == sorted(part)
        total += took
    return total


def compare(host: Host, world: World) -> None:
    """Every view of some metrics equals the plain computation."""
    ts_ms = np.arange(BASE_MS, world.now_ms, 60_000)
    values = host.values(ts_ms)
    for at in range(0, len(host.names), max(1, len(host.names) // CHECKED)):
        samples = dict(zip(ts_ms.tolist(), values[:, at].tolist(), strict=True))
        buckets = {resolution: plain.rolled(samples, resolution) for resolution in plain.BUCKET_MS}
        for view, length_ms in VIEWS_MS.items():
            span = world.now_ms - length_ms, world.now_ms
            want = plain.view(samples, choose(*span), "avg", *span, buckets)
            _, points = read(world, host.names[at], *span)
            seen = {point["time"] * 1000: plain.bits(point["value"]) for point in points}
            assert seen == want, f"{view} of {host.names[at]} differs"


class Loopback:
    """The stores of a world as servers on loopback: its reader asks these from now on."""

    def __init__(self, world: World, host: Host, stack: ExitStack) -> None:
        self.aws = stack.enter_context(Aws())
        cluster = stack.enter_context(Cluster(masters=1, replicas=0))
        dynamodb, s3 = self.aws.client("dynamodb"), self.aws.client("s3")
        keys = {"pk": "HASH", "sk": "RANGE"}
        dynamodb.create_table(
            TableName="blocks",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        s3.create_bucket(Bucket="blocks")
        lean = blocks_client(dynamodb, Credentials("local", "local"))
        stack.callback(lean.close)
        table, cold = DynamoTable(lean, "blocks"), ColdBlocks(s3, "blocks")
        table.write([(*place, item) for place, item in world.table.items.items()], [])
        redis = nodes(RedisSettings(cluster.endpoint, False))
        stack.callback(redis.close)
        hot, windows = HotStore(redis), HotWindows(redis)
        hot.init()
        for window in world.hot.windows:
            group = rows_of(host, window, world.now_ms)
            assert not isinstance(hot.write({SOURCE.lane: [group]})[SOURCE.lane], Exception)
        accounts = Accounts(AnyAccount(), time.monotonic)
        ports = wiring_reader.ReaderPorts(hot, windows, table, cold, accounts, world._now, NoCache())
        settings = settings_of("Reader", ReaderSettings)
        world.reader = wiring_reader.assemble(settings, ports)
        world.again = wiring_reader.assemble(settings, ports._replace(cache=Kept()))


def rows_of(host: Host, window: Window, now_ms: int) -> RowGroup:
    """The rows of an open window, as the ingester writes them."""
    series = join_series(host.names)
    times = np.arange(window.start_s * 1000, now_ms, 60_000)
    rows = [
        HotRow(int(ts_ms), list_identity(series), series, stamp_of(int(ts_ms)), values.tobytes())
        for ts_ms, values in zip(times, host.values(times), strict=True)
    ]
    return RowGroup(SOURCE, window, window.end_s * 1000, True, rows, window.start_s * 1000)


def report_of_writing(world: World, days: int) -> None:
    print("| items | write units a day | bytes in the table |\n|---|---|---|")
    stored: Counter[str] = Counter()
    for (partition, _), item in world.table.items.items():
        stored[partition.partition(":")[0]] += len(item.data)
    for kind, units in world.table.units_of.items():
        print(f"| {kind} | {units / days:.0f} | {stored[kind]:,} |")
    gets, puts = world.cold.calls["get"], world.cold.calls["put"]
    print(f"| S3 requests a day: {gets / days:.1f} GET, {puts / days:.1f} PUT | | |")


def ours(world: World, host: Host, rounds: int) -> dict[str, float]:
    """CPU in ms by view, of one series and of the host."""
    print(
        "\n| view | resolution | one series: CPU ms, p50 | p99 | again, p50 | p99 | all of a host: p50 | p99 |"
        "\n|---|---|---|---|---|---|---|---|"
    )
    figures: dict[str, float] = {}
    for view, length_ms in VIEWS_MS.items():
        span = world.now_ms - length_ms, world.now_ms
        single = percentiles([1000 * read(world, name, *span)[0] for _ in range(rounds) for name in host.names])
        kept = percentiles([read_again(world, name, *span) for name in host.names])
        reads = range(1 + HOST_READS * (rounds - 1))
        whole = percentiles([1000 * read_host(world, host.names, *span) for _ in reads])
        columns = " | ".join(f"{ms:.1f}" for pair in (single, kept, whole) for ms in pair)
        print(f"| {view} | {choose(*span)} | {columns} |", flush=True)
        figures |= named("series", view, single) | named("again", view, kept) | named("host", view, whole)
    return figures


def read_again(world: World, name: str, from_ms: int, to_ms: int) -> float:
    """CPU in ms of a read whose blocks an earlier one has read."""
    first, second = (read(world, name, from_ms, to_ms, again=True) for _ in range(2))
    assert first[1] == second[1], name
    return 1000 * second[0]


def named(prefix: str, view: str, pair: tuple[float, float]) -> dict[str, float]:
    begin = f"{prefix}_{view.replace(' ', '')}"
    return {f"{begin}_p50_ms": pair[0], f"{begin}_p99_ms": pair[1]}


def steps_of(span: tuple[int, int]) -> int:
    """Seconds between two points of a view."""
    return plain.BUCKET_MS.get(choose(*span), 60_000) // 1000


def theirs(peer: peers.Peer, prefix: str, world: World, names: list[str], rounds: int) -> dict[str, float]:
    """The peer's CPU in ms by view: means of the step's width of one series, and of all of the host."""
    figures: dict[str, float] = {}
    for view, length_ms in VIEWS_MS.items():
        span = world.now_ms - length_ms, world.now_ms
        step_s = steps_of(span)

        def once(selector: str, step_s: int = step_s, span: tuple[int, int] = span) -> float:
            before = quick_cpu_of(peer.pid)
            answer = peer.ranges(f"avg_over_time({selector}[{step_s}s])", span[0] // 1000, span[1] // 1000, step_s)
            assert answer, selector
            return 1000 * (quick_cpu_of(peer.pid) - before)

        single = percentiles([once(metric_of(name)) for name in names])
        whole = percentiles([once('{host="a"}') for _ in range(rounds)])
        print(
            f"{prefix}, {view}: one series {single[0]:.2f} {single[1]:.2f}, all of a host {whole[0]:.2f} {whole[1]:.2f}"
        )
        figures |= named(f"{prefix}_series", view, single) | named(f"{prefix}_host", view, whole)
    return figures


def lines(host: Host, name: str, from_ms: int, to_ms: int) -> Iterator[str]:
    """The samples of one metric as lines of text."""
    times = np.arange(from_ms, to_ms, 60_000)
    column = host.values(times)[:, host.names.index(name)].tolist()
    series = f'{metric_of(name)}{{host="a",metric="{name}"}}'  # without the second label means would be alike
    yield from (f"{series} {value!r} {ts_ms // 1000}" for ts_ms, value in zip(times.tolist(), column, strict=True))


def checked(peer: peers.Peer, host: Host, world: World) -> None:
    """The peer has each sample of some metrics."""
    values = host.values(np.arange(BASE_MS, world.now_ms, 60_000))
    days = len(values) // MINUTES + 2
    for at in range(0, len(host.names), max(1, len(host.names) // CHECKED)):
        series = f'{{metric="{host.names[at]}"}}[{days}d]'
        assert peer.value(f"count_over_time({series})", world.now_ms // 1000) == len(values)
        assert np.isclose(peer.value(f"sum_over_time({series})", world.now_ms // 1000), values[:, at].sum(), rtol=1e-9)


def parts(host: Host, world: World, folder: Path) -> Iterator[Path]:
    """Files of all samples, each of a block of Prometheus; one is there at a time."""
    path, length_ms = folder / "samples", BLOCK_HOURS * HOUR_MS
    for start_ms in range(BASE_MS // length_ms * length_ms, world.now_ms, length_ms):
        span = max(BASE_MS, start_ms), min(world.now_ms, start_ms + length_ms)
        with path.open("w") as file:
            for name in host.names:
                file.write(f"# TYPE {metric_of(name)} gauge\n")
                file.writelines(f"{line}\n" for line in lines(host, name, *span))
            file.write("# EOF\n")
        yield path


def beside(host: Host, world: World, rounds: int) -> dict[str, float]:
    """Figures of the peers that are here; each has all samples."""
    names, figures = list(host.names), dict[str, float]()
    with peers.victoria_metrics() as peer:
        if peer:
            for name in names:
                text = "\n".join(f"{line}000" for line in lines(host, name, BASE_MS, world.now_ms))
                peer.post("/api/v1/import/prometheus", text)
            peer.exported(f'{{host="a",metric="{names[-1]}"}}', 1)
            checked(peer, host, world)
            figures |= theirs(peer, "vm", world, names, rounds)
    with (
        tempfile.TemporaryDirectory(prefix="carbyne-bench-") as folder,
        peers.prometheus(parts(host, world, Path(folder)), BLOCK_HOURS) as peer,
    ):
        if peer:
            checked(peer, host, world)
            figures |= theirs(peer, "prometheus", world, names, rounds)
    return figures


def run(path: str, days: int, metrics: int, rounds: int) -> None:
    host = Host(path, metrics)
    start = time.process_time()
    world = a_year(host, days)
    took = time.process_time() - start
    compare(host, world)
    gc.freeze()  # a year of blocks in memory is no part of a reader
    print(
        f"{days} days of {metrics} metrics, CPU of a seal with its rollups {took / days / 6 * 1000:.0f} ms; "
        f"{machine()}\n"
    )
    report_of_writing(world, days)
    with ExitStack() as stack:
        Loopback(world, host, stack)
        compare(host, world)
        figures = ours(world, host, rounds)
    report(**figures, **beside(host, world, rounds))


def main() -> None:
    given = arguments(__doc__, days=366, metrics=100)
    if given.small:
        run(given.data, 1, 3, 1)
    else:
        run(given.data, given.days, given.metrics, ROUNDS)


if __name__ == "__main__":
    main()
