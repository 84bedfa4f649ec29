"""Servers that checks ask: up, slow, wrong, closing, lying about their length, with certificates of all kinds."""

import contextlib
import datetime
import socket
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PATHS = {
    "/up": OK,
    "/wrong": b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    "/created": b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n",
    "/close": b"",
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
    "/chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "/noise": b"\x00\x01\x02 not http\r\n\r\n",
    "/moved": b"HTTP/1.1 302 Found\r\nLocation: /up\r\nContent-Length: 0\r\n\r\n",
    "/loop": b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n",
    "/metadata": b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n",
    "/file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
}


class Server:
    """``requests``: the heads of what was asked.  A context manager; ``certificate``: file of key and chain."""

    def __init__(self, certificate=None):
        self.requests = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self.port = self._listening.getsockname()[1]
        self._stopping = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)

    def url(self, path, host="target.example"):
        return f"{'https' if self._context else 'http'}://{host}:{self.port}{path}"

    def _serve(self):
        while not self._stopping.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                self._answer(connection)

    def _answer(self, connection):
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection:
            head = connection.recv(65_536).decode("latin-1")
            self.requests.append(head)
            path = head.partition(" ")[2].partition(" ")[0].partition("?")[0]
            if path == "/slow":
                self._stopping.wait(0.15)
            if path == "/drip":
                self._drip(connection)
            connection.sendall(PATHS.get(path, OK))

    def _drip(self, connection):
        """A header for ever, a byte at a time."""
        end_s = time.monotonic() + 4
        while time.monotonic() < end_s and not self._stopping.wait(0.05):
            connection.sendall(b"x")


def certificate(folder, name="target.example", days=90):
    """(file of key and certificate, file of what to trust): valid for so many days, over if that is negative."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted = folder / f"{name}{days}.crt"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    both = folder / f"{name}{days}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(private + trusted.read_bytes())
    return both, trusted
