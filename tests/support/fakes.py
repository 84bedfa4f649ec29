"""Stores in memory that pass the same contract tests as the real ones."""

import threading
from collections import Counter

from carbyne.core.items import Item
from carbyne.core.keys import BlockKey, is_block
from carbyne.core.limits import DAY_S


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

    def remove(self, partition, sort, item):
        with self._lock:
            self.calls["remove"] += 1
            held = self.items.get((partition, sort))
            if held is None or held.version != item.version:
                return False
            self.units += write_units(partition, sort, held)
            del self.items[partition, sort]
            return True

    def write(self, puts, removals):
        with self._lock:
            self.calls["write"] += 1
            assert len({key[:2] for key in [*puts, *removals]}) == len(puts) + len(removals), "a key twice"
            for partition, sort in removals:
                held = self.items.pop((partition, sort), None)
                self.units += write_units(partition, sort, held) if held else 1
            for partition, sort, item in puts:
                self.items[partition, sort] = item
                self.units += write_units(partition, sort, item)

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

    def expiring(self, day, after=None):
        """The keys of the blocks that expire on that day, ascending, those behind ``after`` alone if it is given."""
        with self._lock:
            days = {key: item.expires_s // DAY_S for key, item in self.items.items() if item.expires_s}
        start = (after.partition, after.sort) if after else ("", "")
        return [BlockKey.of_item(*key) for key in sorted(days) if days[key] == day and is_block(key[0]) and key > start]


class FakeBlocks:
    """The archive in memory: ``items.Blocks`` that know no expiry."""

    def __init__(self):
        self.items = {}
        self.calls = Counter()
        self._lock = threading.Lock()

    def get(self, key):
        with self._lock:
            self.calls["get"] += 1
            return self.items.get(key)

    def put(self, key, item, replaces):
        with self._lock:
            self.calls["put"] += 1
            held = self.items.get(key)
            if (held and held.version) != (replaces and replaces.version):
                return False
            self.items[key] = Item(item.data)
            return True


class NoDeletes:
    """The deletes of sources that have none."""

    def of(self, source):
        return 0

    def markers(self, source):
        return []


class Crash(Exception):
    """A function ends here, whatever it was doing."""


class Steps:
    """The steps of a run: one before and one after each call of the ports that ``watched`` wraps.  ``look`` is called
    at each of them, and the run crashes at number ``stop``."""

    def __init__(self, stop=None, look=lambda: None):
        self.stop = stop
        self.look = look
        self.count = 0

    def watched(self, port):
        return _Watched(port, self)

    def step(self):
        self.look()
        self.count += 1
        if self.count - 1 == self.stop:
            raise Crash(f"at step {self.stop}")


class _Watched:
    def __init__(self, port, steps):
        self._port = port
        self._steps = steps

    def __getattr__(self, name):
        def call(*args, **more):
            self._steps.step()
            result = getattr(self._port, name)(*args, **more)
            self._steps.step()
            return result

        return call


def item_bytes(partition, sort, item):
    """Size of an item as DynamoDB counts it: names and values of all attributes, a number as half its digits and 1."""
    times = (("ttl", item.expires_s), ("d", item.expires_s // DAY_S)) if item.expires_s else ()
    expiry = sum(len(name) + (len(str(number)) + 1) // 2 + 1 for name, number in times)
    key = len("pk") + len(partition.encode()) + len("sk") + len(sort.encode())
    return key + len("b") + len(item.data) + len("v") + len(item.version) + expiry


def write_units(partition, sort, item):
    """What a put of the item costs: 1 for each started KB."""
    return -(-item_bytes(partition, sort, item) // 1024)
