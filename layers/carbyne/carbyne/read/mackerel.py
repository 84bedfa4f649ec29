"""The HTTP side of reads: Mackerel's calls on metrics of hosts and services."""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from carbyne.core.errors import RequestError
from carbyne.core.keys import RAW, RESOLUTIONS, SourceKey
from carbyne.core.limits import LATEST_PAIRS_MAX
from carbyne.http.message import Request, Response, json_response, one, span_ms
from carbyne.http.routes import Call, Route, dispatch
from carbyne.read.placement import Storage
from carbyne.read.reader import How, Reader
from carbyne.samples.rollups import AGGREGATES
from carbyne.tenants.accounts import Accounts, Permission

WARNINGS_HEADER: Final = "Carbyne-Warnings"
RESOLUTION_HEADER: Final = "Carbyne-Resolution"


class Queries(NamedTuple):
    """What answers reads."""

    reader: Reader
    storage: Storage


def route(request: Request, accounts: Accounts, queries: Queries) -> Response:
    """The answer to a read; RequestError and RetryableError are left to ``http.answer``."""
    return dispatch(ROUTES, request, accounts, queries)


def host_metrics(queries: Queries, call: Call) -> Response:
    """``GET /api/v0/hosts/<id>/metrics?name&from&to``: ``{"metrics": [{"time", "value"}]}``, oldest first."""
    return _metrics(queries.reader, _host(call), call.request)


def service_metrics(queries: Queries, call: Call) -> Response:
    """``GET /api/v0/services/<name>/metrics?name&from&to``: as of a host."""
    return _metrics(queries.reader, _service(call), call.request)


def host_metric_names(queries: Queries, call: Call) -> Response:
    """``GET /api/v0/hosts/<id>/metric-names``: ``{"names": [...]}``, sorted; none if nothing was ever posted."""
    return json_response(200, {"names": sorted(queries.reader.series(_host(call)))})


def service_metric_names(queries: Queries, call: Call) -> Response:
    """``GET /api/v0/services/<name>/metric-names``: as of a host."""
    return json_response(200, {"names": sorted(queries.reader.series(_service(call)))})


def _host(call: Call) -> SourceKey:
    return SourceKey(call.tenant, f"host/{call.parts['id']}")


def _service(call: Call) -> SourceKey:
    return SourceKey(call.tenant, f"service/{call.parts['service']}")


def _metrics(reader: Reader, source: SourceKey, request: Request) -> Response:
    from_ms, to_ms = span_ms(request)
    answer = reader.read(source, one(request, "name"), from_ms, to_ms, _how(request))
    points = zip((answer.ts_ms // 1000).tolist(), answer.values.tolist(), strict=True)
    metrics = [{"time": time, "value": value} for time, value in points]
    return _respond({"metrics": metrics}, answer.warnings, {RESOLUTION_HEADER: answer.resolution})


def latest(queries: Queries, call: Call) -> Response:
    """``GET /api/v0/tsdb/latest?hostId&name``, both repeatable: ``{"tsdbLatest": {host: {name: {"time", "value"}}}}``.

    A metric without a sample in the last day is left out.
    """
    request = call.request
    hosts, names = _many(request, "hostId"), _many(request, "name")
    if len(hosts) * len(names) > LATEST_PAIRS_MAX:
        raise RequestError(400, f"{len(hosts)} hosts x {len(names)} names; ask for {LATEST_PAIRS_MAX} pairs at most")
    result: dict[str, dict[str, dict[str, float]]] = {}
    warnings: list[str] = []
    for host in hosts:
        found = queries.reader.latest(SourceKey(call.tenant, f"host/{host}"), names, partial=_partial(request))
        result[host] = {name: {"time": ts_ms // 1000, "value": value} for name, (ts_ms, value) in found.samples.items()}
        warnings += [warning for warning in found.warnings if warning not in warnings]
    return _respond({"tsdbLatest": result}, warnings)


def storage(queries: Queries, call: Call) -> Response:
    """``GET /carbyne/v1/storage?source&from&to``: where the samples of a source (``host/<id>``) lie, as
    ``[{"resolution", "window": {"start", "length"}, "tier", "samples", "bytes"}]``, times in seconds."""
    from_ms, to_ms = span_ms(call.request)
    stored = queries.storage.of(SourceKey(call.tenant, one(call.request, "source")), from_ms, to_ms)
    return json_response(
        200,
        [
            each._asdict() | {"window": {"start": each.window.start_s, "length": each.window.length_s}}
            for each in stored
        ],
    )


ROUTES: Final = (
    Route("GET", "/api/v0/hosts/{id}/metrics", Permission.READ, host_metrics),
    Route("GET", "/api/v0/hosts/{id}/metric-names", Permission.READ, host_metric_names),
    Route("GET", "/api/v0/services/{service}/metrics", Permission.READ, service_metrics),
    Route("GET", "/api/v0/services/{service}/metric-names", Permission.READ, service_metric_names),
    Route("GET", "/api/v0/tsdb/latest", Permission.READ, latest),
    Route("GET", "/carbyne/v1/storage", Permission.READ, storage),
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
    value = one(request, name)
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
