"""All routes of the reader."""

from typing import Final

from carbyne.core.errors import RequestError, RetryableError
from carbyne.http.message import Request, Response
from carbyne.http.prometheus import refused
from carbyne.http.routes import dispatch
from carbyne.read import mackerel, metadata, metered, prometheus, status
from carbyne.read.mackerel import Queries
from carbyne.tenants.accounts import Accounts

QUERIES: Final = (
    *(f"/api/v0/{owner}/metrics" for owner in ("hosts/{id}", "services/{service}")),
    *("/api/v0/tsdb/latest", "/carbyne/v1/batch", "/carbyne/v1/expression", "/api/v1/query", "/api/v1/query_range"),
)
"""Reads of samples, which the cost meter counts when they were answered."""
ROUTES: Final = tuple(
    metered.counted(route) if route.path in QUERIES else route
    for route in (*mackerel.ROUTES, *prometheus.ROUTES, *metadata.ROUTES, *status.ROUTES, *metered.ROUTES)
)
PROMETHEUS: Final = "/api/v1/"
"""What begins so has errors in Prometheus' form."""


def route(request: Request, accounts: Accounts, queries: Queries) -> Response:
    """The answer to a read; errors that are not of Prometheus' API are left to ``http.answer``."""
    try:
        return dispatch(ROUTES, request, accounts, queries)
    except (RequestError, RetryableError) as error:
        if not request.path.startswith(PROMETHEUS):
            raise
        return refused(error)
