"""The HTTP side of PromQL: Prometheus' API for queries, so that Grafana's data source works as it is.

What evaluates (``carbyne.read.evaluated``) is imported with the first query: an instance that gets none starts sooner.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET, Meta, UnsetType

from carbyne.core.errors import QueryError
from carbyne.core.limits import FORM_BYTES_MAX, QUERY_FIELDS_MAX
from carbyne.http.message import Request, inflate
from carbyne.http.prometheus import QueryFailure
from carbyne.http.routes import Call, Parameter, Route, Text
from carbyne.read.mackerel import Queries
from carbyne.tenants.accounts import Permission

FORM_TYPE: Final = "application/x-www-form-urlencoded"
VERSION: Final = "3.0.0"
"""Of Prometheus, whose API this is: data sources choose by it what they may ask."""


class QuerySuccess(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, tag_field="status", tag="success"):
    """``data``: as Prometheus documents it for each call; ``warnings``, ``infos``: what to know about it."""

    data: Any
    warnings: list[str] | UnsetType = UNSET
    infos: list[str] | UnsetType = UNSET


class Parameters:
    """The parameters of a request: those of its query, and those of a form in its body."""

    def __init__(self, request: Request) -> None:
        form = _form(request)
        self._values = {name: [*form.get(name, []), *request.query.get(name, [])] for name in {**form, **request.query}}

    def text(self, name: str, default: str = "") -> str:
        """The first value of a parameter."""
        return self._values.get(name, [default])[0]

    def every(self, name: str) -> list[str]:
        """All values of a parameter."""
        return self._values.get(name, [])

    def required(self, name: str) -> str:
        """QueryError ``bad_data`` if it is not there."""
        value = self.text(name)
        if not value:
            raise QueryError("bad_data", f'invalid parameter "{name}": it is missing')
        return value


def _form(request: Request) -> Mapping[str, Sequence[str]]:
    if not request.headers.get("content-type", "").startswith(FORM_TYPE):
        return {}
    try:
        text = inflate(request.body, FORM_BYTES_MAX).decode()
        return parse_qs(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise QueryError("bad_data", "the form is not UTF-8, or has too many fields") from None


def instant_query(queries: Queries, call: Call) -> QuerySuccess:
    from carbyne.read import evaluated  # noqa: PLC0415 - 80 ms that only queries cost

    return evaluated.at_one_time(queries, call.tenant, Parameters(call.request))


def range_query(queries: Queries, call: Call) -> QuerySuccess:
    from carbyne.read import evaluated  # noqa: PLC0415

    return evaluated.over_a_span(queries, call.tenant, Parameters(call.request))


def format_query(_: Queries, call: Call) -> QuerySuccess:
    from carbyne.read import evaluated  # noqa: PLC0415

    return evaluated.formatted(Parameters(call.request))


def parse_query(_: Queries, call: Call) -> QuerySuccess:
    from carbyne.read import evaluated  # noqa: PLC0415

    return evaluated.parsed(Parameters(call.request))


def exemplars(_: Queries, __: Call) -> QuerySuccess:
    """Exemplars are not stored."""
    return QuerySuccess([])


Timestamp = Annotated[str, Meta(min_length=1)]
QUERY: Final = Parameter("query", Text, "In PromQL", required=True)
HOW: Final = (
    Parameter("timeout", Text, "How long to compute at most, as `30s`"),
    Parameter("lookback_delta", Text, "How old a sample may be to count as now, as `5m`"),
    Parameter("limit", Annotated[int, Meta(ge=0)], "Of series in the answer, 0 for all"),
    Parameter("stats", Text, "Add what the query read"),
)
INSTANT: Final = (QUERY, Parameter("time", Timestamp, "Seconds since 1970, or RFC 3339; without it now"), *HOW)
RANGE: Final = (
    QUERY,
    Parameter("start", Timestamp, "First step: seconds since 1970, or RFC 3339", required=True),
    Parameter("end", Timestamp, "Last step at most", required=True),
    Parameter("step", Text, "Seconds, or as `1m`", required=True),
    *HOW,
)
EXEMPLARS: Final = (
    Parameter("query", Text, "In PromQL"),
    Parameter("start", Timestamp, "Seconds since 1970, or RFC 3339"),
    Parameter("end", Timestamp, "Seconds since 1970, or RFC 3339"),
)
FAILS: Final = "The query can't be computed, or would read too much"


def both(path: str, summary: str, handler: Any, parameters: Any, fails: str = "") -> tuple[Route[Queries], ...]:  # noqa: ANN401
    """GET, and POST with the parameters as a form."""
    rows = (("GET", summary), ("POST", f"{summary}; parameters may be a form in the body"))
    return tuple(
        Route(
            *(method, path, Permission.READ, about, QuerySuccess, handler),
            parameters=parameters,
            error=QueryFailure,
            unprocessable=fails,
        )
        for method, about in rows
    )


ROUTES: Final = (
    *both("/api/v1/query", "The value of a query at one time", instant_query, INSTANT, FAILS),
    *both("/api/v1/query_range", "The values of a query at steps of a span", range_query, RANGE, FAILS),
    *both("/api/v1/format_query", "A query, written evenly", format_query, (QUERY,)),
    *both("/api/v1/parse_query", "A query as a tree", parse_query, (QUERY,)),
    *both("/api/v1/query_exemplars", "Exemplars, of which there are none", exemplars, EXEMPLARS),
)
