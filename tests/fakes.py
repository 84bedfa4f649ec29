"""Stores in memory that pass the same contract tests as the real ones."""

import threading
from collections import Counter


class FakeTable:
    """An ``items.Table`` in memory.  ``calls``: how often each method was asked; ``units``: write units so far."""

    def __init__(self):
        self.items = {}
        self.calls = Counter()
        self.units = 0
        self._lock = threading.Lock()

    def get(self, partition, sort):
        with self._lock:
            self.calls["get"] += 1
            return self.items.get((partition, sort))

    def put(self, partition, sort, item, replaces):
        with self._lock:
            self.calls["put"] += 1
            held = self.items.get((partition, sort))
            if (held and held.version) != (replaces and replaces.version):
                return False
            self.items[partition, sort] = item
            self.units += write_units(partition, sort, item)
            return True

    def query(self, partition, first, last):
        with self._lock:
            self.calls["query"] += 1
            return sorted(
                ((sort, item) for (of, sort), item in self.items.items() if of == partition and first <= sort <= last),
                key=lambda found: found[0],
            )

    def expire(self, now_s):
        """Remove what may be removed by then; what was removed."""
        with self._lock:
            gone = {key: item for key, item in self.items.items() if 0 < item.expires_s <= now_s}
            for key in gone:
                del self.items[key]
            return gone


def item_bytes(partition, sort, item):
    """Size of an item as DynamoDB counts it: names and values of all attributes, a number as half its digits and 1."""
    ttl = len("ttl") + (len(str(item.expires_s)) + 1) // 2 + 1 if item.expires_s else 0
    key = len("pk") + len(partition.encode()) + len("sk") + len(sort.encode())
    return key + len("b") + len(item.data) + len("v") + len(item.version) + ttl


def write_units(partition, sort, item):
    """What a put of the item costs: 1 for each started KB."""
    return -(-item_bytes(partition, sort, item) // 1024)
