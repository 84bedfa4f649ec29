"""`make smoke` against servers that behave, that never show the sample, and that refuse."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.support import smoke


@contextmanager
def server(delay, status=200):
    """Shows a posted sample from the ``delay``-th read on; ``status`` of posts."""
    posted, reads = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(status, {"success": True})

        def do_GET(self):
            reads.append(self.path)
            if len(reads) < delay:
                return self.answer(404, {"error": {"message": "not yet"}})
            return self.answer(200, {"metrics": [{"time": p["time"], "value": p["value"]} for p in posted]})

        def answer(self, code, body):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


@pytest.fixture(autouse=True)
def in_haste(monkeypatch):
    monkeypatch.setattr(smoke, "PAUSE_S", 0.01)
    monkeypatch.setattr(smoke, "READ_S", 0.3)


def test_the_lag_is_printed(capsys):
    with server(delay=3) as url:
        assert smoke.main(url, "key") == 0
    assert capsys.readouterr().out.startswith("posted in ")


def test_a_sample_that_never_shows_is_a_failure(capsys):
    with server(delay=10_000) as url:
        assert smoke.main(url, "key") == 1
    assert "still gives None" in capsys.readouterr().err


def test_a_refusal_is_shown(capsys):
    with server(delay=1, status=403) as url:
        assert smoke.main(url, "wrong") == 1
    assert "answers 403" in capsys.readouterr().err


def test_a_server_that_does_not_run(capsys):
    assert smoke.main("http://127.0.0.1:9", "key") == 1
    assert capsys.readouterr().err.startswith("smoke: ")
    assert smoke.main("", "") == 2
