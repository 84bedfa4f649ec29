"""Asks a URL: one request and its redirects, within CHECK_S and CHECK_ANSWER_BYTES_MAX."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from carbyne.checks.targets import Reachable, TargetError, Targets
from carbyne.core.limits import CHECK_ANSWER_BYTES_MAX, CHECK_REDIRECTS_MAX, CHECK_S
from carbyne.registry.monitor_types import ExternalMonitor

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CHUNK: Final = 65_536
AGENT: Final = "carbyne-external-check"


class Asked(NamedTuple):
    """``problem``: why there is no whole answer, empty if there is; ``seconds``: to the last byte, without look-ups
    of names, as Mackerel counts since 2017; ``expires_s``: when the certificate does, None without one."""

    problem: str
    status: int = 0
    body: bytes = b""
    seconds: float = 0.0
    expires_s: int | None = None


class _Answer(NamedTuple):
    status: int
    location: str
    body: bytes
    expires_s: int | None


class Asking:
    """``trusted``: makes the context that certificates are verified with; ``monotonic``: seconds."""

    def __init__(self, targets: Targets, monotonic: Callable[[], float], trusted: Callable[[], ssl.SSLContext]) -> None:
        self._targets = targets
        self._monotonic = monotonic
        self._trusted = trusted

    def ask(self, monitor: ExternalMonitor) -> Asked:
        """What the URL of a monitor answers; never raises for what a target can do."""
        begun_s, lookups_s = self._monotonic(), list[float]()
        end_s = begun_s + CHECK_S
        try:
            answer = self._follow(monitor, end_s, lookups_s)
        except TargetError as error:
            return Asked(str(error))
        except (OSError, http.client.HTTPException, ValueError) as error:
            is_late = self._monotonic() >= end_s or isinstance(error, TimeoutError)
            return Asked(f"no whole answer within {CHECK_S:g} s" if is_late else _told(error))
        seconds = self._monotonic() - begun_s - sum(lookups_s)
        return Asked("", answer.status, answer.body, seconds, answer.expires_s)

    def _follow(self, monitor: ExternalMonitor, end_s: float, lookups_s: list[float]) -> _Answer:
        url, method, body = monitor.url, monitor.method or "GET", monitor.request_body
        for _ in range(CHECK_REDIRECTS_MAX + 1):
            target = self._target(urlsplit(url), lookups_s)
            answer = self._request(target, urlsplit(url), method, body, monitor, end_s)
            if not monitor.follow_redirect or answer.status not in _REDIRECTS or not answer.location:
                return answer
            url = urljoin(url, answer.location)
            if answer.status == 303:
                method, body = "GET", ""
        raise TargetError(f"more than {CHECK_REDIRECTS_MAX} redirects; the last one is to {url[:200]}")

    def _target(self, url: SplitResult, lookups_s: list[float]) -> Reachable:
        """Where to connect; ``lookups_s`` grows by the time that it took to find out."""
        if url.scheme not in ("http", "https") or not url.hostname:
            raise TargetError(f"a redirect to {url.geturl()[:200]}, which is neither http nor https")
        begun_s = self._monotonic()
        target = self._targets.target(url.hostname, url.port or (443 if url.scheme == "https" else 80))
        lookups_s.append(self._monotonic() - begun_s)
        return target

    def _request(
        self, target: Reachable, url: SplitResult, method: str, body: str, monitor: ExternalMonitor, end_s: float
    ) -> _Answer:
        left_s = end_s - self._monotonic()
        if left_s <= 0:
            raise TimeoutError
        live = [socket.create_connection((target.address, target.port), timeout=left_s)]
        # Each read may take its time-out; only the end of the connection ends them all.
        watch = threading.Timer(max(0.0, end_s - self._monotonic()), _shut, (live,))
        watch.daemon = True
        watch.start()
        try:
            expires_s = self._secure(live, target, monitor) if url.scheme == "https" else None
            return _exchange(live[0], url, method, body, monitor, expires_s)
        finally:
            watch.cancel()
            live[0].close()

    def _secure(self, live: list[socket.socket], target: Reachable, monitor: ExternalMonitor) -> int | None:
        """TLS over the connection; when the certificate expires."""
        context = _unverified() if monitor.skip_certificate_verification else self._trusted()
        secured = context.wrap_socket(live[0], server_hostname=target.host, do_handshake_on_connect=False)
        live[0] = secured
        secured.do_handshake()
        return _expiry(secured)


def _exchange(
    live: socket.socket, url: SplitResult, method: str, body: str, monitor: ExternalMonitor, expires_s: int | None
) -> _Answer:
    connection = http.client.HTTPConnection(url.hostname or "")
    connection.sock = live
    headers = {"User-Agent": AGENT, "Accept": "*/*", "Connection": "close", "Host": url.netloc.rpartition("@")[2]}
    if urlsplit(monitor.url)[:2] == url[:2]:  # a redirect to another host gets none of the monitor's secrets
        headers |= {header.name.title(): header.value for header in monitor.headers or ()}
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection.request(method, path, body.encode() or None, {name: text.encode() for name, text in headers.items()})
    with connection.getresponse() as response:
        return _Answer(response.status, response.getheader("Location") or "", _read(response), expires_s)


def _read(response: http.client.HTTPResponse) -> bytes:
    """The body; IncompleteRead if it ends before its length."""
    body = bytearray()
    while len(body) < CHECK_ANSWER_BYTES_MAX:
        if not (part := response.read(min(_CHUNK, CHECK_ANSWER_BYTES_MAX - len(body)))):
            if response.length:  # what the header promised and the connection did not give
                raise http.client.IncompleteRead(bytes(body), response.length)
            break
        body += part
    return bytes(body)


def _shut(live: list[socket.socket]) -> None:
    """Below TLS, whose own end would take another reading."""
    with suppress(OSError):
        socket.socket.shutdown(live[0], socket.SHUT_RDWR)


def _unverified() -> ssl.SSLContext:
    """No verification, as skipCertificateVerification of the monitor asks."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _expiry(secured: ssl.SSLSocket) -> int | None:
    """When the certificate of the target expires, verified or not."""
    verified = secured.getpeercert()
    if verified and "notAfter" in verified:
        return int(ssl.cert_time_to_seconds(str(verified["notAfter"])))
    der = secured.getpeercert(binary_form=True)
    return not_after(der) if der else None


def not_after(der: bytes) -> int | None:
    """The end of a certificate's validity, in seconds since 1970: the second of the first two times in its bytes that
    follow each other (RFC 5280, 4.1.2.5: UTCTime 0x17 of 13 bytes, GeneralizedTime 0x18 of 15); None without."""
    for at in range(len(der) - 4):
        first = _time_at(der, at)
        second = _time_at(der, at + first[1]) if first else None
        if second:
            return second[0]
    return None


def _time_at(der: bytes, at: int) -> tuple[int, int] | None:
    """A time that begins there, in seconds since 1970, and its bytes."""
    size, form = {b"\x17\x0d": (15, "%y%m%d%H%M%SZ"), b"\x18\x0f": (17, "%Y%m%d%H%M%SZ")}.get(der[at : at + 2], (0, ""))
    if not size:
        return None
    try:
        text = der[at + 2 : at + size].decode("ascii")
        return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()), size
    except ValueError:
        return None


def _told(error: Exception) -> str:
    """An error in words that say what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, http.client.IncompleteRead):
        return f"the answer ends {error.expected or 'some'} bytes before the length that it promised"
    causes = (text for kinds, text in _CAUSES if isinstance(error, kinds))
    return f"{next(causes, 'no connection')}: {error or type(error).__name__}"[:300]


_CAUSES: Final = (
    (ssl.SSLError, "no TLS"),
    ((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError), "the connection was closed"),
    (ConnectionRefusedError, "the connection was refused"),
    (http.client.HTTPException, "the answer is not HTTP"),
)
"""Kinds of errors, the narrow ones first, and what they say."""
