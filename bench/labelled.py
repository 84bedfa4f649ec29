"""CPU and bytes of a sample that comes by remote write, beside VictoriaMetrics with the same bytes, in one run.

    python -m bench.labelled [--small] [--targets 20] [--series 500] [--scrapes 240] [--data path]

Prometheus scrapes each target every 15 s and sends requests of 2,000 samples (1.0, snappy), which mix targets and cut
scrapes at any place.  The functions' handlers take the events as Lambda hands them over, JSON included; Redis is a
cluster of a master and a replica, whose CPU counts; the blocks table is in memory, and windows are of an hour.
VictoriaMetrics takes the same bodies at its own door; all of its CPU counts until the samples are in its files.  Every
sample of some targets is read back from both.

Bytes: ``warm_raw`` of items of raw blocks as DynamoDB counts them, ``warm_all`` of all items, rollups, catalogue and
directory included; ``vm`` of VictoriaMetrics' data after a forced merge, ``vm_all`` with its index.
"""

import json
import random
import struct
from collections.abc import Iterator
from typing import NamedTuple

import cramjam
import numpy as np
from carbyne.core import labels
from carbyne.core.keys import RAW, SourceKey
from carbyne.read.reader import How
from carbyne.samples.columns import column
from carbyne.tenants.windows import LengthStep

from bench import peers
from bench.common import Day, arguments, cpu_of, day_of, machine, redis_cpu_s, report
from bench.ingest import BATCH, CHECKED, Used, ingest, spent
from bench.size import resting
from harness.pipeline import APPS, LENGTH_S, Pipeline, http_event, kinesis_event
from servers.memory import item_bytes
from servers.valkey import Cluster

START_S = 1_700_006_400
STEP_S = 15
PER_REQUEST = 2_000
SHORT_S = 3_600


class Load(NamedTuple):
    """``series`` of each target, whose values are those of ``day``, a row for each of ``scrapes``."""

    day: Day
    targets: int
    series: int
    scrapes: int

    @property
    def samples(self) -> int:
        return self.targets * self.series * self.scrapes

    def labels_of(self, target: int) -> list[dict[str, str]]:
        """As node_exporter has them; eight series of a name."""
        about = {"job": "node", "instance": f"node{target:05d}:9100"}
        return [
            {"__name__": f"node_metric_{number // 8:03d}_total", "cpu": str(number % 8), "mode": "idle", **about}
            for number in range(self.series)
        ]

    def ts_ms(self, target: int) -> np.ndarray:
        """Each target is scraped at a time of its own within the interval."""
        return 1000 * (START_S + STEP_S * np.arange(self.scrapes)) + target * 7919 % (1000 * STEP_S)

    def bodies(self) -> Iterator[bytes]:
        """Requests as one shard of Prometheus sends them: full, whatever they cut.  A head lists series in the order
        in which they were made."""
        order = random.Random(1).sample(range(self.series), self.series)
        heads = [[series_of(self.labels_of(target)[number]) for number in order] for target in range(self.targets)]
        values = [self.day.of_host(target, self.scrapes)[:, order] for target in range(self.targets)]
        waiting: list[bytes] = []
        for scrape in range(self.scrapes):
            for target in range(self.targets):
                ts_ms = int(self.ts_ms(target)[scrape])
                pairs = zip(heads[target], values[target][scrape].tolist(), strict=True)
                waiting += [with_sample(head, value, ts_ms) for head, value in pairs]
                while len(waiting) >= PER_REQUEST:
                    yield packed(waiting[:PER_REQUEST])
                    del waiting[:PER_REQUEST]
        if waiting:
            yield packed(waiting)


class Sizes(NamedTuple):
    """Bytes per sample."""

    raw: float
    all: float


def varint(number: int) -> bytes:
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    return bytes([*result, number])


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def series_of(names: dict[str, str]) -> bytes:
    """The labels of a TimeSeries of remote write 1.0."""
    return b"".join(field(1, field(1, name.encode()) + field(2, names[name].encode())) for name in sorted(names))


def with_sample(head: bytes, value: float, ts_ms: int) -> bytes:
    return field(1, head + field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(ts_ms)))


def packed(series: list[bytes]) -> bytes:
    return bytes(cramjam.snappy.compress_raw(b"".join(series)))


def event_of(body: bytes) -> str:
    headers = {"X-Api-Key": "secret", "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    return json.dumps(http_event("POST", "/api/v1/write", headers=headers, body=body))


def write(pipeline: Pipeline, events: list[str]) -> None:
    for event in events:
        answer = APPS["writer"].handle(json.loads(event), lambda: pipeline.writer)
        assert answer["statusCode"] == 204, answer


def seal(pipeline: Pipeline, windows: int) -> None:
    pipeline.now_s = START_S + 2 * LENGTH_S
    sealed = 0
    while sealed < windows:
        now = pipeline.seal()
        assert now, f"{sealed} of {windows} windows sealed"
        sealed += now


def ours(cluster: Cluster, load: Load) -> tuple[Used, Sizes]:
    pipeline = Pipeline(cluster, START_S + STEP_S * (load.scrapes + 1))
    pipeline.accounts.steps["acme"] = (LengthStep(0, True),)
    events = [event_of(body) for body in load.bodies()]
    writer_s = spent(lambda: write(pipeline, events))
    arrived = pipeline.stream.records
    batches = [json.dumps(kinesis_event(arrived[first : first + BATCH])) for first in range(0, len(arrived), BATCH)]
    redis_before = redis_cpu_s(cluster)
    ingester_s = spent(lambda: ingest(pipeline, batches))
    windows = load.targets * -(-load.scrapes * STEP_S // SHORT_S)
    sealer_s = spent(lambda: seal(pipeline, windows))
    redis_s = redis_cpu_s(cluster) - redis_before
    sizes = {place: item_bytes(*place, item) for place, item in pipeline.table.items.items()}
    raw = sum(size for (partition, _), size in sizes.items() if partition.partition(":")[0] == RAW)
    check_ours(pipeline, load)
    pipeline.close()
    used = Used(*(1e6 * seconds / load.samples for seconds in (writer_s, ingester_s, redis_s, sealer_s)))
    return used, Sizes(raw / load.samples, sum(sizes.values()) / load.samples)


def checked(load: Load) -> range:
    return range(0, load.targets, max(1, load.targets // CHECKED))


def check_ours(pipeline: Pipeline, load: Load) -> None:
    for target in checked(load):
        of_target = load.labels_of(target)
        source = SourceKey("acme", labels.source_of(of_target[0]))
        series = [labels.key_of(each) for each in of_target]
        columns = pipeline.reader.queries.reader.read_many(source, series, 0, 2**50, How(RAW)).columns
        values = load.day.of_host(target, load.scrapes)
        for at, name in enumerate(series):
            ts_ms, bits = column(columns, name)
            assert ts_ms.tolist() == load.ts_ms(target).tolist(), name
            assert bits.view(np.float64).tolist() == values[:, at].tolist(), name


def theirs(load: Load) -> tuple[float, Sizes] | None:
    """Microseconds of VictoriaMetrics' CPU per sample, and what it stores; None if it is not here."""
    with peers.victoria_metrics() as peer:
        if peer is None:
            return None
        bodies = list(load.bodies())
        before = cpu_of(peer.pid)
        for body in bodies:
            peer.post("/api/v1/write", body)
        peer.get("/internal/force_flush")
        used_s = cpu_of(peer.pid) - before
        check_theirs(peer, load)
        peer.get("/internal/force_merge")
        data = resting(peer.folder / "data")
        return 1e6 * used_s / load.samples, Sizes(data / load.samples, peers.bytes_below(peer.folder) / load.samples)


def check_theirs(peer: peers.Peer, load: Load) -> None:
    for target in checked(load):
        of_target = load.labels_of(target)
        exported = peer.get("/api/v1/export", **{"match[]": f'{{instance="{of_target[0]["instance"]}"}}'})
        stored = {
            tuple(sorted(series["metric"].items())): series["values"]
            for series in map(json.loads, exported.splitlines())
        }
        values = [stored[tuple(sorted(each.items()))] for each in of_target]
        assert np.allclose(values, load.day.of_host(target, load.scrapes).T, rtol=1e-12, atol=0), target


def main() -> None:
    given = arguments(__doc__, targets=20, series=500, scrapes=240)
    targets, series, scrapes = (4, 100, 60) if given.small else (given.targets, given.series, given.scrapes)
    load = Load(day_of(given.data, series), targets, series, scrapes)
    print(f"{targets} targets x {series} series x {scrapes} scrapes of {STEP_S} s; {machine()}")
    with Cluster(masters=1, replicas=1) as cluster:
        used, sizes = ours(cluster, load)
    vm = theirs(load)
    for name, us in used._asdict().items():
        print(f"{name:24} {us:7.3f} us a sample")
    print(f"{'all':24} {used.total:7.3f} us a sample; bytes: {sizes.raw:.2f} raw blocks, {sizes.all:.2f} all items")
    if vm:
        print(
            f"{'VictoriaMetrics':24} {vm[0]:7.3f} us a sample; bytes: {vm[1].raw:.2f} data, {vm[1].all:.2f} with index"
        )
    report(
        cpu_us_per_sample=used.total,
        vm_cpu_us_per_sample=vm and vm[0],
        ratio=vm and used.total / vm[0],
        warm_raw=sizes.raw,
        warm_all=sizes.all,
        vm_bytes=vm and vm[1].raw,
        vm_bytes_all=vm and vm[1].all,
    )


if __name__ == "__main__":
    main()
