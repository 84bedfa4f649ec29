"""Views: every bucket once, from blocks where they are whole and from finer samples where they are not."""

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.keys import CLOSED, RESOLUTIONS, BlockKey, Window
from carbyne.read.reader import How
from carbyne.store.catalogue_items import HOURLY

from tests.support.rolling import BASE_MS, DAY_MS, HOUR_MS, SOURCE, OneByOne, World

MINUTE_MS = 60_000


def days_of(world, days, series="m"):
    """A sample an hour, sealed as time goes by."""
    for hour in range(24 * days):
        world.now_ms = BASE_MS + (hour + 1) * HOUR_MS
        world.post({series: float(hour), "other": 1.0}, BASE_MS + hour * HOUR_MS)
        world.seal_all()


@pytest.fixture
def world():
    return World()


def read(world, resolution, from_ms, to_ms, aggregate="avg", series="m"):
    answer = world.reader.read(SOURCE, series, from_ms, to_ms, How(resolution, aggregate))
    return dict(zip(((answer.ts_ms - BASE_MS) / HOUR_MS).tolist(), answer.values.tolist(), strict=True))


def queried(world, run):
    """The resolutions whose blocks the table was asked for."""
    asked = []
    query = world.table.query

    def note(partition, first, last):
        asked.append(partition.partition(":")[0])
        return query(partition, first, last)

    world.table.query = note
    run()
    world.table.query = query
    return [resolution for resolution in asked if resolution in RESOLUTIONS]


def test_the_open_window_is_part_of_every_resolution(world):
    days_of(world, 1)
    world.now_ms = BASE_MS + DAY_MS + 10 * MINUTE_MS
    world.post({"m": 1000.0}, world.now_ms - MINUTE_MS)
    for resolution, start in (("5m", 24 + 5 / 60), ("1h", 24.0), ("1d", 24.0)):
        assert read(world, resolution, BASE_MS, world.now_ms, "max")[start] == 1000.0
    world.check()


def test_every_bucket_that_overlaps_the_span_is_in_the_answer_as_a_whole(world):
    days_of(world, 3)
    middle_ms = BASE_MS + 30 * HOUR_MS + 30 * MINUTE_MS
    assert read(world, "1d", middle_ms, middle_ms, "count") == {24.0: 24.0}
    assert read(world, "1h", middle_ms, middle_ms + HOUR_MS, "sum") == {30.0: 30.0, 31.0: 31.0}
    assert read(world, "1d", middle_ms, BASE_MS + 48 * HOUR_MS, "count") == {24.0: 24.0, 48.0: 24.0}


def test_a_client_that_asks_for_nothing_gets_what_suits_the_span(world):
    days_of(world, 2)
    spans = {"raw": 20 * HOUR_MS, "5m": 21 * HOUR_MS, "1h": 241 * HOUR_MS, "1d": 241 * DAY_MS}
    for resolution, span_ms in spans.items():
        assert world.reader.read(SOURCE, "m", world.now_ms - span_ms, world.now_ms).resolution == resolution


def test_closed_days_cost_no_look_at_their_hours(world):
    days_of(world, 3)
    world.now_ms = BASE_MS + 3 * DAY_MS + HOUR_MS
    world.seal_all()
    world.now_ms += DAY_MS
    world.hot.expire()
    assert queried(world, lambda: read(world, "1d", BASE_MS, world.now_ms)) == ["1d"]
    assert queried(world, lambda: read(world, "1h", BASE_MS, world.now_ms)) == ["1h"]


def test_days_on_which_a_series_had_no_sample_are_not_searched_for_it(world):
    days_of(world, 3, series="old")
    world.now_ms = BASE_MS + 3 * DAY_MS + 5 * HOUR_MS
    world.seal_all()
    world.now_ms += 2 * HOUR_MS
    world.post({"m": 1.0}, world.now_ms)
    asked = queried(world, lambda: read(world, "1d", BASE_MS, BASE_MS + 3 * DAY_MS - 1))
    assert asked == ["1d"]


def test_a_day_that_closes_in_the_middle_of_a_read_is_not_missed(world):
    """The seal that closes it comes between the look at open days and the look at blocks, and the other way round."""
    for step in range(12):
        here = World()
        days_of(here, 1)
        here.now_ms = BASE_MS + DAY_MS + 5 * HOUR_MS
        count = iter(range(100))

        def look(here=here, count=count, step=step):
            if next(count) == step:
                here.seal_all()

        here.check(["1d"], ["count"], reader=here.new_reader(_Before(look), OneByOne()))


class _Before:
    """Watches a port: something happens before each of its calls."""

    def __init__(self, look):
        self._look = look

    def __call__(self, port):
        return _Port(port, self._look)


class _Port:
    def __init__(self, port, look):
        self._port, self._look = port, look

    def __getattr__(self, name):
        method = getattr(self._port, name)

        def call(*args, **more):
            self._look()
            return method(*args, **more)

        return call


def test_an_index_of_days_that_can_not_be_read_is_on_request_a_warning(world, monkeypatch):
    days_of(world, 1)
    query = world.table.query

    def away(partition, first, last):
        if partition == SOURCE.windows_item:
            raise RetryableError("the index is away")
        return query(partition, first, last)

    monkeypatch.setattr(world.table, "query", away)
    with pytest.raises(RetryableError, match="the index is away"):
        read(world, "1d", BASE_MS, world.now_ms)
    answer = world.reader.read(SOURCE, "m", BASE_MS, world.now_ms, How("1d", partial=True))
    assert len(answer.warnings) == 1


def test_the_index_of_days_is_one_query(world):
    days_of(world, 1)
    assert (SOURCE.windows_item, HOURLY) in world.table.items
    world.now_ms += 5 * HOUR_MS
    world.seal_all()
    assert (SOURCE.windows_item, CLOSED) in world.table.items
    before = world.table.calls["query"]
    assert world.catalogue.of(SOURCE).open_days() == set()
    assert world.table.calls["query"] == before + 1


def test_a_days_block_that_began_weeks_before_the_span_is_found(world):
    days_of(world, 2)
    world.now_ms = BASE_MS + 20 * DAY_MS
    world.seal_all()
    world.post({"m": 7.0}, BASE_MS + 18 * DAY_MS)
    world.seal_all()
    world.now_ms += 5 * HOUR_MS
    world.seal_all()
    assert BlockKey(SOURCE, "1d", Window(BASE_MS // 1000, 30 * 86_400)).object.startswith("1d/")
    from_ms = BASE_MS + 18 * DAY_MS
    assert queried(world, lambda: read(world, "1d", from_ms, from_ms)) == ["1d"]
    assert read(world, "1d", from_ms, from_ms) == {18 * 24.0: 7.0}
