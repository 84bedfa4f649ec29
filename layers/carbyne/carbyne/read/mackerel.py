"""The HTTP side of reads: Mackerel's calls on metrics of hosts and services."""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta

from carbyne.core import names
from carbyne.core.errors import RequestError
from carbyne.core.keys import RAW, RESOLUTIONS, SourceKey
from carbyne.core.limits import BATCH_SOURCES_MAX, EXPRESSION_CHARACTERS_MAX, LATEST_PAIRS_MAX, SOURCE_NAME_BYTES_MAX
from carbyne.http.listing import Page, listing, page_of
from carbyne.http.message import Request, Response, if_changed, json_response, parameter, span_ms, unchanged
from carbyne.http.routes import PAGE, Call, Parameter, Route, Seconds, Text
from carbyne.read.answers import Latest, Names, Point, Points, Stored, StoredWindow
from carbyne.read.batch import Batch, BatchAnswer, DrawExpression, ReadSpan, no_expressions
from carbyne.read.cardinality import CardinalityReport, no_report
from carbyne.read.finder import FindSeries, no_series
from carbyne.read.listings import NO_LISTINGS, Listings
from carbyne.read.placement import Storage
from carbyne.read.reader import How, Reader
from carbyne.read.registered import ListSources, no_sources
from carbyne.read.rules import ListRules, no_rules
from carbyne.samples.rollups import AGGREGATES
from carbyne.tenants.accounts import Permission
from carbyne.tenants.usage import Standing

WARNINGS_HEADER: Final = "Carbyne-Warnings"
RESOLUTION_HEADER: Final = "Carbyne-Resolution"


def all_registered(_: SourceKey) -> bool:
    """In the place of a registry, where there is none: no source is unknown."""
    return True


def now_never() -> int:
    """In the place of a clock, where there is none."""
    return 0


def no_standing(_: str) -> Standing:
    """In the place of accounts, where there are none."""
    return Standing()


def not_counted(_: str) -> None:
    """In the place of a meter, where there is none."""


class ServerAbout(NamedTuple):
    """``retention_s``: by resolution; ``started_ms``: when this instance began."""

    raw_window_s: int
    retention_s: Mapping[str, int]
    started_ms: int


UNKNOWN_SERVER: Final = ServerAbout(0, {}, 0)


class Queries(NamedTuple):
    """What answers reads; ``is_registered``: whether the registry knows a source; ``sources``: all that it knows;
    ``find``: labelled series; ``listings``: of all series; ``report``: of what makes most of them; ``rules``: of
    alerts; ``server``: who answers; ``standing``: of a tenant; ``count_query``: one of a tenant more; ``draw``: lines
    of expressions."""

    reader: Reader
    storage: Storage
    batch: Batch
    is_registered: Callable[[SourceKey], bool] = all_registered
    sources: ListSources = no_sources
    find: FindSeries = no_series
    listings: Listings = NO_LISTINGS
    report: Callable[[str], CardinalityReport] = no_report
    now_ms: Callable[[], int] = now_never
    rules: ListRules = no_rules
    server: ServerAbout = UNKNOWN_SERVER
    standing: Callable[[str], Standing] = no_standing
    count_query: Callable[[str], None] = not_counted
    draw: DrawExpression = no_expressions


def host_metrics(queries: Queries, call: Call) -> Response:
    return _metrics(queries.reader, _host(call), call.request)


def service_metrics(queries: Queries, call: Call) -> Response:
    return _metrics(queries.reader, _service(call), call.request)


def host_metric_names(queries: Queries, call: Call) -> Response:
    return _names(queries, _host(call), page_of(call.request.query))


def service_metric_names(queries: Queries, call: Call) -> Response:
    return _names(queries, _service(call), page_of(call.request.query))


def _names(queries: Queries, source: SourceKey, page: Page) -> Response:
    """Of a source that is registered or has samples, since posts need no registration."""
    series = queries.reader.series(source)
    if not series and not queries.is_registered(source):
        raise RequestError(404, f"{source.source} is unknown")
    return Response(200, listing("names", ((name, name) for name in sorted(series)), page))


def _host(call: Call) -> SourceKey:
    return _source(call, "host", call.parts["id"])


def _service(call: Call) -> SourceKey:
    return _source(call, "service", call.parts["service"])


def _source(call: Call, kind: str, name: str) -> SourceKey:
    """RequestError 404 for a name that no post can have, since the stores' keys need not hold it."""
    if not names.is_source_name(name):
        raise RequestError(404, f"{kind} {name[:SOURCE_NAME_BYTES_MAX]!r} is unknown")
    return SourceKey(call.tenant, f"{kind}/{name}")


def _metrics(reader: Reader, source: SourceKey, request: Request) -> Response:
    """Samples or buckets of one metric, oldest first."""
    from_ms, to_ms = span_ms(request)
    answer = reader.read(source, parameter(request, "name"), from_ms, to_ms, _how(request))
    points = zip((answer.ts_ms // 1000).tolist(), answer.values.tolist(), strict=True)
    metrics = [Point(time_s, value) for time_s, value in points]
    return _respond(Points(metrics), answer.warnings, {RESOLUTION_HEADER: answer.resolution})


def latest(queries: Queries, call: Call) -> Response:
    """A metric without a sample in the last day is left out."""
    request = call.request
    hosts, metrics = _many(request, "hostId"), _many(request, "name")
    if len(hosts) * len(metrics) > LATEST_PAIRS_MAX:
        raise RequestError(400, f"{len(hosts)} hosts x {len(metrics)} names; ask for {LATEST_PAIRS_MAX} pairs at most")
    sources = [SourceKey(call.tenant, names.source(f"host/{host}")) for host in hosts]
    newest = queries.reader.latest(sources, metrics, partial=_partial(request))
    points = {
        host: {metric: Point(ts_ms // 1000, value) for metric, (ts_ms, value) in newest[source].samples.items()}
        for host, source in zip(hosts, sources, strict=True)
    }
    warnings = dict.fromkeys(warning for source in sources for warning in newest[source].warnings)
    return _respond(Latest(points), list(warnings))


def storage(queries: Queries, call: Call) -> list[Stored]:
    """For people who operate the system."""
    from_ms, to_ms = span_ms(call.request)
    source = names.source(parameter(call.request, "source"))
    placements = queries.storage.of(SourceKey(call.tenant, source), from_ms, to_ms)
    return [
        Stored(each.resolution, StoredWindow(each.window.start_s, each.window.length_s), each.tier, *each[3:])
        for each in placements
    ]


def batch(queries: Queries, call: Call) -> Response:
    """For pages of graphs."""
    request = call.request
    sources = [SourceKey(call.tenant, names.source(source)) for source in _many(request, "source")]
    if len(sources) > BATCH_SOURCES_MAX:
        raise RequestError(400, f"{len(sources)} sources; ask for at most {BATCH_SOURCES_MAX} at once")
    series = _many(request, "name") if "name" in request.query else []
    how = How(_choice(request, "resolution", RESOLUTIONS), partial=_partial(request))
    span = ReadSpan(*span_ms(request))
    sealed = queries.batch.sealed(sources, span, how)
    tag = repr((call.tenant, sorted(request.query.items()), sealed)).encode() if sealed else b""
    if known := unchanged(request, tag):
        return known
    columns, warnings = queries.batch.read(sources, series, span, how)
    answer = _respond(columns, warnings, {RESOLUTION_HEADER: columns.resolution})
    return if_changed(request, answer, b"" if warnings else tag)


def expression(queries: Queries, call: Call) -> BatchAnswer:
    """For graphs of dashboards."""
    text = parameter(call.request, "expression")
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise RequestError(400, f"the expression has {len(text)} characters; send at most {EXPRESSION_CHARACTERS_MAX}")
    return queries.draw(call.tenant, text, ReadSpan(*span_ms(call.request)))


SPAN: Final = (
    Parameter("from", Seconds, "Seconds since 1970", required=True),
    Parameter("to", Seconds, "Seconds since 1970, not before `from`", required=True),
)
PARTIAL: Final = Parameter("partial", Literal["true", "false"], "true: answer with what there is where it would be 503")
METRIC: Final = (
    Parameter("name", Text, "Of the metric", required=True),
    *SPAN,
    Parameter("resolution", Literal["raw", "5m", "1h", "1d"], "Without it, what suits the span"),
    Parameter("agg", Literal["avg", "min", "max", "sum", "count"], "Of a bucket; not with resolution=raw"),
    PARTIAL,
)
LATEST: Final = (
    Parameter("hostId", Annotated[list[Text], Meta(min_length=1)], "Hosts", required=True),
    Parameter("name", Annotated[list[Text], Meta(min_length=1)], "Metrics", required=True),
    PARTIAL,
)
BATCH: Final = (
    Parameter("source", Annotated[list[Text], Meta(min_length=1)], "`host/<id>` or `service/<name>`", required=True),
    Parameter("name", list[Text], "Metrics, exact or ending in `*`; without it all"),
    *SPAN,
    Parameter("resolution", Literal["raw", "5m", "1h", "1d"], "Without it, what suits the span"),
    PARTIAL,
)
EXPRESSION: Final = (Parameter("expression", Text, "Of Mackerel's functions", required=True), *SPAN)
STORAGE: Final = (Parameter("source", Text, "As `host/<id>` or `service/<name>`", required=True), *SPAN)
WARNINGS: Final = {WARNINGS_HEADER: "What is missing in the answer; only with partial=true"}
METRIC_HEADERS: Final = {**WARNINGS, RESOLUTION_HEADER: "Resolution of the answer: raw, 5m, 1h or 1d"}
ROUTES: Final = (
    Route(
        "GET",
        "/api/v0/hosts/{id}/metrics",
        Permission.READ,
        "Samples of one metric of a host",
        Points,
        host_metrics,
        parameters=METRIC,
        headers=METRIC_HEADERS,
        not_found="The host never had this metric",
    ),
    Route(
        "GET",
        "/api/v0/hosts/{id}/metric-names",
        Permission.READ,
        "Metrics of a host",
        Names,
        host_metric_names,
        parameters=PAGE,
        not_found="The host is not registered and has no samples",
    ),
    Route(
        "GET",
        "/api/v0/services/{service}/metrics",
        Permission.READ,
        "Samples of one metric of a service",
        Points,
        service_metrics,
        parameters=METRIC,
        headers=METRIC_HEADERS,
        not_found="The service never had this metric",
    ),
    Route(
        "GET",
        "/api/v0/services/{service}/metric-names",
        Permission.READ,
        "Metrics of a service",
        Names,
        service_metric_names,
        parameters=PAGE,
        not_found="The service is not registered and has no samples",
    ),
    Route(
        "GET",
        "/api/v0/tsdb/latest",
        Permission.READ,
        "The newest sample of each of several metrics of several hosts",
        Latest,
        latest,
        parameters=LATEST,
        headers=WARNINGS,
    ),
    Route(
        "GET",
        "/carbyne/v1/storage",
        Permission.READ,
        "Where the samples of a source lie",
        list[Stored],
        storage,
        parameters=STORAGE,
    ),
    Route(
        "GET",
        "/carbyne/v1/batch",
        Permission.READ,
        "Many series of many sources over one span, as columns",
        BatchAnswer,
        batch,
        parameters=BATCH,
        headers=METRIC_HEADERS,
    ),
    Route(
        "GET",
        "/carbyne/v1/expression",
        Permission.READ,
        "Lines of an expression over one span, as columns of one source",
        BatchAnswer,
        expression,
        parameters=EXPRESSION,
    ),
)


def _respond(value: object, warnings: list[str], headers: Mapping[str, str] | None = None) -> Response:
    said = {WARNINGS_HEADER: "; ".join(warnings)} if warnings else {}
    return json_response(200, value, {**(headers or {}), **said})


def _how(request: Request) -> How:
    """``resolution=raw|5m|1h|1d`` and ``agg=avg|min|max|sum|count`` where the client chooses."""
    resolution, aggregated = _choice(request, "resolution", RESOLUTIONS), _choice(request, "agg", ("avg", *AGGREGATES))
    if aggregated and resolution == RAW:
        raise RequestError(400, "agg is of rolled up resolutions; raw samples have no aggregate")
    return How(resolution, aggregated or "avg", _partial(request))


def _choice(request: Request, name: str, choices: Collection[str]) -> str | None:
    if name not in request.query:
        return None
    value = parameter(request, name)
    if value not in choices:
        raise RequestError(400, f"{name} must be one of {', '.join(choices)}; got {value[:32]!r}")
    return value


def _many(request: Request, name: str) -> list[str]:
    values = list(dict.fromkeys(request.query.get(name, [])))
    if not values or not all(values):
        raise RequestError(400, f"the query needs {name} at least once, and not empty")
    return values


def _partial(request: Request) -> bool:
    """``partial=true``: answer with what there is, and say in a header what is missing, instead of a 503."""
    return request.query.get("partial") == ["true"]
