"""A real Prometheus that scrapes itself and writes to a door of ours, which can be shut."""

import json
import shutil
import socket
import subprocess
import threading
import time
from urllib.parse import urlencode
from urllib.request import urlopen

from werkzeug.serving import make_server

from local.gateway import Gateway

PROMETHEUS = shutil.which("prometheus")
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs:
  - {{job_name: itself, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
remote_write:
  - url: {url}
    authorization: {{credentials: secret}}
    queue_config: {{capacity: 1000, max_samples_per_send: 200, max_shards: 4, batch_send_deadline: 500ms}}
    metadata_config: {{send_interval: 2s}}
"""


class DoorServer:
    """An HTTP server around ``handle`` (event -> answer), one request at a time.  ``shut``: it answers 503;
    ``bodies``: of requests that were taken, with their times; ``statuses``: of all answers."""

    def __init__(self, handle):
        self._handle = handle
        self.shut = False
        self.bodies, self.statuses = [], []
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
        self.bodies.append(event["body"])
        return answer

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Prometheus:
    """A process with its own TSDB in ``folder``."""

    def __init__(self, folder, url):
        self.port = free_port()
        self._folder = folder
        (folder / "prometheus.yml").write_text(CONFIG.format(port=self.port, url=url))
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
        self.process.kill()
        self.close()

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
            (tuple(sorted(series["metric"].items())), round(1000 * ts_s)): float(value)
            for series in self.query('{__name__=~".+"}[1h]')
            for ts_s, value in series["values"]
            if round(1000 * ts_s) <= until_ms
        }


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(condition, seconds):
    """Wait for it."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.1)
