"""The cache of reads in Redis: a ``cached.BlockCache``.

Entries live CACHE_S, and none is put while Redis is fuller than CACHE_FILL_MAX.  No replica is waited for: a lost entry
is a slower read.
"""

import logging
from collections import Counter
from collections.abc import Callable

from carbyne.adapters.redis.commands import Command
from carbyne.adapters.redis.nodes import Nodes
from carbyne.core.errors import RetryableError
from carbyne.core.keys import CACHE_COUNTS, SourceKey, cached
from carbyne.core.limits import CACHE_FILL_MAX, CACHE_LOOK_S, CACHE_S
from carbyne.core.meter import Meter

_log = logging.getLogger(__name__)


class RedisCache:
    """``clock``: seconds of a monotonic clock; ``meter``: counts CacheHits and CacheMisses."""

    def __init__(self, nodes: Nodes, clock: Callable[[], float], meter: Meter) -> None:
        self._nodes = nodes
        self._clock = clock
        self._meter = meter
        self._looked_s = float("-inf")
        self._is_full = True
        self._counts: Counter[str] = Counter()

    def get(self, source: SourceKey, key: str) -> bytes | None:
        [reply] = self._nodes.run([Command(source.lane, ("GET", cached(source, key)))])
        value = reply if isinstance(reply, bytes) else None
        if value is None:
            self._meter.add("CacheMisses")
        else:
            self._meter.add("CacheHits")
        self._counts["misses" if value is None else "hits"] += 1
        self._look()
        return value

    def put(self, source: SourceKey, key: str, value: bytes) -> None:
        self._look()
        if not self._is_full:
            self._nodes.run([Command(source.lane, ("SET", cached(source, key), value, "EX", CACHE_S))])

    def _look(self) -> None:
        """Every CACHE_LOOK_S: how full Redis is; and add what was counted to the sum of all instances."""
        if self._clock() < self._looked_s + CACHE_LOOK_S:
            return
        self._looked_s = self._clock()
        try:
            self._is_full = self._nodes.fill() > CACHE_FILL_MAX
        except RetryableError as error:
            _log.warning("Nothing is cached for %d s: %s", CACHE_LOOK_S, error)
            self._is_full = True
        counts, self._counts = self._counts, Counter()
        self._nodes.run([Command(0, ("HINCRBY", CACHE_COUNTS, name, number)) for name, number in counts.items()])
        self._meter.flush_due()
