"""Prometheus' API for labels, series and metadata: over the directory, hosts and services, and their series."""

import json
from unittest.mock import patch
from urllib.parse import urlencode

import pytest
from carbyne.core import labels
from carbyne.core.keys import SourceKey
from carbyne.http.message import Request
from carbyne.read import finder, listings
from carbyne.read.api import route
from carbyne.read.finder import Finder
from carbyne.read.listings import BY_DAY, UNKNOWN, Listings
from carbyne.read.mackerel import Queries
from carbyne.read.metadata import unescaped
from carbyne.read.registered import RegisteredSource
from carbyne.store.catalogue_items import SeriesSpan
from carbyne.store.directory import Directory

from tests.support.fakes import FakeTable
from tests.unit.test_read_mackerel import ACCOUNTS

NOW_S = 1_700_000_000
DAY_S = 86_400
SERIES = [
    {"__name__": "up", "job": "node", "instance": "a:1"},
    {"__name__": "up", "job": "node", "instance": "b:1"},
    {"__name__": "cpu", "job": "node", "instance": "a:1", "mode": "idle", "zone.name": "x/y"},
    {"__name__": "cpu", "job": "node", "instance": "a:1", "mode": "user"},
    {"__name__": "rule:sum", "job": "node", "mode": "ü"},
]
GONE = {"__name__": "gone", "job": "old", "instance": "c:1", "left": "x"}
HOSTS = [RegisteredSource("host/h1", "web1", "working", {"shop": ["web"]}), RegisteredSource("service/shop")]
OF_HOSTS = {"host/h1": ["loadavg5", "custom.a{b"], "service/shop": ["sales"]}
HOST_INFO = {"__name__": "carbyne_host_info", "host": "web1", "role": "web", "service": "shop", "source": "host/h1"}
HOST_INFO["status"] = "working"


def of_source(name, source):
    return {"__name__": name, "source": source}


@pytest.fixture(scope="module")
def queries():
    """What Prometheus wrote, GONE ten days ago, and a tenant with hosts."""
    clock, spans = [NOW_S - 10 * DAY_S], {}
    directory = Directory(FakeTable(), 460 * DAY_S, lambda: clock[0])
    for series in [GONE, *SERIES]:
        source, key = labels.source_of(series), labels.key_of(series)
        target = labels.text(labels.target_of(series))
        about = {series["__name__"]: ("gauge", f"About {series['__name__']}", "seconds")}
        directory.note("acme", {source: target}, about, {source: {key}})
        seen = SeriesSpan(clock[0] * 1000, (clock[0] + 60) * 1000)
        spans.setdefault(SourceKey("acme", source), {})[key] = seen
        clock[0] = NOW_S
    for source, names in OF_HOSTS.items():
        spans[SourceKey("acme", source)] = dict.fromkeys(names, SeriesSpan(NOW_S * 1000, NOW_S * 1000))

    def spans_of(sources, to_ms, keep):
        return (
            (source, 0, {key: span for key, span in spans.get(source, {}).items() if keep(key)}) for source in sources
        )

    made = Listings(Finder(directory, spans_of, lambda: clock[0]), lambda tenant: HOSTS, directory.metrics)
    return Queries(None, None, None, listings=made, now_ms=lambda: NOW_S * 1000)


def ask(queries, path, method="GET", form=None, **given):
    query = {name.replace("match", "match[]"): values for name, values in given.items()}
    query = {name: values if isinstance(values, list) else [str(values)] for name, values in query.items()}
    headers = {"x-api-key": "secret", **({"content-type": "application/x-www-form-urlencoded"} if form else {})}
    body = urlencode(form or {}, doseq=True).encode()
    answer = route(Request(method, f"/api/v1/{path}", query, headers, body), ACCOUNTS, queries)
    return answer.status, json.loads(answer.body)


def data(queries, path, **given):
    status, body = ask(queries, path, **given)
    assert status == 200, body
    return body["data"]


OF_INFO = ["host", "role", "service", "source", "status"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["__name__", *sorted(["instance", "job", "left", "mode", "zone.name", *OF_INFO])]),
        ({"match": 'up{job="node"}'}, ["__name__", "instance", "job"]),
        ({"match": ["cpu", '{source="service/shop"}']}, ["__name__", "instance", "job", "mode", "source", "zone.name"]),
        ({"match": "cpu", "start": NOW_S + 61}, []),
        ({"match": "gone", "end": NOW_S - 10 * DAY_S}, ["__name__", "instance", "job", "left"]),
        ({"match": '{job=~".+"}', "start": NOW_S - 100}, ["__name__", "instance", "job", "mode", "zone.name"]),
    ],
)
def test_names_of_labels(queries, given, names):
    assert data(queries, "labels", **given) == names


@pytest.mark.parametrize(
    ("label", "given", "values"),
    [
        ("job", {}, ["node", "old"]),
        ("job", {"start": NOW_S - 100}, ["node"]),
        ("instance", {"match": "cpu"}, ["a:1"]),
        ("__name__", {"match": '{job="node"}'}, ["cpu", "rule:sum", "up"]),
        ("__name__", {"match": '{source=~"host/.*"}'}, ["carbyne_host_info", "custom.a{b", "loadavg5"]),
        ("mode", {"match": ['{instance="a:1"}', '{__name__=~"rule:.*"}']}, ["idle", "user", "ü"]),
        ("U__zone_2e_name", {}, ["x/y"]),
        ("zone.name", {}, ["x/y"]),
        ("host", {}, ["web1"]),
        ("nowhere", {}, []),
    ],
)
def test_values_of_a_label(queries, label, given, values):
    assert data(queries, f"label/{label}/values", **given) == values


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("up", SERIES[:2]),
        ('{instance="a:1"}', [SERIES[2], SERIES[3], SERIES[0]]),
        ('{__name__=~".*:.*"}', [SERIES[4]]),
        ('{mode="",job="node"}', SERIES[:2]),
        ('{source=~"host/.*"}', [HOST_INFO, of_source("custom.a{b", "host/h1"), of_source("loadavg5", "host/h1")]),
        (["up", '{__name__="up",instance="b:1"}', "sales"], [of_source("sales", "service/shop"), *SERIES[:2]]),
    ],
)
def test_series(queries, match, expected):
    assert data(queries, "series", match=match) == expected


def test_a_form_and_the_query_are_one(queries):
    _, body = ask(queries, "series", "POST", {"match[]": ["up", "sales"], "limit": 9}, match="cpu", limit=1)
    assert len(body["data"]) == 5
    assert ask(queries, "labels", "POST", {"match[]": "up"})[1]["data"] == ["__name__", "instance", "job"]


@pytest.mark.parametrize(
    ("path", "given"), [("labels", {}), ("label/job/values", {}), ("series", {"match": '{job=~".+"}'})]
)
def test_a_limit_cuts_and_says_so(queries, path, given):
    whole = data(queries, path, **given)
    status, body = ask(queries, path, limit=1, **given)
    assert (status, body) == (
        200,
        {"status": "success", "data": whole[:1], "warnings": ["results truncated due to limit"]},
    )
    for limit in (0, len(whole)):
        assert ask(queries, path, limit=limit, **given)[1] == {"status": "success", "data": whole}


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        ("series", {}, "no match[] parameter provided"),
        ("series", {"match": "up{"}, 'invalid parameter "match[]": '),
        ("series", {"match": "{}"}, 'invalid parameter "match[]": match[] must contain at least one non-empty matcher'),
        ("labels", {"match": '{a=~".*"}'}, 'invalid parameter "match[]": match[] must contain at least one'),
        ("labels", {"match": "up[5m]"}, "is no selector of series"),
        ("labels", {"match": "up offset 5m"}, "is no selector of series"),
        ("labels", {"match": ['{a=~"("}']}, 'invalid parameter "match[]": illegal regex'),
        ("labels", {"match": ["up"] * 33}, "33 selectors; at most 32 are read"),
        ("labels", {"start": "yesterday"}, 'invalid parameter "start": cannot parse'),
        ("labels", {"limit": "x"}, "limit must be a number"),
        ("labels", {"limit": -1}, "limit must be non-negative"),
        ("label/U__/values", {}, 'invalid label name: ""'),
        ("metadata", {"limit": "x"}, "limit must be a number"),
        ("metadata", {"limit_per_metric": "x"}, "limit_per_metric must be a number"),
    ],
)
def test_what_is_refused(queries, path, given, message):
    status, body = ask(queries, path, **given)
    assert (status, body["status"], body["errorType"]) == (400, "error", "bad_data")
    assert message in body["error"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("U__a_2e_b", "a.b"),
        ("U__a__b", "a_b"),
        ("U__", ""),
        ("U___2f__3A_x", "/:x"),
        ("U___1f600_", "\U0001f600"),
        ("U__a_b", "U__a_b"),
        ("U___d800_", "U___d800_"),
        ("U___110000_", "U___110000_"),
        ("plain_name", "plain_name"),
    ],
)
def test_names_in_paths(name, label):
    assert unescaped(name) == label


def test_metadata(queries):
    about = {"type": "gauge", "unit": "seconds"}
    expected = {name: [{**about, "help": f"About {name}"}] for name in ("cpu", "gone", "rule:sum", "up")}
    assert data(queries, "metadata") == expected
    assert list(data(queries, "metadata", limit=2)) == ["cpu", "gone"]
    assert data(queries, "metadata", limit=0) == {}
    assert data(queries, "metadata", metric="up", limit_per_metric=1) == {"up": expected["up"]}
    assert data(queries, "metadata", metric="nowhere") == {}


@pytest.fixture
def few():
    """One call looks into a single source."""
    with patch.object(finder, "FOUND_SOURCES_MAX", 1), patch.object(listings, "LISTED_SOURCES_MAX", 1):
        yield


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("path", "given", "texts", "warnings"),
    [
        ("label/job/values", {}, ["node", "old"], [BY_DAY]),
        ("label/job/values", {"start": NOW_S}, ["node"], [BY_DAY]),
        ("label/instance/values", {"match": "up"}, ["a:1", "b:1"], [BY_DAY]),
        ("label/__name__/values", {"match": '{job!=""}'}, ["cpu", "gone", "rule:sum", "up"], [BY_DAY]),
        ("label/__name__/values", {"match": '{__name__=~"c.*|g.*|u.*",instance!=""}'}, ["cpu", "gone", "up"], [BY_DAY]),
        ("label/__name__/values", {"match": "sales"}, ["sales"], [BY_DAY, UNKNOWN]),
        ("labels", {"match": '{job=~".+"}'}, ["__name__", "instance", "job", "left", "mode", "zone.name"], [BY_DAY]),
        ("label/source/values", {}, ["host/h1", "service/shop"], [BY_DAY]),
    ],
)
def test_beyond_the_bound_the_directory_answers(queries, path, given, texts, warnings):
    if "sales" in given.values():
        texts, given = ["carbyne_host_info", "cpu", "gone", "rule:sum", "up"], {}
    status, body = ask(queries, path, **given)
    assert (status, body) == (200, {"status": "success", "data": texts, "warnings": warnings})


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("series", {"match": '{instance=~".+"}'}),
        ("label/mode/values", {}),
        ("label/job/values", {"match": '{job="node",mode!="idle"}'}),
    ],
)
def test_beyond_the_bound_the_rest_is_refused_with_a_reason(queries, path, given):
    status, body = ask(queries, path, **given)
    assert (status, body["errorType"]) == (422, "execution")
    assert "targets to look into, at most 1; name a job, instance or metric" in body["error"]
