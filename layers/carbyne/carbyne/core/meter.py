"""Counts of one function instance, added up in memory.

They are written at most once in FLUSH_S, since a line for each request would cost more than the request.  What an
instance counted after its last line is lost when it ends.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

FLUSH_S: Final = 60.0

Emit = Callable[[Mapping[str, float]], None]
"""Takes the sums, or the peaks of levels, since the last time, by metric."""


class Meter:
    """Counts of one function instance; the first flush writes at once, further ones at most each FLUSH_S."""

    def __init__(self, clock: Callable[[], float], emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._sums: dict[str, float] = defaultdict(float)
        self._due_s = clock()

    def add(self, name: str, amount: float = 1) -> None:
        """Count ``amount`` for a metric; names are a small fixed set, never from outside."""
        self._sums[name] += amount

    def peak(self, name: str, amount: float) -> None:
        """For a level instead of a count: the highest since the last line is written."""
        self._sums[name] = max(self._sums.get(name, amount), amount)

    def flush_due(self) -> None:
        """Write the sums if it is time."""
        now_s = self._clock()
        if self._sums and now_s >= self._due_s:
            sums, self._sums = self._sums, defaultdict(float)
            self._due_s = now_s + FLUSH_S
            self._emit(sums)
