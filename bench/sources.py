"""CPU of a sample by the number of sources: writer, ingester and Redis, from a hundred to a hundred thousand.

    python -m bench.sources [--small] [--posts 6000]

Each source has ten metrics and a window that is open already; then all post in turn, a request each.  There is an
ingester for each 20,000 sources, as a stream of that load has a shard for each: it remembers the dictionaries of its
own.  Rows are read back and compared.  The last line is one JSON object.
"""

import gc
import json
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from carbyne.core.keys import lane_of_tag
from carbyne.core.limits import LANES
from carbyne.hot.marks import Ticking
from numpy.typing import NDArray

from bench import plot
from bench.common import ROOT, arguments, day_of, machine, redis_cpu_s, report
from bench.ingest import BATCH, START_S, ingest, post_event, write
from harness.pipeline import LENGTH_S, Pipeline, kinesis_event
from servers.valkey import Cluster

METRICS = 10
SOURCES = (100, 1_000, 10_000, 100_000)
SOURCES_PER_SHARD = 20_000
DAY = day_of("", METRICS)


class Posts:
    """Posts of all sources in turn, through functions whose CPU is counted."""

    def __init__(self, cluster: Cluster, sources: int) -> None:
        self.pipeline = Pipeline(cluster, START_S)
        self.sources = sources
        shards = -(-sources // SOURCES_PER_SHARD)
        others = [self.pipeline.new_ingester(self.pipeline._nodes()) for _ in range(shards - 1)]
        self.ingesters: list[Ticking] = [self.pipeline.ingester, *others]

    def pass_on(self, numbers: range) -> tuple[float, float]:
        """Seconds of CPU of writer and ingesters for these posts, counted from the first one of all."""
        self.pipeline.now_s = START_S + 60 * (numbers[-1] // self.sources)
        events = [post_event(body_of(number % self.sources, number // self.sources)) for number in numbers]
        writer_s, ingester_s = spent(lambda: write(self.pipeline, events)), 0.0
        for ingester, batch in self.batches():
            self.pipeline.ingester = ingester
            ingester_s += spent(lambda batch=batch: ingest(self.pipeline, [batch]))
        return writer_s, ingester_s

    def batches(self) -> Iterator[tuple[Ticking, str]]:
        """What is on the stream, by ingester; it is empty then."""
        shares: dict[int, list[tuple[str, str, bytes]]] = {}
        for record in self.pipeline.stream.records:
            lane = lane_of_tag(record[1])
            assert lane is not None
            shares.setdefault(lane * len(self.ingesters) // LANES, []).append(record)
        self.pipeline.stream.records.clear()
        return ((self.ingesters[shard], json.dumps(kinesis_event(records))) for shard, records in shares.items())

    def check(self, source: int, rows: int) -> None:
        for at, name in enumerate(DAY.names):
            _, _, points = self.pipeline.get_metric(id_of(source), name, START_S, START_S + LENGTH_S - 1)
            assert [value for _, value in points] == values_of(source, rows)[:, at].tolist(), (source, name)


def id_of(source: int) -> str:
    return f"h{source:06d}"


def values_of(source: int, rows: int) -> NDArray[np.float64]:
    """[rows, metrics]"""
    return DAY.of_host(source % 1000, rows)


def body_of(source: int, minute: int) -> list[dict[str, object]]:
    about = {"hostId": id_of(source), "time": START_S + 60 * minute}
    row = values_of(source, minute + 1)[minute].tolist()
    return [{**about, "name": name, "value": value} for name, value in zip(DAY.names, row, strict=True)]


def spent(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


class Parts(NamedTuple):
    """Microseconds of CPU per sample; ``redis``: of all nodes."""

    writer: float
    ingester: float
    redis: float


def of_sources(sources: int, posts: int) -> Parts:
    with Cluster(masters=1, replicas=1) as cluster:
        all_posts = Posts(cluster, sources)
        step = BATCH * len(all_posts.ingesters)
        for first in range(0, sources, step):  # opens the windows
            all_posts.pass_on(range(first, min(first + step, sources)))
        gc.collect()
        gc.freeze()  # all ingesters share this process: a full collection of their heaps is no single post's
        before = redis_cpu_s(cluster)
        numbers = range(sources, sources + posts)
        used = [all_posts.pass_on(numbers[first : first + step]) for first in range(0, posts, step)]
        redis_s = redis_cpu_s(cluster) - before
        gc.unfreeze()
        all_posts.check(0, 1 + -(-posts // sources))
        all_posts.pipeline.close()
    functions_s = [sum(seconds) for seconds in zip(*used, strict=True)]
    return Parts(*(1e6 * seconds / (posts * METRICS) for seconds in (*functions_s, redis_s)))


def main() -> None:
    given = arguments(__doc__, posts=6000)
    counts, posts = ((20, 200), 200) if given.small else (SOURCES, given.posts // BATCH * BATCH)
    print(f"{posts} posts of {METRICS} metrics; {machine()}")
    costs = {}
    for sources in counts:
        parts = of_sources(sources, posts)
        costs[sources] = sum(parts)
        apart = ", ".join(f"{name} {us:.2f}" for name, us in parts._asdict().items())
        print(f"{sources:8,} sources {costs[sources]:7.3f} us a sample: {apart}", flush=True)
    if not given.small:
        lines = {"writer, ingester, Redis": list(costs.values())}
        path = ROOT / "docs" / "images" / "sources.svg"
        path.write_text(plot.logarithmic("Microseconds of CPU a sample by sources of ten metrics", counts, lines))
    report(
        spread=max(costs.values()) / min(costs.values()) - 1,
        **{f"of_{sources}_us_per_sample": us for sources, us in costs.items()},
    )


if __name__ == "__main__":
    main()
