"""The whole surface, out of parts in memory, on a real socket of loopback."""

import threading
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tests.support.client_pairs import Recorder
from tests.support.memory_system import MemorySystem

KEY = "key-a"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_): ...


@contextmanager
def served(pairs=None):
    """Its URL; ``pairs``: takes what is asked and answered."""
    application = MemorySystem().application
    recorded = application if pairs is None else Recorder(application, pairs)
    server = make_server("127.0.0.1", 0, recorded, _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
