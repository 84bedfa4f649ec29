"""Random queries, answered by a Prometheus on this machine and by us, of the same samples.

Debian's 2.42 has windows that are closed at both ends: no sample is at the edge of one here.
"""

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

SEED = 20_261_129
QUERIES = 400
SPAN = QuerySpan(START_MS + 600_000, START_MS + 3_000_000, 120_000)
TOOLS = [name for name in ("prometheus", "promtool") if not shutil.which(name)]
pytestmark = pytest.mark.skipif(bool(TOOLS), reason=f"{' and '.join(TOOLS)} not on PATH: apt-get install prometheus")


@pytest.fixture(scope="module")
def memory():
    return samples(SEED)


@pytest.fixture(scope="module")
def url(memory, tmp_path_factory):
    """Of a Prometheus that has the samples."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "samples").write_text(open_metrics(memory))
    (folder / "prometheus.yml").write_text("global: {evaluation_interval: 1m}\n")
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
            found = json.load(answer)["data"]["result"]
    except HTTPError as error:
        with error:
            assert json.load(error)["errorType"] in {"execution", "bad_data"}, text
        return None
    return {made(each["metric"]): {round(at * 1000): float(value) for at, value in each["values"]} for each in found}


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


def same(one, other):
    both_nan = math.isnan(one) and math.isnan(other)
    return both_nan or one == other or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def test_random_queries_have_the_same_answer(url, memory):
    """Series, times and values; or both refuse."""
    made_of = Queries(SEED)
    answered = 0
    for _ in range(QUERIES):
        text = made_of.vector(3)
        expected, found = theirs(url, text), ours(memory, text)
        assert (found is None) == (expected is None), text
        if expected is None:
            continue
        answered += bool(expected)
        assert found.keys() == expected.keys(), text
        for labels, points in expected.items():
            assert found[labels].keys() == points.keys(), (text, labels)
            wrong = {
                at: (found[labels][at], value) for at, value in points.items() if not same(found[labels][at], value)
            }
            assert not wrong, (text, labels, wrong)
    assert answered > QUERIES / 2
