"""Queries of PromQL over the samples of a tenant, and their answers in Prometheus' form."""

import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import compress
from typing import Any, Final

from msgspec import UNSET

from carbyne.core.errors import QueryError
from carbyne.core.limits import (
    QUERY_LOOKBACK_MS,
    QUERY_NOTES_MAX,
    QUERY_POINTS_MAX,
    QUERY_TIME_S_MAX,
    QUERY_TIMEOUT_S,
)
from carbyne.promql import query
from carbyne.promql.described import described
from carbyne.promql.frames import Floats, Frame
from carbyne.promql.labels import Labels
from carbyne.promql.numbers import of_answer, of_answers
from carbyne.promql.parsed import parse, pretty
from carbyne.promql.query import Options, QueryAnswer
from carbyne.promql.scope import QuerySpan
from carbyne.promql.select import Selector, SeriesSamples
from carbyne.read.mackerel import Queries
from carbyne.read.prometheus import Parameters, QuerySuccess
from carbyne.read.sources import SourceSelector
from carbyne.read.spent import Spent, as_stats
from carbyne.read.targets import AllOf, TargetSelector

Fields = dict[str, Any]
UNITS_MS: Final = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
DURATION: Final = re.compile(r"(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?")
NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")


def at_one_time(queries: Queries, tenant: str, given: Parameters) -> QuerySuccess:
    """The answer of ``query``."""
    text = given.required("query")
    at_ms = time_ms(given, "time", queries.now_ms())
    options, spent = _options(given), Spent()
    answer = query.instant(text, at_ms, _selector(queries, tenant, spent), options)
    return _success(answer, given, spent, at_ms)


def over_a_span(queries: Queries, tenant: str, given: Parameters) -> QuerySuccess:
    """The answer of ``query_range``."""
    text = given.required("query")
    start_ms, end_ms = time_ms(given, "start"), time_ms(given, "end")
    if end_ms < start_ms:
        raise QueryError("bad_data", 'invalid parameter "end": end timestamp must not be before start time')
    step_ms = _duration_ms("step", given.required("step"))
    if step_ms <= 0:
        raise QueryError("bad_data", 'invalid parameter "step": it must be longer than zero')
    span = QuerySpan(start_ms, end_ms, step_ms)
    options, spent = _options(given), Spent()
    answer = query.over(text, span, _selector(queries, tenant, spent), options)
    return _success(answer, given, spent, end_ms)


def series_over(series: Selector, text: str, span: tuple[int, int, int], timeout_s: float) -> list[SeriesSamples]:
    """The values of a query at the steps of a span (first, last and step in ms) at which each series has one.

    A scalar is one series without labels.  QueryError, and RetryableError if a store is away.
    """
    answer = query.over(text, QuerySpan(*span), series, Options(time.monotonic, timeout_s=timeout_s))
    frame = answer.frame
    assert frame is not None
    return [
        SeriesSamples(labels, answer.times_ms[there], values[there])
        for labels, values, there in zip(frame.labels, frame.values, frame.there, strict=True)
    ]


def formatted(given: Parameters) -> QuerySuccess:
    """The answer of ``format_query``."""
    return QuerySuccess(pretty(given.required("query")))


def parsed(given: Parameters) -> QuerySuccess:
    """The answer of ``parse_query``."""
    return QuerySuccess(described(parse(given.required("query"))))


def selector(queries: Queries, tenant: str) -> AllOf:
    """All series of a tenant, for what asks outside of a request."""
    return _selector(queries, tenant, Spent())


def _selector(queries: Queries, tenant: str, spent: Spent) -> AllOf:
    """Of hosts and services, and of what has labels."""
    registered = SourceSelector(queries.reader, tenant, queries.sources, spent)
    return AllOf(registered, TargetSelector(queries.reader, tenant, queries.find, spent))


def _options(given: Parameters) -> Options:
    timeout, lookback = given.text("timeout"), given.text("lookback_delta")
    timeout_s = _duration_ms("timeout", timeout) / 1000 if timeout else QUERY_TIMEOUT_S
    lookback_ms = _duration_ms("lookback_delta", lookback) if lookback else QUERY_LOOKBACK_MS
    return Options(time.monotonic, lookback_ms, min(timeout_s, QUERY_TIMEOUT_S))


def time_ms(given: Parameters, name: str, default_ms: int | None = None) -> int:
    """A time of a query; QueryError ``bad_data`` for none, or one that is missing without a default."""
    text = given.text(name)
    if not text and default_ms is not None:
        return default_ms
    seconds = float(text) if NUMBER.fullmatch(text) else _rfc3339_s(name, text)
    if not abs(seconds) < QUERY_TIME_S_MAX:
        raise QueryError("bad_data", f'invalid parameter "{name}": {text[:40]!r} is out of range')
    return round(seconds * 1000)


def _rfc3339_s(name: str, text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None or "T" not in text.upper():
            raise ValueError(text)
        return (at - datetime.fromtimestamp(0, UTC)).total_seconds()
    except ValueError:
        raise QueryError(
            "bad_data", f'invalid parameter "{name}": cannot parse {text[:40]!r} to a valid timestamp'
        ) from None


def _duration_ms(name: str, text: str) -> int:
    """Seconds, or as ``1h30m``."""
    if NUMBER.fullmatch(text):
        duration_ms = float(text) * 1000
    elif text and DURATION.fullmatch(text):
        duration_ms = sum(float(size) * UNITS_MS[unit] for size, unit in re.findall(r"(\d+)(ms|[smhdwy])", text))
    else:
        raise QueryError("bad_data", f'invalid parameter "{name}": cannot parse {text[:40]!r} to a valid duration')
    if not abs(duration_ms) < QUERY_TIME_S_MAX * 1000:
        raise QueryError("bad_data", f'invalid parameter "{name}": {text[:40]!r} is out of range')
    return round(duration_ms)


def _success(answer: QueryAnswer, given: Parameters, spent: Spent, at_ms: int) -> QuerySuccess:
    data: Fields = {"resultType": answer.kind, "result": _result(answer, at_ms)}
    warnings, infos = _some(answer.warnings, "warning"), [*_some(answer.infos, "info"), *spent.infos()]
    limit = _limit(given)
    if limit and answer.kind in {"vector", "matrix"} and len(data["result"]) > limit:
        data["result"] = data["result"][:limit]
        warnings = [*warnings, "results truncated due to limit"]
    if given.text("stats"):
        data["stats"] = as_stats(spent, answer.read)
    return QuerySuccess(data, warnings or UNSET, infos or UNSET)


def _some(notes: Sequence[str], kind: str) -> list[str]:
    rest = len(notes) - QUERY_NOTES_MAX
    return [*notes[:QUERY_NOTES_MAX], *([f"{rest} more {kind} annotations omitted"] if rest > 0 else [])]


def _limit(given: Parameters) -> int:
    text = given.text("limit") or "0"
    if not re.fullmatch(r"\d{1,9}", text):
        raise QueryError("bad_data", f'invalid parameter "limit": {text[:40]!r} is not a number of series')
    return int(text)


def _result(answer: QueryAnswer, at_ms: int) -> list[Any]:
    frame = answer.frame
    if answer.kind == "string":
        return [_seconds(at_ms), answer.text]
    if frame is None:
        _check_points(sum(len(each.ts_ms) for each in answer.series))
        return [_series(each.labels, map(_seconds, each.ts_ms.tolist()), each.values) for each in answer.series]
    _check_points(int(frame.there.sum()))
    if answer.kind == "scalar":
        return [_seconds(at_ms), of_answer(frame.values[0, 0])]
    if answer.kind == "vector":
        return _vector(frame, at_ms)
    seconds = list(map(_seconds, answer.times_ms.tolist()))
    return [
        _series(labels, compress(seconds, there.tolist()), values[there])
        for labels, values, there in zip(frame.labels, frame.values, frame.there, strict=True)
    ]


def _check_points(points: int) -> None:
    if points > QUERY_POINTS_MAX:
        raise QueryError(
            "execution",
            f"the answer has {points} points, more than {QUERY_POINTS_MAX}: take a longer step or aggregate more",
        )


def _vector(frame: Frame, at_ms: int) -> list[Fields]:
    at = _seconds(at_ms)
    rows = zip(frame.labels, of_answers(frame.values[:, 0].tolist()), strict=True)
    return [{"metric": dict(labels), "value": (at, value)} for labels, value in rows]


def _series(labels: Labels, seconds: Iterable[int | float], values: Floats) -> Fields:
    points = zip(seconds, of_answers(values.tolist()), strict=True)
    return {"metric": dict(labels), "values": list(points)}


def _seconds(ts_ms: int) -> int | float:
    """As Prometheus writes times: seconds, with a fraction only where there is one."""
    return ts_ms / 1000 if ts_ms % 1000 else ts_ms // 1000
