"""Labels, series and metadata of what was written, as a Prometheus on this machine has them of the same body."""

import json
import shutil
import socket
import subprocess
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from carbyne.read import cardinality

from harness.pipeline import APPS, Pipeline, flush, http_event
from tests.support.prometheus_door import until
from tests.support.remote_write import V1, body_1, message, packed, series_1

NOW_S = 1_700_000_400
NOW_MS = NOW_S * 1000
SERIES = [
    {"__name__": "up", "instance": "web1:9100", "job": "node"},
    {"__name__": "up", "instance": "web2:9100", "job": "node"},
    {"__name__": "cpu_seconds_total", "cpu": "0", "instance": "web1:9100", "job": "node", "mode": "idle"},
    {"__name__": "cpu_seconds_total", "cpu": "0", "instance": "web1:9100", "job": "node", "mode": "a{b=c},%"},
    {"__name__": "job:up:sum", "job": "node", "zone": "ü"},
    {"Upper": "x", "__name__": "batch_size"},
]
HEADERS = {"X-Api-Key": "secret", "Content-Type": V1, "Content-Encoding": "snappy"}
METADATA = [message("MetricMetadata")(type=2, metric_family_name="up", help="Is it?", unit="")]
BODY = packed(body_1(*(series_1(labels, (1.0, NOW_MS)) for labels in SERIES), metadata=METADATA))


@pytest.fixture(scope="module")
def path(cluster):
    flush(cluster)
    pipeline = Pipeline(cluster, NOW_S, tenants={"secret": "acme", "other": "rival"})
    write(pipeline, BODY)
    yield pipeline
    pipeline.close()


def write(pipeline, body):
    event = http_event("POST", "/api/v1/write", headers=HEADERS, body=body)
    assert APPS["writer"].handle(event, lambda: pipeline.writer)["statusCode"] == 204
    pipeline.deliver()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not on PATH: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text("{}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = [f"--web.listen-address={address}", "--web.enable-remote-write-receiver", "--storage.tsdb.path=data"]
    with subprocess.Popen(["prometheus", *options], cwd=folder, stderr=subprocess.DEVNULL) as server:
        try:
            until(lambda: _is_ready(address), 20)
            headers = {"Content-Type": V1, "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
            with urlopen(Request(f"http://{address}/api/v1/write", BODY, headers)) as answer:
                assert answer.status == 204
            yield f"http://{address}/api/v1/"
        finally:
            server.terminate()


def _is_ready(address):
    try:
        with urlopen(f"http://{address}/-/ready") as answer:
            return answer.status == 200
    except OSError:
        return False


def theirs(url):
    try:
        with urlopen(url) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def ours(path, url, query, api_key="secret"):
    answer = path.get(f"/api/v1/{url}", *query, api_key=api_key)
    return answer["statusCode"], json.loads(answer["body"])


def match(*selectors):
    return [("match[]", selector) for selector in selectors]


ASKED = [
    ("labels", []),
    ("labels", match("up", '{zone="ü"}')),
    ("label/__name__/values", []),
    ("label/__name__/values", match('{job="node",instance!~"web1.*"}')),
    ("label/mode/values", []),
    ("label/mode/values", match('{cpu=~"0|1"}', "up")),
    ("label/instance/values", match("up")),
    ("label/nowhere/values", []),
    ("series", match('{job=~"n.*"}')),
    ("series", match('{Upper!=""}', "up", '{instance="web1:9100"}')),
    ("series", match("nowhere")),
]
REFUSED = [
    ("series", []),
    ("series", match("{}")),
    ("labels", match('{a=~".*"}')),
    ("labels", match("up{")),
    ("label/job/values", match("sum(up)")),
    ("labels", [("start", "x")]),
    ("metadata", [("limit", "x")]),
]


@pytest.mark.parametrize(("url", "query"), ASKED, ids=lambda part: part if isinstance(part, str) else urlencode(part))
def test_answers_are_those_of_prometheus(path, prometheus, url, query):
    assert ours(path, url, query) == theirs(f"{prometheus}{url}?{urlencode(query)}")


@pytest.mark.parametrize(("url", "query"), REFUSED, ids=lambda part: part if isinstance(part, str) else urlencode(part))
def test_refusals_are_those_of_prometheus(path, prometheus, url, query):
    status, body = ours(path, url, query)
    their_status, their_body = theirs(f"{prometheus}{url}?{urlencode(query)}")
    assert (status, body["status"], body["errorType"]) == (their_status, their_body["status"], their_body["errorType"])


def test_another_tenant_lists_nothing(path):
    assert ours(path, "labels", [], "other")[1]["data"] == []
    assert ours(path, "metadata", [], "other")[1]["data"] == {}
    assert ours(path, "metadata", [])[1]["data"] == {"up": [{"type": "gauge", "help": "Is it?", "unit": ""}]}


def test_a_new_series_is_listed_and_found_five_seconds_after_its_post(path):
    """A label value that its target never had, and a target that the tenant never had."""
    new = {**SERIES[2], "mode": "new"}
    target = {**SERIES[0], "instance": "web3:9100"}
    assert "new" not in ours(path, "label/mode/values", [])[1]["data"]
    path.now_s += 1
    write(path, packed(body_1(series_1(new, (1.0, NOW_MS + 1_000)), series_1(target, (1.0, NOW_MS + 1_000)))))
    path.now_s += 4
    try:
        assert "new" in ours(path, "label/mode/values", [])[1]["data"]
        assert ours(path, "series", match('{instance="web3:9100"}'))[1]["data"] == [target]
    finally:
        path.now_s = NOW_S


def test_an_explosion_is_seen_in_the_report(path):
    """A target with a label of many values, as Redis has it right after its post."""
    boom = [{"__name__": "hits", "instance": "web7:80", "job": "shop", "user": f"u{n}"} for n in range(3_000)]
    path.now_s += 20  # what is cached is older
    write(path, packed(body_1(*(series_1(labels, (1.0, NOW_MS)) for labels in boom))))
    status, body = ours(path, "status/tsdb", [("limit", 2)])
    assert (status, body["status"]) == (200, "success")
    data = body["data"]
    assert data["headStats"]["numSeries"] == 3_008
    assert data["seriesCountByMetricName"][0] == {"name": "hits", "value": 3_000}
    assert data["labelValueCountByLabelName"][0] == {"name": "user", "value": 3_000}
    assert data["seriesCountByTarget"][0] == {"name": "instance=web7:80,job=shop", "value": 3_000}
    assert [entry["name"] for entry in data["memoryInBytesByLabelName"]] == ["instance", "user"]
    assert data["seriesCountByLabelValuePair"][0] == {"name": "__name__=hits", "value": 3_000}
    assert ours(path, "status/tsdb", [("limit", 0)])[1]["error"] == "limit must be a positive number"
    assert ours(path, "status/tsdb", [], "other")[1]["data"]["seriesCountByTarget"] == []


def test_the_report_looks_into_the_largest_targets_and_says_so(path, monkeypatch):
    monkeypatch.setattr(cardinality, "FOUND_SERIES_MAX", 3_000)
    data = ours(path, "status/tsdb", [])[1]
    assert data["data"]["seriesCountByMetricName"] == [{"name": "hits", "value": 3_000}]
    assert data["warnings"] == [
        f"1 of {len(data['data']['seriesCountByTarget'])} targets are looked into, the largest ones"
    ]


def test_a_retired_series_leaves_listings_of_other_times(path):
    early = {"__name__": "early", "instance": "web9:9100", "job": "node"}
    write(path, packed(body_1(series_1(early, (1.0, NOW_MS - 60_000)))))
    path.now_s += 24 * 3600
    try:
        write(path, packed(body_1(series_1(SERIES[0], (2.0, path.now_s * 1000)))))
        lately, then = [("start", path.now_s - 3600)], [("start", NOW_S - 120), ("end", NOW_S - 30)]
        for _ in ("in Redis", "in a block as well"):
            assert ours(path, "label/__name__/values", lately)[1]["data"] == ["up"]
            assert ours(path, "series", [*match('{instance="web9:9100"}'), *then])[1]["data"] == [early]
            path.seal()
        assert ours(path, "series", [*match("early"), ("end", NOW_S - 61)])[1]["data"] == [], "since it is sealed"
    finally:
        path.now_s = NOW_S
