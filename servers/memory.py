"""Stores of blocks in memory, for tests and benchmarks: they pass the same contract tests as the real ones."""

import threading
from collections import Counter
from collections.abc import Sequence

from carbyne.core.items import Item
from carbyne.core.keys import BlockKey, is_block
from carbyne.core.limits import DAY_S


class MemoryTable:
    """An ``items.Table``.  ``calls``: how often each method was asked; ``units_of``: write units so far by the kind of
    item, which is what its partition begins with; ``read_units``: of consistent reads so far; ``index_units``: of the
    index of expiries, which has an entry by the day; ``changed``: items that were put, until a test clears it."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}
        self.calls: Counter[str] = Counter()
        self.units_of: Counter[str] = Counter()
        self.changed: dict[tuple[str, str], Item] = {}
        self.read_units = self.index_units = 0
        self._lock = threading.Lock()

    def get(self, partition: str, sort: str) -> Item | None:
        with self._lock:
            self.calls["get"] += 1
            item = self.items.get((partition, sort))
            self.read_units += read_units(item_bytes(partition, sort, item) if item else 0)
            return item

    def get_each(self, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Item]:
        assert len(set(places)) == len(places), "a place twice"
        with self._lock:
            self.calls["get_each"] += 1
            items = {place: self.items[place] for place in places if place in self.items}
            self.read_units += sum(read_units(item_bytes(*place, item)) for place, item in items.items())
            return items

    def put(self, partition: str, sort: str, item: Item, replaces: Item | None) -> bool:
        with self._lock:
            self.calls["put"] += 1
            stored = self.items.get((partition, sort))
            if (stored and stored.version) != (replaces and replaces.version):
                return False
            self.items[partition, sort] = self.changed[partition, sort] = item
            self.units_of[partition.partition(":")[0]] += write_units(partition, sort, item)
            days = {version.expires_s // DAY_S for version in (stored, item) if version and version.expires_s}
            self.index_units += len(days) if not stored or len(days) > 1 else 0
            return True

    def remove(self, partition: str, sort: str, item: Item) -> bool:
        with self._lock:
            self.calls["remove"] += 1
            stored = self.items.get((partition, sort))
            if stored is None or stored.version != item.version:
                return False
            del self.items[partition, sort]
            self.units_of[partition.partition(":")[0]] += write_units(partition, sort, stored)
            return True

    def write(self, puts: Sequence[tuple[str, str, Item]], removals: Sequence[tuple[str, str]]) -> None:
        with self._lock:
            self.calls["write"] += 1
            assert len({key[:2] for key in [*puts, *removals]}) == len(puts) + len(removals), "a key twice"
            for partition, sort in removals:
                stored = self.items.pop((partition, sort), None)
                self.units_of[partition.partition(":")[0]] += write_units(partition, sort, stored) if stored else 1
            for partition, sort, item in puts:
                self.items[partition, sort] = self.changed[partition, sort] = item
                self.units_of[partition.partition(":")[0]] += write_units(partition, sort, item)

    def query(self, partition: str, first: str, last: str) -> list[tuple[str, Item]]:
        assert first and last, "DynamoDB refuses an empty sort key"
        with self._lock:
            self.calls["query"] += 1
            rows = (
                (sort, item) for (of, sort), item in self.items.items() if of == partition and first <= sort <= last
            )
            rows_in_order = sorted(rows, key=lambda row: row[0])
            self.read_units += read_units(sum(item_bytes(partition, sort, item) for sort, item in rows_in_order))
            return rows_in_order

    def expire(self, now_s: int) -> dict[tuple[str, str], Item]:
        """Remove what may be removed by then; what was removed."""
        with self._lock:
            gone = {key: item for key, item in self.items.items() if 0 < item.expires_s <= now_s}
            for key in gone:
                del self.items[key]
            return gone

    def expiring(self, day: int, after: BlockKey | None = None) -> list[BlockKey]:
        """The keys of the blocks that expire on that day, ascending, those behind ``after`` alone if it is given."""
        with self._lock:
            days = {key: item.expires_s // DAY_S for key, item in self.items.items() if item.expires_s}
        start = (after.partition, after.sort) if after else ("", "")
        return [BlockKey.of_item(*key) for key in sorted(days) if days[key] == day and is_block(key[0]) and key > start]


class MemoryBlocks:
    """The archive: ``items.Blocks`` that know no expiry."""

    def __init__(self) -> None:
        self.items: dict[BlockKey, Item] = {}
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def get(self, key: BlockKey) -> Item | None:
        with self._lock:
            self.calls["get"] += 1
            return self.items.get(key)

    def put(self, key: BlockKey, item: Item, replaces: Item | None) -> bool:
        with self._lock:
            self.calls["put"] += 1
            stored = self.items.get(key)
            if (stored and stored.version) != (replaces and replaces.version):
                return False
            self.items[key] = Item(item.data)
            return True


def item_bytes(partition: str, sort: str, item: Item) -> int:
    """Size of an item as DynamoDB counts it: names and values of all attributes, a number as half its digits and 1."""
    times = (("ttl", item.expires_s), ("d", item.expires_s // DAY_S)) if item.expires_s else ()
    expiry = sum(len(name) + (len(str(number)) + 1) // 2 + 1 for name, number in times)
    key = len("pk") + len(partition.encode()) + len("sk") + len(sort.encode())
    return key + len("b") + len(item.data) + len("v") + len(item.version) + expiry


def write_units(partition: str, sort: str, item: Item) -> int:
    """What a put of the item costs: 1 for each started KB."""
    return -(-item_bytes(partition, sort, item) // 1024)


def read_units(size: int) -> int:
    """What a consistent read of so many bytes costs: 1 for each started 4 KB, and for nothing."""
    return max(1, -(-size // 4096))
