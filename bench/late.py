"""What a delete of a host of 460 days and a late sample cost: CPU of the ingester, bytes of Redis, write units.

    python bench/late.py

Through the ingester's own handler and a real Redis Cluster; the blocks table is one in memory, so its client's CPU is
not in the figures.  It fails if a sample can't be read back.
"""

import time

from harness.neighbours import Neighbours
from harness.pipeline import LENGTH_S, Pipeline, stored_bytes
from servers.valkey import Cluster

DELETES, HOSTS, WINDOWS = 60, 10, 30


def main() -> None:
    with Cluster(masters=3, replicas=1, node_timeout_ms=2000) as cluster:
        start_s = int(time.time()) // LENGTH_S * LENGTH_S + 3_600
        path = Pipeline(cluster, start_s, tenants={"loud": "loud", "quiet": "quiet"}, clocked=True)
        two = Neighbours(path)
        two.seal_windows("old")
        two.sparse(["warm"], 1, 86_400)  # connections and scripts are there before anything is measured
        two.delete("warm", 0)
        two.quiet()
        two.minute()
        for number in range(DELETES):
            two.delete("old", number)
        _measure(two, cluster, "delete", DELETES)
        two.sparse([f"h{number}" for number in range(HOSTS)], WINDOWS, 86_400)
        _measure(two, cluster, "late sample", HOSTS * WINDOWS)
        two.settle()
        two.expect_all()
        path.close()


def _measure(two: Neighbours, cluster: Cluster, what: str, number: int) -> None:
    """Deliver what was posted, and print what each of ``number`` took."""
    before = stored_bytes(cluster), two.path.table.units, time.process_time()
    two.deliver()
    after = stored_bytes(cluster), two.path.table.units, time.process_time()
    size, units, cpu_s = (last - first for first, last in zip(before, after, strict=True))
    print(f"{what}: {cpu_s / number * 1e6:.0f} us, {size / number:.0f} B of Redis, {units / number:.2f} write units")


if __name__ == "__main__":
    main()
