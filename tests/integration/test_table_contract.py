"""What every ``items.Table`` promises: the fake, moto's DynamoDB and AWS's own DynamoDB Local."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from botocore.credentials import Credentials
from carbyne.adapters.dynamodb.client import blocks_client
from carbyne.adapters.dynamodb.deletes import MarkerCount
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks
from carbyne.core import stamps
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import SORT_FIRST, SORT_LAST, BlockKey, SourceKey, Window
from carbyne.core.limits import BLOCK_BYTES_MAX, PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX
from carbyne.samples.columns import Rows, from_rows
from carbyne.samples.markers import Marker
from carbyne.samples.rollups import ROLLUPS
from carbyne.store.catalogue import Catalogue

from tests.support import dynamodb_local
from tests.support.fakes import FakeTable, item_bytes
from tests.support.stores import create_blocks_table

FAR_S = 4_000_000_000


@pytest.fixture(scope="module", params=["fake", "moto", "lean", "dynamodb-local"])
def server(request):
    """Makes an empty table."""
    if request.param == "fake":
        yield FakeTable
    elif request.param == "moto":
        client = request.getfixturevalue("aws").client("dynamodb")
        yield lambda: DynamoTable(client, create_blocks_table(client))
    elif request.param == "lean":
        client = request.getfixturevalue("aws").client("dynamodb")
        lean = blocks_client(client, Credentials("a", "b"))
        yield lambda: DynamoTable(lean, create_blocks_table(client))
        lean.close()
    else:
        with dynamodb_local.start() as running:
            client = running.client()
            yield lambda: DynamoTable(client, create_blocks_table(client))


@pytest.fixture
def table(server):
    return server()


def test_there_is_nothing_at_first(table):
    assert table.get("p", "s") is None
    assert table.query("p", "0", "9") == []


@pytest.mark.parametrize(
    "item",
    [Item(b"x", FAR_S), Item(b"x"), Item(bytes(range(256)) * 3, 1), Item(b"\0")],
    ids=lambda item: f"{item}"[:40],
)
def test_what_was_put_is_there(table, item):
    assert table.put("p", "s", item, None)
    assert table.get("p", "s") == item
    assert table.query("p", "s", "s") == [("s", item)]


def test_a_whole_partition_is_between_the_first_and_the_last_sort_key(table):
    items = [("\x01", Item(b"low")), ("a", Item(b"middle")), ("\U0010fffe", Item(b"high"))]
    for sort, item in items:
        assert table.put("whole", sort, item, None)
    assert table.query("whole", SORT_FIRST, SORT_LAST) == items


def test_many_items_are_got_at_once(table):
    """More than a call takes, of several partitions, some of them large and some not there."""
    places = [(f"p{number % 3}", f"s{number:03d}") for number in range(205)]
    items = {place: Item(bytes([number]) * (30_000 if number < 5 else 3)) for number, place in enumerate(places)}
    table.write([(*place, item) for place, item in items.items()], [])
    assert table.get_each([*places, ("p0", "nowhere"), ("nowhere", "s000")]) == items
    assert table.get_each([]) == {}


def test_a_put_needs_the_version_that_is_there(table):
    first, second, third = Item(b"one"), Item(b"two", FAR_S), Item(b"three")
    assert not table.put("p", "s", second, first), "nothing is there"
    assert table.get("p", "s") is None
    assert table.put("p", "s", first, None)
    assert not table.put("p", "s", second, None), "something is there"
    assert not table.put("p", "s", second, third), "something else is there"
    assert table.get("p", "s") == first
    assert table.put("p", "s", second, table.get("p", "s"))
    assert not table.put("p", "s", third, first), "it has gone by"
    assert table.get("p", "s") == second
    assert table.put("p", "s", first, second), "back again"
    assert table.put("p", "s", third, first), "equal content is the same version"


def test_the_version_is_that_of_the_content_alone(table):
    table.put("p", "s", Item(b"x", 5), None)
    assert table.put("p", "s", Item(b"x", FAR_S), Item(b"x", 7))
    assert table.get("p", "s") == Item(b"x", FAR_S)


def test_a_removal_needs_the_version_that_is_there(table):
    assert not table.remove("p", "s", Item(b"one"))
    table.put("p", "s", Item(b"one", FAR_S), None)
    assert not table.remove("p", "s", Item(b"two", FAR_S))
    assert table.get("p", "s") == Item(b"one", FAR_S)
    assert table.remove("p", "s", Item(b"one"))
    assert table.get("p", "s") is None
    assert not table.remove("p", "s", Item(b"one")), "a repeated call met its own success"


def test_many_items_are_written_and_removed_at_once(table):
    puts = [("p", f"{number:03d}", Item(bytes((number,)), FAR_S)) for number in range(60)]
    table.write([*puts, ("q", "s", Item(b"other"))], [("p", "never")])
    assert table.query("p", "0", "9") == [(sort, item) for _, sort, item in puts]
    table.write([("p", "007", Item(b"new"))], [("p", f"{number:03d}") for number in range(8, 60)])
    assert table.query("p", "007", "9") == [("007", Item(b"new"))]
    assert table.get("q", "s") == Item(b"other")
    table.write([], [])


def test_keys_are_apart(table):
    texts = ["a", "A", "a:b", "ä", "a ", "a%3Ab", "0", "~"]
    for partition in texts:
        for sort in texts:
            assert table.put(partition, sort, Item(f"{partition}|{sort}".encode()), None)
    for partition in texts:
        assert table.query(partition, "A", "a:b") == [
            (sort, Item(f"{partition}|{sort}".encode())) for sort in ("A", "a", "a ", "a%3Ab", "a:b")
        ]


def test_a_query_gives_all_pages_in_order(table):
    sorts = [f"{number:03d}" for number in range(9)]
    for number in (4, 1, 8, 0, 3, 7, 2, 6, 5):
        table.put("p", sorts[number], Item(bytes((number,)) * 390_000), None)
    rows = table.query("p", "001", "007")
    assert [sort for sort, _ in rows] == sorts[1:8]
    assert all(item.data == bytes((int(sort),)) * 390_000 for sort, item in rows)


def test_the_largest_block_fits_beside_the_longest_keys(table):
    partition, sort, item = "p" * PARTITION_KEY_BYTES_MAX, "s" * SORT_KEY_BYTES_MAX, Item(b"x" * BLOCK_BYTES_MAX, FAR_S)
    assert item_bytes(partition, sort, item) <= 400 * 1024
    assert table.put(partition, sort, item, None)
    assert table.get(partition, sort) == item


def test_of_puts_at_once_one_wins(table):
    item_before = None
    for turn in range(5):
        items = [Item(f"{turn} {number}".encode()) for number in range(6)]
        with ThreadPoolExecutor(6) as threads:
            won = list(threads.map(lambda item, item_before=item_before: table.put("p", "s", item, item_before), items))
        assert won.count(True) == 1
        item_before = table.get("p", "s")
        assert item_before == items[won.index(True)]


SOURCE = SourceKey("acme", "host/a")


def test_blocks_are_found_by_span(table):
    warm = WarmBlocks(table)
    windows = [Window(start_s, 14_400) for start_s in range(1_699_200_000, 1_700_000_000, 14_400)]
    windows += [Window(1_699_920_000, 3_600), Window(1_699_920_000, 86_400)]
    for window in windows:
        key = BlockKey(SOURCE, "raw", window)
        assert warm.put(key, Item(window.token.encode(), FAR_S), None)
        assert warm.put(key._replace(part="0"), Item(b"part"), None)
        assert warm.put(key._replace(source=SourceKey("acme", "host/b")), Item(b"other"), None)
        assert warm.get(key) == Item(window.token.encode(), FAR_S)
    for from_s, to_s in (
        (1_699_920_000, 1_699_920_000),
        (1_699_919_999, 1_700_000_001),
        (0, 10),
        (1_700_006_399, 2**33),
    ):
        blocks_between = warm.between(SOURCE, "raw", from_s * 1000, to_s * 1000)
        expected = {w for w in windows if w.overlaps(from_s * 1000, to_s * 1000)}
        assert {key for key, _ in blocks_between} == {BlockKey(SOURCE, "raw", window) for window in expected}
        assert all(item.data == key.window.token.encode() for key, item in blocks_between)
        assert [key.window.start_s for key, _ in blocks_between] == sorted(
            key.window.start_s for key, _ in blocks_between
        )


@pytest.mark.parametrize("length_s", [60, 900, 3_600, 9_000, 14_400, 86_400])
def test_a_raw_block_is_found_from_its_first_second_to_its_last(length_s):
    warm, window = WarmBlocks(FakeTable()), Window.holding(1_700_000_000_000, length_s)
    warm.put(BlockKey(SOURCE, "raw", window), Item(b"x"), None)
    for second, count in ((window.start_s - 1, 0), (window.start_s, 1), (window.end_s - 1, 1), (window.end_s, 0)):
        assert len(warm.between(SOURCE, "raw", second * 1000, second * 1000)) == count


@pytest.mark.parametrize("resolution", ROLLUPS, ids=lambda resolution: resolution.name)
def test_a_rollup_block_is_found_from_its_first_second_to_its_last(resolution):
    warm, window = WarmBlocks(FakeTable()), Window.holding(1_700_000_000_000, resolution.window_s)
    warm.put(BlockKey(SOURCE, resolution.name, window), Item(b"x"), None)
    for second, count in ((window.start_s - 1, 0), (window.start_s, 1), (window.end_s - 1, 1), (window.end_s, 0)):
        assert len(warm.between(SOURCE, resolution.name, second * 1000, second * 1000)) == count


def test_a_table_that_can_not_be_asked_is_retryable(aws):
    table = DynamoTable(aws.client("dynamodb"), "nowhere")
    for ask in (
        lambda: table.get("p", "s"),
        lambda: table.put("p", "s", Item(b"x"), None),
        lambda: table.remove("p", "s", Item(b"x")),
        lambda: table.write([("p", "s", Item(b"x"))], []),
        lambda: table.query("p", "0", "9"),
    ):
        with pytest.raises(RetryableError):
            ask()


def test_the_writer_counts_the_deletes_that_are_kept_of_a_source(aws):
    """And nothing else that lies beside them: late rows, the index, other sources."""
    client = aws.client("dynamodb")
    name = create_blocks_table(client)
    catalogue, count = Catalogue(DynamoTable(client, name)), MarkerCount(client, name)
    mine, other = SourceKey("acme", "host/a"), SourceKey("acme", "host/a2")
    window = Window(0, 14_400)
    catalogue.of(mine).add_window("raw", window)
    catalogue.add_late([(mine, window, one_sample(window))])
    assert count.of(mine) == 0
    for number in range(3):
        catalogue.of(mine).add_marker(Marker(stamps.pack(1, str(number + 1)), f"m{number}", 0, 1_000), FAR_S)
    catalogue.of(other).add_marker(Marker(stamps.pack(1, "9"), "m", 0, 1_000), FAR_S)
    assert (count.of(mine), count.of(other)) == (3, 1)
    catalogue.of(mine).add_marker(Marker(stamps.pack(1, "10"), "", 0, 2_000), FAR_S)
    assert count.of(mine) == 1, "a wider delete took the place of all"


def one_sample(window):
    values = np.array([[7]], np.uint64)
    return from_rows([Rows(("m",), np.array([window.start_s * 1000]), [stamps.pack(1, "1")], values)])


def test_deletes_that_can_not_be_counted_are_retryable(aws):
    with pytest.raises(RetryableError, match="deletes Query"):
        MarkerCount(aws.client("dynamodb"), "no-such-table").of(SourceKey("acme", "host/a"))
