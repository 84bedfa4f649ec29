"""The HTTP side of reads: Mackerel's calls on host metrics."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from carbyne.accounts import Accounts
from carbyne.errors import RequestError
from carbyne.http import Request, Response, json_response, no_route
from carbyne.keys import SourceKey
from carbyne.limits import LATEST_PAIRS_MAX
from carbyne.reader import Reader

API_KEY_HEADER: Final = "x-api-key"
WARNINGS_HEADER: Final = "Carbyne-Warnings"
TIME_S_MAX: Final = 2**40
_HOST_METRICS = re.compile(r"/api/v0/hosts/([^/]+)/metrics")


def route(request: Request, accounts: Accounts, reader: Reader) -> Response:
    """The answer to a read; RequestError and RetryableError are left to ``http.answer``."""
    handler = _handler(request)
    return handler(request, accounts.tenant(request.headers.get(API_KEY_HEADER)), reader)


def _handler(request: Request) -> Callable[[Request, str, Reader], Response]:
    if request.method == "GET" and _HOST_METRICS.fullmatch(request.path):
        return host_metrics
    if request.method == "GET" and request.path == "/api/v0/tsdb/latest":
        return latest
    raise no_route(request)


def host_metrics(request: Request, tenant: str, reader: Reader) -> Response:
    """``GET /api/v0/hosts/<id>/metrics?name&from&to``: ``{"metrics": [{"time", "value"}]}``, oldest first."""
    match = _HOST_METRICS.fullmatch(request.path)
    assert match
    source = SourceKey(tenant, f"host/{unquote(match[1])}")
    from_s, to_s = _time_s(request, "from"), _time_s(request, "to")
    if from_s > to_s:
        raise RequestError(400, f"from ({from_s}) is after to ({to_s})")
    answer = reader.read(source, _one(request, "name"), from_s * 1000, to_s * 1000, partial=_partial(request))
    points = zip((answer.ts_ms // 1000).tolist(), answer.values.tolist(), strict=True)
    return _respond({"metrics": [{"time": time, "value": value} for time, value in points]}, answer.warnings)


def latest(request: Request, tenant: str, reader: Reader) -> Response:
    """``GET /api/v0/tsdb/latest?hostId&name``, both repeatable: ``{"tsdbLatest": {host: {name: {"time", "value"}}}}``.

    A metric without a sample in the last day is left out.
    """
    hosts, names = _many(request, "hostId"), _many(request, "name")
    if len(hosts) * len(names) > LATEST_PAIRS_MAX:
        raise RequestError(400, f"{len(hosts)} hosts x {len(names)} names; ask for {LATEST_PAIRS_MAX} pairs at most")
    result: dict[str, dict[str, dict[str, float]]] = {}
    warnings: list[str] = []
    for host in hosts:
        found = reader.latest(SourceKey(tenant, f"host/{host}"), names, partial=_partial(request))
        result[host] = {name: {"time": ts_ms // 1000, "value": value} for name, (ts_ms, value) in found.samples.items()}
        warnings += [warning for warning in found.warnings if warning not in warnings]
    return _respond({"tsdbLatest": result}, warnings)


def _respond(value: object, warnings: list[str]) -> Response:
    return json_response(200, value, {WARNINGS_HEADER: "; ".join(warnings)} if warnings else None)


def _one(request: Request, name: str) -> str:
    values = request.query.get(name, [])
    if len(values) != 1 or not values[0]:
        raise RequestError(400, f"the query needs {name} once")
    return values[0]


def _many(request: Request, name: str) -> list[str]:
    values = list(dict.fromkeys(request.query.get(name, [])))
    if not values or not all(values):
        raise RequestError(400, f"the query needs {name} at least once, and not empty")
    return values


def _time_s(request: Request, name: str) -> int:
    text = _one(request, name)
    if not re.fullmatch(r"-?[0-9]{1,13}", text) or abs(int(text)) > TIME_S_MAX:
        raise RequestError(400, f"{name} must be a time in seconds since 1970; got {text[:32]!r}")
    return int(text)


def _partial(request: Request) -> bool:
    """``partial=true``: answer with what there is, and say in a header what is missing, instead of a 503."""
    return request.query.get("partial") == ["true"]
