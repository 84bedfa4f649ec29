"""A Prometheus of this machine over given samples, and its answers beside ours."""

import contextlib
import json
import math
import shutil
import socket
import subprocess
import time
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from carbyne.core.errors import QueryError
from carbyne.promql import query
from carbyne.promql.labels import made
from carbyne.promql.scope import QuerySpan

from tests.support.promql_fuzz import START_MS, Queries, open_metrics, samples

SPAN = QuerySpan(START_MS + 600_000, START_MS + 3_000_000, 120_000)
ABSENT = [name for name in ("prometheus", "promtool") if not shutil.which(name)]
needs_prometheus = pytest.mark.skipif(
    bool(ABSENT), reason=f"{' and '.join(ABSENT)} not on PATH: apt-get install prometheus"
)


@contextlib.contextmanager
def prometheus(memory, folder):
    """Its URL."""
    (folder / "samples").write_text(open_metrics(memory))
    (folder / "prometheus.yml").write_text("{}\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples", "data"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = [f"--web.listen-address={address}", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"]
    with subprocess.Popen(["prometheus", *options], cwd=folder, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(f"http://{address}/-/ready")
            yield f"http://{address}"
        finally:
            server.terminate()


def _wait_for(url):
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(URLError), urlopen(url) as answer:
            if answer.status == 200:
                return
        assert time.monotonic() < deadline, "prometheus did not become ready"
        time.sleep(0.1)


def theirs(url, text):
    """Labels -> {time: value}, or None if the query fails."""
    asked = {"query": text, "start": SPAN.start_ms / 1000, "end": SPAN.end_ms / 1000, "step": SPAN.step_ms / 1000}
    try:
        with urlopen(f"{url}/api/v1/query_range?{urlencode(asked)}") as answer:
            result = json.load(answer)["data"]["result"]
    except HTTPError as error:
        with error:
            assert json.load(error)["errorType"] in {"execution", "bad_data"}, text
        return None
    return {made(each["metric"]): {round(at * 1000): float(value) for at, value in each["values"]} for each in result}


def ours(memory, text):
    """As ``theirs``."""
    try:
        answer = query.over(text, SPAN, memory, query.Options(time.monotonic))
    except QueryError:
        return None
    rows = zip(answer.frame.labels, answer.frame.values, answer.frame.there, strict=True)
    return {
        labels: {int(at): float(value) for at, value, has in zip(answer.times_ms, values, there, strict=True) if has}
        for labels, values, there in rows
    }


def same(left, other):
    both_nan = math.isnan(left) and math.isnan(other)
    return both_nan or left == other or math.isclose(left, other, rel_tol=1e-9, abs_tol=1e-12)


def compare(seed, number, folder):
    """Random queries have the same series, times and values, or both refuse.  How many have an answer."""
    memory, queries, answered = samples(seed), Queries(seed), 0
    with prometheus(memory, folder) as url:
        for _ in range(number):
            text = queries.vector(3)
            expected, ours_of_text = theirs(url, text), ours(memory, text)
            assert (ours_of_text is None) == (expected is None), (seed, text)
            answered += bool(expected)
            _check(expected or {}, ours_of_text or {}, (seed, text))
    return answered


def _check(expected, answered, about):
    assert answered.keys() == expected.keys(), about
    for labels, points in expected.items():
        assert answered[labels].keys() == points.keys(), (about, labels)
        wrong = {
            at: (answered[labels][at], value) for at, value in points.items() if not same(answered[labels][at], value)
        }
        assert not wrong, (about, labels, wrong)
