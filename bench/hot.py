"""Redis CPU and memory per sample: rows through the real write script, against EVAL(MultiHmSet), in one run.

    python bench/hot.py [hosts] [minutes]

Both sides run on the same cluster of three masters without replicas, one after the other on emptied nodes, with the
same samples: hosts x 100 metrics x minutes.  CPU is the servers' own (INFO cpu), memory is used_memory.  Every value
is read back and compared; a wrong one fails the run.
"""

import random
import sys
import time
from collections.abc import Callable, Iterator

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

from servers.valkey import Cluster

METRICS = [f"custom.app.worker{i:02d}.requests" for i in range(100)]
LENGTH_S = 14_400
WINDOW = Window(1_700_000_000 // LENGTH_S * LENGTH_S, LENGTH_S)
MULTI_HMSET = """
for i = 1, #KEYS do redis.call('HMSET', KEYS[i], ARGV[1], ARGV[i + 1]) end
return #KEYS
"""


def values_of(hosts: int, minutes: int) -> np.ndarray:
    """[host, minute, metric], the same in every run."""
    return np.round(np.random.default_rng(1).normal(1000, 100, (hosts, minutes, len(METRICS))), 3)


def cpu_s(cluster: Cluster) -> float:
    """User and system CPU of all nodes so far."""
    total = 0.0
    for node in cluster.nodes:
        with node.client as client:
            info = client.info("cpu")
            total += info["used_cpu_user"] + info["used_cpu_sys"]
    return total


def memory(cluster: Cluster) -> int:
    total = 0
    for node in cluster.nodes:
        with node.client as client:
            total += client.info("memory")["used_memory"]
    return total


def measured(
    cluster: Cluster, name: str, samples: int, write: Callable[[], None], before: Callable[[], None] = lambda: None
) -> float:
    """CPU in microseconds per sample of ``write`` on emptied nodes; prints a line."""
    for node in cluster.nodes:
        with node.client as client:
            client.flushall()
    before()
    time.sleep(1.0)
    bytes_before, cpu_before, start = memory(cluster), cpu_s(cluster), time.perf_counter()
    write()
    wall = time.perf_counter() - start
    cpu = (cpu_s(cluster) - cpu_before) / samples * 1e6
    print(f"{name:44} {cpu:8.3f} {(memory(cluster) - bytes_before) / samples:10.2f} {wall:8.1f}", flush=True)
    return cpu


def groups(values: np.ndarray, sources: list[SourceKey], minute: int) -> Iterator[tuple[int, RowGroup]]:
    series = join_series(METRICS)
    identity, stamp = (
        list_identity(series),
        stamps.pack(1, str(49590338271490256608559692538361571095921575989136588898 + minute)),
    )
    ts_ms = (WINDOW.start_s + 60 * minute) * 1000
    for host, source in enumerate(sources):
        row = HotRow(ts_ms, identity, series, stamp, values[host, minute].astype("<f8").tobytes())
        yield source.lane, RowGroup(source, WINDOW, WINDOW.end_s * 1000, False, [row])


def rows_writer(store: HotStore, values: np.ndarray, sources: list[SourceKey]) -> Callable[[], None]:
    def write() -> None:
        for minute in range(values.shape[1]):
            lanes: dict[int, list[RowGroup]] = {}
            for lane, group in groups(values, sources, minute):
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


def check_rows(store: HotStore, values: np.ndarray, sources: list[SourceKey]) -> None:
    for host in random.Random(1).sample(range(len(sources)), 20):
        query = HotQuery(0, WINDOW.end_s * 1000, LENGTH_S, METRICS)
        columns = checked(store.read_each([sources[host]], query)[sources[host]]).columns
        for metric, name in enumerate(METRICS):
            assert np.array_equal(column(columns, name)[1].view(np.float64), values[host, :, metric]), (host, name)


def check_multi_hmset(client: RedisCluster, values: np.ndarray) -> None:
    for host in random.Random(1).sample(range(values.shape[0]), 20):
        for metric, name in enumerate(METRICS):
            stored = client.hgetall(f"60:{{acme.host{host}}}{name}")
            assert [float(stored[str(WINDOW.start_s + 60 * m).encode()]) for m in range(values.shape[1])] == list(
                values[host, :, metric]
            )


def main() -> None:
    hosts, minutes = (int(arg) for arg in [*sys.argv[1:], "200", "60"][:2])
    values = values_of(hosts, minutes)
    spread = [SourceKey("acme", f"host/h{i:05d}") for i in range(hosts)]
    by_lane: dict[int, list[SourceKey]] = {}
    for number in range(40 * hosts * 4):
        source = SourceKey("acme", f"host/g{number:06d}")
        by_lane.setdefault(source.lane, []).append(source)
    fours = [source for lane in list(by_lane)[: hosts // 4] for source in by_lane[lane][:4]]
    with Cluster(masters=3, replicas=0) as cluster:
        host, _, port = cluster.endpoint.rpartition(":")
        client = RedisCluster(host=host, port=int(port), protocol=2)
        store = HotStore(nodes(RedisSettings(cluster.endpoint, False)))
        print(f"{hosts} hosts x {len(METRICS)} metrics x {minutes} minutes")
        print(f"{'':44} {'us CPU':>8} {'bytes':>10} {'wall s':>8}")
        base = measured(cluster, "EVAL(MultiHmSet), one host a call", values.size, multi_hmset_writer(client, values))
        check_multi_hmset(client, values)
        one = measured(
            cluster, "rows, sources spread over the lanes", values.size, rows_writer(store, values, spread), store.init
        )
        check_rows(store, values, spread)
        four = measured(
            cluster, "rows, four sources a call", values.size, rows_writer(store, values, fours), store.init
        )
        check_rows(store, values, fours)
        print(f"ratio: {base / one:.1f}x, four sources a call {base / four:.1f}x")


if __name__ == "__main__":
    main()
