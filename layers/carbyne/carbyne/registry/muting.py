"""What the downtimes of a tenant mute now.

A tenant has a thousand downtimes with hundreds of scopes each, and a group of alerts two thousand alerts.  So each
downtime is a bit, and an alert is judged by a few operations on all of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from carbyne.registry.downtimes import Downtime
from carbyne.registry.hosts import RolesByService
from carbyne.registry.recurrences import is_active
from carbyne.registry.scopes import plain, scopes_of


class _ScopeNames(NamedTuple):
    """What a downtime is of, all without ``included`` ones, and what it is not of."""

    included: Sequence[str]
    excluded: Sequence[str]


class _Filter:
    """Sets of downtimes as bits, by the names that they are of."""

    def __init__(self, downtimes: Iterable[_ScopeNames]) -> None:
        self._unbounded, self._excluding = 0, 0
        self._of, self._but = defaultdict[str, int](int), defaultdict[str, int](int)
        for number, names in enumerate(downtimes):
            bit = 1 << number
            self._unbounded |= 0 if names.included else bit
            self._excluding |= bit if names.excluded else 0
            for name in names.included:
                self._of[name] |= bit
            for name in names.excluded:
                self._but[name] |= bit

    @property
    def of_all(self) -> int:
        """Those that are of every name."""
        return self._unbounded & ~self._excluding

    def of_one_of(self, names: Iterable[str]) -> int:
        """Those that are of one of the names, and exclude none."""
        bits, excluded = self._unbounded, 0
        for name in names:
            bits |= self._of.get(name, 0)
            excluded |= self._but.get(name, 0)
        return bits & ~excluded


class Muting:
    """The downtimes that last now."""

    def __init__(self, downtimes: Iterable[Downtime], now_s: int) -> None:
        lasting = [each for each in downtimes if is_active(each, now_s)]
        self._monitors = _Filter(
            _ScopeNames(each.monitor_scopes or (), each.monitor_exclude_scopes or ()) for each in lasting
        )
        self._scopes = _Filter(
            _ScopeNames(
                [*map(plain, each.service_scopes or ()), *map(plain, each.role_scopes or ())],
                [*map(plain, each.service_exclude_scopes or ()), *map(plain, each.role_exclude_scopes or ())],
            )
            for each in lasting
        )

    def mutes(self, monitor: str, roles: RolesByService) -> bool:
        """Whether one is of a monitor on what has these roles; of a service that is a service without roles."""
        return bool(self._monitors.of_one_of([monitor]) & self._scopes.of_one_of(scopes_of(roles)))

    def mutes_everywhere(self, monitor: str) -> bool:
        """Whether one is of a monitor whatever it looks at."""
        return bool(self._monitors.of_one_of([monitor]) & self._scopes.of_all)
