"""What functions that answer in the form of Prometheus' API share: its refusals, and which series a delete is of."""

import logging
from typing import Any, Final, Literal

import msgspec

from carbyne.core.errors import OverLimitError, QueryError, RequestError, RetryableError
from carbyne.core.limits import RETRY_AFTER_S, TENANT_CACHE_S
from carbyne.http.message import Response, json_response

_log = logging.getLogger(__name__)

KINDS: Final = {400: "bad_data", 403: "bad_data", 404: "not_found", 413: "bad_data"}
MATCHED_PATH: Final = "/api/v1/admin/tsdb/matched_series"
DELETE_PATH: Final = "/api/v1/admin/tsdb/delete_series"


class QueryFailure(msgspec.Struct, frozen=True, rename="camel", tag_field="status", tag="error"):
    """Why there is no answer."""

    error_type: Literal["bad_data", "execution", "timeout", "not_found", "unavailable"]
    error: str


class StoredSeries(msgspec.Struct, frozen=True):
    """A series as it is stored: what ``DELETE /carbyne/v1/samples`` takes."""

    source: str
    name: str


class MatchedSeries(msgspec.Struct, frozen=True):
    """What selectors find between two times, ms, both included."""

    from_ms: int
    to_ms: int
    series: list[StoredSeries]


def refused(error: RequestError | RetryableError) -> Response:
    """An error in Prometheus' form."""
    return _failed(error) if isinstance(error, RequestError) else _unavailable(error)


def _failed(error: RequestError) -> Response:
    kind: Any = error.kind if isinstance(error, QueryError) else KINDS.get(error.status, "execution")
    headers = {"Retry-After": str(RETRY_AFTER_S)} if error.status == 503 else {}
    return json_response(error.status, QueryFailure(kind, error.message), headers)


def _unavailable(error: RetryableError) -> Response:
    """What can't be answered now; the same request may succeed later.  Only of its limits a tenant hears more."""
    _log.warning("try again later: %s", error)
    is_limit = isinstance(error, OverLimitError)
    about, after_s = (str(error), TENANT_CACHE_S) if is_limit else ("temporarily unavailable", RETRY_AFTER_S)
    failure = QueryFailure("unavailable", f"{about}; send the request again in {after_s} seconds")
    return json_response(503, failure, {"Retry-After": str(after_s)})
