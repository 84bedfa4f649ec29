"""What a scrape costs that arrives in pieces: Redis CPU and memory, the client's CPU, and the seal, per sample.

    python -m bench.fragments [targets] [series] [rows]

Prometheus sends a scrape in requests that it cuts anywhere, and shares its series out among shards.  Each case stores
the same samples in other pieces, through the real scripts on one master; every sample is read back as the sealer reads
it and compared, so a wrong answer fails the run.  Redis' CPU is its own (INFO cpu), memory is used_memory.
"""

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from carbyne.adapters.redis.commands import checked
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core import stamps
from carbyne.core.keys import SourceKey, Window, join_series, list_identity
from carbyne.core.settings import RedisSettings
from carbyne.samples.columns import column
from carbyne.samples.rows import HotQuery, HotRow, RowGroup
from carbyne.wiring.redis import nodes

from bench.common import redis_bytes, redis_cpu_s
from servers.valkey import Cluster

LENGTH_S = 14_400
STEP_S = 15
WINDOW = Window(1_700_000_000 // LENGTH_S * LENGTH_S, LENGTH_S)
SEALED_SAMPLES = 240_000

Pieces = list[np.ndarray]
"""Indexes into the names of a target, ascending, each of which a piece has."""


class Load(NamedTuple):
    """``names`` ascending; ``values`` [target, row, series]."""

    names: list[str]
    values: np.ndarray


class Case(NamedTuple):
    """``pieces``: of one scrape, the row's number given; ``share``: of the rows, which keeps a slow case short."""

    name: str
    pieces: Callable[[int], Pieces]
    share: float = 1.0


def load_of(targets: int, series: int, rows: int) -> Load:
    """Names of about 41 bytes, as node_exporter has them in the canonical text."""
    names = sorted(f'node_metric_{i // 8:03d}_total{{cpu="{i % 8}",mode="idle"}}' for i in range(series))
    return Load(names, np.round(np.random.default_rng(1).normal(1000, 100, (targets, rows, series)), 3))


def cut(indexes: np.ndarray, count: int, rng: random.Random) -> Pieces:
    """``indexes`` in ``count`` successive pieces, cut at random places."""
    places = sorted(rng.sample(range(1, len(indexes)), count - 1))
    return [piece for piece in np.split(indexes, places) if len(piece)]


def cases(load: Load) -> list[Case]:
    rng = random.Random(1)
    count, rows = len(load.names), load.values.shape[1]
    every = np.arange(count)
    references = np.array(rng.sample(range(count), count))  # of Prometheus' head: in order of creation, not of names
    churning = [np.sort(rng.sample(range(count), count * 9 // 10)) for _ in range(8)]

    def resharded(row: int) -> Pieces:
        shards = (1, 4, 6)[3 * row // rows]
        return [piece for shard in range(shards) for piece in cut(every[references % shards == shard], 2, rng)]

    return [
        Case("whole", lambda _: [every]),
        Case("cut in two", lambda _: cut(every, 2, rng)),
        Case("cut in four", lambda _: cut(every, 4, rng)),
        Case("shards 1, 4, 6, each cut in two", resharded),
        Case("a tenth of the names changes, cut in two", lambda row: cut(churning[8 * row // rows], 2, rng)),
        Case("one sample a piece", lambda _: list(every.reshape(-1, 1)), share=0.05),
    ]


def scrapes(load: Load, case: Case, sources: Sequence[SourceKey], taken: np.ndarray) -> Iterator[list[RowGroup]]:
    """The groups of each scrape of all targets, and into ``taken`` [target, row, series] which samples there were."""
    sequence = 0
    for row in range(max(1, int(case.share * load.values.shape[1]))):
        ts_ms = (WINDOW.start_s + STEP_S * row) * 1000
        groups = []
        for number, source in enumerate(sources):
            rows = []
            for piece in case.pieces(row):
                sequence += 1
                taken[number, row, piece] = True
                blob = join_series([load.names[i] for i in piece])
                values = load.values[number, row, piece].astype("<f8").tobytes()
                rows.append(HotRow(ts_ms, list_identity(blob), blob, stamps.pack(1, str(sequence)), values))
            groups.append(RowGroup(source, WINDOW, WINDOW.end_s * 1000, True, rows))
        yield groups


def lanes_of(groups: Iterable[RowGroup]) -> dict[int, list[RowGroup]]:
    lanes: dict[int, list[RowGroup]] = {}
    for group in groups:
        lanes.setdefault(group.source.lane, []).append(group)
    return lanes


def seal_s(windows: HotWindows, load: Load, sources: Sequence[SourceKey], taken: np.ndarray) -> float:
    """Seconds of this process per SEALED_SAMPLES that the sealer needs to have the samples as columns."""
    spent, samples = 0.0, 0
    for number, source in enumerate(sources):
        before = time.process_time()
        columns = windows.rows(source, WINDOW).columns
        spent += time.process_time() - before
        samples += columns.samples
        for i, name in enumerate(load.names):
            ts_ms, bits = column(columns, name)
            there = np.flatnonzero(taken[number, :, i])
            assert np.array_equal(ts_ms, (WINDOW.start_s + STEP_S * there) * 1000), (source, name)
            assert np.array_equal(bits.view(np.float64), load.values[number, there, i]), (source, name)
    return spent * SEALED_SAMPLES / samples


def check_reads(store: HotStore, load: Load, source: SourceKey, taken: np.ndarray) -> float:
    """Milliseconds of a read of one series over the whole window."""
    start = time.perf_counter()
    for i in range(0, len(load.names), max(1, len(load.names) // 10)):
        query = HotQuery(0, WINDOW.end_s * 1000, LENGTH_S, [load.names[i]])
        columns = checked(store.read_each([source], query)[source]).columns
        there = np.flatnonzero(taken[:, i])
        assert np.array_equal(column(columns, load.names[i])[1].view(np.float64), load.values[0, there, i])
    return (time.perf_counter() - start) * 100


def measured(cluster: Cluster, load: Load, case: Case, sources: Sequence[SourceKey]) -> float:
    """Redis' CPU in microseconds per sample; prints the line of one case."""
    for node in cluster.nodes:
        with node.client as client:
            client.flushall()
    connected = nodes(RedisSettings(cluster.endpoint, False))
    store = HotStore(connected)
    store.init()
    time.sleep(0.5)
    taken = np.zeros(load.values.shape, bool)
    spent = 0.0
    bytes_before, cpu_before = redis_bytes(cluster), redis_cpu_s(cluster)
    for groups in scrapes(load, case, sources, taken):
        lanes, before = lanes_of(groups), time.process_time()
        for outcome in store.write(lanes).values():
            assert not isinstance(outcome, Exception), outcome
        spent += time.process_time() - before
    samples = int(taken.sum())
    cpu = (redis_cpu_s(cluster) - cpu_before) / samples * 1e6
    size = (redis_bytes(cluster) - bytes_before) / samples
    seal = seal_s(HotWindows(connected), load, sources[:10], taken)
    read_ms = check_reads(store, load, sources[0], taken[0])
    connected.close()
    client_us = spent / samples * 1e6
    print(f"{case.name:44} {cpu:8.3f} {size:8.2f} {client_us:8.3f} {seal:8.3f} {read_ms:8.2f}", flush=True)
    return cpu


def main() -> None:
    targets, series, rows = (int(arg) for arg in [*sys.argv[1:], *("100", "500", "120")[len(sys.argv) - 1 :]])
    load = load_of(targets, series, rows)
    sources = [SourceKey("acme", f"prom/{i:05d}") for i in range(targets)]
    with Cluster(masters=1, replicas=0) as cluster:
        print(f"{targets} targets x {series} series x {rows} rows of {STEP_S} s, per sample:")
        print(f"{'':44} {'Redis us':>8} {'bytes':>8} {'client us':>8} {'seal s':>8} {'read ms':>8}")
        whole = 0.0
        for case in cases(load):
            cpu = measured(cluster, load, case, sources)
            whole = whole or cpu
            print(f"{'':44} {cpu / whole:7.1f}x of whole rows")


if __name__ == "__main__":
    main()
