"""What the registry's table does: the dict of the unit tests and the one in DynamoDB are held to the same."""

import json
import time

import boto3
import pytest
from botocore.stub import Stubber
from carbyne.adapters.dynamodb.registered import Registered
from carbyne.adapters.dynamodb.registry import DynamoRegistry
from carbyne.adapters.dynamodb.sources import DynamoSources
from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.http.message import Request
from carbyne.http.routes import Call
from carbyne.read.registered import PastInfo, RegisteredSource
from carbyne.registry import hosts, services
from carbyne.registry.api_hosts import delete_host
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem
from carbyne.stream import records
from carbyne.wiring.registry import registry as wired_registry

from tests.support.registry_store import MemoryRegistered, MemoryStore
from tests.support.stores import create_table

A, B, C = Key("t:hosts", "a"), Key("t:hosts", "b"), Key("u:hosts", "a")


@pytest.fixture(scope="module")
def table(aws):
    return create_table(aws.client("dynamodb"), "pk", "sk")


@pytest.fixture(params=["memory", "dynamodb"])
def store(request):
    if request.param == "memory":
        return MemoryStore()
    aws, table = request.getfixturevalue("aws"), request.getfixturevalue("table")
    client = aws.client("dynamodb")
    for item in client.scan(TableName=table)["Items"]:
        client.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
    return DynamoRegistry(client, table)


def test_a_new_item_is_written_once(store):
    assert store.get(A) is None
    assert store.write(RegistryChange(A, b'{"n":1}', 0))
    assert store.get(A) == RegistryItem(A, b'{"n":1}', 1)
    assert not store.write(RegistryChange(A, b'{"n":2}', 0))
    assert store.get(A) == RegistryItem(A, b'{"n":1}', 1)


def test_an_item_expires_when_its_last_change_says(aws, table):
    client = aws.client("dynamodb")
    store, row = DynamoRegistry(client, table), {"pk": {"S": A.pk}, "sk": {"S": "expires"}}
    key = A._replace(sk="expires")
    assert store.write(RegistryChange(key, b"1", 0, 1_800_000_000))
    assert client.get_item(TableName=table, Key=row)["Item"]["ttl"] == {"N": "1800000000"}
    assert store.write(RegistryChange(key, b"2", 1))
    assert "ttl" not in client.get_item(TableName=table, Key=row)["Item"]


def test_only_who_knows_the_version_changes_an_item(store):
    store.write(RegistryChange(A, b"1", 0))
    assert not store.write(RegistryChange(A, b"2", 2))
    assert store.write(RegistryChange(A, b"2", 1))
    assert store.get(A) == RegistryItem(A, b"2", 2)
    assert not store.write(RegistryChange(A, b"3", 1))
    assert not store.write(RegistryChange(B, b"3", 1)), "nothing is there that could have a version"


def test_a_write_that_is_sent_again_succeeds_again(store):
    for _ in range(2):
        assert store.write(RegistryChange(A, b"1", 0))
    for _ in range(2):
        assert store.write(RegistryChange(A, b"2", 1), RegistryChange(B, b"1", 0))
    assert (store.get(A).version, store.get(B).version) == (2, 1)
    for _ in range(2):
        assert store.write(RegistryChange(A, None, 2))
    assert store.get(A) is None


def test_a_delete_needs_the_version_too(store):
    store.write(RegistryChange(A, b"1", 0))
    assert not store.write(RegistryChange(A, None, 2))
    assert store.get(A) is not None


def test_all_changes_or_none(store):
    store.write(RegistryChange(A, b"1", 0))
    assert not store.write(RegistryChange(B, b"1", 0), RegistryChange(A, b"2", 7))
    assert store.get(B) is None
    assert store.write(RegistryChange(B, b"1", 0), RegistryChange(A, None, 1))
    assert (store.get(A), store.get(B)) == (None, RegistryItem(B, b"1", 1))


def test_items_of_one_partition_by_prefix_in_order(store):
    for name in ("b", "aa", "a", "a:b", "é"):
        store.write(RegistryChange(Key("t:hosts", name), json.dumps(name).encode(), 0))
    store.write(RegistryChange(C, b"1", 0))
    assert [item.key.sk for item in store.items("t:hosts")] == ["a", "a:b", "aa", "b", "é"]
    assert [item.key.sk for item in store.items("t:hosts", "a")] == ["a", "a:b", "aa"]
    assert [item.key.sk for item in store.items("t:hosts", "a:")] == ["a:b"]
    assert store.items("t") == []


def test_a_partition_of_more_than_a_page(store):
    body = b'"' + b"x" * 200_000 + b'"'
    for number in range(8):
        store.write(RegistryChange(Key("t:hosts", f"h{number}"), body, 0))
    names = [f"h{number}" for number in range(8)]
    assert [item.key.sk for item in store.items("t:hosts", "h")] == names
    for after, left in [("", names), ("h", names), ("h2", names[3:]), ("h22", names[3:]), ("h7", []), ("z", [])]:
        assert [item.key.sk for item in store.scan("t:hosts", after) if item.key.sk in names] == left
    assert next(store.scan("t:hosts", "h4")).key.sk == "h5"


def test_a_key_that_can_not_be_holds_nothing(store):
    for key in (Key("t", ""), Key("t", "s" * 1025), Key("t" * 2049, "s"), Key("t", "é" * 513)):
        assert store.get(key) is None
    assert store.items("t" * 2049) == store.items("t", "s" * 1025) == []
    assert list(store.scan("t" * 2049)) == list(store.scan("t", "s" * 1025)) == []


def test_a_table_that_is_gone_is_retryable(aws):
    store = DynamoRegistry(aws.client("dynamodb"), "no-such-table")
    for call in (
        lambda: store.get(A),
        lambda: store.items("t"),
        lambda: list(store.scan("t")),
        lambda: store.write(RegistryChange(A, b"1", 0)),
        lambda: store.write(RegistryChange(A, None, 1)),
        lambda: store.write(RegistryChange(A, b"1", 0), RegistryChange(B, b"1", 0)),
    ):
        with pytest.raises(RetryableError):
            call()


def reason(code):
    return {"Code": code}


@pytest.mark.parametrize(
    ("reasons", "lost"),
    [
        ([reason("None"), reason("ConditionalCheckFailed")], True),
        ([reason("TransactionConflict"), reason("ConditionalCheckFailed")], True),
        ([reason("ThrottlingError"), reason("ConditionalCheckFailed")], False),
        ([reason("None"), reason("ProvisionedThroughputExceeded")], False),
    ],
)
def test_only_conditions_and_conflicts_are_lost_races(aws, reasons, lost):
    client = aws.client("dynamodb")
    changes = RegistryChange(A, b"1", 0), RegistryChange(B, b"1", 0)
    with Stubber(client) as stubber:
        stubber.add_client_error(
            "transact_write_items", "TransactionCanceledException", modeled_fields={"CancellationReasons": reasons}
        )
        if lost:
            assert not DynamoRegistry(client, "t").write(*changes)
        else:
            with pytest.raises(RetryableError):
                DynamoRegistry(client, "t").write(*changes)


@pytest.fixture
def registered(store):
    """What tells whether things of the store are registered."""
    if isinstance(store, MemoryStore):
        return MemoryRegistered(store)
    return Registered(store._client, store._table)


def test_which_hosts_are_live_and_which_things_are_registered(store, registered):
    ids = iter(["host1", "host2"])
    registry = Registry(store, lambda: 1_700_000_000, lambda: next(ids), lambda _: None)
    live, retired = (hosts.register(registry, "t", hosts.HostForm(name="web")) for _ in range(2))
    hosts.retire(registry, "t", retired)
    services.create(registry, "t", "my-shop_1", "")
    assert registered.live_hosts("t", {live, retired, "unknown"}) == {live}
    assert registered.live_hosts("u", [live, retired]) == set()
    assert registered.live_hosts("t", [f"h{number}" for number in range(100)]) == set()
    sources = [
        f"host/{live}",
        f"host/{retired}",
        "host/unknown",
        "service/my-shop_1",
        "service/shop",
        "service/my-shop",
    ]
    assert [registered.has(SourceKey("t", source)) for source in sources] == [True, True, False, True, False, False]
    assert not registered.has(SourceKey("u", f"host/{live}"))


def test_what_queries_ask_of_the_registry(store, registered):
    ids = iter(["host1", "host2"])
    registry = Registry(store, lambda: 1_700_000_000, lambda: next(ids), lambda _: None)
    form = hosts.HostForm(name="web", role_fullnames=["shop:app", "shop:web"])
    live, retired = (hosts.register(registry, "t", form) for _ in range(2))
    hosts.retire(registry, "t", retired)
    services.create(registry, "t", "my-shop_1", "")
    sources = registered.sources if isinstance(store, MemoryStore) else DynamoSources(store._client, store._table).of
    hosts.set_status(registry, "t", live, "standby")
    past = [PastInfo(1_700_000_000_000, "web", "working", {"shop": ["app", "web"]})]
    assert sorted(sources("t")) == [
        RegisteredSource(f"host/{live}", "web", "standby", {"shop": ["app", "web"]}, 1_700_000_000_000, past),
        RegisteredSource("service/my-shop_1"),
        RegisteredSource("service/shop"),
    ]
    assert sources("u") == []


def test_what_dynamodb_did_not_look_up_counts_as_live():
    client = boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    left = {"t": {"Keys": [{"pk": {"S": "a:hosts"}, "sk": {"S": "late"}}]}}
    with Stubber(client) as stubber:
        stubber.add_response("batch_get_item", {"Responses": {"t": [{"sk": {"S": "live"}}]}, "UnprocessedKeys": left})
        assert Registered(client, "t").live_hosts("a", ["live", "late", "gone"]) == {"live", "late"}
        stubber.add_client_error("batch_get_item", "ProvisionedThroughputExceededException", http_status_code=400)
        with pytest.raises(RetryableError):
            Registered(client, "t").live_hosts("a", ["live"])


@pytest.fixture
def wired(aws, table, monkeypatch):
    names = {"REGISTRY_TABLE": table, "ACCOUNTS_TABLE": table, "STREAM_NAME": table, "SECRETS": "/carbyne/"}
    for variable, value in (aws.environment | names).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr("carbyne.adapters.telemetry.log_as_json", lambda function: None)
    wired_registry.cache_clear()
    yield wired_registry()
    wired_registry.cache_clear()


def test_the_real_parts_fit_together(wired):
    assert wired.registry.store.write(RegistryChange(Key("t:real", "a"), b"1", 0))
    assert abs(wired.registry.now_s() - time.time()) < 5
    assert wired.registry.new_id() != wired.registry.new_id()


def test_a_host_is_removed_with_its_samples(aws, table, wired):
    registry = wired.registry
    host = hosts.register(registry, "gone", hosts.HostForm(name="web", custom_identifier="i"))
    call = Call(Request("DELETE", "", {}, {}, b""), "gone", {"id": host})
    with pytest.raises(RetryableError):
        delete_host(registry, call)
    assert hosts.get(registry.store, "gone", host)
    aws.client("kinesis").create_stream(StreamName=table, ShardCount=1)
    assert delete_host(registry, call).success
    assert registry.store.items("gone:hosts") == registry.store.items("gone:custom-identifiers") == []
    client = aws.client("kinesis")
    [shard] = client.list_shards(StreamName=table)["Shards"]
    where = {"StreamName": table, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    [stream_record] = client.get_records(ShardIterator=client.get_shard_iterator(**where)["ShardIterator"])["Records"]
    record = records.decode(stream_record["Data"])
    assert (record.tenant, record.source, record.series, record.from_ms) == ("gone", f"host/{host}", "", 0)
    assert stream_record["PartitionKey"] == keys.lane_tag(keys.lane_of("gone", f"host/{host}"))
