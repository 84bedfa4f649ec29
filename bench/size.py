"""Bytes of a sample in each tier, beside VictoriaMetrics and Prometheus, with the same samples in one run.

    python -m bench.size [--small] [--hosts 20] [--metrics 50] [--data path]

Hosts post a day of minutes.  Warm: items of blocks of four hours, all attributes counted as DynamoDB does; cold: their
objects; hot: a cluster of a master without a replica, by used_memory, with four hours.  VictoriaMetrics: its files of
data after a forced merge, without its index, which is good to it; Prometheus: its blocks of two hours with their index.
What does not read back bit for bit fails the run; VictoriaMetrics rounds, and may differ from the 13th digit on.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from carbyne.adapters.redis.hot import HotStore
from carbyne.core.items import Item
from carbyne.core.keys import RAW, BlockKey, SourceKey, Window
from carbyne.core.settings import RedisSettings
from carbyne.samples import blocks
from carbyne.wiring.redis import nodes

from bench import peers
from bench.blocks import START_MS, columns_of, kinesis_stamps
from bench.common import MINUTES, Day, arguments, day_of, machine, metric_of, redis_bytes, report
from bench.hot import check_rows, rows_writer, sources_of
from servers.memory import item_bytes
from servers.valkey import Cluster

ROWS = 240
WINDOW_S = 14_400
START_S = START_MS // 1000
WARM_S = 7 * 86_400


def table_bytes(day: Day, hosts: int) -> tuple[float, float]:
    """Bytes a sample of the items, and of the objects."""
    items = objects = 0
    stamps = kinesis_stamps(ROWS)
    for host in range(hosts):
        values = day.of_host(host, MINUTES)
        for first in range(0, MINUTES, ROWS):
            bits = np.ascontiguousarray(values[first : first + ROWS].T).view(np.uint64)
            columns = columns_of(day.names, bits, stamps)
            block = blocks.encode(columns)
            assert blocks.decode(block) == columns, (host, first)
            window = Window(START_S + 60 * first, WINDOW_S)
            key = BlockKey(SourceKey("acme", f"host/h{host:05d}"), RAW, window)
            items += item_bytes(key.partition, key.sort, Item(block, window.end_s + WARM_S))
            objects += len(block)
    samples = hosts * MINUTES * len(day.names)
    return items / samples, objects / samples


def hot_bytes(day: Day, hosts: int) -> float:
    values = np.array([day.of_host(host, ROWS) for host in range(hosts)])
    sources = sources_of(hosts, 1)
    with Cluster(masters=1, replicas=0) as cluster:
        connected = nodes(RedisSettings(cluster.endpoint, False))
        store = HotStore(connected)
        store.init()
        time.sleep(0.2)
        before = redis_bytes(cluster)
        rows_writer(store, values, sources)()
        used = redis_bytes(cluster) - before
        check_rows(store, values, sources)
        connected.close()
    return used / values.size


def lines(day: Day, hosts: int, name: int) -> Iterator[str]:
    """One metric of all hosts, as lines of OpenMetrics."""
    for host in range(hosts):
        values = day.of_host(host, MINUTES)[:, name].tolist()
        series = f'{metric_of(day.names[name])}{{host="h{host:05d}"}}'
        yield from (f"{series} {value!r} {START_S + 60 * minute}" for minute, value in enumerate(values))


def victoria_bytes(day: Day, hosts: int) -> float | None:
    with peers.victoria_metrics() as peer:
        if peer is None:
            return None
        for name in range(len(day.names)):
            text = "\n".join(f"{line}000" for line in lines(day, hosts, name))
            peer.post("/api/v1/import/prometheus", text)
        stored = peer.exported('{host="h00000"}', len(day.names))
        values = day.of_host(0, MINUTES)
        assert np.allclose([stored[metric_of(name)] for name in day.names], values.T, rtol=1e-12, atol=0)
        peer.get("/internal/force_merge")
        return resting(peer.folder / "data") / (hosts * values.size)


def resting(folder: Path) -> int:
    """The size of a folder once it has not changed for a second: a merge leaves what it merged for a while."""
    sizes = [0]
    while sizes[-1] == 0 or len(set(sizes[-10:])) > 1 or len(sizes) < 10:
        assert len(sizes) < 300, "VictoriaMetrics goes on merging"
        time.sleep(0.1)
        sizes.append(peers.bytes_below(folder))
    return sizes[-1]


def prometheus_bytes(day: Day, hosts: int) -> float | None:
    with tempfile.TemporaryDirectory(prefix="carbyne-bench-") as folder:
        path = Path(folder) / "samples"
        with path.open("w") as file:
            for name in range(len(day.names)):
                file.write(f"# TYPE {metric_of(day.names[name])} gauge\n")
                file.writelines(f"{line}\n" for line in lines(day, hosts, name))
            file.write("# EOF\n")
        with peers.prometheus([path]) as peer:
            if peer is None:
                return None
            values = day.of_host(0, MINUTES)
            query = f'{metric_of(day.names[0])}{{host="h00000"}}'
            [stored] = peer.ranges(query, START_S, START_S + 60 * (MINUTES - 1), 60).values()
            assert list(stored.values()) == values[:, 0].tolist()
            parts = (peer.folder / "data").glob("*/index")
            return sum(peers.bytes_below(part.parent) for part in parts) / (hosts * values.size)


def main() -> None:
    given = arguments(__doc__, hosts=20, metrics=50)
    hosts, metrics = (2, 20) if given.small else (given.hosts, given.metrics)
    day = day_of(given.data, metrics)
    print(f"{hosts} hosts x {metrics} metrics x {MINUTES} minutes; {machine()}")
    warm, cold = table_bytes(day, hosts)
    bytes_of = {"warm_raw": warm, "cold_raw": cold, "hot": hot_bytes(day, hosts)}
    bytes_of |= {"vm": victoria_bytes(day, hosts), "prometheus": prometheus_bytes(day, hosts)}
    for name, size in bytes_of.items():
        print(f"{name:12} {size:8.3f} bytes a sample" if size else f"{name:12} left out")
    report(**bytes_of)


if __name__ == "__main__":
    main()
