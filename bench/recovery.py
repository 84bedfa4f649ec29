"""How long a lost Redis is gone: minutes until it is whole again, and seconds for which reads are refused.

    python bench/recovery.py [hosts] [hours of stream] [mark | oldest]

A small Valkey stands for the default node (or ten of them, past 2,000 hosts), a few hosts for many, and a clock of its
own for the day: all of memory, of a shard's 2 MB/s and of the sealer's time is divided by the same scale.  Its
maxmemory is the node's, beside what an empty one takes, and the sealer sees how full it is by that.  Every host
posts 100 metrics a minute; each minute has a run of the sealer and one of the supervisor half a minute later; a new
mapping begins to read after MAPPING_S, and a window takes the sealer WINDOW_S.  Then every master is emptied, right
after the sealer looked: after 4 hours nearly all of a window is in Redis alone.  ``oldest`` takes the marks away, as on
the day of the update that brought them.

In the end every sample of some hosts is read and compared; a wrong one fails the run.
"""

# ruff: noqa: E402
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "layers" / "carbyne"), str(ROOT)]

from carbyne.adapters.lambda_ import BATCH_SIZE
from carbyne.adapters.redis.nodes import MasterMemory
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core.errors import RetryableError
from carbyne.core.keys import RAW, REPLAY_ITEM, SourceKey
from carbyne.core.limits import LANES, SEAL_RESERVE_S
from carbyne.hot.jobs import Jobs
from carbyne.hot.progress import Notes, Progress
from carbyne.hot.replay import Replayer, Supervisor
from carbyne.intake.packing import entries_of
from carbyne.read.reader import How
from carbyne.stream.arrived import Arrived

from harness.pipeline import LENGTH_S, Pipeline, flush, stored_bytes, with_role
from servers.valkey import Cluster

START_S = 1_700_006_400 - 6 * LENGTH_S
METRICS = [f"custom.app.worker{i:02d}.requests" for i in range(100)]
NODE_BYTES = 1.37 * 2**30 * 0.75
"""A cache.t4g.small, of which a quarter is reserved."""
BACKLOG_BYTES = 10 * 2**20
"""Of replication, which a node fills in time."""
SHARD_BYTES_PER_S = 2_000_000
MAPPING_S, WINDOW_S, STEP_S = 60, 0.1, 30


class Recovery(NamedTuple):
    """``whole_s``: from the loss until every lane was whole; ``open_503_s``, ``closed_503_s``: for how long reads of
    the open window, and of one that was sealed hours ago, were refused (to the minute); ``replayed``: records;
    ``fullest``: of Redis; ``early``: windows sealed to make room; ``wrong``: samples that did not read back."""

    whole_s: int
    open_503_s: int
    closed_503_s: int
    replayed: int
    fullest: float
    early: int
    wrong: int


class Stream:
    """Records with the time at which they came; ``size``: bytes of samples."""

    def __init__(self, now_s: "Clock") -> None:
        self.records: list[Arrived] = []
        self.size, self._now_s = 0, now_s

    def put(self, entries: list[tuple[str, bytes]]) -> list[int]:
        for key, data in entries:
            self.records.append(Arrived(str(2**100 + len(self.records)), data, key, float(self._now_s.now_s)))
        return []


class Clock(Pipeline):
    """The pipeline, whose clock goes in steps."""


class Readers:
    """One second reader: ``at`` is the number of its next record; it begins at ``begins_s``."""

    def __init__(self, system: "System") -> None:
        self.system, self.running, self.at, self.begins_s = system, False, 0, 0

    def start(self, start_s: int) -> str:
        came = (number for number, record in enumerate(self.system.stream.records) if record.arrived_s >= start_s)
        self.running, self.at, self.begins_s = True, next(came, 0), self.system.path.now_s + MAPPING_S
        return "bench"

    def stop(self, name: str) -> None:
        self.running = False


class System:
    """``hosts`` in all, of which a scale-th post."""

    def __init__(self, cluster: Cluster, hosts: int, scale: int) -> None:
        self.cluster, self.scale = cluster, scale
        self.path = Clock(cluster, START_S)
        self.stream = Stream(self.path)
        self.sources = [SourceKey("acme", f"host/h{number:03d}") for number in range(hosts // scale)]
        self.values = np.random.default_rng(1).normal(1000, 100, (len(self.sources), len(METRICS))).round(3)
        self.node_bytes = NODE_BYTES * (10 if hosts > 2_000 else 1) / scale
        self.empty_bytes = stored_bytes(cluster)
        for node in with_role(cluster, "master"):
            taken = int(node.client.info("memory")["used_memory"]) + BACKLOG_BYTES
            node.ask("CONFIG", "SET", "maxmemory", int(taken + self.node_bytes))
        self.fullest, self.ingested, self.samples_bytes, self.replayed = 0.0, 0, 0, 0
        self.readers = Readers(self)
        nodes = self.path._nodes()
        windows = HotWindows(nodes)
        windows.fill = self.fill  # type: ignore[method-assign]
        sealer_windows = HotWindows(self.path._nodes())
        sealer_windows.shards = self.shards  # type: ignore[method-assign]
        self.path.sealer = self.path.new_sealer(sealer_windows, self.path.table)
        table = self.path.table
        self.supervisor = Supervisor(Jobs(table), self.readers, self.stream, lambda: float(self.path.now_s))
        progress = Progress(Notes(table), Jobs(table).running, lambda: float(self.path.now_s))
        replaying = self.path.new_ingester(nodes)._ingester
        self.replayer = Replayer(replaying, windows, self.path.meter, progress)
        self.windows = windows

    def fill(self) -> float:
        fill = max(0.0, (stored_bytes(self.cluster) - self.empty_bytes) / self.node_bytes)
        self.fullest = max(self.fullest, fill)
        return fill

    def shards(self) -> list[MasterMemory]:
        return [MasterMemory(frozenset(range(LANES)), int(self.fill() * self.node_bytes), int(self.node_bytes))]

    def minute(self) -> None:
        """A minute of hosts and ingester, with the runs of sealer and supervisor."""
        self.post()
        seconds = iter([*np.arange(SEAL_RESERVE_S + 60, 0, -WINDOW_S * self.scale).tolist(), *[0.0] * 10_000])
        self.path.seal(lambda: next(seconds))
        self._step()
        self.supervisor.tick()
        self._ingest()
        self._step()

    def post(self) -> None:
        """All hosts post, and the ingester takes it."""
        ts_ms = self.path.now_s * 1000
        rows = {
            (source.source, ts_ms): dict(zip(METRICS, (self.values[number] + ts_ms % 997).tolist(), strict=True))
            for number, source in enumerate(self.sources)
        }
        entries = entries_of("acme", rows)
        self.samples_bytes = sum(len(data) for _, data in entries)
        self.stream.put(entries)
        self._ingest()

    def _ingest(self) -> None:
        records = self.stream.records
        for first in range(self.ingested, len(records), BATCH_SIZE):
            assert self.path.ingester.ingest(records[first : first + BATCH_SIZE]) is None
        self.ingested = len(records)

    def _step(self) -> None:
        """Half a minute: what a shard gives to the second reader in that time."""
        self.path.now_s += STEP_S
        if not self.readers.running or self.path.now_s < self.readers.begins_s:
            return
        left = SHARD_BYTES_PER_S * STEP_S / self.scale - self.samples_bytes / 2
        while left > 0 and (batch := self.stream.records[self.readers.at : self.readers.at + BATCH_SIZE // 5]):
            try:
                assert self.replayer.ingest(batch, "shard") is None
            except RetryableError:
                return
            self.readers.at += len(batch)
            self.replayed += len(batch)
            left -= sum(len(record.data) for record in batch if len(record.data) > 100)

    def refused(self, from_s: int, to_s: int) -> bool:
        try:
            self.read(self.sources[0], from_s, to_s)
        except RetryableError:
            return True
        return False

    def read(self, source: SourceKey, from_s: int, to_s: int) -> tuple[list[int], list[float]]:
        answer = self.path.reader.queries.reader.read(source, METRICS[7], from_s * 1000, to_s * 1000, How(RAW))
        return answer.ts_ms.tolist(), answer.values.tolist()

    def wrong(self) -> Iterator[int]:
        """Samples of some hosts that differ from what was posted."""
        for number in range(0, len(self.sources), 7):
            times = list(range(START_S * 1000, self.path.now_s * 1000, 60_000))
            expected = dict(zip(times, [self.values[number, 7] + ts_ms % 997 for ts_ms in times], strict=True))
            got: dict[int, float] = {}
            for from_s in range(START_S, self.path.now_s, 86_400):
                got |= dict(zip(*self.read(self.sources[number], from_s, from_s + 86_399), strict=True))
            yield len(dict(expected.items() ^ got.items()))


def recover(cluster: Cluster, hosts: int, hours: int, scale: int, *, marks: bool = True) -> Recovery:
    """Fill a Redis for so long, lose it, and wait until it is whole."""
    flush(cluster)
    system = System(cluster, hosts, scale)
    while system.path.now_s < START_S + hours * 3600:
        system.minute()
    lost_s, before = system.path.now_s, system.path.counts["WindowsSealedEarly"]
    system.fullest = 0.0
    flush(cluster)
    if not marks:
        system.path.table.items.pop((REPLAY_ITEM, "marks"), None)
    system.post()
    system.path.now_s += 60  # before the sealer looks again
    refused = {"open": 60, "closed": 60 * system.refused(lost_s - 9 * 3600, lost_s - 8 * 3600)}
    for _ in range(24 * 60):
        system.minute()
        refused["open"] += 60 * system.refused(lost_s - 600, lost_s)
        refused["closed"] += 60 * system.refused(lost_s - 9 * 3600, lost_s - 8 * 3600)
        job, _item = Jobs(system.path.table).load()
        if job and not job.left and not system.windows.in_replay(range(LANES)):
            break
    whole_s = system.path.now_s - lost_s
    early = system.path.counts["WindowsSealedEarly"] - before
    refused_s = refused["open"], refused["closed"]
    result = Recovery(whole_s, *refused_s, system.replayed, system.fullest, early, sum(system.wrong()))
    for node in with_role(cluster, "master"):
        node.ask("CONFIG", "SET", "maxmemory", 0)
    system.path.close()
    return result


def main() -> None:
    hosts, hours, marks = [*sys.argv[1:], *["1000", "4", "mark"][len(sys.argv) - 1 :]]
    scale = max(50, int(hosts) // 20)
    begun_s = time.monotonic()
    with Cluster(masters=1, replicas=1) as cluster:
        outcome = recover(cluster, int(hosts), int(hours), scale, marks=marks == "mark")
    print(f"{hosts} hosts, {hours} h of stream, from the {marks}, scaled down by {scale}: {outcome}", flush=True)
    print(f"{time.monotonic() - begun_s:.0f} s by the clock")
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
