"""What a tenant used in a month, as far as it is counted: the numbers behind the cost meter.

Ingesters add samples and rows to the tenant's item with their counts of limits, readers add queries, each once a minute
and at most once: a write that fails may have been applied, and is not made again.  What an instance counted and had not
written when it ended is lost, a minute's worth.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

import msgspec

from carbyne.core.errors import RetryableError
from carbyne.core.limits import USAGE_TENANTS_PER_FLUSH

FLUSH_S: Final = 60

_log = logging.getLogger(__name__)


class MonthCounts(msgspec.Struct, frozen=True):
    """``rows``: the samples of one source at one time are one; ``series``: the most that were active in one hour;
    ``queries``: reads of samples that were answered."""

    samples: int = 0
    rows: int = 0
    series: int = 0
    queries: int = 0


class MonthUse(NamedTuple):
    """To be added to a month, which is year * 100 + month, in UTC."""

    month: int
    counts: Mapping[str, int]


def month_of(now_s: float) -> int:
    at = datetime.fromtimestamp(now_s, UTC)
    return at.year * 100 + at.month


class MonthStore(Protocol):
    """The tenants' items."""

    def add_month(self, tenant: str, use: MonthUse) -> None:
        """Add to the fields of ``MonthCounts``; RetryableError if that may not have been done."""


class QueryMeter:
    """Counts the queries of one instance; ``now_s``: seconds since 1970."""

    def __init__(self, store: MonthStore, now_s: Callable[[], float]) -> None:
        self._store = store
        self._now_s = now_s
        self._counted: Counter[str] = Counter()
        self._written_s = now_s()

    def count(self, tenant: str) -> None:
        """One more; what was counted in the minutes before is written by the first query of a minute."""
        self._counted[tenant] += 1
        if self._now_s() - self._written_s >= FLUSH_S:
            self._written_s = self._now_s()
            self._write(month_of(self._written_s))

    def _write(self, month: int) -> None:
        for tenant in list(self._counted)[:USAGE_TENANTS_PER_FLUSH]:
            try:
                self._store.add_month(tenant, MonthUse(month, {"queries": self._counted.pop(tenant)}))
            except RetryableError as error:
                _log.warning("queries of %s may not be counted: %s", tenant, error)
                return  # each of the others would take as long
