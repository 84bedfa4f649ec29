"""How fast a lost Redis is filled again from the stream, at the reference load, through the real replayer.

    python -m bench.replay [--small] [--hosts 1000] [--minutes 30] [--data path]

Each host posts 100 metrics a minute, packed as the writer does.  The stream is in memory; the events of the functions
are JSON texts as Lambda hands them over, in batches of the size that the reader of a replay has; Redis is a cluster of
one master with a replica, as the template makes it.  The records go through the ingester; then every node is emptied,
and the sealer's watch, the supervisor and the replayer fill it again.  In the end every sample of every host is read
and compared bit for bit; a wrong one fails the run.  bench/recovery.py has a whole retention and a full Redis.

"of one core" is what the function and Redis' master could do with a core each: the larger of their own CPU times.
"""

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from carbyne.adapters.lambda_ import BATCH_SIZE
from carbyne.adapters.redis.commands import checked
from carbyne.adapters.redis.windows import Due, HotWindows
from carbyne.core.keys import SourceKey
from carbyne.hot.jobs import Jobs
from carbyne.hot.progress import Notes, Progress
from carbyne.hot.replay import Replayer, Supervisor
from carbyne.intake.packing import entries_of
from carbyne.samples.columns import column
from carbyne.samples.rows import HotQuery
from numpy.typing import NDArray

from bench.common import arguments, day_of, machine, node_cpu_s, report
from harness.pipeline import APPS, LENGTH_S, Pipeline, kinesis_event
from servers.valkey import Cluster, Node

START_S = 1_700_006_400
METRICS = 100
SHARD_READ_BYTES_PER_S = 2_000_000
TARGET = 50
Values = NDArray[np.float64]


class Used(NamedTuple):
    """Seconds: by the clock, of this process' CPU, of the master's CPU."""

    wall_s: float
    function_s: float
    redis_s: float

    @property
    def core_s(self) -> float:
        return max(self.function_s, self.redis_s)


class NoReaders:
    """The runtime of this file is the reader."""

    def start(self, start_s: int) -> str:
        return "bench"

    def stop(self, name: str) -> None:
        pass


def post_all(pipeline: Pipeline, names: list[str], values: Values) -> None:
    """Every host's post of every minute, onto the stream."""
    for minute in range(values.shape[1]):
        ts_ms = (START_S + 60 * minute) * 1000
        for host in range(values.shape[0]):
            row = dict(zip(names, values[host, minute].tolist(), strict=True))
            pipeline.stream.put(entries_of("acme", {(f"host/h{host:05d}", ts_ms): row}))


def master(cluster: Cluster) -> Node:
    return next(node for node in cluster.nodes if "role:master" in node.ask("INFO", "replication"))


def events(records: list[tuple[str, str, bytes]]) -> Iterator[str]:
    for first in range(0, len(records), BATCH_SIZE):
        yield json.dumps(kinesis_event(records[first : first + BATCH_SIZE]))


def measured(cluster: Cluster, function: str, texts: list[str], use_case: Any) -> Used:
    """All events through a function's handler; a batch that is not done at once fails the run."""
    redis_before = node_cpu_s(master(cluster))
    wall, cpu = time.perf_counter(), time.process_time()
    for text in texts:
        answer = APPS[function].handle(json.loads(text), lambda: use_case, lambda: 60.0)
        assert answer == {"batchItemFailures": []}, answer
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Used(wall, cpu, node_cpu_s(master(cluster)) - redis_before)


def check(pipeline: Pipeline, names: list[str], values: Values) -> None:
    times_ms = (START_S + 60 * np.arange(values.shape[1])) * 1000
    for host in range(values.shape[0]):
        source = SourceKey("acme", f"host/h{host:05d}")
        read = checked(pipeline.store.read_each([source], HotQuery(0, int(times_ms[-1]), LENGTH_S, names))[source])
        assert read.whole, host
        for metric, name in enumerate(names):
            ts_ms, bits = column(read.columns, name)[:2]
            assert np.array_equal(ts_ms, times_ms), (host, name)
            assert np.array_equal(bits.view(np.uint64), values[host, :, metric].view(np.uint64)), (host, name)


def begin(pipeline: Pipeline, cluster: Cluster) -> None:
    """Empty Redis and begin the replay, as sealer and supervisor do in their minutes."""
    master(cluster).ask("FLUSHALL")
    tokens = dict.fromkeys(range(1024), "")
    pipeline.new_watch().begin_look()(Due([], tokens, tokens, {}))
    Supervisor(Jobs(pipeline.table), NoReaders(), pipeline.stream, time.time, []).tick()


def line_of(name: str, used: Used, count: int, samples: int, size: int, span_s: int) -> float:
    """A line; how many times real time one core is."""
    pace = span_s / used.core_s
    figures = [used.wall_s, used.function_s, used.redis_s]
    rates = [count / used.core_s, samples / used.core_s, size / used.core_s / 1e6]
    line = "".join(f"{figure:11,.1f}" for figure in figures) + f"{rates[0]:11,.0f}{rates[1]:11,.0f}{rates[2]:11.2f}"
    print(f"{name:10}{line}{pace:10.0f}x{span_s / used.wall_s:10.0f}x", flush=True)
    return pace


def run(cluster: Cluster, hosts: int, minutes: int, path: str) -> tuple[float, float]:
    """Times real time: of one core, and of a shard."""
    day = day_of(path, METRICS)
    names, values = list(day.names), np.array([day.of_host(host, minutes) for host in range(hosts)])
    pipeline = Pipeline(cluster, START_S + 60 * minutes)
    post_all(pipeline, names, values)
    live = list(pipeline.stream.records)
    samples, size, span_s = values.size, sum(len(record[2]) for record in live), 60 * minutes
    print(
        f"{hosts} hosts x {METRICS} metrics x {minutes} minutes: {len(live):,} records of {size / len(live):,.0f} bytes"
    )
    heads = ("wall s", "function", "redis", "records/s", "samples/s", "MB/s", "one core", "here")
    print(f"{'':10}" + "".join(f"{head:>11}" for head in heads))
    first = measured(cluster, "ingester", list(events(live)), pipeline.ingester)
    line_of("ingester", first, len(live), samples, size, span_s)
    begin(pipeline, cluster)
    windows = HotWindows(pipeline._nodes())
    progress = Progress(Notes(pipeline.table), Jobs(pipeline.table).running, time.time)
    replayer = Replayer(pipeline.new_ingester(pipeline._nodes()), windows, pipeline.meter, progress)
    records = pipeline.stream.records
    again = measured(cluster, "replayer", list(events(records)), replayer)
    pace = line_of("replayer", again, len(records), samples, size, span_s)
    assert not windows.in_replay(range(1024))
    check(pipeline, names, values)
    live_bytes_per_s = size / span_s
    ceiling = (SHARD_READ_BYTES_PER_S - live_bytes_per_s) / live_bytes_per_s
    print(f"every sample is back; the live stream is {live_bytes_per_s / 1000:,.1f} kB/s")
    print(f"a shard's 2 MB/s, less what the live reader takes: {ceiling:.0f}x real time")
    print(f"the replay of one shard: {min(pace, ceiling):.0f}x real time (target: {TARGET}x)")
    pipeline.close()
    return pace, ceiling


def main() -> None:
    given = arguments(__doc__, hosts=1000, minutes=30)
    hosts, minutes = (20, 10) if given.small else (given.hosts, given.minutes)
    print(machine())
    with Cluster(masters=1, replicas=1) as cluster:
        pace, ceiling = run(cluster, hosts, minutes, given.data)
    report(times_real_time=min(pace, ceiling), times_real_time_of_a_core=pace, times_real_time_of_a_shard=ceiling)


if __name__ == "__main__":
    main()
