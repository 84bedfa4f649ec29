"""The cost meter: what a tenant used in the last months, by the counts in its item, and what that costs at list prices.

Counted: samples, rows, series, queries.  Measured at a few sources each time, and so an estimate: bytes by tier.  The
fixed price of a stack (Redis, shards, alarms) and the time of functions are of no tenant, and not in it.
"""

from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Final

from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import DAY_S, METERED_SOURCES_MAX, METERED_WINDOWS, USAGE_MINUTES_KEPT
from carbyne.core.prices import prices
from carbyne.http.answers import Answer
from carbyne.http.routes import Call, Route
from carbyne.read.mackerel import Queries
from carbyne.read.placement import TIERS, Placement
from carbyne.tenants.accounts import Permission
from carbyne.tenants.months import MonthCounts
from carbyne.tenants.usage import MINUTE_S, Standing

DAYS: Final = 30.4
"""Of a month."""
MINUTES: Final = DAYS * DAY_S / MINUTE_S
WRITE_UNIT_BYTES: Final = 1024
GB: Final = 10**9
LEFT_OUT: Final = "the stack's fixed price (Redis, shards, alarms), the time of functions, reads of the stores"


class MonthDollars(Answer, frozen=True):
    """``requests``: of rows and queries at the front door; ``stream``: of rows."""

    requests: float
    stream: float
    total: float


class MeteredMonth(Answer, frozen=True):
    """``month``: as ``2026-11``, in UTC.  ``rows``: the samples of one source at one time are one; ``series``: the most
    that were active in one hour."""

    month: str
    samples: int
    rows: int
    series: int
    queries: int
    dollars: MonthDollars


class MeteredBytes(Answer, frozen=True):
    """Bytes by tier."""

    hot: int
    late: int
    warm: int
    cold: int


class DayDollars(Answer, frozen=True):
    """``table`` and ``archive``: of what a day writes there; ``kept``: of a month for which they keep it."""

    table: float
    archive: float
    kept: float


class MeteredDay(Answer, frozen=True):
    """An estimate: what a day's samples of ``measured`` sources take in each tier, times all ``sources`` that the
    registry knows; ``writes``: write units of their blocks, each put once; ``puts``: objects of S3."""

    sources: int
    measured: int
    bytes: MeteredBytes
    writes: int
    puts: int
    dollars: DayDollars


class NextHost(Answer, frozen=True):
    """An estimate: what one source more like the others costs in its first month, at the present rate of samples."""

    samples: int
    dollars: float


class TenantMeter(Answer, frozen=True):
    """``months``: the newest first; ``samples_per_minute`` and ``series``: now; ``day`` and ``next_host``: null where
    the registry knows no source, or nothing came in the last minutes; ``left_out``: of all dollars."""

    months: list[MeteredMonth]
    samples_per_minute: int
    series: int
    day: MeteredDay | None
    next_host: NextHost | None
    left_out: str


def meter(queries: Queries, call: Call) -> TenantMeter:
    """What the tenant of the key used."""
    now_s = queries.now_ms() // 1000
    standing = queries.standing(call.tenant)
    day = _day(queries, call.tenant, now_s)
    rate = _samples_per_minute(standing, now_s)
    return TenantMeter(
        [_month(month, standing.months[month]) for month in sorted(standing.months, reverse=True)],
        rate,
        standing.series_at(now_s),
        day,
        _next_host(standing.months, rate, day) if day else None,
        LEFT_OUT,
    )


def _month(month: int, counts: MonthCounts) -> MeteredMonth:
    dollars = _dollars(counts.rows, counts.queries)
    return MeteredMonth(
        *(f"{month // 100}-{month % 100:02}", counts.samples, counts.rows, counts.series, counts.queries, dollars)
    )


def _dollars(rows: float, queries: float) -> MonthDollars:
    requests = (rows + queries) / 1e6 * prices()["http_api"]["per_million"]
    stream = rows / 1e6 * prices()["kinesis"]["per_million_units"]
    return MonthDollars(requests, stream, requests + stream)


def _samples_per_minute(standing: Standing, now_s: int) -> int:
    """The mean of the last whole minutes that any were counted in; 0 if they are over."""
    minute = now_s // MINUTE_S
    recent = [standing.samples[at] for at in standing.samples if 0 < minute - at <= USAGE_MINUTES_KEPT]
    return sum(recent) // max(1, len(recent))


def _day(queries: Queries, tenant: str, now_s: int) -> MeteredDay | None:
    """RetryableError if a tier can't be asked."""
    sources = sorted(each.source for each in queries.sources(tenant))
    span_s = min(DAY_S, METERED_WINDOWS * queries.server.raw_window_s)
    if not sources or not span_s:
        return None
    chosen = sources[:: -(-len(sources) // METERED_SOURCES_MAX)]
    span = Window(now_s - span_s, span_s)
    measured = [
        (each, _share(each.window, span))
        for source in chosen
        for each in queries.storage.of(SourceKey(tenant, source), span.start_s * 1000, span.end_s * 1000)
    ]
    return _day_of(measured, len(sources) / len(chosen) * DAY_S / span_s, len(sources), len(chosen))


def _share(window: Window, span: Window) -> float:
    """How much of a window, which may still be open at the span's end, lies in the span."""
    end_s = min(window.end_s, span.end_s)
    return (end_s - max(window.start_s, span.start_s)) / max(1, end_s - window.start_s)


def _day_of(measured: Sequence[tuple[Placement, float]], times: float, sources: int, chosen: int) -> MeteredDay:
    of_tiers = {
        tier: round(times * sum(at.bytes * share for at, share in measured if at.tier == tier)) for tier in TIERS
    }
    units = sum(share * -(-each.bytes // WRITE_UNIT_BYTES) for each, share in measured if each.tier == "warm")
    writes, puts = round(times * units), round(times * sum(share for each, share in measured if each.tier == "cold"))
    table, s3 = prices()["dynamodb"], prices()["s3"]
    dollars = DayDollars(
        writes / 1e6 * table["per_million_write_units"],
        puts / 1e6 * s3["per_million_puts"],
        of_tiers["warm"] / GB * table["per_gb_month"] + of_tiers["cold"] / GB * s3["per_gb_month"],
    )
    return MeteredDay(sources, chosen, MeteredBytes(**of_tiers), writes, puts, dollars)


def _next_host(months: Mapping[int, MonthCounts], rate: int, day: MeteredDay) -> NextHost | None:
    """None without a rate, or a month that says how many samples a row has."""
    newest = months.get(max(months, default=0))
    if not rate or not newest or not newest.samples:
        return None
    samples = rate * MINUTES / day.sources
    sent = _dollars(samples * newest.rows / newest.samples, 0).total
    stored = (day.dollars.table + day.dollars.archive + day.dollars.kept) * DAYS / day.sources
    return NextHost(round(samples), sent + stored)


def counted(route: Route[Queries]) -> Route[Queries]:
    """The same routes; each answer counts as a query."""

    @wraps(route.handler)
    def handler(queries: Queries, call: Call) -> object:
        answer = route.handler(queries, call)
        queries.count_query(call.tenant)
        return answer

    return route._replace(handler=handler)


ROUTES: Final = (
    Route(
        "GET", "/carbyne/v1/usage", Permission.READ, "What the tenant used by month, and its price", TenantMeter, meter
    ),
)
