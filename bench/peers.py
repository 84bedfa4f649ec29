"""Stores of others on this machine, to compare with in the same run: VictoriaMetrics and Prometheus, from Debian.

One that is not installed is left out, with a line that says so.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path

import urllib3

from servers.process import LOOPBACK, spawn

READY_S = 20


class Peer:
    """``url``; ``pid``; ``folder``: of its files; ``pool``: a connection that is kept."""

    def __init__(self, name: str, url: str, pid: int, folder: Path) -> None:
        self.name, self.url, self.pid, self.folder = name, url, pid, folder
        self.pool = urllib3.PoolManager(1, retries=False)

    def post(self, path: str, body: bytes | str, url: str = "") -> None:
        answer = self.pool.request("POST", (url or self.url) + path, body=body)
        assert answer.status in (200, 204), (answer.status, answer.data[:200])

    def get(self, path: str, **query: object) -> bytes:
        answer = self.pool.request("GET", f"{self.url}{path}?{urllib.parse.urlencode(query, doseq=True)}")
        assert answer.status == 200, (answer.status, answer.data[:200])
        return answer.data

    def exported(self, matcher: str, series: int) -> dict[str, list[float]]:
        """Name -> values of VictoriaMetrics' series, once it shows so many: it indexes new ones in the background."""
        end_s = time.monotonic() + READY_S
        while True:
            self.get("/internal/force_flush")
            lines = self.get("/api/v1/export", **{"match[]": matcher}).splitlines()
            stored = {exported["metric"]["__name__"]: exported["values"] for exported in map(json.loads, lines)}
            if len(stored) >= series or time.monotonic() > end_s:
                return stored
            time.sleep(0.1)

    def value(self, query: str, at_s: int) -> float:
        """Of a query that has one series."""
        [series] = json.loads(self.get("/api/v1/query", query=query, time=at_s))["data"]["result"]
        return float(series["value"][1])

    def ranges(self, query: str, start_s: int, end_s: int, step_s: int) -> dict[str, dict[int, float]]:
        """Name of the series -> time -> value, of a query over a range."""
        data = json.loads(self.get("/api/v1/query_range", query=query, start=start_s, end=end_s, step=step_s))
        return {
            series["metric"].get("__name__", ""): {int(time_s): float(value) for time_s, value in series["values"]}
            for series in data["data"]["result"]
        }


def absent(*programs: str) -> str:
    """Why a peer can't be asked here, empty if it can."""
    missing = [program for program in programs if not shutil.which(program)]
    return f"{' and '.join(missing)} not on PATH (Debian has it); left out" if missing else ""


@contextlib.contextmanager
def victoria_metrics() -> Iterator[Peer | None]:
    if reason := absent("victoria-metrics"):
        print(reason)
        yield None
        return
    with _folder() as folder:
        port, telnet = _free_port(), _free_port()
        command = [
            "victoria-metrics",
            f"-storageDataPath={folder}",
            f"-httpListenAddr={LOOPBACK}:{port}",
            f"-opentsdbHTTPListenAddr={LOOPBACK}:{telnet}",
            "-retentionPeriod=100y",
            "-search.latencyOffset=0s",
            "-search.disableCache",
        ]
        with _running("VictoriaMetrics", command, port, folder, "/health") as peer:
            peer.door = f"http://{LOOPBACK}:{telnet}"
            yield peer


@contextlib.contextmanager
def prometheus(open_metrics: Iterable[Path] = (), block_hours: int = 2) -> Iterator[Peer | None]:
    """``open_metrics``: files whose samples it has, as blocks of so many hours at most; taken one after the other."""
    if reason := absent("prometheus", "promtool"):
        print(reason)
        yield None
        return
    with _folder() as folder:
        (folder / "prometheus.yml").write_text("{}\n")
        for path in open_metrics:
            making = ["promtool", "tsdb", "create-blocks-from", "openmetrics", f"--max-block-duration={block_hours}h"]
            subprocess.run([*making, str(path), "data"], cwd=folder, check=True, capture_output=True)
        port = _free_port()
        command = [
            "prometheus",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--storage.tsdb.path=data",
            "--storage.tsdb.retention.time=100y",
            f"--storage.tsdb.max-block-duration={block_hours}h",  # else it merges them while it is measured
            "--query.max-samples=200000000",
        ]
        with _running("Prometheus", command, port, folder, "/-/ready") as peer:
            yield peer


@contextlib.contextmanager
def _running(name: str, command: list[str], port: int, folder: Path, ready: str) -> Iterator[Peer]:
    process = spawn(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peer = Peer(name, f"http://{LOOPBACK}:{port}", process.pid, folder)
    try:
        _wait(peer, ready)
        yield peer
    finally:
        peer.pool.clear()
        process.terminate()
        process.wait()


def _wait(peer: Peer, path: str) -> None:
    end_s = time.monotonic() + READY_S
    while time.monotonic() < end_s:
        with contextlib.suppress(urllib3.exceptions.HTTPError, AssertionError):
            peer.get(path)
            return
        time.sleep(0.05)
    raise RuntimeError(f"{peer.name} is not ready after {READY_S} s")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="carbyne-bench-") as folder:
        yield Path(folder)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        return int(free.getsockname()[1])


def bytes_below(folder: Path) -> int:
    """Of all files; of those that go away meanwhile none."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total
