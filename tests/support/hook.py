"""A webhook on this machine, told by a system of `make run`, which may post to it by HOOK_NETWORKS."""

import contextlib
import http.server
import json
import threading
import time
import urllib.error
import urllib.request

from tests.support.pictures import pixels

HOOK_NETWORKS = "CheckNetworks=127.0.0.0/8"


class Hook:
    """``told``: the bodies that came, with the time of each by the monotonic clock."""

    def __init__(self, server):
        self.url = f"http://127.0.0.1:{server.server_port}/"
        self.told = []

    def take(self, body):
        self.told.append((time.monotonic(), json.loads(body)))

    def watch(self, system):
        """Let a system tell of a sample over 1 of the service ``hooked``, and send one."""
        assert system.call("/api/v0/services", {"name": "hooked"})[0] == 200
        assert system.call("/api/v0/channels", {"type": "webhook", "name": "hook", "url": self.url})[0] == 200
        monitor = {"type": "service", "name": "m", "service": "hooked", "metric": "x", "operator": ">", "critical": 1}
        assert system.call("/api/v0/monitors", {**monitor, "duration": 1})[0] == 200
        sample = {"name": "x", "time": int(time.time()), "value": 9}
        assert system.call("/api/v0/services/hooked/tsdb", [sample])[0] == 200

    def picture(self):
        """The image of the first message, fetched by its URL alone."""
        url = self.told[0][1]["imageUrl"]
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
            image = pixels(answer.read())
        try:
            urllib.request.urlopen(url[:-1], timeout=20).close()
        except urllib.error.HTTPError as error:
            with error:
                assert error.code == 404
            return image
        raise AssertionError("a URL that was changed is answered")


@contextlib.contextmanager
def hooked():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            hook.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_): ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Hook(server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
