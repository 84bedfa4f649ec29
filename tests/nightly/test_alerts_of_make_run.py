"""How long it takes from a sample's arrival to the notification, through the whole system of `make run`."""

import http.server
import json
import statistics
import threading
import time

import pytest

from tests.support.make_run import running

SAMPLES = 24
APART_S = 5.0
TARGET_S = 70.0
MONITOR = {"type": "service", "name": "x", "service": "shop", "operator": ">", "critical": 1, "duration": 1}


class Hook(http.server.BaseHTTPRequestHandler):
    """A webhook; ``told``: when each monitor's alert was told first."""

    told = None

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told.setdefault(body["alert"]["monitorName"], time.monotonic())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_): ...


@pytest.mark.nightly
def test_a_sample_is_told_within_seventy_seconds(capsys):
    told = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("OneHook", (Hook,), {"told": told}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with running(PARAMETERS="CheckNetworks=127.0.0.0/8") as system:
            hook = f"http://127.0.0.1:{server.server_port}/"
            system.call("/api/v0/services", {"name": "shop"})
            assert system.call("/api/v0/channels", {"type": "webhook", "name": "hook", "url": hook})[0] == 200
            for number in range(SAMPLES):
                made = {**MONITOR, "name": f"m{number}", "metric": f"x{number}"}
                assert system.call("/api/v0/monitors", made)[0] == 200
            expression = {"type": "expression", "name": "sum", "operator": ">", "critical": 1}
            query = {"type": "query", "name": "query", "operator": ">", "critical": 1, "query": '{__name__=~"x0|x1"}'}
            formula = "sum(group(service(shop, x0), service(shop, x1)))"
            late = {"expression": formula, "evaluateBackwardMinutes": 0}
            assert system.call("/api/v0/monitors", {**expression, **late})[0] == 200
            assert system.call("/api/v0/monitors", query)[0] == 200
            sent = {}
            for number in range(SAMPLES):
                sample = {"name": f"x{number}", "time": int(time.time()), "value": 9}
                assert system.call("/api/v0/services/shop/tsdb", [sample])[0] == 200
                sent[f"m{number}"] = time.monotonic()
                time.sleep(APART_S)
            end_s = time.monotonic() + 2 * TARGET_S
            while not told.keys() >= {*sent, "sum", "query"} and time.monotonic() < end_s:
                time.sleep(0.5)
        assert told.keys() == {*sent, "sum", "query"}
        delays_s = sorted(told[name] - sent[name] for name in sent)
        p50_s, p99_s = statistics.median(delays_s), delays_s[-1]
        with capsys.disabled():
            print(f"\nfrom sample to notification, {SAMPLES} alerts: p50 {p50_s:.1f} s, p99 {p99_s:.1f} s")
        assert p99_s < TARGET_S
    finally:
        server.shutdown()
        server.server_close()
