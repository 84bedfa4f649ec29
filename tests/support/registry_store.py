"""The registry's table in a dict, for unit tests; it passes the same contract tests as the one in DynamoDB."""

from collections import defaultdict

from carbyne.adapters.dynamodb.sources import host_source, service_source
from carbyne.core.errors import RetryableError
from carbyne.core.limits import PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX
from carbyne.registry import hosts, roles
from carbyne.registry.store import RegistryItem


class Items(dict):
    """Items by key; ``of``: those of a partition, since a day of alerts has tens of thousands in all."""

    def __init__(self):
        super().__init__()
        self.of = defaultdict(dict)

    def __setitem__(self, key, item):
        super().__setitem__(key, item)
        self.of[key.pk][key] = item

    def pop(self, key, *default):
        self.of[key.pk].pop(key, None)
        return super().pop(key, *default)

    def update(self, items):
        for key, item in items.items():
            self[key] = item


class MemoryStore:
    """``away`` makes every call fail; ``before_write``, if set, is called once before the next write;
    ``expires_s``: by key, of items that are there."""

    def __init__(self):
        self.table, self.expires_s = Items(), {}
        self.away = False
        self.before_write = None

    def get(self, key):
        self._check()
        return self.table.get(key)

    def items(self, pk, prefix=""):
        self._check()
        matching = [item for key, item in self.table.of[pk].items() if key.sk.startswith(prefix)]
        return sorted(matching, key=lambda item: item.key.sk.encode())

    def scan(self, pk, after=""):
        yield from [item for item in self.items(pk) if item.key.sk.encode() > after.encode()]

    def write(self, *changes):
        self._check()
        if self.before_write:
            interfere, self.before_write = self.before_write, None
            interfere()
        if not all(map(self._is_in_order, changes)):
            return False
        for change in changes:
            self._apply(change)
        return True

    def _check(self):
        if self.away:
            raise RetryableError("the registry table is away")

    def _is_in_order(self, change):
        item = self.table.get(change.key)
        if change.body is None:
            return item is None or item.version == change.version
        if item is None:
            return change.version == 0
        return item.version == change.version or item[1:] == (change.body, change.version + 1)

    def _apply(self, change):
        if change.body is None:
            self.table.pop(change.key, None)
            self.expires_s.pop(change.key, None)
            return
        assert 0 < len(change.key.sk.encode()) <= SORT_KEY_BYTES_MAX
        assert len(change.key.pk.encode()) <= PARTITION_KEY_BYTES_MAX
        self.table[change.key] = RegistryItem(change.key, change.body, change.version + 1)
        self.expires_s[change.key] = change.expires_s


class MemoryRegistered:
    """``adapters.dynamodb.registered.Registered`` of a MemoryStore, by the registry's own keys."""

    def __init__(self, store):
        self.store = store

    def live_hosts(self, tenant, host_ids):
        assert 0 < len(host_ids) <= 100
        return {host_id for host_id in host_ids if self.store.get(hosts._key(tenant, host_id))}

    def sources(self, tenant):
        sources_of_hosts = [host_source(item.body) for item in self.store.items(hosts._key(tenant, "").pk)]
        services = self.store.items(roles.key_of(tenant, "").pk)
        return sources_of_hosts + [service_source(item.key.sk) for item in services if ":" not in item.key.sk]

    def has(self, source):
        kind, _, name = source.source.partition("/")
        keys = [hosts._key(source.tenant, name), hosts._retired_key(source.tenant, name)]
        return any(map(self.store.get, keys if kind == "host" else [roles.key_of(source.tenant, name)]))
