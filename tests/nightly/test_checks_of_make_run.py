"""External checks through the whole system of `make run`: scheduler, queue, worker, stream, reader."""

import time

import pytest

from tests.support.make_run import running
from tests.support.targets import Server, certificate

CHECKED_S = 120
"""Within two minutes of its making, each monitor has a state."""
EXPECTED = {
    "/up": ("OK", "200 in "),
    "/slow": ("CRITICAL", "more than 100 ms"),
    "/wrong": ("CRITICAL", "the status is 500"),
    "/moved": ("OK", "200 in "),
    "/loop": ("CRITICAL", "more than 5 redirects"),
    "/close": ("CRITICAL", "the connection was closed"),
    "/short": ("CRITICAL", "the answer ends 45 bytes before the length that it promised"),
    "/metadata": ("CRITICAL", "not an address of the public internet"),
    "expired": ("CRITICAL", "the certificate"),
}


@pytest.mark.nightly
def test_every_state_and_its_graph_within_two_minutes(tmp_path):
    both, _ = certificate(tmp_path, name="localhost", days=-5)
    with running(PARAMETERS="CheckNetworks=127.0.0.0/8") as system, Server() as plain, Server(both) as secured:
        begun_s = int(time.time())
        system.call("/api/v0/services", {"name": "shop"})
        ids = {}
        for path in EXPECTED:
            url = secured.url("/up", "localhost") if path == "expired" else plain.url(path, "localhost")
            monitor = {"type": "external", "name": path, "url": url, "service": "shop", "followRedirect": True}
            limit = {"responseTimeCritical": 100} if path == "/slow" else {}
            ids[path] = system.call("/api/v0/monitors", {**monitor, **limit})[1]["id"]
        states = {}
        while len(states) < len(EXPECTED) and time.time() < begun_s + CHECKED_S:
            time.sleep(1)
            listed = system.call("/carbyne/v1/monitor-states")[1]["monitors"]
            states = {state["name"]: (state["status"], state["message"]) for state in listed}
        for path, (status, message) in EXPECTED.items():
            assert states[path][0] == status and message in states[path][1], states[path]
        name = f"__externalhttp.responsetime.{ids['/up']}"
        url = f"/api/v0/services/shop/metrics?name={name}&from={begun_s - 60}&to={begun_s + 300}"
        end_s = time.monotonic() + 10
        while not (points := system.call(url)[1].get("metrics")) and time.monotonic() < end_s:
            time.sleep(0.2)
        assert points and 0 < points[0]["value"] < 5_000
