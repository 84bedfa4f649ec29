"""What every ``items.Blocks`` promises: the archive in memory and in S3, and the table's blocks."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.core import stamps
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import BlockKey, SourceKey, Window
from carbyne.samples import blocks
from carbyne.samples.columns import Rows, column, from_rows
from carbyne.store.tree import merge_into

from tests.support.fakes import FakeBlocks, FakeTable
from tests.support.stores import create_blocks_table

KEY = BlockKey(SourceKey("acme", "host/a"), "raw", Window(1_699_992_000, 14_400))


def fake_archive(request):
    store = FakeBlocks()
    return store, store.items.pop


def s3(request):
    client, bucket = request.getfixturevalue("aws").client("s3"), f"blocks-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    return ColdBlocks(client, bucket), lambda key: client.delete_object(Bucket=bucket, Key=key.object)


def fake_table(request):
    table = FakeTable()
    return WarmBlocks(table), lambda key: table.items.pop((key.partition, key.sort))


def dynamodb(request):
    client = request.getfixturevalue("aws").client("dynamodb")
    name = create_blocks_table(client)

    def remove(key):
        client.delete_item(TableName=name, Key={"pk": {"S": key.partition}, "sk": {"S": key.sort}})

    return WarmBlocks(DynamoTable(client, name)), remove


@pytest.fixture(params=[fake_archive, s3, fake_table, dynamodb], ids=lambda make: make.__name__)
def store_and_remove(request):
    return request.param(request)


@pytest.fixture
def store(store_and_remove):
    return store_and_remove[0]


def stored_bytes(store, key=KEY):
    item = store.get(key)
    return item and item.data


def test_there_is_nothing_at_first(store):
    assert store.get(KEY) is None


@pytest.mark.parametrize("data", [b"x", b"\0", bytes(range(256)) * 1500], ids=len)
def test_what_was_put_is_there(store, data):
    assert store.put(KEY, Item(data), None)
    assert store.get(KEY) == Item(data)


def test_a_put_needs_what_was_read(store):
    assert store.put(KEY, Item(b"one"), None)
    item = store.get(KEY)
    assert not store.put(KEY, Item(b"two"), None), "something is there"
    assert stored_bytes(store) == b"one"
    assert store.put(KEY, Item(b"two"), item)
    assert not store.put(KEY, Item(b"three"), item), "it has gone by"
    assert stored_bytes(store) == b"two"
    assert store.put(KEY, Item(b"one"), store.get(KEY)) and store.put(KEY, Item(b"three"), item), "equal is the same"
    assert stored_bytes(store) == b"three"


def test_what_was_removed_meanwhile_is_not_replaced(store_and_remove):
    store, remove = store_and_remove
    store.put(KEY, Item(b"one"), None)
    item = store.get(KEY)
    remove(KEY)
    assert not store.put(KEY, Item(b"two"), item) and store.get(KEY) is None
    assert store.put(KEY, Item(b"two"), None) and stored_bytes(store) == b"two"


def test_keys_are_apart(store):
    odd = ["a", "A", "a:b", "a/b", "a%2Fb", "ä", "..", ".", " ", "raw"]
    keys = [BlockKey(SourceKey(a, b), "raw", KEY.window) for a in odd for b in odd]
    keys += [KEY._replace(part=part) for part in ("", "0", "1", "00")]
    keys += [KEY._replace(resolution="5m"), KEY._replace(window=Window(1_699_992_000, 3_600))]
    for number, key in enumerate(keys):
        assert store.put(key, Item(str(number).encode()), None)
    assert [stored_bytes(store, key) for key in keys] == [str(number).encode() for number in range(len(keys))]


def test_of_puts_at_once_one_wins(store):
    with ThreadPoolExecutor(4) as threads:
        first = list(threads.map(lambda text: store.put(KEY, Item(text), None), (b"a", b"b", b"c", b"d")))
        assert first.count(True) == 1
        read = store.get(KEY)
        second = list(threads.map(lambda text: store.put(KEY, Item(text), read), (b"e", b"f", b"g", b"h")))
    assert second.count(True) == 1
    assert stored_bytes(store) == (b"e", b"f", b"g", b"h")[second.index(True)]


def test_merges_at_once_lose_nothing(store):
    def samples(number):
        values = np.array([[float(number)]]).view(np.uint64)
        times = np.array([KEY.window.start_s * 1000 + number])
        return from_rows([Rows(("m",), times, [stamps.pack(1, str(number))], values)])

    def merged(number):
        while True:
            with suppress(RetryableError):  # the others were quicker time and again: callers come back, as here
                return merge_into(store, KEY, samples(number), expires_s=0)

    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(merged, range(9)))
    ts_ms, values = column(blocks.decode(stored_bytes(store)), "m")
    assert (ts_ms - KEY.window.start_s * 1000).tolist() == values.view(np.float64).tolist() == list(range(9))


@pytest.mark.parametrize("service", ["s3", "dynamodb"])
def test_a_store_that_is_not_there_is_no_empty_answer(aws, service):
    client = aws.client(service)
    store = ColdBlocks(client, "nowhere") if service == "s3" else WarmBlocks(DynamoTable(client, "nowhere"))
    for ask in (
        lambda: store.get(KEY),
        lambda: store.put(KEY, Item(b"x"), None),
        lambda: store.put(KEY, *[Item(b"x")] * 2),
    ):
        with pytest.raises(RetryableError):
            ask()
