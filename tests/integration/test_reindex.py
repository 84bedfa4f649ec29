"""A directory that was lost is made again of blocks' keys, the catalogue and Redis, and is what it was."""

import pytest
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.cli import main
from carbyne.core import keys, labels
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import RAW, BlockKey, SourceKey, Window
from carbyne.core.limits import DAY_S
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import SeriesSpan
from carbyne.store.directory import Directory
from carbyne.store.reindex import Reindex

from harness.pipeline import Pipeline, flush
from tests.integration.test_cli import TestDesk
from tests.integration.test_listings import write
from tests.support.fakes import FakeTable
from tests.support.remote_write import body_1, packed, series_1
from tests.support.stores import create_blocks_table

NOW_S = 1_700_000_400
TODAY = NOW_S // DAY_S
KEEP_S = 460 * DAY_S
SERIES = [
    {"__name__": name, "instance": f"web{number}:80", "job": "node", **more}
    for number in range(7)
    for name, more in (("up", {}), ("cpu", {"mode": "idle", "a,b": "="}), (f"own_{number}", {"zone": "x"}))
]
LONE = {"__name__": "sum", "job": "rules"}


def lose(table):
    """All that the directory has of sources and names."""
    lost = {place: item for place, item in table.items.items() if place[0].startswith("facts:")}
    for place in lost:
        del table.items[place]
    return lost


def without_tokens(table):
    return {place: item for place, item in table.items.items() if place[0] != keys.directory_tokens("acme")}


def listed(table):
    return Directory(table, KEEP_S, lambda: NOW_S).sources("acme")


def work(table, hot=None):
    directory = Directory(table, KEEP_S, lambda: NOW_S)
    return Reindex(directory, Catalogue(table), table.expiring, hot, lambda: NOW_S)


@pytest.fixture
def path(cluster):
    flush(cluster)
    pipeline = Pipeline(cluster, NOW_S)
    yield pipeline
    pipeline.close()


def test_it_is_what_it_was_of_blocks_and_of_redis(path):
    """The first posts are in blocks, the last ones, of new targets and names, in Redis alone."""
    write(path, packed(body_1(*(series_1(labels, (1.0, NOW_S * 1000)) for labels in [*SERIES[:12], LONE]))))
    path.now_s += 5 * 3600
    assert path.seal()
    path.now_s = NOW_S
    write(path, packed(body_1(*(series_1(labels, (1.0, NOW_S * 1000 + 9)) for labels in SERIES))))
    before = listed(path.table)
    assert len(before) == 8
    assert lose(path.table) and not listed(path.table)
    shown = []
    outcome = work(path.table, path.store).run(range(TODAY, TODAY + 462), shown.append)
    assert listed(path.table) == before
    assert (outcome.sources, outcome.nameless) == (8, 0)
    assert shown[-1] == outcome and len(shown) > 462


@pytest.fixture
def table():
    """Three targets with a block each, which expire on other days."""
    table, clock = FakeTable(), [NOW_S]
    directory, catalogue = Directory(table, KEEP_S, lambda: clock[0]), Catalogue(table)
    for number, series in enumerate(SERIES[::3]):
        clock[0] = NOW_S - 10 * DAY_S * number
        source = SourceKey("acme", labels.source_of(series))
        of_source = {labels.key_of(other): SeriesSpan(clock[0] * 1000, clock[0] * 1000) for other in SERIES[number:3]}
        of_source[labels.key_of(series)] = SeriesSpan(clock[0] * 1000, clock[0] * 1000)
        directory.note(
            "acme", {source.source: labels.text(labels.target_of(series))}, {}, {source.source: set(of_source)}
        )
        catalogue.of(source).add_series(of_source)
        key = BlockKey(source, RAW, Window(0, 14_400))
        table.put(key.partition, key.sort, Item(b"block", (TODAY + number) * DAY_S), None)
    return table


def test_an_outage_names_the_day_to_go_on_with(table):
    before = listed(table)
    lose(table)
    reindex, query = work(table), table.get_each
    table.get_each = lambda places: (_ for _ in ()).throw(RetryableError("away")) if calls.pop() else query(places)
    calls = [True, False, False]
    with pytest.raises(RetryableError, match=f"away; go on with --from-day {TODAY + 2}"):
        reindex.run(range(TODAY, TODAY + 10), lambda so_far: None)
    table.get_each = query
    assert 0 < len(listed(table)) < len(before)
    work(table).run(range(TODAY + 2, TODAY + 10), lambda so_far: None)
    assert listed(table) == before


def test_what_an_entry_has_besides_stays_and_nothing_is_written_twice(table):
    source = SourceKey("acme", labels.source_of(SERIES[0]))
    Directory(table, KEEP_S, lambda: NOW_S + DAY_S).note("acme", {}, {}, {source.source: {"fresh{new=1}"}})
    before, items = listed(table), without_tokens(table)
    work(table).run(range(TODAY, TODAY + 10), lambda so_far: None)
    assert listed(table) == before and without_tokens(table) == items


def test_targets_without_labels_are_counted(table):
    lose(table)
    for place in [place for place in table.items if place[1] == keys.TARGET_SORT][:2]:
        del table.items[place]
    assert work(table).run(range(TODAY, TODAY + 10), lambda so_far: None).nameless == 2


def test_the_command(aws):
    """On a table of its own; Mackerel's hosts are left alone."""
    client = aws.client("dynamodb")
    name = create_blocks_table(client)
    stored = DynamoTable(client, name)
    source = SourceKey("acme", labels.source_of(SERIES[0]))
    Catalogue(stored).of(source).add_series({"up": SeriesSpan(NOW_S * 1000, NOW_S * 1000)})
    stored.write([(source.series_item, keys.TARGET_SORT, Item(b"{instance=web0:80,job=node}"))], [])
    for of in (source, SourceKey("acme", "host/h1")):
        key = BlockKey(of, RAW, Window(0, 14_400))
        stored.write([(key.partition, key.sort, Item(b"block", (TODAY + 1_824) * DAY_S))], [])
    desk = TestDesk(aws, name)
    desk.progress = desk.remark
    assert main(["reindex", "--table", name, "--from-day", str(TODAY + 1_824)], desk) == 0
    assert desk.said == [f"restored 1 sources, up to blocks that expire on 2028-11-13 (day {TODAY + 1_826})"]
    assert desk.remarks[0] == f"restored 1 sources, up to blocks that expire on 2028-11-11 (day {TODAY + 1_824})"
    entry = Directory(stored, KEEP_S, lambda: NOW_S).sources("acme")[source.source]
    assert entry.target == "{instance=web0:80,job=node}" and entry.names == ({"up"}, frozenset())
