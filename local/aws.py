"""The embedded AWS: moto in a process of its own, one request at a time.

moto loses acknowledged records when PutRecords calls overlap, so a lock serialises its requests, while a thread for
each connection keeps one client's keep-alive from starving the others.
"""

import atexit
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import Any

import boto3
from botocore.config import Config

from local.valkey import die_with_parent

REGION = "us-east-1"


class Aws:
    """The running server: ``endpoint``, ``environment`` for processes that use it, ``client`` for us."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.endpoint = ""

    def start(self) -> "Aws":
        atexit.register(self.stop)
        command = [sys.executable, "-m", "local.aws"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)  # noqa: PLW1509
        assert self.process.stdout is not None
        port = self.process.stdout.readline().strip()
        if not port:
            raise RuntimeError("the embedded AWS (moto) did not start; its error is above")
        self.endpoint = f"http://127.0.0.1:{port}"
        return self

    def stop(self) -> None:
        """Kill it; calling it twice does no harm."""
        atexit.unregister(self.stop)
        if self.process:
            self.process.kill()
            self.process.communicate()

    @property
    def environment(self) -> dict[str, str]:
        """What makes any AWS client in a process use this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:  # noqa: ANN401 - one class per service, made at run time
        """A boto3 client, for example ``client("kinesis")``."""
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": REGION}
        config = Config(retries={"total_max_attempts": 3}, max_pool_connections=32)
        return boto3.client(service, endpoint_url=self.endpoint, config=config, **keys)  # type: ignore[call-overload]

    def __enter__(self) -> "Aws":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve() -> None:
    """Serve until killed; the port is the only line on stdout."""
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - two seconds that only this process pays
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

    application = DomainDispatcherApplication(create_backend_app)
    lock = threading.Lock()

    def one_at_a_time(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401
        with lock:
            reply: Iterable[bytes] = application(environ, start_response)
            return reply

    class Handler(MotoRequestHandler):
        disable_nagle_algorithm = True  # else each reply on a kept connection waits 40 ms for an ACK

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True, request_handler=Handler)
    os.write(1, f"{server.port}\n".encode())
    server.serve_forever()


if __name__ == "__main__":
    serve()
