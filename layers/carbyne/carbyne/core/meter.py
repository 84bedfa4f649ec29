"""Counts of one function instance, added up in memory.

They are written at most once per FLUSH_S, because a log line per request would cost more than the request.  When an
instance ends, its counts since the last line are lost.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

FLUSH_S: Final = 60.0

Emit = Callable[[Mapping[str, float]], None]
"""Takes the sums (or peaks, for levels) since the last call, by metric."""


class Meter:
    """Counts of one function instance; the first flush writes at once, further ones at most each FLUSH_S."""

    def __init__(self, clock: Callable[[], float], emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._sums: dict[str, float] = defaultdict(float)
        self._due_s = clock()

    def add(self, name: str, amount: float = 1) -> None:
        """Count ``amount`` for a metric.  Names are a small fixed set, never input."""
        self._sums[name] += amount

    def peak(self, name: str, amount: float) -> None:
        """For a level instead of a count: keeps the highest value since the last line."""
        self._sums[name] = max(self._sums.get(name, amount), amount)

    def flush_due(self) -> None:
        """Write the sums if it is time."""
        now_s = self._clock()
        if self._sums and now_s >= self._due_s:
            sums, self._sums = self._sums, defaultdict(float)
            self._due_s = now_s + FLUSH_S
            self._emit(sums)
