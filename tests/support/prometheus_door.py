"""A real Prometheus that scrapes itself and a node_exporter, and writes to a door of ours, which can be shut."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from werkzeug.serving import make_server

from local.gateway import Gateway

PROMETHEUS = shutil.which("prometheus")
NODE_EXPORTER = shutil.which("prometheus-node-exporter")
needs_senders = pytest.mark.skipif(
    not (PROMETHEUS and NODE_EXPORTER), reason="not on PATH: apt-get install prometheus prometheus-node-exporter"
)
SHARDS_MAX, PER_SEND = 4, 200
CONFIG = """
global: {{scrape_interval: {interval_ms}ms, scrape_timeout: {interval_ms}ms}}
scrape_configs:
  - {{job_name: itself, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
  - {{job_name: node, static_configs: [{{targets: ["127.0.0.1:{node_port}"]}}]}}
remote_write:
  - url: {url}
    authorization: {{credentials: secret}}
    queue_config: {{capacity: 1000, max_samples_per_send: {per_send}, max_shards: {shards}, batch_send_deadline: 500ms}}
    metadata_config: {{send_interval: 2s}}
"""
COUNTER = re.compile(r"^prometheus_remote_storage_samples_([a-z_]+)(?:\{.*\})? (\S+)$", re.MULTILINE)


class DoorServer:
    """An HTTP server around ``handle`` (event -> answer), one request at a time.  ``shut``: it answers 503;
    ``statuses``: of all answers."""

    def __init__(self, handle):
        self._handle = handle
        self.shut = False
        self.statuses = []
        gateway = Gateway()
        gateway.add("POST /api/v1/write", self)
        self._server = make_server("127.0.0.1", 0, gateway)
        self.url = f"http://127.0.0.1:{self._server.port}/api/v1/write"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def invoke(self, event):
        if self.shut:
            self.statuses.append(503)
            return {"statusCode": 503, "body": "shut", "headers": {"Retry-After": "1"}}
        answer = self._handle(event)
        self.statuses.append(answer["statusCode"])
        return answer

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Exporter:
    """A node_exporter process of Debian's."""

    def __init__(self):
        self.port = free_port()
        command = [NODE_EXPORTER, f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: page(self.port), 20)

    def close(self):
        self.process.terminate()
        self.process.wait(20)


class Killed(NamedTuple):
    """``unsent``: the most samples that it had at ``counted_ms`` and had not sent: those of a batch for each shard may
    be under way."""

    at_ms: int
    counted_ms: int
    unsent: int


class Prometheus:
    """A process with its own TSDB in ``folder``; ``node_port``: of the exporter that it scrapes beside itself."""

    def __init__(self, folder, url, node_port, interval_s):
        self.port = free_port()
        self._folder = folder
        config = CONFIG.format(
            port=self.port,
            url=url,
            node_port=node_port,
            interval_ms=int(1000 * interval_s),
            per_send=PER_SEND,
            shards=SHARDS_MAX,
        )
        (folder / "prometheus.yml").write_text(config)
        self.start()

    def start(self):
        flags = [
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        self._log = (self._folder / "log").open("ab")
        self.process = subprocess.Popen([PROMETHEUS, *flags], stdout=self._log, stderr=self._log)
        until(self._ready, 20)

    def kill(self):
        """kill -9, and how many samples it had not sent by its own metrics just before.

        It counts a batch as sent when it begins to send it, and as retried when that has failed.
        """
        counted = dict(COUNTER.findall(page(self.port).decode()))
        counted_ms = int(1000 * time.time())
        self.process.kill()
        at_ms = int(1000 * time.time())
        self.close()
        taken, begun, again = (float(counted[name]) for name in ("in_total", "total", "retried_total"))
        return Killed(at_ms, counted_ms, int(taken - (begun - again)) + SHARDS_MAX * PER_SEND)

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self._log.close()

    def _ready(self):
        try:
            self.query("vector(1)")
        except OSError:
            return False
        return True

    def query(self, query):
        with urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{urlencode({'query': query})}") as answer:
            return json.load(answer)["data"]["result"]

    def samples(self, until_ms):
        """{(labels as sorted pairs, ts_ms): value} of all its samples up to a time; the API shows no stale markers."""
        return {
            (labels, round(1000 * ts_s)): float(value)
            for series in self.query('{__name__=~".+"}[1h]')
            for labels in [tuple(sorted(series["metric"].items()))]
            for ts_s, value in series["values"]
            if round(1000 * ts_s) <= until_ms
        }


def post(url, body, headers):
    """(status, headers) of the answer, whatever it is."""
    try:
        with urlopen(Request(url, body, headers)) as answer:
            return answer.status, answer.headers
    except HTTPError as error:
        with error:
            return error.code, error.headers


def page(port):
    """``/metrics`` of a process, nothing before it listens."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return answer.read()
    except OSError:
        return b""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(condition, seconds, message="it did not happen in time"):
    """Wait for it."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, message
        time.sleep(0.1)
