"""Which series of labelled tenants are new, so that a limit refuses those alone.

A refused body would stop its sender: Prometheus drops it or tries it for hours.  So series that a writer knows are
stored whatever the limit, and unknown ones are refused.  Each instance learns for itself: the hour's series are counted
behind the stream (``tenants.usage``), and only what to refuse is decided here.  An instance that has not learned for
SERIES_LEARNED_S refuses none for the tenant's limit, or it would refuse old ones.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from carbyne.core.limits import SERIES_LEARNED_S, SERIES_WATCHED_MAX
from carbyne.tenants.usage import HOUR_S

ACTIVE_SERIES: Final = "active-series"
SERIES_PER_TARGET: Final = "series-per-target"

PlaceOf = Callable[[str, str], tuple[str, int]]
"""The source that a series of a target (its undivided source, and the key) has now, and how many series that may have
in an hour."""
_Series = dict[tuple[str, str], set[str]]
"""(tenant, source) -> keys."""


class SeriesWatch:
    """Remembers SERIES_WATCHED_MAX series at most, of this hour and the last one; then it learns again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._now: _Series = {}
        self._before: _Series = {}
        self._sizes: Counter[tuple[str, str]] = Counter()
        self._hour = self._number = 0
        self._forget()

    def refusal(self, tenant: str, source: str, key: str, place_of: PlaceOf, *, full: bool) -> str:
        """Why the series is refused, or empty: it is known from now on.

        ``source``: of the undivided target; ``full``: the tenant may have no new ones.
        """
        if key in self._now.get((tenant, source), ()):
            return ""
        known = key in self._before.get((tenant, source), ())
        if full and not known and self._clock() - self._since_s >= SERIES_LEARNED_S:
            return ACTIVE_SERIES
        place, most = place_of(source, key)
        if self._sizes[tenant, place] >= most:
            return SERIES_PER_TARGET
        self._sizes[tenant, place] += 1
        self._now.setdefault((tenant, source), set()).add(key)
        self._number += 1
        if self._number > SERIES_WATCHED_MAX:
            self._forget()
        return ""

    def turn(self) -> None:
        """Call it before the series of a body: at a new hour the count of a source starts again."""
        hour = int(self._clock()) // HOUR_S
        if hour != self._hour:
            self._before = self._now if hour == self._hour + 1 else {}
            self._now, self._hour, self._number = {}, hour, 0
            self._sizes.clear()

    def _forget(self) -> None:
        self._now, self._before = {}, {}
        self._sizes.clear()
        self._since_s = self._clock()
        self._hour, self._number = int(self._since_s) // HOUR_S, 0
