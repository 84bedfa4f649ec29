"""Grafana's Prometheus data source, its own code, asks us: all of its calls are answered, and find what was written."""

import threading
import time

import pytest
from werkzeug.serving import make_server

from harness.pipeline import APPS, Pipeline, flush, http_event
from tests.support import grafana
from tests.support.memory_system import event_of
from tests.support.remote_write import V2, Body2, packed

UP = {"__name__": "up", "job": "node", "instance": "web1:9100"}
DOTTED = {"__name__": "requests.count", "job": "api", "instance": "a:1", "http.status": "200"}


@pytest.fixture
def server(cluster):
    """The URL of our reader over samples of now."""
    flush(cluster)
    now_s = int(time.time())
    pipeline = Pipeline(cluster, now_s)
    body = Body2().add(UP, *((1.0, 1000 * (now_s - 15 * n)) for n in reversed(range(20))))
    body.add(DOTTED, *((float(n), 1000 * (now_s - 15 * n)) for n in reversed(range(20))))
    headers = {"X-Api-Key": "secret", "Content-Type": V2, "Content-Encoding": "snappy"}
    event = http_event("POST", "/api/v1/write", headers=headers, body=packed(body.bytes()))
    assert APPS["writer"].handle(event, lambda: pipeline.writer)["statusCode"] == 204
    pipeline.deliver()
    serving = make_server("127.0.0.1", 0, lambda environ, start: _answer(pipeline, environ, start))
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{serving.port}"
    serving.shutdown()
    thread.join()
    serving.server_close()
    pipeline.close()


def _answer(pipeline, environ, start_response):
    answer = APPS["reader"].handle(event_of(environ), lambda: pipeline.reader)
    start_response(f"{answer['statusCode']} Said", list(answer["headers"].items()))
    return [answer["body"].encode()]


@pytest.mark.nightly
def test_its_calls_are_answered(server):
    said = grafana.run(server, "secret")
    refused = [request for request in said["requests"] if request["status"] != 200]
    assert not refused and "error" not in said, (refused, said.get("error"))
    series_found = said["found"]
    assert {request["method"] for request in said["requests"]} == {"GET", "POST"}
    assert any("limit=40000" in request["given"] for request in said["requests"])
    assert sorted(series_found["metrics"]) == ["requests.count", "up"]
    assert {"job", "instance", "http.status"} <= set(series_found["labels"])
    assert "http.status" not in series_found["labelsOfOne"]
    assert (sorted(series_found["jobs"]), series_found["dotted"]) == (["api", "node"], ["200"])
    assert series_found['label_values(up{job="node"}, instance)'] == ["web1:9100"]
    assert series_found["metrics(up.*)"] == ["up"]
    assert len(series_found["query_result(up)"]) == 1 and "web1:9100" in series_found["query_result(up)"][0]
    assert len(series_found['up{job="node"}']) == 1
    assert "job" in series_found["tagKeys"] and sorted(series_found["tagValues"]) == ["api", "node"]
