"""Rules of Prometheus through the whole system of `make run`: from the file to the series, the API and a channel."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from urllib.parse import quote

import pytest

from servers.process import ROOT
from tests.support.make_run import running

RULES = """\
groups:
- name: load
  rules:
  - record: shop:load:double
    expr: 2 * sum(load)
    labels: {team: web}
  - alert: Loaded
    expr: shop:load:double > 10
    for: 1m
    labels: {severity: page}
    annotations: {summary: "load is {{ $value }}"}
"""
WAIT_S = 150
"""A group is evaluated each minute, whatever the schedules: the second one fires, then notifier and ingester follow."""
NAMES = {"alertname": "Loaded", "severity": "page", "team": "web"}


class Alertmanager(http.server.BaseHTTPRequestHandler):
    """A stand-in; ``told``: path and alerts of each post."""

    told = None

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_): ...


@pytest.fixture
def alertmanager():
    """(URL, what it was told)."""
    told = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("OneAlertmanager", (Alertmanager,), {"told": told}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    server.server_close()


class Shop:
    """The service whose load is posted, and what there is to see of its rules."""

    def __init__(self, system):
        self._system = system
        assert system.call("/api/v0/services", {"name": "shop"})[0] == 200

    def carbyne(self, *arguments):
        """What the command printed."""
        url, key = self._system.url, self._system.key
        command = [sys.executable, "-m", "carbyne", "rules", *arguments, "--url", url, "--key", key]
        environment = {**os.environ, "PYTHONPATH": "layers/carbyne"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def post(self, value):
        sample = {"name": "load", "time": int(time.time()), "value": value}
        assert self._system.call("/api/v0/services/shop/tsdb", [sample])[0] == 200

    def series(self, query):
        """Labels with the value, each as text."""
        status, answer = self._system.call(f"/api/v1/query?query={quote(query)}")
        assert status == 200, answer
        return [(each["metric"], each["value"][1]) for each in answer["data"]["result"]]

    def rules(self):
        [group] = self._system.call("/api/v1/rules")[1]["data"]["groups"]
        return group["rules"]

    def alerts(self):
        return self._system.call("/api/v1/alerts")[1]["data"]["alerts"]


def until(what, load, shop):
    """What is true of it, asked again while the load is posted."""
    end_s = time.monotonic() + WAIT_S
    while not (seen := what()):
        assert time.monotonic() < end_s, "not in time"
        shop.post(load)
        time.sleep(2)
    return seen


@pytest.mark.nightly
def test_a_rule_file_records_fires_tells_and_ends(tmp_path, alertmanager):
    url, told = alertmanager
    (tmp_path / "shop.yml").write_text(RULES)
    with running(PARAMETERS="CheckNetworks=127.0.0.0/8", SCHEDULE_MINUTE_S="20") as system:
        shop = Shop(system)
        channel = {"type": "alertmanager", "name": "am", "url": url}
        assert system.call("/api/v0/channels", channel)[0] == 200
        shop.post(7)
        assert shop.carbyne("load", str(tmp_path / "shop.yml")) == "shop.yml: 1 groups, 2 rules\n"
        assert "shop.yml" in shop.carbyne("list")

        [(labels, value)] = until(lambda: shop.series("shop:load:double"), 7, shop)
        assert (labels, value) == ({"__name__": "shop:load:double", "team": "web"}, "14")
        [(labels, value)] = until(lambda: shop.series('ALERTS{alertstate="firing"}'), 7, shop)
        assert (labels, value) == ({"__name__": "ALERTS", "alertstate": "firing", **NAMES}, "1")
        recording, alerting = shop.rules()
        assert (recording["type"], recording["health"]) == ("recording", "ok")
        assert (alerting["type"], alerting["state"], alerting["health"]) == ("alerting", "firing", "ok")
        [alert] = shop.alerts()
        assert (alert["labels"], alert["state"]) == (NAMES, "firing")
        path, [posted] = until(lambda: told and told[0], 7, shop)
        assert path == "/api/v2/alerts"
        assert (posted["labels"], posted["annotations"]) == (NAMES, {"summary": "load is 14"})
        assert posted["startsAt"] < posted["endsAt"]

        ended = until(lambda: [body for _, [body] in told if body["startsAt"] < body["endsAt"] <= _now()], 1, shop)
        assert ended[0]["startsAt"] == posted["startsAt"]
        until(lambda: not shop.series("ALERTS"), 1, shop)
        assert shop.alerts() == []
        shop.carbyne("delete", "shop.yml")
        until(lambda: not shop.series("shop:load:double"), 1, shop)


def _now():
    """As an Alertmanager is told of times."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
