"""Prometheus' API: parameters, forms of answers and errors, and the series of hosts and services."""

import json
from urllib.parse import urlencode

import numpy as np
import pytest
import yaml
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import QUERY_SOURCES_MAX
from carbyne.http.message import Request
from carbyne.promql.numbers import of_answer, of_answers
from carbyne.promql.select import Selection
from carbyne.promql.tree import Match
from carbyne.read.api import route
from carbyne.read.mackerel import Queries, ServerAbout
from carbyne.read.reader import Many
from carbyne.read.registered import HOST_INFO, PastInfo, RegisteredSource
from carbyne.read.rules import AlertOfRule, RecordingRule, RuleGroup, RuleOfGroup, token_of
from carbyne.read.sources import SourceSelector
from carbyne.read.spent import Spent, as_stats
from carbyne.samples.columns import Columns, Group
from carbyne.store.tiers import Taken

from tests.unit.test_read_mackerel import ACCOUNTS

NOW_MS = 1_700_000_000_000
SOURCES = [
    RegisteredSource("host/h1", "web1", "working", {"shop": ["web", "app"]}),
    RegisteredSource("host/h2", "db1", "standby"),
    RegisteredSource("service/shop"),
]
SAMPLES = {
    "host/h1": {"loadavg5": 1.5, "cpu.user": 10.0},
    "host/h2": {"loadavg5": 0.0000005, "cpu.user": 20.0},
    "service/shop": {"sales": 1e21},
}


class FakeReader:
    """A sample of each series each minute; notes which spans are read."""

    def __init__(self):
        self.spans = []

    def known(self, source, *, partial):
        assert not partial
        return set(SAMPLES[source.source]), []

    def read_many(self, source, series, from_ms, to_ms, how):
        self.spans.append((source, from_ms, to_ms))
        ts_ms = np.arange(-(-from_ms // 60_000) * 60_000, min(to_ms, NOW_MS) + 1, 60_000)
        there = sorted(set(series) & SAMPLES[source.source].keys())
        bits = np.array([[SAMPLES[source.source][name]] * len(ts_ms) for name in there], np.float64).view(np.uint64)
        group = Group(tuple(there), ts_ms, np.zeros(len(ts_ms), np.uint32), bits)
        return Many(Columns((), (group,) if there else ()), how.resolution, [])


@pytest.fixture
def reader():
    return FakeReader()


def ask(reader, path, method="GET", form=None, ports=None, **given):
    query = {name: [value] for name, value in given.items()}
    headers = {"x-api-key": "secret", **({"content-type": "application/x-www-form-urlencoded"} if form else {})}
    usual = {"sources": lambda _: SOURCES, "now_ms": lambda: NOW_MS}
    queries = Queries(reader, None, None, **usual | (ports or {}))
    body = urlencode(form or {}).encode()
    answer = route(Request(method, f"/api/v1/{path}", query, headers, body), ACCOUNTS, queries)
    return answer.status, json.loads(answer.body) if answer.body else None


def test_a_query_at_one_time(reader):
    status, body = ask(reader, "query", query="loadavg5")
    assert (status, body) == (
        200,
        {
            "status": "success",
            "data": {
                "resultType": "vector",
                "result": [
                    {"metric": {"__name__": "loadavg5", "source": "host/h1"}, "value": [1_700_000_000, "1.5"]},
                    {"metric": {"__name__": "loadavg5", "source": "host/h2"}, "value": [1_700_000_000, "5e-07"]},
                ],
            },
        },
    )
    span_ms = (NOW_MS - 300_000 + 1, NOW_MS)
    assert set(reader.spans) == {(SourceKey("acme", source), *span_ms) for source in SAMPLES}


@pytest.mark.parametrize(
    ("query", "kind", "result"),
    [
        ("1.50", "scalar", [1_700_000_000.25, "1.5"]),
        ('"text"', "string", [1_700_000_000.25, "text"]),
        ('{"cpu.user", source="host/h2"} * 2', "vector", [{"metric": {"source": "host/h2"}, "value": ["20"]}]),
        ("sales[1m]", "matrix", [{"values": [[1_699_999_980, "1e+21"]]}]),
    ],
)
def test_kinds_of_answers(reader, query, kind, result):
    _, body = ask(reader, "query", query=query, time="1700000000.25")
    assert body["data"]["resultType"] == kind
    if kind == "matrix":
        assert body["data"]["result"][0]["values"] == result[0]["values"]
    elif kind == "vector":
        assert body["data"]["result"][0] == {"metric": {"source": "host/h2"}, "value": [1_700_000_000.25, "40"]}
    else:
        assert body["data"]["result"] == result


def test_a_query_over_a_span_as_a_form(reader):
    form = {"query": "sum(loadavg5)", "start": "2023-11-14T22:12:20Z", "end": "1700000000", "step": "30s"}
    status, body = ask(reader, "query_range", "POST", form)
    assert status == 200
    [series] = body["data"]["result"]
    assert series["metric"] == {} and len(series["values"]) == 3
    assert series["values"][0] == [1_699_999_940, "1.5000005"]


def test_hosts_are_joined_with_what_the_registry_knows(reader):
    join = f'loadavg5 * on (source) group_left (host) {HOST_INFO}{{service="shop", role="web"}}'
    _, body = ask(reader, "query", query=f"avg by (host) ({join})")
    assert [(each["metric"], each["value"][1]) for each in body["data"]["result"]] == [({"host": "web1"}, "1.5")]
    _, body = ask(reader, "query", query=HOST_INFO)
    web1 = {"__name__": HOST_INFO, "source": "host/h1", "host": "web1", "status": "working", "service": "shop"}
    assert [each["metric"] for each in body["data"]["result"]] == [
        {"__name__": HOST_INFO, "source": "host/h2", "host": "db1", "status": "standby"},
        {**web1, "role": "app"},
        {**web1, "role": "web"},
    ]


def test_only_sources_that_match_are_read(reader):
    _, body = ask(reader, "query", query='{__name__=~"cpu.*", source=~"host/h[13]"}')
    assert [each["metric"]["source"] for each in body["data"]["result"]] == ["host/h1"]
    assert {source.source for source, *_ in reader.spans} == {"host/h1"}
    _, body = ask(reader, "query", query='loadavg5{job="x"}')
    assert body["data"]["result"] == [] and len(reader.spans) == 1
    _, body = ask(reader, "query", query='loadavg5{job=""}')
    assert len(body["data"]["result"]) == 2


REFUSED = {
    "missing": (400, "bad_data", {}, "it is missing"),
    "syntax": (400, "bad_data", {"query": "rate(x"}, "unclosed left parenthesis"),
    "time": (400, "bad_data", {"query": "x", "time": "soon"}, "to a valid timestamp"),
    "far": (400, "bad_data", {"query": "x", "time": "1e99"}, "out of range"),
    "timeout": (400, "bad_data", {"query": "x", "timeout": "5 m"}, "to a valid duration"),
    "limit": (400, "bad_data", {"query": "x", "limit": "-1"}, "not a number of series"),
    "execution": (422, "execution", {"query": "topk(NaN, loadavg5)"}, "Parameter value is NaN"),
    "slow": (503, "timeout", {"query": "loadavg5", "timeout": "0.000"}, "timed out"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_have_prometheus_form(reader, case):
    expected, kind, given, says = REFUSED[case]
    status, body = ask(reader, "query", **given)
    assert (status, body["status"], body["errorType"]) == (expected, "error", kind)
    assert says in body["error"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"start": "2", "end": "1", "step": "1"}, "end timestamp must not be before start time"),
        ({"start": "1", "end": "2", "step": "0"}, "longer than zero"),
        ({"start": "1", "end": "2", "step": "9" * 400 + "y"}, "out of range"),
        ({"start": "1", "end": "2", "step": "9" * 5_000 + "y"}, "out of range"),
        ({"start": "1", "end": "20000", "step": "1"}, "more than 11000"),
        ({"start": "1", "end": "2", "step": "1", "query": "x[5m]"}, "range vector"),
    ],
)
def test_spans_are_checked(reader, given, says):
    status, body = ask(reader, "query_range", **{"query": "x", **given})
    assert (status, body["errorType"]) == (400, "bad_data")
    assert says in body["error"]


def test_a_limit_cuts_and_says_so(reader):
    _, body = ask(reader, "query", query="loadavg5", limit="1", stats="all")
    assert len(body["data"]["result"]) == 1
    assert body["warnings"] == ["results truncated due to limit"]
    assert body["data"]["stats"]["seriesRead"] == 2
    assert body["data"]["stats"]["samples"]["totalQueryableSamples"] == 10


def test_what_a_query_cost_is_counted_by_tier():
    spent = Spent()
    taken = [Taken("warm", 4097), Taken("warm", 10), Taken("cold", 9), Taken("hot", 8)]
    spent.add(Many(Columns((), ()), "1h", [], taken))
    spent.add(Many(Columns((), ()), "raw", [], taken[3:]))
    stats = as_stats(spent, (1, 2))
    assert stats["tiers"] == {
        "hot": {"calls": 2, "bytes": 16},
        "cache": {"calls": 0, "bytes": 0},
        "warm": {"calls": 2, "bytes": 4107},
        "cold": {"calls": 1, "bytes": 9},
    }
    assert stats["dollars"] == pytest.approx(2 * 0.125e-6 + 0.4e-6)
    assert spent.infos() == ["Carbyne info: computed from rollups of 1h, exactly"]


def test_infos_come_with_the_answer(reader):
    _, body = ask(reader, "query", query="rate(loadavg5[5m])")
    assert "might not be a counter" in body["infos"][0] and body["infos"][0].endswith("(1:6)")


def test_too_many_sources_are_refused_with_the_figures():
    many = [RegisteredSource(f"host/{nth}") for nth in range(QUERY_SOURCES_MAX + 1)]
    selector = SourceSelector(FakeReader(), "acme", lambda _: many, Spent())
    with pytest.raises(Exception, match=f"matches {QUERY_SOURCES_MAX + 1} sources, more than {QUERY_SOURCES_MAX}"):
        selector.select(Selection((Match("__name__", "=", "x"),), 0, 1))


def test_a_registry_that_is_away_is_no_empty_answer(reader):
    def away(_):
        raise RetryableError("the registry is away")

    with pytest.raises(RetryableError):
        SourceSelector(reader, "acme", away, Spent()).select(Selection((Match("__name__", "=", "x"),), 0, 1))


def test_what_data_sources_ask_besides(reader):
    for path, data in {
        "metadata": {},
        "query_exemplars": [],
        "rules": {"groups": []},
        "alerts": {"alerts": []},
    }.items():
        assert ask(reader, path) == (200, {"status": "success", "data": data})
    assert ask(reader, "status/buildinfo")[1]["data"]["application"] == "Carbyne"
    assert ask(reader, "format_query", query="sum(x)by(y)")[1]["data"] == "sum by (y) (x)"
    tree = ask(reader, "parse_query", query="-x{a!='b'}[5m:1m] @ end()", **{})
    assert tree[0] == 400
    _, body = ask(reader, "parse_query", query="topk by (z) (2, x{a!='b'} offset 1m) > bool 1")
    assert body["data"]["lhs"]["expr"] == {
        "type": "vectorSelector",
        "name": "x",
        "offset": 60_000,
        "offsetExpr": None,
        "anchored": False,
        "smoothed": False,
        "matchers": [
            {"name": "a", "value": "b", "type": "!="},
            {"name": "__name__", "value": "x", "type": "="},
        ],
        "timestamp": None,
        "startOrEnd": None,
    }
    assert (body["data"]["bool"], body["data"]["rhs"]["val"], body["data"]["matching"]) == (True, "1", None)


def test_numbers_as_prometheus_answers_have_them():
    numbers = [1.0, 0.1, 1e-7, 123456789.0, 1e20, 1e21, -0.0, float("nan"), float("-inf")]
    assert list(map(of_answer, numbers)) == [
        *(
            "1",
            "0.1",
            "1e-07",
            "123456789",
            "100000000000000000000",
            "1e+21",
            "-0",
            "NaN",
            "-Inf",
        ),
    ]


@pytest.mark.parametrize("more", [[], [1e16], [1e-5], [float("nan")], [float("inf")], [-5e-324], [-1e300]])
def test_many_numbers_are_written_as_each_alone(more):
    numbers = [*more, 1.0, -0.0, 10.0, 100.25, 0.5, -20.0, 1e15, 0.0001, 1234567.0]
    assert of_answers(numbers) == list(map(of_answer, numbers))
    assert of_answers([]) == []


ALERT = AlertOfRule({"alertname": "full"}, {"summary": "disk"}, "firing", "2023-11-14T22:00:00Z", "1e+00")
EVALUATED = {"last_evaluation": "2023-11-14T22:13:00Z", "evaluation_time": 0.01, "health": "ok"}


def alerting(name, query, state, duration, alerts, **labels):
    made = {"annotations": {}, "alerts": alerts, "labels": labels, **EVALUATED}
    return RuleOfGroup(name=name, query=query, state=state, duration=duration, **made)


def group(name, rules, file=""):
    return RuleGroup(
        name=name, file=file, rules=rules, interval=60, last_evaluation="2023-11-14T22:13:00Z", evaluation_time=0.02
    )


GROUPS = [
    group(
        "disks",
        [
            alerting("full", "disk > 1", "firing", 60, [ALERT], severity="page"),
            alerting("slow", "disk > 2", "inactive", 0, []),
        ],
    ),
    group("empty", []),
    group("records", [RecordingRule(name="job:x", query="sum(x)", labels={"team": "a"}, **EVALUATED)], "r.yml"),
]


def test_rules_and_alerts_have_prometheus_form(reader):
    tenants = []
    listing = {"rules": lambda tenant: tenants.append(tenant) or GROUPS}
    [group, records] = ask(reader, "rules", ports=listing)[1]["data"]["groups"]
    assert records["rules"] == [
        {
            "name": "job:x",
            "query": "sum(x)",
            "labels": {"team": "a"},
            "health": "ok",
            "lastEvaluation": "2023-11-14T22:13:00Z",
            "evaluationTime": 0.01,
            "type": "recording",
        }
    ]
    assert (group["name"], group["interval"], len(group["rules"])) == ("disks", 60, 2)
    full = group["rules"][0]
    assert (full["type"], full["state"], full["lastEvaluation"]) == ("alerting", "firing", "2023-11-14T22:13:00Z")
    alert = {"labels": {"alertname": "full"}, "annotations": {"summary": "disk"}, "state": "firing"}
    alert |= {"activeAt": "2023-11-14T22:00:00Z", "value": "1e+00"}
    assert full["alerts"] == [alert]
    assert ask(reader, "alerts", ports=listing)[1]["data"] == {"alerts": [alert]}
    assert tenants == ["acme", "acme"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["full", "slow", "job:x"]),
        ({"type": "record"}, ["job:x"]),
        ({"type": "alert"}, ["full", "slow"]),
        ({"rule_name[]": "slow"}, ["slow"]),
        ({"rule_group[]": "others"}, []),
        ({"file[]": "x.yml"}, []),
        ({"file[]": "r.yml"}, ["job:x"]),
        ({"exclude_alerts": "true"}, ["full", "slow", "job:x"]),
        ({"exclude_alerts": "T"}, ["full", "slow", "job:x"]),
        ({"match[]": '{severity="page"}'}, ["full"]),
        ({"match[]": '{team=~"a|b"}'}, ["job:x"]),
        ({"group_limit": "1"}, ["full", "slow"]),
        ({"group_limit": "2"}, ["full", "slow", "job:x"]),
        ({"group_limit": "1", "group_next_token": token_of(GROUPS[2])}, ["job:x"]),
    ],
)
def test_rules_are_filtered(reader, given, names):
    groups = ask(reader, "rules", ports={"rules": lambda _: GROUPS}, **given)[1]["data"]["groups"]
    shown = [rule for group in groups for rule in group["rules"]]
    assert [rule["name"] for rule in shown] == names
    assert not ("exclude_alerts" in given and any(rule.get("alerts") for rule in shown))


def test_pages_of_rules_continue_behind_each_other(reader):
    def page(**given):
        return ask(reader, "rules", ports={"rules": lambda _: GROUPS}, **given)[1]["data"]

    first = page(group_limit="1")
    assert first["groupNextToken"] == token_of(GROUPS[2])
    last = page(group_limit="1", group_next_token=first["groupNextToken"])
    assert [group["name"] for group in last["groups"]] == ["records"] and "groupNextToken" not in last


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"type": "both"}, "type"),
        ({"group_limit": "0"}, "greater than 0"),
        ({"group_limit": "x"}, "greater than 0"),
        ({"group_next_token": "x"}, "group_limit needs to be present"),
        ({"group_limit": "1", "group_next_token": "x"}, "were rule groups changed?"),
        ({"match[]": "sum(x)"}, "no selector"),
        ({"match[]": "{"}, 'parameter "match[]": unexpected end'),
        ({"exclude_alerts": "maybe"}, 'parameter "exclude_alerts": '),
    ],
)
def test_what_rules_can_not_be_asked(reader, given, problem):
    status, body = ask(reader, "rules", ports={"rules": lambda _: GROUPS}, **given)
    assert (status, body["errorType"]) == (400, "bad_data") and problem in body["error"]


def test_the_server_says_what_it_is(reader):
    server = {"server": ServerAbout(14_400, {"raw": 460 * 86_400, "1d": 5}, NOW_MS - 1000)}
    config = ask(reader, "status/config", ports=server)[1]["data"]["yaml"]
    assert yaml.safe_load(config) == {
        "carbyne": {"raw_window": "14400s", "retention": {"raw": f"{460 * 86_400}s", "1d": "5s"}}
    }
    flags = ask(reader, "status/flags", ports=server)[1]["data"]
    assert (flags["query.lookback-delta"], flags["storage.tsdb.retention.time"]) == ("5m", "460d")
    runtime = ask(reader, "status/runtimeinfo", ports=server)[1]["data"]
    assert (runtime["startTime"], runtime["serverTime"]) == ("2023-11-14T22:13:19.000Z", "2023-11-14T22:13:20.000Z")
    assert runtime["goroutineCount"] >= 1 and runtime["storageRetention"] == "460d"


def test_a_store_that_is_away_is_said_in_prometheus_form(reader):
    def away(_):
        raise RetryableError("the registry is away")

    status, body = ask(reader, "query", ports={"sources": away}, query="loadavg5")
    assert (status, body["errorType"]) == (503, "unavailable")
    assert "send the request again" in body["error"] and "registry" not in body["error"]


GRAFANA = {
    "health": ("query", {"query": "1+1", "time": "1700000000.123"}),
    "instant, trailing comma": ("query", {"query": 'loadavg5{source="host/h1",}', "time": "1700000000"}),
    "range of a panel": (
        "query_range",
        {"query": "sum by (source,) (rate(loadavg5[5m0s]))", "start": "1699999000", "end": "1700000000", "step": "15"},
    ),
    "range with fractions": (
        "query_range",
        {"query": "loadavg5", "start": "1699999999.5", "end": "1700000000.25", "step": "0.25"},
    ),
    "range in RFC 3339": (
        "query_range",
        {"query": "loadavg5", "start": "2023-11-14T22:00:00.000Z", "end": "2023-11-14T22:13:20Z", "step": "1m"},
    ),
    "all names": ("query", {"query": 'count by (__name__) ({__name__!=""})', "limit": "40000"}),
    "metrics drilldown": (
        "query_range",
        {
            "query": 'avg ({__name__="cpu.user", __ignore_usage__=""})',
            **{"start": "1699999000", "end": "1700000000", "step": "30s", "timeout": "10s"},
        },
    ),
    "exemplars": ("query_exemplars", {"query": "loadavg5", "start": "1699999000", "end": "1700000000"}),
}
"""Requests as Grafana's data source and its Metrics Drilldown make them."""


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("about", GRAFANA)
def test_what_grafana_asks_is_answered(reader, method, about):
    path, given = GRAFANA[about]
    status, body = ask(reader, path, method, given) if method == "POST" else ask(reader, path, **given)
    assert (status, body["status"]) == (200, "success")
    assert about in {"health", "exemplars"} or body["data"]["result"]


def test_a_host_is_what_it_was_at_that_time(reader):
    minute = 60_000
    past = [
        PastInfo(NOW_MS - 20 * minute, "old", "standby", {}),
        PastInfo(NOW_MS - 10 * minute, "web1", "working", {"shop": ["app"]}),
    ]
    h1 = RegisteredSource("host/h1", "web1", "working", {"shop": ["web"]}, NOW_MS - 30 * minute, past)
    ports = {"sources": lambda _: [h1]}

    def roles_at(back_minutes):
        at = str(NOW_MS / 1000 - 60 * back_minutes)
        _, body = ask(reader, "query", ports=ports, query=HOST_INFO, time=at)
        assert all(each["value"][1] == "1" for each in body["data"]["result"])
        return [(each["metric"]["host"], each["metric"].get("role")) for each in body["data"]["result"]]

    assert [roles_at(back) for back in (40, 25, 15, 9, 0)] == [
        [],
        [("old", None)],
        [("web1", "app")],
        [("web1", "web")],
        [("web1", "web")],
    ]
    join = f'max_over_time((loadavg5 * on (source) group_left (role) {HOST_INFO}{{role!=""}})[18m:1m])'
    _, body = ask(reader, "query", ports=ports, query=join)
    assert sorted(each["metric"]["role"] for each in body["data"]["result"]) == ["app", "web"]


def test_a_role_that_comes_back_is_one_series(reader):
    back = [
        PastInfo(NOW_MS - 180_000, "a", "working", {"shop": ["web"]}),
        PastInfo(NOW_MS - 60_000, "a", "poweroff", {}),
    ]
    h1 = RegisteredSource("host/h1", "a", "working", {"shop": ["web"]}, NOW_MS - 600_000, back)
    query = f'{HOST_INFO}{{status="working"}}[10m]'
    [series] = ask(reader, "query", ports={"sources": lambda _: [h1]}, query=query)[1]["data"]["result"]
    assert [NOW_MS // 1000 - time for time, _ in series["values"]] == [*range(560, 199, -60), 20]
