"""What it costs to know that replicas have a batch: time and Redis CPU of one, in one run, by how it counts.

    python -m bench.acknowledge [batches]

A batch is a row of 100 metrics of each of 100 hosts.  The ways take turns, on a cluster of three masters with a replica
each: no wait, WAIT 1 (a master that is not noted), every noted replica, and none that could be noted (the replica was
struck out).
"""

import statistics
import sys
import time
from collections.abc import Callable

from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.nodes import Nodes
from carbyne.core import stamps
from carbyne.core.keys import SourceKey, Window, join_series, list_identity
from carbyne.core.settings import RedisSettings
from carbyne.hot.followers import Followers, MastersItem
from carbyne.samples.rows import HotRow, RowGroup
from carbyne.wiring.redis import nodes

from bench.common import redis_cpu_s
from bench.hot import LENGTH_S, METRICS, WINDOW, values_of
from servers.memory import MemoryTable
from servers.valkey import Cluster

HOSTS = 100
SERIES = join_series(METRICS)


class Fixed(Followers):
    """Requires these replicas of each master, whatever is noted."""

    def __init__(self, names_of: Callable[[str], list[str] | None]) -> None:
        super().__init__(MastersItem(MemoryTable()), time.time)
        self.required = names_of  # type: ignore[method-assign]


def batch(minute: int) -> dict[int, list[RowGroup]]:
    values, identity = values_of(HOSTS, 1), list_identity(SERIES)
    lanes: dict[int, list[RowGroup]] = {}
    for host in range(HOSTS):
        source = SourceKey("acme", f"host/{host}")
        ts_ms = (WINDOW.start_s + minute * 60) * 1000
        window = Window.holding(ts_ms, LENGTH_S)
        row = HotRow(ts_ms, identity, SERIES, stamps.pack(1, str(minute + 1)), values[host, 0].tobytes())
        lanes.setdefault(source.lane, []).append(RowGroup(source, window, 0, True, [row], ts_ms))
    return lanes


class Unreplicated:
    def __init__(self, of: Nodes) -> None:
        self._nodes = of

    def run(self, calls: list, *, replicated: bool = False) -> list:
        return self._nodes.run(calls)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with Cluster(masters=3, replicas=1) as cluster:
        settings = RedisSettings(f"127.0.0.1:{cluster.nodes[0].port}", False)
        plain = nodes(settings)
        plain.run([])
        replicas = {master.id: sorted(master.replicas) for master in plain.masters().values()}
        waiting = [
            nodes(settings),
            nodes(settings, followers=Fixed(replicas.get)),
            nodes(settings, followers=Fixed(lambda _: [])),
        ]
        ways = dict(
            zip(
                ["no wait", "WAIT 1", "every noted replica", "no replica noted"],
                [HotStore(Unreplicated(plain)), *map(HotStore, waiting)],
                strict=True,
            )
        )
        took: dict[str, list[float]] = {way: [] for way in ways}
        cpu = dict.fromkeys(ways, 0.0)
        for number in range(count):
            for at, (way, store) in enumerate(ways.items()):
                lanes = batch(number * len(ways) + at)
                before, begun_s = redis_cpu_s(cluster), time.perf_counter()
                assert not any(isinstance(answer, Exception) for answer in store.write(lanes).values())
                took[way].append(time.perf_counter() - begun_s)
                cpu[way] += redis_cpu_s(cluster) - before
        base = statistics.median(took["no wait"])
        for way, seconds in took.items():
            middle = statistics.median(seconds)
            p99 = sorted(seconds)[int(len(seconds) * 0.99)]
            print(
                f"{way}: {1000 * middle:.2f} ms a batch (p99 {1000 * p99:.2f}), {middle / base:.2f} times no wait, "
                f"Redis CPU of all nodes {1000 * cpu[way] / count:.2f} ms"
            )
        for connected in [plain, *waiting]:
            connected.close()


if __name__ == "__main__":
    main()
