"""CPU of a sample from the body of a post to the sealed block and its rollups, beside VictoriaMetrics, in one run.

    python -m bench.ingest [--small] [--hosts 100] [--minutes 240] [--metrics 100] [--data path]

Each host posts its metrics once a minute in a request of its own.  The functions' handlers take the events as Lambda
hands them over, JSON included; Redis is a cluster of a master and a replica, whose CPU counts; the blocks table is in
memory.  VictoriaMetrics takes the same requests: a JSON array of an object per sample (its door for OpenTSDB, the
nearest to Mackerel's body), and beside it text lines (its door for Prometheus' text).  All of its CPU counts until the
samples are in its files.  Every sample of some hosts is read back from both.

``writer_ms_per_request``: the writer with its client of Kinesis, TLS included, against an endpoint on loopback.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import boto3
import numpy as np
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.put_records import PutRecordsClient
from carbyne.adapters.signed import Place, Timeouts
from carbyne.core.keys import RAW
from carbyne.core.limits import PUT_CONNECT_S, PUT_READ_S

from bench import endpoint, peers
from bench.common import Day, arguments, cpu_of, day_of, machine, redis_cpu_s, report
from harness.pipeline import APPS, LENGTH_S, Pipeline, http_event, kinesis_event
from servers.valkey import Cluster

START_S = 1_700_006_400
BATCH = 100
CHECKED = 5
"""Hosts of which every sample is read back."""


class Load(NamedTuple):
    """``day``: what hosts post; each of ``hosts`` posts ``minutes`` times."""

    day: Day
    hosts: int
    minutes: int

    @property
    def samples(self) -> int:
        return self.hosts * self.minutes * len(self.day.names)

    def posts(self) -> Iterator[list[dict[str, object]]]:
        """Body after body, as objects."""
        values = [self.day.of_host(host, self.minutes).tolist() for host in range(self.hosts)]
        for minute in range(self.minutes):
            at = {"time": START_S + 60 * minute}
            for host in range(self.hosts):
                about = {"hostId": f"h{host:05d}", **at}
                row = zip(self.day.names, values[host][minute], strict=True)
                yield [{**about, "name": name, "value": value} for name, value in row]


class Used(NamedTuple):
    """Microseconds of CPU per sample."""

    writer: float
    ingester: float
    redis: float
    sealer: float

    @property
    def total(self) -> float:
        return sum(self)


def post_event(body: object) -> str:
    headers = {"X-Api-Key": "secret", "Content-Type": "application/json"}
    return json.dumps(http_event("POST", "/api/v0/tsdb", headers=headers, body=json.dumps(body)))


def spent(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def write(pipeline: Pipeline, events: list[str]) -> None:
    for event in events:
        assert APPS["writer"].handle(json.loads(event), lambda: pipeline.writer)["statusCode"] == 200


def ingest(pipeline: Pipeline, events: list[str]) -> None:
    for event in events:
        answer = APPS["ingester"].handle(json.loads(event), lambda: pipeline.ingester, lambda: 60.0)
        assert answer == {"batchItemFailures": []}, answer


def seal(pipeline: Pipeline, hosts: int) -> None:
    """All windows, once they are due."""
    pipeline.now_s = START_S + 2 * LENGTH_S
    sealed = 0
    while sealed < hosts:
        now = pipeline.seal()
        assert now, f"{sealed} of {hosts} windows sealed"
        sealed += now


def ours(cluster: Cluster, load: Load) -> Used:
    """CPU of all functions and of all nodes."""
    pipeline = Pipeline(cluster, START_S + 60 * load.minutes)
    events = [post_event(body) for body in load.posts()]
    write(pipeline, events[:1])
    pipeline.stream.records.clear()
    writer_s = spent(lambda: write(pipeline, events))
    arrived = pipeline.stream.records
    batches = [json.dumps(kinesis_event(arrived[first : first + BATCH])) for first in range(0, len(arrived), BATCH)]
    redis_before = redis_cpu_s(cluster)
    ingester_s = spent(lambda: ingest(pipeline, batches))
    sealer_s = spent(lambda: seal(pipeline, load.hosts))
    redis_s = redis_cpu_s(cluster) - redis_before
    check_ours(pipeline, load)
    pipeline.close()
    return Used(*(1e6 * seconds / load.samples for seconds in (writer_s, ingester_s, redis_s, sealer_s)))


def passed(cluster: Cluster, load: Load) -> tuple[float, set[str]]:
    """Bytes of the stream record of a post, on average, and the metrics that writer and ingester count."""
    pipeline = Pipeline(cluster, START_S + 60 * load.minutes)
    write(pipeline, [event for event, _ in zip(map(post_event, load.posts()), range(200), strict=False)])
    ingest(pipeline, [json.dumps(kinesis_event(pipeline.stream.records))])
    sizes = [len(data) for _, _, data in pipeline.stream.records]
    pipeline.close()
    return sum(sizes) / len(sizes), set(pipeline.counts)


def check_ours(pipeline: Pipeline, load: Load) -> None:
    for host in range(0, load.hosts, max(1, load.hosts // CHECKED)):
        values = load.day.of_host(host, load.minutes)
        for at, name in enumerate(load.day.names):
            _, _, points = pipeline.get_metric(f"h{host:05d}", name, START_S, START_S + LENGTH_S - 1, resolution=RAW)
            assert points == [(START_S + 60 * minute, value) for minute, value in enumerate(values[:, at])], name


def as_opentsdb(body: list[dict[str, object]]) -> str:
    return json.dumps(
        [
            {
                "metric": sample["name"],
                "timestamp": sample["time"],
                "value": sample["value"],
                "tags": {"host": sample["hostId"]},
            }
            for sample in body
        ]
    )


def as_text(body: list[dict[str, object]]) -> str:
    return "\n".join(
        f'{sample["name"]}{{host="{sample["hostId"]}"}} {sample["value"]!r} {sample["time"]}000' for sample in body
    )


def theirs(load: Load, form: Callable[[list[dict[str, object]]], str]) -> float | None:
    """Microseconds of VictoriaMetrics' CPU per sample; None if it is not here."""
    with peers.victoria_metrics() as peer:
        if peer is None:
            return None
        bodies = [form(body) for body in load.posts()]
        path, url = ("/api/put", peer.door) if form is as_opentsdb else ("/api/v1/import/prometheus", peer.url)
        before = cpu_of(peer.pid)
        for body in bodies:
            peer.post(path, body, url)
        peer.get("/internal/force_flush")
        used_s = cpu_of(peer.pid) - before
        check_theirs(peer, load)
    return 1e6 * used_s / load.samples


def check_theirs(peer: peers.Peer, load: Load) -> None:
    for host in range(0, load.hosts, max(1, load.hosts // CHECKED)):
        values = load.day.of_host(host, load.minutes)
        stored = peer.exported(f'{{host="h{host:05d}"}}', len(load.day.names))
        assert np.allclose([stored[name] for name in load.day.names], values.T, rtol=1e-12, atol=0), host


def as_billed(cluster: Cluster, load: Load, posts: int) -> tuple[float, float]:
    """(ms of CPU of the writer for a post with its client of Kinesis, the same with boto3's client)."""
    pipeline = Pipeline(cluster, START_S + 60 * load.minutes)
    events = [event for event, _ in zip(map(post_event, load.posts()), range(posts), strict=False)]
    session = boto3.Session("local", "local", region_name="us-east-1")
    with endpoint.kinesis() as place:
        there, timeouts = Place(place.url, "us-east-1", place.authority), Timeouts(PUT_CONNECT_S, PUT_READ_S)
        lean = PutRecordsClient(session.get_credentials(), there, timeouts)
        boto = session.client("kinesis", endpoint_url=place.url, verify=place.authority)
        times = {client: through(pipeline, client, events) for client in (lean, boto)}
        assert place.counts()["records"] == 2 * (len(events) + 1)
        lean.close()
        boto.close()
    pipeline.close()
    return times[lean], times[boto]


def through(pipeline: Pipeline, client: object, events: list[str]) -> float:
    pipeline.writer._putter._stream = KinesisStream(client, "bench")
    write(pipeline, events[:1])
    return 1e3 * spent(lambda: write(pipeline, events)) / len(events)


def main() -> None:
    given = arguments(__doc__, hosts=100, minutes=240, metrics=100)
    hosts, minutes, metrics = (4, 60, 50) if given.small else (given.hosts, given.minutes, given.metrics)
    load = Load(day_of(given.data, metrics), hosts, minutes)
    print(f"{hosts} hosts x {metrics} metrics x {minutes} minutes; {machine()}")
    with Cluster(masters=1, replicas=1) as cluster:
        used = ours(cluster, load)
        writer_ms, boto_ms = as_billed(cluster, load, 100 if given.small else 1000)
    for name, us in used._asdict().items():
        print(f"{name:24} {us:7.3f} us a sample")
    vm_json, vm_text = theirs(load, as_opentsdb), theirs(load, as_text)
    if vm_json and vm_text:
        print(f"VictoriaMetrics, JSON {vm_json:.3f} us a sample, text {vm_text:.3f}")
    print(f"the writer's post of {metrics} samples as billed: {writer_ms:.3f} ms, with boto3's client {boto_ms:.3f}")
    report(
        cpu_us_per_sample=used.total,
        vm_cpu_us_per_sample=vm_json,
        ratio=used.total / vm_json if vm_json else None,
        writer_ms_per_request=writer_ms,
        writer_ms_per_request_boto3=boto_ms,
        vm_text_cpu_us_per_sample=vm_text,
        **{f"{name}_us_per_sample": us for name, us in used._asdict().items()},
    )


if __name__ == "__main__":
    main()
