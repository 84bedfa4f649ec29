"""What queries in PromQL cost, beside Prometheus and VictoriaMetrics where they are on PATH.

    make bench-promql ARGS="--runs 20 --days 90"

All get the same bodies of remote write.  Ours go through writer, stream, ingester and a Redis Cluster, blocks are in
memory, and the time is that of the reader's handler; of the others it is that of the request on loopback.  An answer
that differs from Prometheus' by more than 1e-9 ends the run.  CPU is our handler's, and that of all Redis nodes.  The
first part keeps ``days`` of one host and counts the bytes of blocks that a long window reads by rollups, and raw.
"""

# ruff: noqa: S310 - of loopback

import base64
import contextlib
import itertools
import json
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import cramjam
import numpy as np
from carbyne.intake import protobuf

from bench.common import arguments, machine, redis_cpu_s, report
from harness.pipeline import APPS, LENGTH_S, Pipeline, http_event
from servers.valkey import Cluster

Labels = tuple[tuple[str, str], ...]
Samples = Iterable[tuple[Labels, int, float]]

BOUNDARY_S = 1_790_000_000 // LENGTH_S * LENGTH_S
"""Of two raw windows: the query's span has some of the one that is sealed."""
END_S = BOUNDARY_S + 2 * 3600
SCRAPE_S = 15
SAMPLES_AT_ONCE = 5_000
QUERIES = {
    "sources": ("sum by (job) (rate(http_requests_total[5m]))", 3600, 15),
    "host": ('{job="node", instance="host0:9100"}', 6 * 3600, 60),
    "host_rates": ('rate({job="node", instance="host0:9100"}[5m])', 6 * 3600, 60),
}
"""Name -> query, span and step, seconds."""
PEERS = {
    "prometheus": [
        "--config.file=prometheus.yml",  # Debian's own default scrapes, and after that old samples are refused
        *("--web.listen-address={}", "--storage.tsdb.path=data", "--web.enable-remote-write-receiver"),
    ],
    "victoria-metrics": ["-httpListenAddr={}", "-storageDataPath=vm", "-retentionPeriod=100y"],
}


class Size(NamedTuple):
    """``sources``: of ten counters each; ``series``: of the one host; ``days``: of the long window."""

    runs: int
    days: int
    sources: int = 100
    series: int = 100


SMALL = Size(runs=2, days=2, sources=4, series=5)


class Took(NamedTuple):
    """Milliseconds; ``cpu_ms``: our handler's, ``redis_ms``: of all nodes, each of one query."""

    median_ms: float
    p95_ms: float
    cpu_ms: float
    redis_ms: float


def samples(size: Size) -> Iterator[tuple[Labels, int, float]]:
    """Sources for 1 h 10 and a host for 6 h 10, in the order of time."""
    random = np.random.default_rng(1)
    for time_s in range(END_S - 22_200, END_S, SCRAPE_S):
        for nth in range(size.series):
            labels = (("__name__", "node_total"), ("instance", "host0:9100"), ("job", "node"), ("n", f"{nth}"))
            yield labels, time_s * 1000 + 7, float(time_s % 86_400 * nth + random.integers(0, 50))
        for source in range(size.sources) if time_s >= END_S - 4_200 else ():
            for code in range(10):
                about = (("code", f"{code}"), ("instance", f"web{source}:80"), ("job", f"web{source % 4}"))
                value = float((time_s - BOUNDARY_S) * (code + 1) + source)
                yield (("__name__", "http_requests_total"), *about), time_s * 1000 + source, value


def bodies(of: Samples) -> Iterator[tuple[int, bytes]]:
    """(time of the last sample in s, body) as remote write 1.0 sends them."""
    ordered = iter(of)
    while batch := list(itertools.islice(ordered, SAMPLES_AT_ONCE)):
        part: dict[Labels, list[tuple[float, int]]] = {}
        for labels, ts_ms, value in batch:
            part.setdefault(labels, []).append((value, ts_ms))
        yield batch[-1][1] // 1000, _body(part)


def _body(part: Mapping[Labels, list[tuple[float, int]]]) -> bytes:
    label, series, sample = (protobuf.message(name) for name in ("Label1", "Series1", "Sample"))
    rows = [
        series(
            labels=[label(name=n.encode(), value=v.encode()).SerializeToString() for n, v in labels],
            samples=[sample(bits=int(np.float64(value).view(np.uint64)), timestamp=ts_ms) for value, ts_ms in points],
        ).SerializeToString()
        for labels, points in part.items()
    ]
    return bytes(cramjam.snappy.compress_raw(protobuf.message("Request1")(timeseries=rows).SerializeToString()))


class Ours:
    """A Pipeline that takes bodies and answers queries."""

    def __init__(self, cluster: Cluster) -> None:
        self.pipeline, self._delivered = Pipeline(cluster, BOUNDARY_S), 0

    def write(self, now_s: int, body: bytes) -> None:
        self.pipeline.now_s = now_s
        headers = {"X-Api-Key": "secret", "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        event = http_event("POST", "/api/v1/write", headers=headers, body=body)
        answer = APPS["writer"].handle(event, lambda: self.pipeline.writer)
        assert answer["statusCode"] == 204, answer
        self._deliver()

    def _deliver(self) -> None:
        records = self.pipeline.stream.records
        self.pipeline.deliver(records[self._delivered :])
        self._delivered = len(records)

    def ask(self, path: str, **given: object) -> Any:
        answer = self.pipeline.get(f"/api/v1/{path}", *given.items())
        assert answer["statusCode"] == 200, answer["body"]
        return answer

    def seal(self, at_s: int) -> None:
        self.pipeline.now_s = at_s
        while self.pipeline.seal():
            pass


@contextlib.contextmanager
def peer(name: str) -> Iterator[str]:
    """The URL of a server of its own."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        (Path(folder) / "prometheus.yml").write_text("{}\n")
        command = [name, *(option.format(address) for option in PEERS[name])]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                _until_ready(f"http://{address}/-/ready")
                yield f"http://{address}"
            finally:
                server.terminate()


def _until_ready(url: str) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), urlopen(url) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not become ready")


def _post(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    try:
        urlopen(Request(f"{url}/api/v1/write", body, headers)).close()
    except HTTPError as error:
        raise RuntimeError(f"{url} refuses samples: {error.read(500)!r}") from error


def _given(query: str, span_s: int, step_s: int) -> dict[str, object]:
    return {"query": query, "start": END_S - span_s, "end": END_S, "step": step_s, "nocache": 1}


def timed(ask: Any, runs: int) -> tuple[float, float, Any]:
    """(median, p95) in ms of ``runs`` after two more, and the last answer."""
    took, answer = [], None
    for _ in range(runs + 2):
        start = time.perf_counter()
        answer = ask()
        took.append(1000 * (time.perf_counter() - start))
    took = sorted(took[2:])
    return statistics.median(took), took[-(-95 * len(took) // 100) - 1], answer


def _points(body: Any) -> dict[str, list[float]]:
    return {
        json.dumps(series["metric"], sort_keys=True): [float(value) for _, value in series["values"]]
        for series in body["data"]["result"]
    }


def compare(ours: Ours, cluster: Cluster, urls: Mapping[str, str], runs: int) -> dict[str, Took]:
    """Name -> ours; a line for each query and server."""
    took = {}
    for name, asked in QUERIES.items():
        given = _given(*asked)
        took[name], expected = _ours(ours, cluster, given, runs)
        of = took[name]
        print(f"{name}: carbyne {of.median_ms:.0f} ms, p95 {of.p95_ms:.0f} ms, {len(expected)} series;", end=" ")
        print(f"CPU {of.cpu_ms:.0f} ms and Redis {of.redis_ms:.0f} ms")
        for peer_name, url in urls.items():
            ask = f"{url}/api/v1/query_range?{urlencode(given)}"
            median, p95, body = timed(lambda ask=ask: _load(ask), runs)
            same = _same(expected, _points(body))
            about = "same answer" if same else "OTHER ANSWER"
            print(f"{name}: {peer_name} {median:.0f} ms, p95 {p95:.0f} ms, {about}")
            assert same or peer_name != "prometheus"
    return took


def _load(url: str) -> Any:
    with urlopen(url) as answer:
        return json.load(answer)


def _ours(ours: Ours, cluster: Cluster, given: Mapping[str, object], runs: int) -> tuple[Took, dict[str, list[float]]]:
    redis_s, cpu_s = redis_cpu_s(cluster), time.process_time()
    median, p95, answer = timed(lambda: ours.ask("query_range", **given), runs)
    used = [1000 * used_s / (runs + 2) for used_s in (time.process_time() - cpu_s, redis_cpu_s(cluster) - redis_s)]
    text = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"]
    return Took(median, p95, *used), _points(json.loads(text))


def _same(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> bool:
    return ours.keys() == theirs.keys() and all(
        len(ours[key]) == len(theirs[key]) and np.allclose(ours[key], theirs[key], rtol=1e-9, atol=0) for key in ours
    )


def long_window(ours: Ours, days: int) -> float:
    """How many times fewer bytes of blocks ``max_over_time`` over all days reads than raw samples have."""
    first_s = BOUNDARY_S // 86_400 * 86_400 - days * 86_400
    random = np.random.default_rng(2)
    for start_s in range(first_s, first_s + days * 86_400, LENGTH_S):
        times = range(start_s, start_s + LENGTH_S, 60)
        series = [(("__name__", f"m{n}"), ("instance", "old:9100"), ("job", "old")) for n in range(10)]
        for time_s, body in bodies((each, 1000 * t, float(random.normal(50, 9))) for t in times for each in series):
            ours.write(time_s, body)
        ours.seal(start_s + LENGTH_S + 4_000)
    end_s = first_s + days * 86_400
    raw, rolled = (_read(ours, query, days, end_s) for query in ("quantile_over_time(1, {}", "max_over_time({}"))
    assert raw[0] == rolled[0] != [], "another answer"
    print(
        f"max over {days} days: {rolled[1]} bytes in {rolled[2]} blocks by rollups; {raw[1]} in {raw[2]} raw;", end=""
    )
    print(f" {raw[1] / rolled[1]:.0f} times fewer; {rolled[3]:.0f} ms instead of {raw[3]:.0f} ms")
    return raw[1] / rolled[1]


def _read(ours: Ours, query: str, days: int, end_s: int) -> tuple[Any, int, int, float]:
    text = query.format(f'm3{{job="old"}}[{days}d]') + ")"
    start = time.perf_counter()
    body = json.loads(ours.ask("query", query=text, time=end_s, stats="all")["body"])
    took = 1000 * (time.perf_counter() - start)
    tiers = body["data"]["stats"]["tiers"]
    read = [tiers[tier] for tier in ("warm", "cold")]
    value = [series["value"][1] for series in body["data"]["result"]]
    return value, sum(tier["bytes"] for tier in read), sum(tier["calls"] for tier in read), took


def main() -> None:
    given = arguments(__doc__, runs=20, days=90)
    size = SMALL if given.small else Size(given.runs, given.days)
    print(machine())
    with Cluster(masters=3, replicas=1, node_timeout_ms=2000) as cluster, contextlib.ExitStack() as stack:
        ours = Ours(cluster)
        stack.callback(ours.pipeline.close)
        urls = {name: stack.enter_context(peer(name)) for name in PEERS if shutil.which(name)}
        fewer = long_window(ours, size.days)
        for time_s, body in bodies(samples(size)):
            ours.write(time_s, body)
            for url in urls.values():
                _post(url, body)
        ours.seal(END_S)
        took = compare(ours, cluster, urls, size.runs)
        figures = {f"{name}_{field}": value for name, each in took.items() for field, value in each._asdict().items()}
        report(**figures, times_fewer_bytes=fewer)


if __name__ == "__main__":
    main()
