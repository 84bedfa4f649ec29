"""An AWS that only acknowledges: PutRecords over TLS on loopback, so that a client costs what it costs.

A process of its own, since its CPU is not the client's.  It checks that each request is signed and counts records and
their bytes; GET / tells the counts.
"""

import contextlib
import datetime
import ipaddress
import itertools
import json
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from servers.process import LOOPBACK, spawn


class Endpoint(NamedTuple):
    """``authority``: the file of the certificate that a client must trust."""

    url: str
    authority: str

    def counts(self) -> dict[str, int]:
        """``requests``, ``records`` and ``bytes`` so far."""
        trusting = ssl.create_default_context(cafile=self.authority)
        with urllib.request.urlopen(self.url, context=trusting) as answer:  # noqa: S310 - our own
            return json.load(answer)


@contextlib.contextmanager
def kinesis() -> Iterator[Endpoint]:
    with tempfile.TemporaryDirectory(prefix="carbyne-bench-") as folder:
        certificate = Path(folder) / "certificate.pem"
        certificate.write_bytes(_certificate())
        process = spawn([sys.executable, "-m", "bench.endpoint", str(certificate)], stdout=subprocess.PIPE)
        try:
            assert process.stdout
            yield Endpoint(f"https://{LOOPBACK}:{process.stdout.readline().strip()}", str(certificate))
        finally:
            process.kill()
            process.communicate()


def _certificate() -> bytes:
    """A key and its own certificate for loopback, as PEM."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + signed.public_bytes(serialization.Encoding.PEM)


COUNTED = {"requests": 0, "records": 0, "bytes": 0}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    numbers = itertools.count(49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898)

    def do_GET(self) -> None:
        self._answer(COUNTED)

    def do_POST(self) -> None:
        assert self.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=")
        assert self.headers["X-Amz-Target"] == "Kinesis_20131202.PutRecords"
        records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Records"]
        COUNTED["requests"] += 1
        COUNTED["records"] += len(records)
        COUNTED["bytes"] += sum(len(b64decode(record["Data"])) for record in records)
        places = [{"SequenceNumber": str(next(self.numbers)), "ShardId": "shardId-000000000000"} for _ in records]
        self._answer({"FailedRecordCount": 0, "Records": places})

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", "bench")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def serve(certificate: str) -> None:
    """Serve until killed; the port is the only line on stdout."""
    server = ThreadingHTTPServer((LOOPBACK, 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
