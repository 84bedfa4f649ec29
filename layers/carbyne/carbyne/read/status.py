"""What Prometheus' API says of the server itself, its rules and alerts."""

import os
import socket
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from carbyne.core.errors import QueryError
from carbyne.core.limits import QUERY_LOOKBACK_MS, QUERY_SAMPLES_MAX, QUERY_TIMEOUT_S, SELECTORS_MAX
from carbyne.http.prometheus import QueryFailure
from carbyne.http.routes import Call, Parameter, Route, Text
from carbyne.read.mackerel import Queries
from carbyne.read.prometheus import VERSION, QuerySuccess
from carbyne.read.rules import Matches, RuleFilter, RulePage, alerts_of, paged
from carbyne.tenants.accounts import Permission


def build_info(_: Queries, __: Call) -> QuerySuccess:
    """What data sources ask to know which server this is."""
    about = {"version": VERSION, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}
    return QuerySuccess({**about, "application": "Carbyne"})


def config(queries: Queries, _: Call) -> QuerySuccess:
    """The settings that decide what a query finds, as YAML."""
    lines = ["carbyne:", f"  raw_window: {queries.server.raw_window_s}s", "  retention:"]
    kept = [f"    {resolution}: {seconds}s" for resolution, seconds in queries.server.retention_s.items()]
    return QuerySuccess({"yaml": "\n".join([*lines, *kept, ""])})


def flags(queries: Queries, _: Call) -> QuerySuccess:
    """The flags of Prometheus that mean something here, with what is in force."""
    return QuerySuccess(
        {
            "enable-feature": "promql-experimental-functions,promql-binop-fill-modifiers",
            "query.lookback-delta": f"{QUERY_LOOKBACK_MS // 60_000}m",
            "query.max-samples": str(QUERY_SAMPLES_MAX),
            "query.timeout": f"{QUERY_TIMEOUT_S:g}s",
            "storage.tsdb.retention.time": _retention(queries),
            "web.enable-admin-api": "true",
            "web.enable-remote-write-receiver": "true",
        }
    )


def runtime_info(queries: Queries, _: Call) -> QuerySuccess:
    """Of the instance that answers; ``goroutineCount`` are its threads."""
    started = _rfc3339(queries.server.started_ms)
    return QuerySuccess(
        {
            "startTime": started,
            "CWD": "",
            "hostname": socket.gethostname(),
            "serverTime": _rfc3339(queries.now_ms()),
            "reloadConfigSuccess": True,
            "lastConfigTime": started,
            "corruptionCount": 0,
            "goroutineCount": threading.active_count(),
            "GOMAXPROCS": os.cpu_count() or 1,
            "GOMEMLIMIT": int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")) * 2**20,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": _retention(queries),
        }
    )


def _retention(queries: Queries) -> str:
    return f"{queries.server.retention_s.get('raw', 0) // 86_400}d"


def _rfc3339(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rules(queries: Queries, call: Call) -> QuerySuccess:
    """Groups of rules."""
    query = call.request.query
    kind = query.get("type", [""])[0].lower()
    if kind not in ("", "alert", "record"):
        raise QueryError("bad_data", f'invalid parameter "type": not supported value "{kind[:40]}"')
    only = RuleFilter(
        kind,
        query.get("rule_name[]", ()),
        query.get("rule_group[]", ()),
        query.get("file[]", ()),
        not _is_set(query, "exclude_alerts"),
        _matches(query.get("match[]", ())),
    )
    groups, token = paged(queries.rules(call.tenant), only, _page(query))
    return QuerySuccess({"groups": groups, **({"groupNextToken": token} if token else {})})


def _is_set(query: Mapping[str, Sequence[str]], name: str) -> bool:
    """QueryError for what Go reads as neither true nor false."""
    text = query.get(name, [""])[0].lower()
    if text in ("", "0", "f", "false"):
        return False
    if text in ("1", "t", "true"):
        return True
    raise QueryError("bad_data", f'invalid parameter "{name}": {text[:40]!r} is neither true nor false')


def _matches(selectors: Sequence[str]) -> list[Matches]:
    """QueryError for what is no selector, or too many of them."""
    if len(selectors) > SELECTORS_MAX:
        raise QueryError("bad_data", f'invalid parameter "match[]": more than {SELECTORS_MAX} selectors')
    return [_match(text) for text in selectors]


def _match(selector: str) -> Matches:
    from carbyne.promql.labels import made  # noqa: PLC0415 - as of queries
    from carbyne.promql.parsed import parse  # noqa: PLC0415
    from carbyne.promql.select import tests_of  # noqa: PLC0415
    from carbyne.promql.tree import Select  # noqa: PLC0415

    try:
        node = parse(selector)
    except QueryError as error:
        raise QueryError("bad_data", str(error).replace('parameter "query"', 'parameter "match[]"', 1)) from None
    if not isinstance(node, Select):
        raise QueryError("bad_data", f'invalid parameter "match[]": {selector[:40]!r} is no selector of series')
    matches = tests_of(node.matches)
    return lambda labels: matches(made(labels))


def _page(query: Mapping[str, Sequence[str]]) -> RulePage:
    limit, token = query.get("group_limit", [""])[0], query.get("group_next_token", [""])[0]
    if token and not limit:
        problem = "group_limit needs to be present in order to paginate over the groups"
        raise QueryError("bad_data", f'invalid parameter "group_next_token": {problem}')
    if limit and (not limit.isascii() or not limit.isdecimal() or not 0 < int(limit[:10]) < 2**31):
        raise QueryError("bad_data", 'invalid parameter "group_limit": group_limit needs to be greater than 0')
    return RulePage(int(limit[:10]) if limit else 0, token)


def alerts(queries: Queries, call: Call) -> QuerySuccess:
    """Alerts that are pending or firing."""
    return QuerySuccess({"alerts": alerts_of(queries.rules(call.tenant))})


RULES: Final = (
    Parameter("type", Text, "`alert` or `record`"),
    Parameter("rule_name[]", list[str], "Names of rules"),
    Parameter("rule_group[]", list[str], "Names of groups"),
    Parameter("file[]", list[str], "Files of groups"),
    Parameter("exclude_alerts", Text, "`true`: rules without their alerts"),
    Parameter("match[]", list[str], "Selectors of the rules' labels, of which one must match"),
    Parameter("group_limit", Text, "Groups of a page; without it all"),
    Parameter("group_next_token", Text, "Continue behind a page: the `groupNextToken` of its answer"),
)


def _get(path: str, summary: str, handler: Any, parameters: Any = ()) -> Route[Queries]:  # noqa: ANN401
    return Route(
        *("GET", path, Permission.READ, summary, QuerySuccess, handler), parameters=parameters, error=QueryFailure
    )


ROUTES: Final = (
    _get("/api/v1/rules", "Rules and their alerts", rules, RULES),
    _get("/api/v1/alerts", "Alerts of rules", alerts),
    _get("/api/v1/status/buildinfo", "The version of Prometheus' API that this is", build_info),
    _get("/api/v1/status/config", "Settings that decide what a query finds", config),
    _get("/api/v1/status/flags", "Bounds of queries, as flags of Prometheus", flags),
    _get("/api/v1/status/runtimeinfo", "The instance that answers", runtime_info),
)
