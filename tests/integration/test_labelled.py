"""What Prometheus writes is what PromQL reads: through writer, stream, ingester, Redis, blocks and the directory."""

import json
import struct

import pytest

from harness.pipeline import APPS, Pipeline, flush, http_event
from tests.support.remote_write import V2, Body2, packed

NOW_S = 1_700_000_400
NOW_MS = NOW_S * 1000
STALE = struct.unpack(">d", bytes.fromhex("7ff0000000000002"))[0]
UP = {"__name__": "up", "job": "node", "instance": "web1:9100"}
IDLE = {"__name__": "cpu_seconds", "job": "node", "instance": "web1:9100", "mode": "idle", "path": "a{b=c},%"}
GONE = {"__name__": "up", "job": "node", "instance": "web2:9100"}
LONE = {"__name__": "batch_size", "zone": "ü"}


@pytest.fixture(scope="module")
def path(cluster):
    flush(cluster)
    pipeline = Pipeline(cluster, NOW_S, tenants={"secret": "acme", "other": "rival"})
    body = Body2().add(UP, *((1.0, NOW_MS - 15_000 * n - 1) for n in reversed(range(20))))
    body.add(IDLE, *((100.0 - n, NOW_MS - 15_000 * n - 7) for n in reversed(range(20))))
    body.add(GONE, (1.0, NOW_MS - 60_000), (STALE, NOW_MS - 30_000)).add(LONE, (0.5, NOW_MS - 1_000))
    headers = {"X-Api-Key": "secret", "Content-Type": V2, "Content-Encoding": "snappy"}
    event = http_event("POST", "/api/v1/write", headers=headers, body=packed(body.bytes()))
    assert APPS["writer"].handle(event, lambda: pipeline.writer)["statusCode"] == 204
    pipeline.post([("web1", "loadavg5", NOW_S - 60, 1.5)])
    pipeline.deliver()
    yield pipeline
    pipeline.close()


def ask(path, query, api_key="secret", **given):
    answer = path.get("/api/v1/query", ("query", query), ("time", NOW_S), *given.items(), api_key=api_key)
    body = json.loads(answer["body"])
    assert answer["statusCode"] == 200, body
    return [(each["metric"], each["value"][1]) for each in body["data"]["result"]]


def test_a_series_has_all_the_labels_that_it_was_written_with(path):
    assert ask(path, 'cpu_seconds{mode="idle"}') == [(IDLE, "100")]
    assert ask(path, '{job=~"no.*", instance!="web2:9100"}') == [(IDLE, "100"), (UP, "1")]
    assert ask(path, 'batch_size{zone="ü"}') == [(LONE, "0.5")]
    assert ask(path, 'up{job="other"}') == []


def test_a_stale_marker_ends_a_series_at_its_millisecond(path):
    assert ask(path, 'up{instance="web2:9100"}') == []
    before = path.get("/api/v1/query", ("query", 'up{instance="web2:9100"}'), ("time", NOW_S - 30.001))
    assert len(json.loads(before["body"])["data"]["result"]) == 1


def test_rates_are_of_exact_times(path):
    ((labels, value),) = ask(path, "rate(cpu_seconds[2m])")
    assert labels == {name: IDLE[name] for name in IDLE if name != "__name__"}
    assert float(value) == pytest.approx(1 / 15)


def test_labelled_series_are_not_seen_by_another_tenant(path):
    assert ask(path, '{__name__!=""}', api_key="other") == []


def test_what_was_sealed_reads_as_before(path):
    before = ask(path, 'sum_over_time({job="node"}[5m])')
    path.now_s += 8 * 3600
    try:
        assert path.seal() > 0
    finally:
        path.now_s = NOW_S
    assert ask(path, 'sum_over_time({job="node"}[5m])') == before


def test_stats_say_what_was_read_of_each_tier(path):
    def tiers():
        answer = path.get("/api/v1/query", ("query", 'up{instance="web1:9100"}'), ("time", NOW_S), ("stats", "all"))
        return json.loads(answer["body"])["data"]["stats"]["tiers"]

    first, second = tiers(), tiers()
    assert first["hot"]["calls"] >= 1
    assert first["warm"]["bytes"] + first["cache"]["bytes"] > 0
    assert (second["warm"]["bytes"], second["cache"]["calls"]) == (0, 1)


GRAFANA = {
    "labels": (("limit", 40000), ("start", NOW_S - 3600), ("end", NOW_S)),
    "label/__name__/values": (("limit", 40000), ("match[]", '{__name__!=""}')),
    "label/job/values": (("match[]", 'up{job=~".+",}'), ("limit", 40000)),
    "label/U__zone/values": (),
    "series": (("match[]", '{job="node",}'), ("limit", 40000)),
    "metadata": (("limit", 40000),),
}
"""As Grafana asks for labels: escaped names, a comma behind the last matcher, its limit."""


@pytest.mark.parametrize("call", GRAFANA)
def test_grafanas_lists_are_answered(path, call):
    answer = path.get(f"/api/v1/{call}", *GRAFANA[call])
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["status"]) == (200, "success"), body
    assert call == "metadata" or body["data"]


def delete_series(path, *query, api_key="secret"):
    """The status of the delete, and how many records it puts on the stream."""
    event = http_event("POST", "/api/v1/admin/tsdb/delete_series", query=query, headers={"X-Api-Key": api_key})
    before = len(path.stream.records)
    answer = APPS["writer"].handle(event, lambda: path.writer)
    path.deliver(path.stream.records[before:])
    return answer["statusCode"], len(path.stream.records) - before


def test_series_are_deleted_by_their_labels(path):
    """The last test here, since what is deleted is gone."""
    selectors = [("match[]", 'cpu_seconds{mode="idle"}'), ("match[]", "none"), ("end", NOW_S - 120)]
    assert delete_series(path, *selectors, api_key="other") == (204, 0)
    assert delete_series(path, *selectors) == (204, 1)
    ((labels, value),) = ask(path, "count_over_time(cpu_seconds[5m])")
    assert (labels["mode"], value) == ("idle", "8")
    assert ask(path, "count_over_time(up[5m])")[0][1] == "20"
    assert ask(path, 'cpu_seconds{mode="idle"}') == [(IDLE, "100")]
    assert delete_series(path, ("match[]", '{__name__=~".+"}')) == (204, 4)
    assert ask(path, '{__name__!=""}') == []
