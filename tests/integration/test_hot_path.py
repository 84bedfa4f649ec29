"""POST to GET over a real Redis Cluster, through the functions' own handlers: volume, odd values, faults."""

import contextlib
import gzip
import json
import random
import signal
import struct
import threading
import time
import uuid
from zlib import crc32

import numpy as np
import pytest
import redis
from carbyne.adapters.redis.commands import Command, checked
from carbyne.adapters.redis.nodes import Nodes
from carbyne.adapters.s3.quarantine import S3Quarantine
from carbyne.core import keys, limits, stamps
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.samples.columns import column
from carbyne.samples.rows import HotQuery
from carbyne.stream import records
from redis.cluster import RedisCluster

from harness.pipeline import LENGTH_S, Pipeline, flush, master_of, replica_of, slot_of, stored_bytes, with_role
from servers.valkey import Cluster

NOW_S = 1_800_007_212
"""Halfway through a window."""
WINDOW_S = NOW_S // LENGTH_S * LENGTH_S - 2 * LENGTH_S
"""The first second of a window that is wholly past."""


@pytest.fixture
def path(cluster):
    """A pipeline into an empty cluster of three masters with a replica each; the cluster is sound again afterwards."""
    flush(cluster)
    pipeline = Pipeline(cluster, NOW_S)
    yield pipeline
    pipeline.close()
    for node in cluster.nodes:
        if not node.alive:
            node.restart()
    cluster.wait_until_ok()


def source_of(host, tenant="acme"):
    return SourceKey(tenant, f"host/{host}")


def stored(path, source, names, from_s=WINDOW_S - LENGTH_S, to_s=NOW_S + 600):
    """{name: {ts_s: value}} as a reader gets it, which must be whole."""
    answer = checked(path.store.read_each([source], HotQuery(from_s * 1000, to_s * 1000, LENGTH_S, names))[source])
    assert answer.whole
    columns = ((name, column(answer.columns, name)) for name in names)
    return {
        name: dict(zip((ts_ms // 1000).tolist(), bits.view(np.float64).tolist(), strict=True))
        for name, (ts_ms, bits) in columns
    }


def expect_stored(path, expected, chunk=100):
    """Every sample of {(host, name): {time_s: value}}, bit for bit, and none besides; sources are read whole."""
    hosts = {}
    for host, name in expected:
        hosts.setdefault(host, []).append(name)
    for host, names in hosts.items():
        for first in range(0, len(names), chunk):
            part = names[first : first + chunk]
            samples = stored(path, source_of(host), part)
            for name in part:
                assert bits_of(samples[name]) == bits_of(expected[host, name]), (host, name)


def bits_of(samples):
    return {time_s: struct.pack("<d", value) for time_s, value in samples.items()}


class Posts:
    """Samples posted so far and what they must read back as: {(host, name): {time_s: value}}."""

    def __init__(self, path):
        self.path = path
        self.expected = {}

    def post(self, samples):
        answer = self.path.post(samples)
        assert (answer["statusCode"], answer["body"]) == (200, '{"success":true}')
        assert "Carbyne-Skipped" not in answer["headers"]
        for host, name, time_s, value in samples:
            self.expected.setdefault((host, name), {})[time_s // 60 * 60] = float(value)

    def fleet(self, hosts, metrics, minutes, seed=1):
        """Each host posts each minute, minute by minute."""
        chance = random.Random(seed)
        for minute in range(minutes):
            for host in range(hosts):
                self.post(
                    [
                        (f"h{host:04d}", f"custom.m{m:03d}.value", WINDOW_S + 60 * minute, chance.uniform(-1e6, 1e6))
                        for m in range(metrics)
                    ]
                )


# Volume


@pytest.mark.parametrize(
    ("hosts", "metrics", "minutes"), [(1000, 100, 3), pytest.param(1000, 100, 10, marks=pytest.mark.nightly)]
)
def test_everything_reads_back_and_repeating_it_changes_nothing(path, cluster, hosts, metrics, minutes):
    posts = Posts(path)
    empty_bytes = stored_bytes(cluster)
    posts.fleet(hosts, metrics, minutes)
    assert path.deliver() == 0
    expect_stored(path, posts.expected)
    first_bytes = stored_bytes(cluster) - empty_bytes

    chance = random.Random(2)
    redelivered = list(path.stream.records)
    chance.shuffle(redelivered)
    assert path.deliver(redelivered) == 0
    for _, partition_key, data in redelivered:  # agents post again: later records of the same samples, in another order
        path.stream.append(partition_key, data)
    assert path.deliver(path.stream.records[len(redelivered) :]) == 0
    expect_stored(path, posts.expected)
    assert stored_bytes(cluster) - empty_bytes <= 1.01 * first_bytes
    print(f"\n{first_bytes / (hosts * metrics * minutes):.2f} bytes a sample")

    for host, name in chance.sample(sorted(posts.expected), 300):
        status, _, points = path.get_metric(host, name, WINDOW_S, NOW_S)
        assert (status, dict(points)) == (200, posts.expected[host, name])
        assert points == sorted(points)


def test_a_source_with_20_000_metrics_in_one_post(path):
    posts = Posts(path)
    for minute in range(3):
        posts.post([("wide", f"m{i:05d}", WINDOW_S + 60 * minute, i / 7 + minute) for i in range(20_000)])
        path.deliver(path.stream.records[-10:])
    assert path.deliver() == 0
    expect_stored(path, posts.expected, chunk=5_000)


def test_random_subsets_of_a_sources_metrics_do_not_multiply_memory(path, cluster):
    """10,000 posts of 1 to 100 of 100 metrics, 50 on average, within one window: at most twice the bytes a sample."""
    names = [f"custom.m{i:03d}.value" for i in range(100)]
    chance = random.Random(3)
    empty_bytes = stored_bytes(cluster)
    posts = Posts(path)
    samples = 0
    for number in range(10_000):
        subset = chance.sample(names, chance.randint(1, 100))
        samples += len(subset)
        posts.post([("subsets", name, WINDOW_S + number % 240 * 60, number + i / 128) for i, name in enumerate(subset)])
    assert path.deliver() == 0
    subset_bytes = (stored_bytes(cluster) - empty_bytes) / samples
    expect_stored(path, posts.expected, chunk=25)

    flush(cluster)
    path.store.init()
    full = Pipeline(cluster, NOW_S)
    with contextlib.closing(full):
        whole = Posts(full)
        for number in range(samples // 100):
            whole.post([("full", name, WINDOW_S - 60 * number, number + i / 128) for i, name in enumerate(names)])
        assert full.deliver() == 0
        full_bytes = (stored_bytes(cluster) - empty_bytes) / samples
    print(f"\n{subset_bytes:.1f} bytes a sample in subsets, {full_bytes:.1f} in full rows")
    assert subset_bytes <= 2 * full_bytes


# Values and names


def test_odd_values_and_the_longest_names_read_back_exactly(path):
    name = "n" * limits.NAME_BYTES_MAX
    host = "h" * limits.HOST_ID_BYTES_MAX
    values = [1e308, 5e-324, -0.0, 0.0, -1e308, 2**53 + 1, 2**63, 10**300, 0.1, 1.7976931348623157e308, -(2**60) - 1]
    for minute, value in enumerate(values):
        path.post([(host, name, WINDOW_S + 60 * minute, value)])
    assert path.deliver() == 0
    status, _, points = path.get_metric(host, name)
    assert status == 200
    assert [struct.pack("<d", value) for _, value in points] == [struct.pack("<d", float(value)) for value in values]


# Bad input


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"hello", 400, "not a JSON array"),
        (b"", 400, "not a JSON array"),
        (b'[{"hostId":"a","name":"b","time":1,"value":NaN}]', 400, "not a JSON array"),
        (b'[{"hostId":"a","name":"b","time":1,"value":-Infinity}]', 400, "not a JSON array"),
        (b'{"hostId":"a"}', 400, "not a JSON array"),
        (b"[1]", 400, "element 0 is no object"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "element 0 is no object"),
        (gzip.compress(b" " * 50_000_000, mtime=0), 413, "larger than"),
        (gzip.compress(b"[]", mtime=0)[:-9], 400, "truncated"),
        (b"\x1f\x8bnot gzip", 400, "not gzip"),
        (b" " * 10_000_000, 413, "larger than"),
    ],
    ids=lambda value: str(value[:12]) if isinstance(value, bytes) else None,
)
def test_a_body_that_is_refused_gets_its_reason_and_leaves_nothing(path, body, status, says):
    answer = path.post(body)
    assert answer["statusCode"] == status and says in json.loads(answer["body"])["error"]["message"]
    assert path.stream.records == []
    path.post([("web1", "loadavg5", NOW_S, 1.5)])
    assert path.deliver() == 0
    assert path.get_metric("web1", "loadavg5")[2] == [(NOW_S // 60 * 60, 1.5)]


def test_a_wrong_key_is_refused_on_both_sides(path):
    assert path.post([("web1", "loadavg5", NOW_S, 1.0)], api_key="guess")["statusCode"] == 403
    assert path.get_metric("web1", "loadavg5", api_key="guess")[0] == 403
    assert path.stream.records == []


def test_bad_elements_are_skipped_alone_with_their_reasons(path):
    good = {"hostId": "web1", "name": "good", "time": NOW_S, "value": 2}
    bad = [good | change for change in ({"name": 7}, {"name": "x y"}, {"time": "now"}, {"value": None}, {"hostId": ""})]
    late = good | {"name": "late", "time": NOW_S + 601}
    texts = [json.dumps(element) for element in [*bad, late, good, {"hostId": "web1"}]]
    texts += [f'{{"hostId":"web1","name":"huge","time":{NOW_S},"value":{value}}}' for value in ("1e999", "9" * 400)]
    answer = path.post(f"[{','.join(texts)}]")
    assert (answer["statusCode"], answer["headers"]["Carbyne-Skipped"]) == (
        200, "bad-host-id=1, bad-name=2, bad-time=1, bad-value=1, missing-field=1, not-finite=2, too-far-ahead=1"
    )  # fmt: skip
    assert path.deliver() == 0
    assert path.store.series(source_of("web1")) == {"good"}
    assert path.get_metric("web1", "good")[2] == [(NOW_S // 60 * 60, 2.0)]


@pytest.mark.parametrize(
    ("path_and_query", "status", "says"),
    [
        (("/api/v0/hosts/nobody/metrics", ("name", "m"), ("from", 0), ("to", 9)), 404, "unknown"),
        (("/api/v0/hosts/web1/metrics", ("name", "none"), ("from", 0), ("to", 9)), 404, "unknown"),
        (("/api/v0/hosts/web1/metrics", ("from", 0), ("to", 9)), 400, "name"),
        (("/api/v0/hosts/web1/metrics", ("name", "m"), ("from", "x"), ("to", 9)), 400, "from"),
        (("/api/v0/hosts/web1/metrics", ("name", "m"), ("from", 10), ("to", 9)), 400, "after"),
        (("/api/v0/tsdb/latest", ("name", "m")), 400, "hostId"),
        (("/api/v0/nothing",), 404, "no such call"),
    ],
)
def test_a_read_that_is_refused_gets_its_reason(path, path_and_query, status, says):
    path.post([("web1", "m", NOW_S, 1.0)])
    path.deliver()
    answer = path.get(*path_and_query)
    assert answer["statusCode"] == status and says in json.loads(answer["body"])["error"]["message"]


def test_latest_gives_the_newest_sample_of_each_pair(path):
    for minute in range(5):
        path.post([(host, "m", NOW_S - 60 * minute, minute) for host in ("a", "b")])
    path.post([("a", "old", NOW_S - 2 * 86_400, 1)])
    path.deliver()
    query = [("hostId", "a"), ("hostId", "b"), ("hostId", "c"), ("name", "m"), ("name", "old")]
    newest = {"m": {"time": NOW_S // 60 * 60, "value": 0.0}}
    assert json.loads(path.get("/api/v0/tsdb/latest", *query)["body"]) == {
        "tsdbLatest": {"a": newest, "b": newest, "c": {}}
    }


def test_two_tenants_with_the_same_host_never_meet(cluster):
    flush(cluster)
    with contextlib.closing(Pipeline(cluster, NOW_S, {"key-a": "acme", "key-b": "bolt"})) as path:
        path.post([("web1", "m", NOW_S, 1.0), ("web1", "only-a", NOW_S, 1.0)], api_key="key-a")
        path.post([("web1", "m", NOW_S, 2.0)], api_key="key-b")
        assert path.deliver() == 0
        time_s = NOW_S // 60 * 60
        assert path.get_metric("web1", "m", api_key="key-a")[2] == [(time_s, 1.0)]
        assert path.get_metric("web1", "m", api_key="key-b")[2] == [(time_s, 2.0)]
        assert path.get_metric("web1", "only-a", api_key="key-b")[0] == 404
        assert path.store.series(source_of("web1", "bolt")) == {"m"}


# Poison


def poisoned(path):
    """Good records around a corrupt one, one of an unknown tenant and one of a later version; their sequences."""
    path.post([("before", "m", NOW_S, 1.0)])
    good = path.stream.records[0][2]
    corrupt = path.stream.append("l0000", good[:-1] + bytes((good[-1] ^ 1,)))
    (data,) = records.pack("nobody", [("host/x", 0, b"m", struct.pack("<d", 1))], 10**6)
    unknown = path.stream.append("l0001", data)
    newer = path.stream.append("l0002", of_version(good, records.VERSION + 1))
    path.post([("after", "m", NOW_S, 2.0)])
    return corrupt, unknown, newer


def of_version(data, version):
    """Sound bytes of another version: the CRC is right."""
    head, body_bytes, body = bytes((data[0], version)), data[6:10], data[10:]
    return head + struct.pack("<I", crc32(head + body_bytes + body)) + body_bytes + body


def test_poison_is_set_aside_with_its_reason_and_a_newer_version_waits(path, aws):
    s3, bucket = aws.client("s3"), uuid.uuid4().hex
    s3.create_bucket(Bucket=bucket)
    path.quarantine = S3Quarantine(s3, bucket)
    path.reconnect()
    corrupt, unknown, newer = poisoned(path)
    assert path.ingest(path.stream.records) == newer
    for host, value in (("before", 1.0), ("after", 2.0)):
        assert path.get_metric(host, "m")[2] == [(NOW_S // 60 * 60, value)]
    data = {sequence: data for sequence, _, data in path.stream.records}
    for sequence, reason in ((corrupt, "checksum differs"), (unknown, "unknown tenant 'nobody'")):
        kept = s3.get_object(Bucket=bucket, Key=keys.corrupt_record_object(stamps.pack(1, sequence)))
        assert kept["Body"].read() == data[sequence] and reason in kept["Metadata"]["reason"]
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == path.counts["RecordsQuarantined"] == 2


def test_a_corrupt_record_waits_while_the_failure_bucket_is_away(path, aws):
    path.quarantine = S3Quarantine(aws.client("s3"), f"no-{uuid.uuid4().hex}")
    path.reconnect()
    corrupt, _, _ = poisoned(path)
    assert path.ingest(path.stream.records) == corrupt
    assert [path.get_metric(host, "m")[2][0][1] for host in ("before", "after")] == [1.0, 2.0]


def test_nothing_is_set_aside_while_the_accounts_are_away(path):
    path.post([("web1", "m", NOW_S, 1.0)])
    path.accounts.away = True
    assert path.ingest(path.stream.records) == path.stream.records[0][0]
    path.accounts.away = False
    assert path.deliver() == 0 and path.quarantine.kept == {}
    assert path.get_metric("web1", "m")[2] == [(NOW_S // 60 * 60, 1.0)]


# Faults of the cluster


def test_nothing_is_missing_after_script_flush_and_a_killed_master(path, cluster):
    posts = Posts(path)
    posts.fleet(hosts=200, metrics=20, minutes=10)
    victim = master_of(cluster, source_of("h0000").lane)

    def fault(number):
        if number % 4 == 1:
            for node in with_role(cluster, "master"):
                node.ask("SCRIPT FLUSH")
        if number == 6:
            threading.Timer(0.01, victim.kill).start()

    path.deliver(batch=50, between=fault)
    assert not victim.alive
    expect_stored(path, posts.expected)
    assert path.counts["WritesWithoutReplica"] > 0, "the promoted replica is alone until the old master is back"
    victim.restart()
    cluster.wait_until_ok()
    deliver_to_replicas(path, path.stream.records[-50:])
    expect_stored(path, posts.expected)


def test_a_batch_is_done_only_when_a_replica_has_it(path, cluster):
    """The trap: on a fresh connection that wrote nothing, WAIT answers at once."""
    path.post([("web1", "m", NOW_S - 60, 0.0)])
    assert path.deliver() == 0, "the row's list is known now, so that one call stores a row"
    path.post([("web1", "m", NOW_S, 1.0)])
    sequence, *_ = path.stream.records[1]
    replica = replica_of(cluster, master_of(cluster, source_of("web1").lane))
    with node_timeout(cluster, 60_000):
        replica.process.send_signal(signal.SIGSTOP)
        try:
            assert path.ingest(path.stream.records[1:]) == sequence
            path.reconnect()
            assert path.ingest(path.stream.records[1:]) == sequence, "stored before, and still on no replica"
        finally:
            replica.process.send_signal(signal.SIGCONT)
        assert path.deliver() <= 1
    assert path.counts["WritesWithoutReplica"] == 0
    assert path.get_metric("web1", "m")[2] == [(NOW_S // 60 * 60 - 60, 0.0), (NOW_S // 60 * 60, 1.0)]


def test_lanes_are_called_whole_only_when_replicas_know_it(path, cluster):
    flush(cluster)
    replica = with_role(cluster, "slave")[0]
    with node_timeout(cluster, 60_000):
        replica.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(2):  # the second time there is nothing to change
                path.reconnect()
                with pytest.raises(RetryableError, match="no replica"):
                    path.store.init()
        finally:
            replica.process.send_signal(signal.SIGCONT)
    path.store.init()


def test_a_master_whose_replica_is_gone_for_good_counts_alone(path, cluster):
    lane = source_of("web1").lane
    master = master_of(cluster, lane)
    replica = replica_of(cluster, master)
    path.post([("web1", "m", NOW_S, 1.0)])
    replica.kill()
    path.deliver()  # fails until the cluster gives the replica up
    assert path.counts["WritesWithoutReplica"] >= 1
    before_s = time.monotonic()
    path.post([("web1", "m", NOW_S - 60, 2.0)])
    assert path.ingest(path.stream.records[1:]) is None
    assert time.monotonic() - before_s < limits.WAIT_MS / 1000, "no write waits for a replica that is known to be gone"
    replica.restart()
    cluster.wait_until_ok()
    deliver_to_replicas(path, path.stream.records)


def test_a_master_that_comes_back_empty_is_noticed(path, cluster):
    source = source_of("web1")
    path.post([("web1", "m", NOW_S - 60, 1.0)])
    assert path.deliver() == 0
    master = master_of(cluster, source.lane)
    master.kill()
    master.restart()
    cluster.wait_until_ok()
    assert master_of(cluster, source.lane) is master, "back before its replica stood up"
    status, headers, message = path.get_metric("web1", "m")
    assert (status, headers["Retry-After"]) == (503, "10") and "again" in message
    status, headers, points = path.get_metric("web1", "m", partial="true")
    assert (status, points) == (200, []) and "rebuilt" in headers["Carbyne-Warnings"]

    path.post([("web1", "m", NOW_S, 2.0)])
    assert path.deliver(path.stream.records[1:]) == 0
    assert path.counts["LanesLost"] == 1
    with master.client as client:
        assert client.getrange(keys.lane_state(source.lane), 0, 0) == b"r"
    assert path.get_metric("web1", "m")[0] == 503
    status, headers, points = path.get_metric("web1", "m", partial="true")
    assert (status, points) == (200, [(NOW_S // 60 * 60, 2.0)]) and "rebuilt" in headers["Carbyne-Warnings"]
    answer = path.get("/api/v0/tsdb/latest", ("hostId", "web1"), ("name", "m"))
    assert answer["statusCode"] == 503


def test_a_node_that_hangs_holds_up_only_its_own_lanes(path, cluster):
    victim = with_role(cluster, "master")[0]
    hosts = [f"host{i}" for i in range(40)]
    served = {host: master_of(cluster, source_of(host).lane) for host in hosts}
    for host in sorted(hosts, key=lambda host: served[host] is victim):  # first those that other nodes serve
        path.post([(host, "m", NOW_S, 1.0)])
    well = sum(node is not victim for node in served.values())
    with node_timeout(cluster, 60_000):
        victim.process.send_signal(signal.SIGSTOP)
        try:
            started_s = time.monotonic()
            assert path.ingest(path.stream.records) == path.stream.records[well][0]
            took_s = time.monotonic() - started_s
        finally:
            victim.process.send_signal(signal.SIGCONT)
        assert took_s < limits.REDIS_BUDGET_S + 2 * limits.REDIS_TIMEOUT_S + 1
        assert path.deliver() == 0


def test_a_cluster_that_was_replaced_as_a_whole_is_found_through_the_endpoint(path, cluster):
    call = Command(5, ("GETRANGE", keys.lane_state(5), "0", "0"))
    host, _, port = cluster.endpoint.rpartition(":")
    with Cluster(masters=1, replicas=0) as old:
        client = RedisCluster(host="127.0.0.1", port=old.nodes[0].port, protocol=2, require_full_coverage=False)
        moved = Nodes(client, (host, int(port)), time.monotonic, time.sleep)
        assert moved.run([call]) == [b""]
    with contextlib.closing(moved):
        assert moved.run([call]) == [b"w"]


def test_slots_may_move_during_an_ingest(path, cluster):
    """MIGRATING and IMPORTING make TRYAGAIN and ASK, the end of it MOVED; all rows are readable afterwards."""
    posts = Posts(path)
    posts.fleet(hosts=40, metrics=10, minutes=30)
    lane = source_of("h0000").lane
    home = master_of(cluster, lane)
    target = next(node for node in with_role(cluster, "master") if node is not home)
    half = len(path.stream.records) // 2
    path.deliver(path.stream.records[:half])

    mover = threading.Thread(target=move_slot, args=(cluster, slot_of(cluster, lane), home, target))
    mover.start()
    path.deliver(path.stream.records[half:], batch=20)
    mover.join()
    assert master_of(cluster, lane) is target
    expect_stored(path, posts.expected)
    move_slot(cluster, slot_of(cluster, lane), target, home)
    cluster.wait_until_ok()
    expect_stored(path, posts.expected)
    assert path.deliver() == 0, "an older topology costs a redirect, no failure"


def test_a_lane_that_is_in_two_places_fails_until_it_has_moved(path, cluster, monkeypatch):
    posts = Posts(path)
    posts.fleet(hosts=1, metrics=5, minutes=2)
    source = source_of("h0000")
    assert path.deliver(path.stream.records[:1]) == 0
    home = master_of(cluster, source.lane)
    target = next(node for node in with_role(cluster, "master") if node is not home)
    slot = slot_of(cluster, source.lane)
    open_move(slot, home, target)
    migrate(home, target, keys.lane_state(source.lane), source.windows)
    with monkeypatch.context() as patch:
        patch.setattr("carbyne.adapters.redis.nodes.REDIS_BUDGET_S", 0.5)
        assert path.ingest(path.stream.records[1:]) == path.stream.records[1][0], "TRYAGAIN is no success"
        assert path.get_metric("h0000", "custom.m000.value")[0] == 503
        assert path.store.series(source) == {f"custom.m{i:03d}.value" for i in range(5)}, "single keys follow ASK"
    close_move(cluster, slot, home, target)
    assert path.deliver(path.stream.records[1:]) == 0
    expect_stored(path, posts.expected)
    move_slot(cluster, slot, target, home)
    cluster.wait_until_ok()
    expect_stored(path, posts.expected)


def deliver_to_replicas(path, batch):
    """Until every master knows again that its replica is back, and has it acknowledge."""
    end_s = time.monotonic() + 10
    while path.deliver(batch) or path.counts["WritesWithoutReplica"]:
        assert time.monotonic() < end_s, path.counts
        path.counts.clear()
        time.sleep(0.1)


@contextlib.contextmanager
def node_timeout(cluster, milliseconds):
    """The cluster gives no silent node up for so long."""
    before = {node: node.node_timeout_ms for node in cluster.nodes}
    for node in cluster.nodes:
        node.ask("CONFIG SET", "cluster-node-timeout", milliseconds)
    try:
        yield
    finally:
        cluster.wait_until_ok()
        for node, timeout_ms in before.items():
            node.ask("CONFIG SET", "cluster-node-timeout", timeout_ms)


def open_move(slot, home, target):
    target.ask("CLUSTER SETSLOT", slot, "IMPORTING", home.ask("CLUSTER MYID"))
    home.ask("CLUSTER SETSLOT", slot, "MIGRATING", target.ask("CLUSTER MYID"))


def migrate(home, target, *names):
    home.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)


def close_move(cluster, slot, home, target):
    """Every key that is left, and the slot's new owner on all masters."""
    with home.client as client:
        while left := client.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            migrate(home, target, *left)
            time.sleep(0.05)
    for node in (target, home, *with_role(cluster, "master")):
        with contextlib.suppress(redis.ResponseError):
            node.ask("CLUSTER SETSLOT", slot, "NODE", target.ask("CLUSTER MYID"))


def move_slot(cluster, slot, home, target):
    """As a resharding does it, slowly."""
    open_move(slot, home, target)
    time.sleep(0.3)
    close_move(cluster, slot, home, target)
