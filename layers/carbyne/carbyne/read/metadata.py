"""The HTTP side of listings: Prometheus' API for labels, series and metadata, which dashboards offer to choose from."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta

from carbyne.core.errors import QueryError
from carbyne.core.limits import CARDINALITY_TOP_MAX, DELETED_SERIES_MAX, SELECTORS_MAX
from carbyne.http.prometheus import MATCHED_PATH, MatchedSeries, QueryFailure, StoredSeries
from carbyne.http.routes import Call, Parameter, Route, Text
from carbyne.read.finder import Matchers
from carbyne.read.mackerel import Queries
from carbyne.read.prometheus import Parameters, QuerySuccess, Timestamp, both
from carbyne.stream.records import ALL_TIME_MS
from carbyne.tenants.accounts import Permission

ALL: Final[Sequence[Matchers]] = ((),)
"""The selector that finds every series."""
BAD_MATCH: Final = 'invalid parameter "match[]": '
NOT_EMPTY: Final = "match[] must contain at least one non-empty matcher"
TRUNCATED: Final = "results truncated due to limit"
ESCAPED: Final = "U__"
"""What begins so in a path is a label's name of which some characters are written as numbers."""
_CODE: Final = re.compile(r"_(?:_|([0-9A-Fa-f]{1,6})_)")
_ESCAPED_NAME: Final = re.compile(r"(?:[^_]|_(?:_|[0-9A-Fa-f]{1,6}_))*")
TOP: Final = 10
"""Entries of each list of the report on cardinality, unless it is asked for more."""
ALWAYS_MS: Final = (-(2**53), 2**53)
"""The span of a request that names none."""


def label_names(queries: Queries, call: Call) -> QuerySuccess:
    given = Parameters(call.request)
    listed = queries.listings.label_names(call.tenant, _selectors(given), *_span_ms(given))
    return _cut(listed.texts, given, listed.warnings)


def label_values(queries: Queries, call: Call) -> QuerySuccess:
    given, name = Parameters(call.request), unescaped(call.parts["name"])
    if not name:
        raise QueryError("bad_data", f'invalid label name: "{name}"')
    listed = queries.listings.label_values(call.tenant, name, _selectors(given), *_span_ms(given))
    return _cut(listed.texts, given, listed.warnings)


def series(queries: Queries, call: Call) -> QuerySuccess:
    given = Parameters(call.request)
    listed = queries.listings.series(call.tenant, _some_selectors(given), *_span_ms(given))
    return _cut([dict(labels) for labels in listed], given, [])


def matched_series(queries: Queries, call: Call) -> QuerySuccess:
    """What ``delete_series`` would delete.  QueryError ``execution`` for more than one call deletes."""
    given = Parameters(call.request)
    selectors, (from_ms, to_ms) = _some_selectors(given), _span_ms(given)
    if to_ms < from_ms:
        raise QueryError("bad_data", 'invalid parameter "end": end timestamp must not be before start time')
    span_ms = max(from_ms, ALL_TIME_MS[0]), min(to_ms, ALL_TIME_MS[1])
    stored = queries.listings.stored(call.tenant, selectors, *span_ms)
    if len(stored) > DELETED_SERIES_MAX:
        raise QueryError(
            "execution",
            f"the selectors match {len(stored)} series, and one call deletes {DELETED_SERIES_MAX} at most: name more"
            " labels, or a shorter time, or delete a whole source by DELETE /carbyne/v1/samples",
        )
    return QuerySuccess(MatchedSeries(*span_ms, [StoredSeries(each.source.source, each.key) for each in stored]))


def metadata(queries: Queries, call: Call) -> QuerySuccess:
    """What senders said about metrics: each metric has one entry."""
    given = Parameters(call.request)
    limit, per_metric = _number(given, "limit"), _number(given, "limit_per_metric")
    entries = queries.listings.metrics(call.tenant)
    metric = given.text("metric")
    names = sorted(entries) if not metric else [metric] if metric in entries else []
    about = {
        name: [{"type": entry.kind, "help": entry.about, "unit": entry.unit}][: per_metric if per_metric > 0 else 1]
        for name, entry in ((name, entries[name]) for name in names[: limit if limit >= 0 else None])
    }
    return QuerySuccess(about)


def cardinality(queries: Queries, call: Call) -> QuerySuccess:
    """As Prometheus' ``status/tsdb``, with the targets as well."""
    limit = _number(Parameters(call.request), "limit", TOP)
    if limit < 1:
        raise QueryError("bad_data", "limit must be a positive number")
    report = queries.report(call.tenant)

    def top(counts: Counter[str]) -> list[dict[str, Any]]:
        ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return [{"name": name, "value": number} for name, number in ordered[: min(limit, CARDINALITY_TOP_MAX)]]

    pairs = Counter({f"{label}={value}": number for (label, value), number in report.of_pairs.items()})
    head = {
        "numSeries": report.series,
        "numLabelPairs": len(pairs),
        "chunkCount": 0,
        "minTime": report.since_ms,
        "maxTime": queries.now_ms(),
    }
    data = {
        "headStats": head,
        "seriesCountByMetricName": top(report.of_metrics),
        "labelValueCountByLabelName": top(report.values),
        "memoryInBytesByLabelName": top(report.value_bytes),
        "seriesCountByLabelValuePair": top(pairs),
        "seriesCountByTarget": top(report.of_sources),
    }
    return QuerySuccess(data, report.warnings or UNSET)


def unescaped(name: str) -> str:
    """A label's name as it is, of one as Prometheus' clients write it in a path: ``U__a_2e_b`` is ``a.b``."""
    body = name.removeprefix(ESCAPED)
    if body == name or not _ESCAPED_NAME.fullmatch(body):
        return name
    codes = [int(code, 16) for code in _CODE.findall(body) if code]
    if any(code > 0x10FFFF or 0xD800 <= code < 0xE000 for code in codes):
        return name
    return _CODE.sub(lambda code: chr(int(code[1], 16)) if code[1] else "_", body)


def _some_selectors(given: Parameters) -> Sequence[Matchers]:
    """As ``_selectors``; QueryError ``bad_data`` for none."""
    if not given.every("match[]"):
        raise QueryError("bad_data", "no match[] parameter provided")
    return _selectors(given)


def _selectors(given: Parameters) -> Sequence[Matchers]:
    """QueryError ``bad_data`` for what is no selector, or finds series whatever their labels."""
    texts = given.every("match[]")
    if len(texts) > SELECTORS_MAX:
        raise _bad(f"{len(texts)} selectors; at most {SELECTORS_MAX} are read")
    return [_matchers(text) for text in texts] or ALL


def _matchers(text: str) -> Matchers:
    from carbyne.promql.parsed import parse  # noqa: PLC0415 - the parser costs what only queries need
    from carbyne.promql.select import test_of  # noqa: PLC0415
    from carbyne.promql.tree import Select  # noqa: PLC0415

    try:
        select = parse(text)
        if not isinstance(select, Select) or select.offset_ms or select.at is not None:
            raise _bad(f"{text[:80]!r} is no selector of series")
        matchers = [(match.name, test_of(match)) for match in select.matches]
    except QueryError as error:
        reason = error.message.removeprefix('invalid parameter "query": ').removeprefix(BAD_MATCH)
        raise _bad(NOT_EMPTY if "non-empty matcher" in reason else reason) from None
    if all(test("") for _, test in matchers):
        raise _bad(NOT_EMPTY)
    return matchers


def _bad(reason: str) -> QueryError:
    return QueryError("bad_data", f"{BAD_MATCH}{reason}")


def _span_ms(given: Parameters) -> tuple[int, int]:
    from carbyne.read.evaluated import time_ms  # noqa: PLC0415 - as above

    first_ms, last_ms = ALWAYS_MS
    return time_ms(given, "start", first_ms), time_ms(given, "end", last_ms)


def _cut(elements: Sequence[Any], given: Parameters, warnings: Iterable[str]) -> QuerySuccess:
    """The first ``limit`` elements, all without it, and what is to be known of them."""
    limit = _number(given, "limit", 0)
    if limit < 0:
        raise QueryError("bad_data", 'invalid parameter "limit": limit must be non-negative')
    is_cut = 0 < limit < len(elements)
    notes = [*warnings, *([TRUNCATED] if is_cut else [])]
    return QuerySuccess(elements[:limit] if is_cut else elements, notes or UNSET)


def _number(given: Parameters, name: str, default: int = -1) -> int:
    text = given.text(name)
    if text and not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise QueryError("bad_data", f"{name} must be a number")
    return int(text) if text else default


SELECTORS: Final = Parameter("match[]", list[Text], "Selectors; of several, what any of them finds")
SPAN: Final = (
    Parameter("start", Timestamp, "Seconds since 1970, or RFC 3339; without it the beginning"),
    Parameter("end", Timestamp, "Seconds since 1970, or RFC 3339; without it the end"),
)
LIMIT: Final = Parameter("limit", Annotated[int, Meta(ge=0)], "Of elements in the answer, 0 for all")
LISTED: Final = (SELECTORS, *SPAN, LIMIT)
METRIC: Final = (
    Parameter("metric", Text, "The only one to be described"),
    Parameter("limit", Annotated[int, Meta(ge=-1)], "Of metrics in the answer, -1 for all"),
    Parameter("limit_per_metric", Annotated[int, Meta(ge=-1)], "Of descriptions of one metric"),
)
FAILS: Final = "The selectors leave too many series to look into"
ROUTES: Final = (
    *both("/api/v1/labels", "Names of labels", label_names, LISTED, FAILS),
    Route(
        *("GET", "/api/v1/label/{name}/values", Permission.READ, "Values of a label", QuerySuccess, label_values),
        parameters=LISTED,
        error=QueryFailure,
        unprocessable=FAILS,
    ),
    *both("/api/v1/series", "Series, each as all its labels", series, LISTED, FAILS),
    *both(MATCHED_PATH, "The series that `delete_series` would delete", matched_series, (SELECTORS, *SPAN), FAILS),
    Route(
        *("GET", "/api/v1/metadata", Permission.READ, "Types and descriptions of metrics", QuerySuccess, metadata),
        parameters=METRIC,
        error=QueryFailure,
    ),
    Route(
        *("GET", "/api/v1/status/tsdb", Permission.READ, "What makes the most series", QuerySuccess, cardinality),
        parameters=(Parameter("limit", Annotated[int, Meta(ge=1)], "Entries of each list"),),
        error=QueryFailure,
    ),
)
