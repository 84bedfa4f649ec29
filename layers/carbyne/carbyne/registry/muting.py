"""What the downtimes of a tenant mute now."""

from collections.abc import Iterable

from carbyne.registry.downtimes import Downtime
from carbyne.registry.hosts import RolesByService
from carbyne.registry.recurrences import is_active
from carbyne.registry.scope_bits import ScopeBits, Scoped


class Muting:
    """The downtimes that last now."""

    def __init__(self, downtimes: Iterable[Downtime], now_s: int) -> None:
        self._bits = ScopeBits(_scoped(each) for each in downtimes if is_active(each, now_s))

    def mutes(self, monitor: str, roles: RolesByService) -> bool:
        """Whether one is of a monitor on what has these roles; of a service that is a service without roles."""
        return bool(self._bits.of(monitor, roles))

    def mutes_everywhere(self, monitor: str) -> bool:
        """Whether one is of a monitor whatever it looks at."""
        return bool(self._bits.of_all(monitor))


def _scoped(downtime: Downtime) -> Scoped:
    scopes = [*(downtime.service_scopes or ()), *(downtime.role_scopes or ())]
    excluded = [*(downtime.service_exclude_scopes or ()), *(downtime.role_exclude_scopes or ())]
    return Scoped(downtime.monitor_scopes, scopes, downtime.monitor_exclude_scopes, excluded)
