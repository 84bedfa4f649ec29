"""Sessions and the cache of reads in a real Redis Cluster, the loss of a master, and what operators see.

The store of sessions in memory passes the same contract.
"""

import contextlib
import itertools
import secrets
import time

import pytest
from carbyne.adapters.redis.cache import RedisCache
from carbyne.adapters.redis.commands import Command
from carbyne.adapters.redis.sessions import RedisSessions
from carbyne.adapters.redis.system import RedisSystem
from carbyne.core.keys import SourceKey, api_key_item, cached, session_handle
from carbyne.core.limits import CACHE_S
from carbyne.page.sessions import Session
from redis.cluster import RedisCluster

from tests.support.page_system import MemorySessions

NOW_S = 1_700_000_000
NUMBERS = itertools.count()


@pytest.fixture(params=["memory", "redis"])
def store(request):
    if request.param == "memory":
        return MemorySessions(lambda: NOW_S)
    return RedisSessions(request.getfixturevalue("redis"), lambda: NOW_S)


@pytest.fixture
def item():
    """Of an API key that no other test has."""
    return api_key_item(f"key{next(NUMBERS)}")


def session(item, seen_s=NOW_S, agent="a browser"):
    return Session("tenant", item, NOW_S, seen_s, agent)


def handle(name, item):
    return session_handle(f"{name} of {item}")


def test_it_comes_back_until_it_is_deleted(store, item):
    kept = handle("one", item)
    assert store.get(kept) is None
    store.put(kept, session(item, agent="é\n\0"))
    assert store.get(kept) == session(item, agent="é\n\0")
    store.delete(kept, item)
    store.delete(kept, item)
    assert (store.get(kept), store.of_key(item)) == (None, {})


def test_a_keys_sessions_by_their_ends(store, item):
    other = f"{item}-other"
    for name, seen_s in (("b", 30), ("a", 10), ("c", 20)):
        store.put(handle(name, item), session(item, NOW_S + seen_s))
    store.put(handle("d", other), session(other))
    assert list(store.of_key(item)) == [handle(name, item) for name in "acb"]
    store.put(handle("a", item), session(item, NOW_S + 40))
    assert list(store.of_key(item)) == [handle(name, item) for name in "cba"]


def test_redis_ends_it_by_itself_and_forgets_its_name(redis, item):
    store = RedisSessions(redis, lambda: session(item).ends_s - 1)
    kept = handle("one", item)
    store.put(kept, session(item))
    assert list(store.of_key(item)) == [kept]
    wait_until(lambda: store.get(kept) is None)
    assert store.of_key(item) == {}


def wait_until(seen):
    end_s = time.monotonic() + 5
    while not seen():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_sessions_survive_the_loss_of_a_master(cluster, redis):
    store = RedisSessions(redis, lambda: NOW_S)
    items = [api_key_item(secrets.token_hex(8)) for _ in range(30)]
    for item in items:
        store.put(handle("one", item), session(item))
    lost = next(node for node in cluster.nodes if node.alive and "role:master" in node.ask("INFO", "replication"))
    lost.kill()
    try:
        assert all(store.get(handle("one", item)) == session(item) for item in items)
    finally:
        lost.restart()
        cluster.wait_until_ok()


def test_the_system_view_says_what_the_cluster_is(cluster, redis):
    cluster.wait_until_ok()
    seen = RedisSystem(redis)
    end_s = time.monotonic() + 20  # a node that another test restarted may still be copying
    nodes = seen.nodes()
    while not all(each.is_healthy and each.used_bytes for each in nodes):
        assert time.monotonic() < end_s, nodes
        time.sleep(0.2)
        nodes = seen.nodes()
    assert sorted(node.role for node in nodes) == ["master"] * 3 + ["replica"] * 3
    assert sum(node.slots for node in nodes) == 16_384
    lanes, seals = seen.lanes(NOW_S * 1000)
    assert lanes.whole + lanes.rebuilding + lanes.unset == 1_024
    assert seals.open >= seals.due >= 0


def test_a_replica_that_the_topology_leaves_out_is_asked_all_the_same(cluster, redis, monkeypatch):
    """As a server leaves out those that copy, whatever their size."""
    cluster.wait_until_ok()
    replica = next(node for node in cluster.nodes if "role:slave" in node.ask("INFO", "replication"))
    refresh = redis._refresh

    def without(silent):
        refresh(silent)
        redis._client.nodes_manager.nodes_cache.pop(f"127.0.0.1:{replica.port}", None)

    monkeypatch.setattr(redis, "_refresh", without)
    seen = next(node for node in RedisSystem(redis).nodes() if node.node.endswith(f":{replica.port}"))
    assert seen.used_bytes and seen.role == "replica"
    monkeypatch.undo()
    redis._refresh(None)


class Meter(dict):
    def add(self, name, amount=1):
        self[name] = self.get(name, 0) + amount

    def flush_due(self): ...


@pytest.fixture
def cache(redis):
    """It looks at Redis at each call."""
    return RedisCache(redis, iter(range(0, 1_000_000, 60)).__next__, Meter())


@pytest.fixture
def source():
    return SourceKey("tenant", f"host/{secrets.token_hex(4)}")


def test_the_cache_keeps_for_a_while_and_counts(redis, cache, source):
    assert cache.get(source, "k") is None
    cache.put(source, "k", b"value")
    assert cache.get(source, "k") == b"value"
    [left_s] = redis.run([Command(source.lane, ("TTL", cached(source, "k")))])
    assert 0 < left_s <= CACHE_S
    assert cache._meter == {"CacheHits": 1, "CacheMisses": 1}
    before = RedisSystem(redis).cache()
    cache.get(source, "k")
    cache.get(source, "k")
    assert RedisSystem(redis).cache().hits > before.hits


def connection(cluster):
    host, _, port = cluster.endpoint.rpartition(":")
    return RedisCluster(host=host, port=int(port), protocol=2)


def test_an_entry_that_is_lost_is_a_miss(redis, cache, source):
    cache.put(source, "k", b"value")
    redis.run([Command(source.lane, ("DEL", cached(source, "k")))])
    assert cache.get(source, "k") is None
    cache.put(source, "k", b"value")
    assert cache.get(source, "k") == b"value"


def test_nothing_is_cached_where_rows_need_the_room(cluster, cache, source):
    """Over half full, the cache stops; there is room again, and it goes on."""
    with contextlib.closing(connection(cluster)) as client:
        [was, *_] = client.config_get("maxmemory", target_nodes=RedisCluster.PRIMARIES).values()
        used = [memory["used_memory"] for memory in client.info("memory", target_nodes=RedisCluster.PRIMARIES).values()]
        client.config_set("maxmemory", int(max(used) * 1.8), target_nodes=RedisCluster.PRIMARIES)
        try:
            cache.put(source, "k", b"value")
            assert cache.get(source, "k") is None
            client.config_set("maxmemory", max(used) * 4, target_nodes=RedisCluster.PRIMARIES)
            cache.put(source, "k", b"value")
            assert cache.get(source, "k") == b"value"
        finally:
            client.config_set("maxmemory", was["maxmemory"], target_nodes=RedisCluster.PRIMARIES)
