"""The cache of reads in the memory of one function instance, in front of the one in Redis.

An entry never changes, since its key carries the version of what it was made of: the same key is the same bytes for
ever, here as there.  So nothing is asked of Redis for an entry that is here.
"""

import threading
from collections import OrderedDict

from carbyne.core.keys import SourceKey
from carbyne.core.meter import Meter
from carbyne.store.cached import BlockCache


class NearCache:
    """A BlockCache of at most ``bytes_max``, from which the entry goes that was not asked for longest.

    ``beyond``: what is asked for an entry that is not here; ``meter``: counts CacheNearHits, each a question less for
    ``beyond``.
    """

    def __init__(self, beyond: BlockCache, meter: Meter, bytes_max: int) -> None:
        self._beyond, self._meter, self._bytes_max = beyond, meter, bytes_max
        self._entries: OrderedDict[tuple[SourceKey, str], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, source: SourceKey, key: str) -> bytes | None:
        with self._lock:
            if (near := self._entries.get((source, key))) is not None:
                self._entries.move_to_end((source, key))
                self._meter.add("CacheNearHits")
                return near
        value = self._beyond.get(source, key)
        if value is not None:
            self._keep(source, key, value)
        return value

    def put(self, source: SourceKey, key: str, value: bytes) -> None:
        self._keep(source, key, value)
        self._beyond.put(source, key, value)

    def _keep(self, source: SourceKey, key: str, value: bytes) -> None:
        with self._lock:
            self._bytes += len(value) - len(self._entries.pop((source, key), b""))
            self._entries[source, key] = value
            while self._bytes > self._bytes_max:
                self._bytes -= len(self._entries.popitem(last=False)[1])
