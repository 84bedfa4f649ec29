"""What the benchmarks share: CPU of processes, the last line of a run, the machine it ran on, samples to post."""

import argparse
import gzip
import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from servers.valkey import Cluster, Node

ROOT = Path(__file__).resolve().parents[1]
MINUTES = 1440


class Day(NamedTuple):
    """``names`` [S], sorted; ``rows`` [1440, S] float64: a day of minutes of one host."""

    names: tuple[str, ...]
    rows: NDArray[np.float64]

    def of_host(self, host: int, minutes: int) -> NDArray[np.float64]:
        """[minutes, S]: each host begins at another minute of the day."""
        start = int(np.random.default_rng(host).integers(MINUTES))
        return self.rows[(start + np.arange(minutes)) % MINUTES]


def arguments(about: str | None, **options: int | str) -> argparse.Namespace:
    """The command line: ``--small``, ``--data`` and these options with their defaults."""
    parser = argparse.ArgumentParser(description=about and about.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="the form that make test runs")
    parser.add_argument("--data", default="", help="rows of one machine, [index, {metric: value}] a line, gzip")
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


def day_of(path: str, metrics: int) -> Day:
    """So many metrics of a day out of the file, or made up: the same in every run.

    A file of fewer metrics gives each again, shifted by a part of the day.
    """
    if not path:
        return _made_up(metrics)
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line)[1] for line in lines][:MINUTES]
    names = sorted(set.intersection(*map(set, rows)))
    values = np.array([[row[name] for name in names] for row in rows], np.float64)
    copies = -(-metrics // len(names))
    shifted = [np.roll(values, len(values) * copy // copies, axis=0) for copy in range(copies)]
    return _sorted(
        [f"{name}.{copy}" for copy in range(copies) for name in names], np.concatenate(shifted, axis=1), metrics
    )


def _made_up(metrics: int) -> Day:
    """Of ten metrics two are constants, two counters, three gauges of whole numbers and three of two decimals."""
    rng, kinds = np.random.default_rng(7), []
    for number in range(metrics):
        walk = np.cumsum(rng.normal(0, 1, MINUTES))
        kinds.append(
            [
                np.full(MINUTES, rng.integers(1, 10**9)),
                np.cumsum(rng.integers(0, 500, MINUTES)),
                np.round(1000 + 20 * walk),
                np.round(50 + walk, 2),
                rng.integers(0, 100, MINUTES),
            ][(0, 1, 2, 3, 4, 0, 1, 2, 3, 3)[number % 10]]
        )
    names = [f"custom.app.worker{number:03d}.requests" for number in range(metrics)]
    return _sorted(names, np.array(kinds, np.float64).T, metrics)


def _sorted(names: Sequence[str], rows: NDArray[np.float64], metrics: int) -> Day:
    order = sorted(range(metrics), key=names.__getitem__)
    return Day(tuple(names[at] for at in order), np.ascontiguousarray(rows[:, order]))


def cpu_of(*pids: int) -> float:
    """Seconds of CPU that these processes have used, all their threads together."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def quick_cpu_of(pid: int) -> float:
    """The same to the nanosecond, of the threads that live."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def node_cpu_s(node: Node) -> float:
    """User and system CPU of a Redis node so far."""
    with node.client as client:
        info = client.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def redis_cpu_s(cluster: Cluster) -> float:
    """The same of all nodes."""
    return sum(map(node_cpu_s, cluster.nodes))


def redis_bytes(cluster: Cluster) -> int:
    total = 0
    for node in cluster.nodes:
        with node.client as client:
            total += client.info("memory")["used_memory"]
    return total


def report(**figures: float | str | None) -> None:
    """The last line of a run: one JSON object; None where a peer is not installed."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    print(json.dumps(rounded), flush=True)


def machine() -> str:
    """Cores, processor, Python and commit, for the results."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    python = f"Python {platform.python_version()}"
    return f"{psutil.cpu_count()} cores, {platform.machine()}, {python}, commit {commit.stdout.strip() or 'unknown'}"


def metric_of(name: str) -> str:
    """The name as Prometheus takes it."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """p50 and p99."""
    p50, p99 = np.percentile(np.array(values), (50, 99))
    return float(p50), float(p99)
