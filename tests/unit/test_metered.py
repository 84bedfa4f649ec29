"""The cost meter: what is counted by month, what is measured at a few sources, and their prices."""

from collections import Counter
from types import SimpleNamespace

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.keys import Window
from carbyne.core.limits import METERED_SOURCES_MAX
from carbyne.core.prices import prices
from carbyne.http.routes import Call
from carbyne.read import api, metered
from carbyne.read.mackerel import ServerAbout
from carbyne.read.placement import Placement
from carbyne.read.registered import RegisteredSource
from carbyne.tenants.months import MonthCounts, MonthUse, QueryMeter, month_of
from carbyne.tenants.usage import Standing

from tests.support.memory_system import MemorySystem
from tests.support.registry_system import answer_of, event

NOW_S = 1_700_006_400  # 2023-11-15 00:00 UTC
MINUTE = NOW_S // 60
HOUR_4 = 14_400
CALL = Call(None, "acme", {})


class Placed:
    """A Storage of which every source has the same placements; ``asked``: the sources."""

    def __init__(self, *placements):
        self.placements, self.asked = placements, []

    def of(self, source, from_ms, to_ms):
        assert source.tenant == "acme" and (from_ms, to_ms) == ((NOW_S - 86_400) * 1000, NOW_S * 1000)
        self.asked.append(source.source)
        return self.placements


def queries(sources=0, placed=None, **standing):
    """The parts of Queries that the meter asks."""
    return SimpleNamespace(
        now_ms=lambda: NOW_S * 1000,
        standing=lambda _: Standing(**standing),
        sources=lambda _: [RegisteredSource(f"host/{number:04}") for number in range(sources)],
        storage=placed,
        server=ServerAbout(HOUR_4, {}, 0),
    )


def test_months_are_told_with_the_prices_of_what_is_counted():
    counts = MonthCounts(samples=4_000_000, rows=2_000_000, series=70, queries=1_000_000)
    told = metered.meter(queries(months={202_310: MonthCounts(), 202_311: counts}), CALL)
    assert [month.month for month in told.months] == ["2023-11", "2023-10"]
    newest = told.months[0]
    assert (newest.samples, newest.rows, newest.series, newest.queries) == (4_000_000, 2_000_000, 70, 1_000_000)
    assert newest.dollars.requests == pytest.approx(3 * prices()["http_api"]["per_million"])
    assert newest.dollars.stream == pytest.approx(2 * prices()["kinesis"]["per_million_units"])
    assert newest.dollars.total == newest.dollars.requests + newest.dollars.stream
    assert (told.day, told.next_host) == (None, None), "the registry knows no source"


def test_a_day_of_all_is_measured_at_a_few_sources():
    """Of windows that reach over the day's ends only their part counts; blocks of 1,500 bytes are two write units."""
    windows = [Window(start_s, HOUR_4) for start_s in range(NOW_S - 86_400, NOW_S, HOUR_4)]
    placed = Placed(
        Placement("raw", Window(NOW_S, HOUR_4), "hot", 10, 700),
        *(Placement("raw", window, tier, 10, 1_500) for window in windows for tier in ("warm", "cold")),
        Placement("1d", Window(NOW_S - 15 * 86_400, 30 * 86_400), "warm", 10, 3_000),
    )
    told = metered.meter(queries(1_000, placed, samples={MINUTE - 1: 3_000, MINUTE - 2: 1_000, MINUTE: 9}), CALL)
    assert len(placed.asked) == told.day.measured == METERED_SOURCES_MAX and len(set(placed.asked)) == 4
    assert (told.day.sources, told.day.puts) == (1_000, 6_000)
    assert told.day.bytes == metered.MeteredBytes(hot=0, late=0, warm=9_200_000, cold=9_000_000)
    assert told.day.writes == 1_000 * 12 + 200
    assert told.day.dollars.table == pytest.approx(0.0122 * prices()["dynamodb"]["per_million_write_units"])
    assert told.day.dollars.archive == pytest.approx(0.006 * prices()["s3"]["per_million_puts"])
    assert told.samples_per_minute == 2_000, "of the whole minutes"
    assert told.next_host is None, "no month says how many samples a row has"


def test_one_more_host_costs_what_the_others_do():
    placed = Placed(Placement("raw", Window(NOW_S - HOUR_4, HOUR_4), "warm", 10, 1_024))
    months = {202_311: MonthCounts(samples=1_000, rows=10)}
    told = metered.meter(queries(10, placed, samples={MINUTE - 1: 1_000}, months=months), CALL)
    assert told.next_host.samples == pytest.approx(100 * 30.4 * 1_440)
    rows = 30.4 * 1_440
    of_rows = rows / 1e6 * (prices()["http_api"]["per_million"] + prices()["kinesis"]["per_million_units"])
    of_blocks = 30.4 * (told.day.dollars.table + told.day.dollars.archive + told.day.dollars.kept) / 10
    assert told.next_host.dollars == pytest.approx(of_rows + of_blocks)


@pytest.mark.parametrize("sources", [1, 3, 4, 5, 7, 8, 9, 10_000])
def test_never_more_sources_than_it_may_are_read(sources):
    placed = Placed()
    day = metered.meter(queries(sources, placed), CALL).day
    assert (day.sources, day.measured) == (sources, len(placed.asked))
    assert 1 <= len(placed.asked) <= METERED_SOURCES_MAX


class Months:
    """A MonthStore; ``away`` fails after it has added."""

    def __init__(self):
        self.added, self.calls, self.away = Counter(), 0, False

    def add_month(self, tenant, use):
        self.calls += 1
        self.added.update({(tenant, use.month, field): number for field, number in use.counts.items()})
        if self.away:
            raise RetryableError("timed out")


def test_queries_are_written_once_a_minute_and_once_at_most():
    months, clock = Months(), [float(NOW_S)]
    meter = QueryMeter(months, lambda: clock[0])
    for _ in range(600):
        meter.count("acme")
        clock[0] += 1
    assert months.calls <= 10
    months.away = True
    clock[0] += 60
    meter.count("acme")
    meter.count("bolt")
    months.away = False
    clock[0] += 60
    meter.count("acme")
    assert months.added == {("acme", 202_311, "queries"): 602, ("bolt", 202_311, "queries"): 1}


def test_months_are_of_utc():
    assert (month_of(NOW_S), month_of(1_701_388_799), month_of(1_701_388_800)) == (202_311, 202_311, 202_312)
    assert MonthUse(202_311, {}).month == 202_311


def test_reads_of_samples_are_counted_when_they_were_answered():
    system, counted = MemorySystem(lambda: NOW_S), []
    deps = system.deps["reader"]
    system.deps["reader"] = deps._replace(queries=deps.queries._replace(count_query=counted.append))
    asked = event("GET", "/api/v0/hosts/h/metrics?name=m&from=1700000000&to=1700009999")
    assert answer_of(system.handle(asked)).status == 404
    sample = {"hostId": "h", "name": "m", "time": NOW_S, "value": 1}
    assert answer_of(system.handle(event("POST", "/api/v0/tsdb", [sample]))).status == 200
    assert answer_of(system.handle(asked)).status == 200
    assert answer_of(system.handle(event("GET", "/api/v1/query?query=m"))).status == 200
    assert counted == ["a", "a"]
    assert answer_of(system.handle(event("GET", "/api/v1/query?query=("))).status == 400
    assert answer_of(system.handle(event("GET", "/carbyne/v1/usage"))).status == 200
    assert counted == ["a", "a"], "neither refusals nor other reads"
    assert {route.path for route in api.ROUTES} >= set(api.QUERIES)
