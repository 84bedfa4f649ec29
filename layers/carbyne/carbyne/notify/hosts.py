"""Services that many tenants notify through: one that answers none of them rests, so that it costs no more threads."""

from collections.abc import Callable
from threading import Lock
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from carbyne.core.errors import RestingError
from carbyne.core.limits import HOST_REST_S, HOST_SILENT_TENANTS, SEND_SLOW_S

MAILS: Final = "@mails"
"""What all mails go through; no host of a URL has such a name."""


class _HostSilence(NamedTuple):
    """Tenants whose tries a host did not answer, without an answer in between, and when the last one was."""

    tenants: frozenset[str]
    last_s: int


class SharedHosts:
    """``now_s`` since 1970, ``monotonic`` in seconds.  It knows the hosts that did not answer in the last HOST_REST_S:
    each of these cost a thread SEND_SLOW_S, so they are few."""

    def __init__(self, now_s: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._now_s, self._monotonic = now_s, monotonic
        self._silent: dict[str, _HostSilence] = {}
        self._lock = Lock()

    def ask(self, host: str, tenant: str, send: Callable[[], str]) -> str:
        """As ``send``: why it was not taken, empty if it was.  RestingError, without a try, while the host rests."""
        self._check(host)
        begun_s = self._monotonic()
        problem = send()
        self._note(host, tenant, is_silent=bool(problem) and self._monotonic() - begun_s >= SEND_SLOW_S)
        return problem

    def _check(self, host: str) -> None:
        silence = self._silent.get(host)
        if silence and len(silence.tenants) >= HOST_SILENT_TENANTS:
            rest_s = silence.last_s + HOST_REST_S - self._now_s()
            if rest_s > 0:
                raise RestingError(host, rest_s)

    def _note(self, host: str, tenant: str, *, is_silent: bool) -> None:
        """An answer, whatever it says, ends the silence; so does HOST_REST_S without a try."""
        now_s = self._now_s()
        with self._lock:
            known = {name: each for name, each in self._silent.items() if now_s - each.last_s < HOST_REST_S}
            before = known.pop(host, _HostSilence(frozenset(), now_s))
            if is_silent:
                known[host] = _HostSilence(before.tenants | {tenant}, now_s)
            self._silent = known


def host_of(url: str) -> str:
    """In small letters, without user and port."""
    return urlsplit(url).hostname or ""
