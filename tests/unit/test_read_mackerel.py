"""The HTTP side of reads: what a query must have, and the forms of answers."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import LATEST_PAIRS_MAX, SOURCE_NAME_BYTES_MAX
from carbyne.http.listing import payload_of
from carbyne.http.message import Request
from carbyne.read.api import route
from carbyne.read.mackerel import RESOLUTION_HEADER, WARNINGS_HEADER, Queries
from carbyne.read.reader import How, Newest, ReadAnswer
from carbyne.tenants.accounts import Accounts, Grant, Permission


class Reader:
    """Notes what it is asked for."""

    def __init__(self):
        self.calls = []
        self.points = {1_000: 1.5, 61_000: -0.0}
        self.warnings = []

    def read(self, source, series, from_ms, to_ms, how):
        self.calls.append((source, series, from_ms, to_ms, how))
        times, values = np.array(list(self.points)), np.array(list(self.points.values()))
        return ReadAnswer(times, values, self.warnings, how.resolution or "5m")

    def latest(self, sources, series, *, partial=False):
        self.calls += [(source, list(series), partial) for source in sources]
        newest = Newest({name: (61_000, 2.0) for name in series if name != "none"}, self.warnings)
        return dict.fromkeys(sources, newest)

    def series(self, source):
        self.calls.append(source)
        return {"b", "a"}


@pytest.fixture
def reader():
    return Reader()


GRANTS = {"secret": Grant("acme", Permission.READ), "blind": Grant("acme", Permission.WRITE)}
ACCOUNTS = Accounts(SimpleNamespace(grant_of=GRANTS.get), lambda: 0.0)


def get(reader, path, api_key="secret", method="GET", **query):
    given = {name: value if isinstance(value, list) else [value] for name, value in query.items()}
    return route(
        Request(method, path, given, {"x-api-key": api_key}, b""), ACCOUNTS, Queries(reader, SimpleNamespace(), None)
    )


SPAN = {"from": "0", "to": "120"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/api/v0/hosts/web1/metrics", "host/web1"),
        ("/api/v0/hosts/a%41/metrics", "host/a%41"),
        ("/api/v0/services/shop/metrics", "service/shop"),
    ],
)
def test_metrics_of_one_source_oldest_first_in_seconds(reader, path, source):
    answer = get(reader, path, name="cpu", **SPAN)
    assert (answer.status, answer.body) == (200, '{"metrics":[{"time":1,"value":1.5},{"time":61,"value":-0.0}]}')
    assert WARNINGS_HEADER not in answer.headers
    assert reader.calls == [(SourceKey("acme", source), "cpu", 0, 120_000, How())]


@pytest.mark.parametrize("resolution", ["raw", "5m", "1h", "1d"])
def test_a_client_may_choose_the_resolution_and_is_told_it(reader, resolution):
    answer = get(reader, "/api/v0/hosts/web1/metrics", name="cpu", resolution=resolution, **SPAN)
    assert answer.headers[RESOLUTION_HEADER] == resolution and reader.calls[-1][-1].resolution == resolution
    assert get(reader, "/api/v0/hosts/web1/metrics", name="cpu", **SPAN).headers[RESOLUTION_HEADER] == "5m"


@pytest.mark.parametrize("aggregate", ["avg", "min", "max", "sum", "count"])
def test_a_client_may_choose_the_aggregate(reader, aggregate):
    get(reader, "/api/v0/hosts/web1/metrics", name="cpu", agg=aggregate, **SPAN)
    assert reader.calls[-1][-1] == How(None, aggregate)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"resolution": "10m"}, "resolution must be one of raw, 5m, 1h, 1d; got '10m'"),
        ({"agg": "p99"}, "agg must be one of avg, count, sum, min, max; got 'p99'"),
        ({"agg": "max", "resolution": "raw"}, "raw samples have no aggregate"),
        ({"resolution": ["5m", "1h"]}, "the query needs resolution once"),
    ],
)
def test_other_choices_are_refused(reader, query, says):
    with pytest.raises(RequestError, match=re.escape(says)):
        get(reader, "/api/v0/hosts/web1/metrics", name="cpu", **query, **SPAN)


def test_warnings_come_in_a_header_and_only_on_request(reader):
    reader.warnings = ["one", "two"]
    answer = get(reader, "/api/v0/hosts/web1/metrics", name="cpu", partial="true", **SPAN)
    assert answer.status == 200 and answer.headers[WARNINGS_HEADER] == "one; two"
    assert reader.calls[0][-1].partial is True
    for other in ("false", "1", "", ["true", "true"]):
        get(reader, "/api/v0/hosts/web1/metrics", name="cpu", partial=other, **SPAN)
        assert reader.calls[-1][-1].partial is False


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"from": "0", "to": "1"}, "needs name once"),
        ({"name": "", "from": "0", "to": "1"}, "needs name once"),
        ({"name": ["a", "b"], "from": "0", "to": "1"}, "needs name once"),
        ({"name": "a", "to": "1"}, "needs from once"),
        ({"name": "a", "from": "0"}, "needs to once"),
        ({"name": "a", "from": "now", "to": "1"}, "from must be a time in seconds"),
        ({"name": "a", "from": "0", "to": "1.5"}, "to must be a time in seconds"),
        ({"name": "a", "from": "0", "to": "9" * 14}, "to must be a time in seconds"),
        ({"name": "a", "from": "0", "to": "9" * 13}, "to must be a time in seconds"),
        ({"name": "a", "from": "\u0661", "to": "1"}, "from must be a time in seconds"),
        ({"name": "a", "from": "2", "to": "1"}, "from (2) is after to (1)"),
    ],
)
def test_a_query_that_makes_no_sense_is_400_and_asks_no_tier(reader, query, says):
    with pytest.raises(RequestError) as raised:
        get(reader, "/api/v0/hosts/web1/metrics", **query)
    assert raised.value.status == 400 and says in raised.value.message and reader.calls == []


def test_a_negative_from_is_a_time_before_1970(reader):
    get(reader, "/api/v0/hosts/web1/metrics", name="cpu", **{"from": "-5", "to": "-5"})
    assert reader.calls[0][2:4] == (-5000, -5000)


def test_latest_answers_for_every_pair_once(reader):
    answer = get(reader, "/api/v0/tsdb/latest", hostId=["a", "b", "a"], name=["cpu", "none", "cpu"])
    sample = {"cpu": {"time": 61, "value": 2.0}}
    assert json.loads(answer.body) == {"tsdbLatest": {"a": sample, "b": sample}}
    assert reader.calls == [(SourceKey("acme", f"host/{host}"), ["cpu", "none"], False) for host in "ab"]


def test_latest_tells_each_warning_once(reader):
    reader.warnings = ["rebuilding"]
    answer = get(reader, "/api/v0/tsdb/latest", hostId=["a", "b"], name="cpu", partial="true")
    assert answer.headers[WARNINGS_HEADER] == "rebuilding"


@pytest.mark.parametrize("query", [{"hostId": "a"}, {"name": "a"}, {"hostId": ["a", ""], "name": "a"}, {}])
def test_latest_needs_hosts_and_names(reader, query):
    with pytest.raises(RequestError, match="at least once") as raised:
        get(reader, "/api/v0/tsdb/latest", **query)
    assert raised.value.status == 400


TOO_LONG = "h" * (SOURCE_NAME_BYTES_MAX + 1)


@pytest.mark.parametrize("name", [TOO_LONG, "h" * 3_000, "é" * 40])
@pytest.mark.parametrize("kind", ["hosts", "services"])
@pytest.mark.parametrize("what", ["metrics", "metric-names"])
def test_what_no_key_can_hold_is_unknown(reader, kind, name, what):
    with pytest.raises(RequestError) as raised:
        get(reader, f"/api/v0/{kind}/{name}/{what}", name="cpu", **SPAN)
    assert (raised.value.status, reader.calls) == (404, [])


@pytest.mark.parametrize("name", ["", TOO_LONG, "h" * 3_000])
def test_what_no_key_can_hold_is_refused_in_a_query(reader, name):
    for path, query in (
        ("/api/v0/tsdb/latest", {"hostId": ["a", name], "name": "b"}),
        ("/carbyne/v1/storage", {"source": f"host/{name}", **SPAN}),
    ):
        with pytest.raises(RequestError) as raised:
            get(reader, path, **query)
        assert (raised.value.status, reader.calls) == (400, [])


def test_latest_is_bounded(reader):
    names = [f"m{i}" for i in range(LATEST_PAIRS_MAX // 2)]
    get(reader, "/api/v0/tsdb/latest", hostId=["a", "b"], name=names)
    with pytest.raises(RequestError, match=f"{LATEST_PAIRS_MAX} pairs at most"):
        get(reader, "/api/v0/tsdb/latest", hostId=["a", "b", "c"], name=names)


@pytest.mark.parametrize(
    ("path", "source"),
    [("/api/v0/hosts/web1/metric-names", "host/web1"), ("/api/v0/services/shop/metric-names", "service/shop")],
)
def test_metric_names_are_sorted(reader, path, source):
    assert payload_of(get(reader, path).body, gzip=False)["body"] == '{"names":["a","b"]}'
    assert reader.calls == [SourceKey("acme", source)]


@pytest.mark.parametrize("path", ["/", "/api/v0/hosts//metrics", "/api/v0/hosts/a/b/metrics", "/api/v0/tsdb"])
def test_other_paths_are_404(reader, path):
    with pytest.raises(RequestError) as raised:
        get(reader, path, name="cpu", **SPAN)
    assert raised.value.status == 404


def test_other_methods_are_404(reader):
    with pytest.raises(RequestError) as raised:
        get(reader, "/api/v0/tsdb/latest", method="POST", hostId="a", name="b")
    assert raised.value.status == 404


@pytest.mark.parametrize("api_key", ["", "guess", "blind"])
def test_a_key_that_is_unknown_or_may_not_read_is_403(reader, api_key):
    with pytest.raises(RequestError) as raised:
        get(reader, "/api/v0/hosts/web1/metrics", api_key=api_key, name="cpu", **SPAN)
    assert raised.value.status == 403 and reader.calls == []


def test_a_tier_that_is_away_is_left_to_the_http_answer(reader, monkeypatch):
    def away(*_, **__):
        raise RetryableError("Redis is away")

    monkeypatch.setattr(reader, "read", away)
    with pytest.raises(RetryableError):
        get(reader, "/api/v0/hosts/web1/metrics", name="cpu", **SPAN)
