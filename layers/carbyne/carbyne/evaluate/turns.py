"""Whose turn it is: tenants that take little time are looked at each minute, the others in turn."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Final, NamedTuple

TURN_FADES: Final = 0.75
"""How much of what a tenant once took is expected of it a minute later."""


class _Turn(NamedTuple):
    """How long a tenant takes, and when its last turn was."""

    took_s: float
    begun_ms: int


class TenantTurns:
    """In memory, since an instance learns it in a minute; ``cheap_s``: the time of a minute that is for those who take
    the least; ``monotonic``: seconds."""

    def __init__(self, cheap_s: float, now_ms: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._cheap_s, self._now_ms, self._monotonic = cheap_s, now_ms, monotonic
        self._turns: dict[str, _Turn] = {}

    def ordered(self, tenants: Sequence[str]) -> list[str]:
        """The cheapest first, as many as that time is enough for; then the others, those that waited longest first.
        Each minute begins with another one of those that are equal."""
        first, by_name = self._now_ms() // 60_000 % (len(tenants) or 1), sorted(tenants)
        self._turns = {
            tenant: self._turns.get(tenant, _Turn(0.0, 0)) for tenant in [*by_name[first:], *by_name[:first]]
        }
        by_cost = sorted(self._turns, key=lambda tenant: self._turns[tenant].took_s)
        together_s = list(accumulate(self._turns[tenant].took_s for tenant in by_cost))
        cheap = bisect_right(together_s, self._cheap_s)
        return by_cost[:cheap] + sorted(by_cost[cheap:], key=lambda tenant: self._turns[tenant].begun_ms)

    @contextmanager
    def turn(self, tenant: str) -> Iterator[None]:
        """Around what is done for a tenant.  It counts as long as it took of late: what it does may not come each
        minute."""
        begun_s = self._monotonic()
        try:
            yield
        finally:
            took_s = self._monotonic() - begun_s
            self._turns[tenant] = _Turn(max(took_s, self._turns[tenant].took_s * TURN_FADES), self._now_ms())
