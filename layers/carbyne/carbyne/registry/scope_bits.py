"""What of a tenant's many downtimes or settings is of a monitor on a host or service.

A tenant has a thousand of them with hundreds of scopes each, and thousands of alerts.  So each is a bit, and an alert
is judged by a few operations on all of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from carbyne.registry.hosts import RolesByService
from carbyne.registry.scopes import plain, scopes_of


class Scoped(NamedTuple):
    """What one is of: all without ``monitors``, or without ``scopes``, but none of the others."""

    monitors: Sequence[str] | None
    scopes: Sequence[str]
    monitors_excluded: Sequence[str] | None = None
    scopes_excluded: Sequence[str] = ()


class ScopeBits:
    """The first one is bit 0."""

    def __init__(self, scoped: Iterable[Scoped]) -> None:
        self._monitors, self._scopes = _ScopeNames(), _ScopeNames()
        for number, each in enumerate(scoped):
            self._monitors.add(1 << number, each.monitors or (), each.monitors_excluded or ())
            self._scopes.add(1 << number, [*map(plain, each.scopes)], [*map(plain, each.scopes_excluded)])

    def of(self, monitor: str, roles: RolesByService) -> int:
        """Those of a monitor on what has these roles; of a service that is a service without roles."""
        return self._monitors.of_any([monitor]) & self._scopes.of_any(scopes_of(roles))

    def of_all(self, monitor: str) -> int:
        """Those of a monitor whatever it looks at."""
        return self._monitors.of_any([monitor]) & self._scopes.unbounded


class _ScopeNames:
    """Bits by the names that they are of; ``unbounded``: those that are of every name."""

    def __init__(self) -> None:
        self._open, self.unbounded = 0, 0
        self._of, self._but = defaultdict[str, int](int), defaultdict[str, int](int)

    def add(self, bit: int, included: Sequence[str], excluded: Sequence[str]) -> None:
        self._open |= 0 if included else bit
        self.unbounded |= 0 if included or excluded else bit
        for name in included:
            self._of[name] |= bit
        for name in excluded:
            self._but[name] |= bit

    def of_any(self, names: Iterable[str]) -> int:
        """Those that are of one of the names, and exclude none."""
        bits, excluded = self._open, 0
        for name in names:
            bits |= self._of.get(name, 0)
            excluded |= self._but.get(name, 0)
        return bits & ~excluded
