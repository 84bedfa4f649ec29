"""Redis CPU and memory per sample: rows through the real write script, against EVAL(MultiHmSet), in one run.

    python -m bench.hot [--small] [--hosts 200] [--minutes 60]

All sides run on one cluster of three masters without replicas, one after the other on emptied nodes: the same number
of samples in sources of 10, 100 or 1,000 metrics; in order, each row after the next one (late) and each in two records
(cut).  CPU is the servers' own (INFO cpu), memory is used_memory.  Values of some hosts are read back and compared; a
wrong one fails the run.
"""

import random
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from carbyne.adapters.redis.commands import checked
from carbyne.adapters.redis.hot import HotStore
from carbyne.core import stamps
from carbyne.core.keys import SourceKey, Window, join_series, list_identity
from carbyne.core.settings import RedisSettings
from carbyne.samples.columns import column
from carbyne.samples.rows import HotQuery, HotRow, RowGroup
from carbyne.wiring.redis import nodes
from redis.cluster import RedisCluster

from bench.common import arguments, machine, redis_bytes, redis_cpu_s, report
from servers.valkey import Cluster

METRICS = [f"custom.app.worker{i:02d}.requests" for i in range(100)]
LENGTH_S = 14_400
WINDOW = Window(1_700_000_000 // LENGTH_S * LENGTH_S, LENGTH_S)
FIRST_SEQUENCE = 49590338271490256608559692538361571095921575989136588898
MULTI_HMSET = """
for i = 1, #KEYS do redis.call('HMSET', KEYS[i], ARGV[1], ARGV[i + 1]) end
return #KEYS
"""


class Case(NamedTuple):
    """``metrics``: of a source; ``per_call``: sources of a lane that are written at once; ``late``: rows come in pairs,
    the later one first; ``cut``: each row comes as two records."""

    name: str
    metrics: int = 100
    per_call: int = 1
    late: bool = False
    cut: bool = False


ONE, FOUR = Case("rows, one source a call"), Case("rows, four sources a call", per_call=4)
CASES = [
    ONE,
    FOUR,
    Case("rows of 10 metrics", metrics=10),
    Case("rows of 1,000 metrics", metrics=1000),
    Case("rows, each after the next one", late=True),
    Case("rows, each in two records", cut=True),
]


class Cost(NamedTuple):
    """Of a sample: microseconds of Redis' CPU, and bytes."""

    cpu_us: float
    size: float


def names_of(metrics: int) -> list[str]:
    return METRICS if metrics == len(METRICS) else [f"custom.app.worker{i:04d}.requests" for i in range(metrics)]


def values_of(hosts: int, minutes: int, metrics: int = len(METRICS)) -> np.ndarray:
    """[host, minute, metric], the same in every run."""
    return np.round(np.random.default_rng(1).normal(1000, 100, (hosts, minutes, metrics)), 3)


def measured(
    cluster: Cluster, name: str, samples: int, write: Callable[[], None], before: Callable[[], None] = lambda: None
) -> Cost:
    """What ``write`` costs on emptied nodes; prints a line."""
    for node in cluster.nodes:
        with node.client as client:
            client.flushall()
    before()
    time.sleep(0.2)
    bytes_before, cpu_before = redis_bytes(cluster), redis_cpu_s(cluster)
    write()
    cost = Cost(1e6 * (redis_cpu_s(cluster) - cpu_before) / samples, (redis_bytes(cluster) - bytes_before) / samples)
    print(f"{name:40} {cost.cpu_us:8.3f} {cost.size:8.2f}", flush=True)
    return cost


def groups(
    values: np.ndarray, sources: list[SourceKey], minute: int, cut: bool = False
) -> Iterator[tuple[int, RowGroup]]:
    """(lane, group) of the rows of a minute; ``cut``: of two records each, at another place each minute."""
    metrics = values.shape[2]
    names, ts_ms = names_of(metrics), (WINDOW.start_s + 60 * minute) * 1000
    place = 1 + minute * 7919 % (metrics - 1) if cut else metrics
    parts = []
    for number, span in enumerate(slice(*edges) for edges in ((0, place), (place, metrics)) if edges[0] < edges[1]):
        series = join_series(names[span])
        parts.append((span, list_identity(series), series, stamps.pack(1, str(FIRST_SEQUENCE + 2 * minute + number))))
    for host, source in enumerate(sources):
        rows = [
            HotRow(ts_ms, identity, series, stamp, values[host, minute, span].astype("<f8").tobytes())
            for span, identity, series, stamp in parts
        ]
        yield source.lane, RowGroup(source, WINDOW, WINDOW.end_s * 1000, False, rows)


def rows_writer(store: HotStore, values: np.ndarray, sources: list[SourceKey], case: Case = ONE) -> Callable[[], None]:
    minutes = range(values.shape[1])

    def write() -> None:
        for minute in [at ^ 1 for at in minutes] if case.late else minutes:
            lanes: dict[int, list[RowGroup]] = {}
            for lane, group in groups(values, sources, minute, case.cut):
                lanes.setdefault(lane, []).append(group)
            for outcome in store.write(lanes).values():
                assert not isinstance(outcome, Exception), outcome

    return write


def multi_hmset_writer(client: RedisCluster, values: np.ndarray) -> Callable[[], None]:
    def write() -> None:
        for minute in range(values.shape[1]):
            ts = str(WINDOW.start_s + 60 * minute)
            for first in range(0, values.shape[0], 50):
                pipes = {}
                for host in range(first, min(first + 50, values.shape[0])):
                    keys = [f"60:{{acme.host{host}}}{metric}" for metric in METRICS]
                    node = client.get_node_from_key(keys[0])
                    pipe = pipes.setdefault(node.name, client.get_redis_connection(node).pipeline(transaction=False))
                    pipe.execute_command(
                        "EVAL", MULTI_HMSET, len(keys), *keys, ts, *map(repr, values[host, minute].tolist())
                    )
                for pipe in pipes.values():
                    pipe.execute()

    return write


def sampled(hosts: int) -> list[int]:
    """Some hosts, the same in every run."""
    return random.Random(1).sample(range(hosts), min(hosts, 20))


def check_rows(store: HotStore, values: np.ndarray, sources: list[SourceKey]) -> None:
    names = names_of(values.shape[2])
    for host in sampled(len(sources)):
        query = HotQuery(0, WINDOW.end_s * 1000, LENGTH_S, names)
        columns = checked(store.read_each([sources[host]], query)[sources[host]]).columns
        for metric, name in enumerate(names):
            assert np.array_equal(column(columns, name)[1].view(np.float64), values[host, :, metric]), (host, name)


def check_multi_hmset(client: RedisCluster, values: np.ndarray) -> None:
    for host in sampled(values.shape[0]):
        for metric, name in enumerate(METRICS):
            stored = client.hgetall(f"60:{{acme.host{host}}}{name}")
            assert [float(stored[str(WINDOW.start_s + 60 * m).encode()]) for m in range(values.shape[1])] == list(
                values[host, :, metric]
            )


def sources_of(hosts: int, per_call: int) -> list[SourceKey]:
    """So many sources: of lanes as they come, or so many of each lane together."""
    if per_call == 1:
        return [SourceKey("acme", f"host/h{number:05d}") for number in range(hosts)]
    by_lane: dict[int, list[SourceKey]] = {}
    for number in range(40 * hosts * per_call):
        source = SourceKey("acme", f"host/g{number:06d}")
        by_lane.setdefault(source.lane, []).append(source)
    full = [sources[:per_call] for sources in by_lane.values() if len(sources) >= per_call]
    return [source for sources in full[: hosts // per_call] for source in sources]


def of_case(cluster: Cluster, store: HotStore, case: Case, hosts: int, minutes: int) -> Cost:
    """The same samples in sources of the case's size; a small one has fewer samples a row, and as many rows."""
    sources = sources_of(max(case.per_call, hosts * 100 // max(case.metrics, 100)), case.per_call)
    values = values_of(len(sources), minutes, case.metrics)
    cost = measured(cluster, case.name, values.size, rows_writer(store, values, sources, case), store.init)
    check_rows(store, values, sources)
    return cost


def main() -> None:
    given = arguments(__doc__, hosts=200, minutes=60)
    hosts, minutes = (20, 6) if given.small else (given.hosts, given.minutes)
    print(f"{hosts} hosts x {len(METRICS)} metrics x {minutes} minutes; {machine()}")
    print(f"{'':40} {'us CPU':>8} {'bytes':>8}")
    with Cluster(masters=3, replicas=0) as cluster:
        host, _, port = cluster.endpoint.rpartition(":")
        client, values = RedisCluster(host=host, port=int(port), protocol=2), values_of(hosts, minutes)
        base = measured(cluster, "EVAL(MultiHmSet), one host a call", values.size, multi_hmset_writer(client, values))
        check_multi_hmset(client, values)
        client.close()
        connected = nodes(RedisSettings(cluster.endpoint, False))
        costs = {case.name: of_case(cluster, HotStore(connected), case, hosts, minutes) for case in CASES}
        connected.close()
    for name, cost in costs.items():
        print(f"{name:40} {base.cpu_us / cost.cpu_us:7.1f}x less CPU, {base.size / cost.size:.2f}x fewer bytes")
    alone, four = costs[ONE.name], costs[FOUR.name]
    report(
        redis_cpu_ratio_vs_multihmset=base.cpu_us / alone.cpu_us,
        redis_cpu_ratio_four_sources=base.cpu_us / four.cpu_us,
        bytes_per_sample=alone.size,
        samples_per_core_s=1e6 / alone.cpu_us,
    )


if __name__ == "__main__":
    main()
