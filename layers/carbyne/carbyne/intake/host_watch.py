"""Tells of samples whose host is not registered, or is retired: they are stored, and the operator is told.

Each host is looked up once in UNKNOWN_HOST_S by an instance, and named once in that time: in its log and in the answer
to the post.  A post never fails or waits long for this: what can't be looked up now counts as registered.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from itertools import islice
from typing import Final, NamedTuple, Protocol

from carbyne.core.errors import RetryableError
from carbyne.core.limits import (
    HOSTS_LOOKED_UP_MAX,
    HOSTS_PAUSE_S,
    HOSTS_WATCHED_MAX,
    UNKNOWN_HOST_S,
    UNKNOWN_HOSTS_NAMED_MAX,
)

UNKNOWN_HOSTS_HEADER: Final = "Carbyne-Unknown-Hosts"
"""Of the answer to a post: ids of hosts that are not registered, or retired; each once an hour at least."""

_log = logging.getLogger(__name__)


class HostRegistry(Protocol):
    """Knows which hosts are live; RetryableError if it can't be asked."""

    def live_hosts(self, tenant: str, host_ids: Collection[str]) -> set[str]: ...


class Unknown(NamedTuple):
    """``hosts``: of a post, those that are not live; ``named``: those of them to tell about now."""

    hosts: set[str]
    named: list[str]

    @property
    def header(self) -> dict[str, str]:
        """The header that names them; none if there is nothing to tell."""
        more = len(self.named) - UNKNOWN_HOSTS_NAMED_MAX
        text = ", ".join(self.named[:UNKNOWN_HOSTS_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
        return {UNKNOWN_HOSTS_HEADER: text} if self.named else {}


class HostWatch:
    """Remembers at most HOSTS_WATCHED_MAX hosts; the ones looked up longest ago give way."""

    def __init__(self, registry: HostRegistry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._hosts: OrderedDict[tuple[str, str], tuple[bool, float]] = OrderedDict()
        self._paused_until_s = 0.0

    def unknown(self, tenant: str, host_ids: Collection[str]) -> Unknown:
        """Which of these hosts are not live; those looked up now, HOSTS_LOOKED_UP_MAX at most, are named and logged."""
        now_s = self._clock()
        due = [host_id for host_id in host_ids if self._end_s(tenant, host_id) <= now_s]
        fresh = self._look_up(tenant, due[:HOSTS_LOOKED_UP_MAX], now_s) if due and now_s >= self._paused_until_s else []
        hosts = {host_id for host_id in host_ids if not self._hosts.get((tenant, host_id), (True, 0.0))[0]}
        named = sorted(hosts.intersection(fresh))
        if named:
            some = ", ".join(named[:UNKNOWN_HOSTS_NAMED_MAX])
            _log.warning("tenant %s posts for %d hosts that are unknown or retired: %s", tenant, len(named), some)
        return Unknown(hosts, named)

    def _end_s(self, tenant: str, host_id: str) -> float:
        return self._hosts.get((tenant, host_id), (True, 0.0))[1]

    def _look_up(self, tenant: str, host_ids: list[str], now_s: float) -> list[str]:
        try:
            live = self._registry.live_hosts(tenant, host_ids)
        except RetryableError as error:
            _log.warning("hosts of posts are not compared with the registry for %d s: %s", HOSTS_PAUSE_S, error)
            self._paused_until_s = now_s + HOSTS_PAUSE_S
            return []
        for host_id in host_ids:
            self._hosts[tenant, host_id] = (host_id in live, now_s + UNKNOWN_HOST_S)
            self._hosts.move_to_end((tenant, host_id))
        for key in list(islice(self._hosts, max(0, len(self._hosts) - HOSTS_WATCHED_MAX))):
            del self._hosts[key]
        return host_ids
