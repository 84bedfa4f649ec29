"""Redis CPU of a message through a queue, beside a plain BLMOVE loop, and beside the posts of hosts, in one run.

    .venv/bin/python -m bench.queue [messages] [hosts]

A master with a replica; CPU is the master's own (INFO cpu).  Every call but those of the plain loop waits for the
replica.  A message is published, taken and acknowledged; the plain loop pushes it, moves it by BLMOVE to a list of
those in work and removes it there: no lease, no order of retries, no state.  Every message must come once and in order,
or the run fails.  The table is not measured here.
"""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.nodes import Nodes
from carbyne.adapters.redis.queue import RedisQueues
from carbyne.core.keys import QueueKey, SourceKey
from carbyne.core.settings import RedisSettings
from carbyne.queue.ports import WHOLE, QueueNote, id_of
from carbyne.wiring.redis import nodes
from redis import Redis

from bench.hot import rows_writer, values_of
from servers.valkey import Cluster

JOBS_PER_MINUTE = 200
"""Checks and integrations of a deployment of 1,000 hosts."""
EMPTY_TAKES_PER_MINUTE = 60
"""Of two workers that look every two seconds."""
MINUTES = 5


class Cost(NamedTuple):
    """Microseconds of Redis' CPU, and of wall, for one message."""

    cpu_us: float
    wall_us: float


def cpu_s(cluster: Cluster) -> float:
    """User and system CPU of the master so far."""
    with cluster.nodes[0].client as client:
        info = client.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def measured(cluster: Cluster, number: int, work: Callable[[], None]) -> Cost:
    cpu_before, begun = cpu_s(cluster), time.perf_counter()
    work()
    wall = time.perf_counter() - begun
    return Cost((cpu_s(cluster) - cpu_before) / number * 1e6, wall / number * 1e6)


def through_queue(order: RedisQueues, queue: QueueKey, messages: int, batch: int) -> None:
    """``batch`` at a time: publish (two calls), take and acknowledge."""
    expected, seen = [], []
    for first in range(0, messages, batch):
        number = order.reserve(queue, batch).first
        ids = [id_of(number + at, 1_700_000_000_000, f"{first + at:08x}") for at in range(batch)]
        assert order.push(queue, [(each, 0) for each in ids]) == WHOLE
        taken = list(order.take(queue, batch, 30_000, f"{first:016x}").messages)
        order.forget(queue, taken)
        expected += ids
        seen += taken
    assert seen == expected, "every message once and in order"


def through_lists(client: Redis, messages: int) -> None:
    for number in range(messages):
        client.rpush("{plain}:ready", number)
        assert client.blmove("{plain}:ready", "{plain}:work", 1, "LEFT", "RIGHT") == b"%d" % number
        assert client.lrem("{plain}:work", 1, number) == 1


def empty_takes(order: RedisQueues, queue: QueueKey, number: int) -> None:
    for at in range(number):
        assert order.take(queue, 8, 30_000, f"{at:016x}").messages == {}


def built(redis: Nodes, queue: QueueKey) -> RedisQueues:
    order = RedisQueues(redis)
    order.begin(queue)
    assert order.fill(queue, "", "", True, QueueNote(), []).state == WHOLE
    order.note(queue, QueueNote(10**12, 30_000))
    return order


def run(messages: int, hosts: int) -> dict[str, Cost]:
    """Costs by what was done; of ``posts`` for one host and minute, of ``empty take`` for one call."""
    with Cluster(masters=1, replicas=1) as cluster:
        redis = nodes(RedisSettings(cluster.endpoint, redis_tls=False))
        queue = QueueKey("bench", "jobs")
        order = built(redis, queue)
        costs = {
            f"{batch} at a time": measured(cluster, messages, lambda b=batch: through_queue(order, queue, messages, b))
            for batch in (1, 10, 100)
        }
        costs["empty take"] = measured(cluster, messages, lambda: empty_takes(order, queue, messages))
        with cluster.nodes[0].client as client:
            costs["BLMOVE loop"] = measured(cluster, messages, lambda: through_lists(client, messages))
        sources = [SourceKey("acme", f"host/h{number:05d}") for number in range(hosts)]
        values = values_of(hosts, MINUTES)
        costs["posts"] = measured(cluster, hosts * MINUTES, rows_writer(HotStore(redis), values, sources))
        redis.close()
    return costs


def main() -> None:
    messages, hosts = (int(arg) for arg in [*sys.argv[1:], *("10000", "1000")[len(sys.argv) - 1 :]])
    costs = run(messages, hosts)
    print("| what | Redis CPU, us | a second of a Redis core | wall, us |\n|---|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost.cpu_us:.1f} | {1e6 / cost.cpu_us:,.0f} | {cost.wall_us:.0f} |")
    posts_us = costs["posts"].cpu_us * hosts
    jobs_us = costs["1 at a time"].cpu_us * JOBS_PER_MINUTE + costs["empty take"].cpu_us * EMPTY_TAKES_PER_MINUTE
    print(f"a minute of {hosts} hosts: {posts_us / 1000:.1f} ms; of {JOBS_PER_MINUTE} jobs: {jobs_us / 1000:.1f} ms")
    print(f"the jobs take {jobs_us / 60e6:.4%} of a core, the posts {posts_us / 60e6:.4%}")


if __name__ == "__main__":
    main()
