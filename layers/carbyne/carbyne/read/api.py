"""All routes of the reader."""

from typing import Final

from carbyne.core.errors import RequestError
from carbyne.http.message import Request, Response
from carbyne.http.routes import dispatch
from carbyne.read import mackerel, metadata, prometheus
from carbyne.read.mackerel import Queries
from carbyne.tenants.accounts import Accounts

ROUTES: Final = (*mackerel.ROUTES, *prometheus.ROUTES, *metadata.ROUTES)
PROMETHEUS: Final = "/api/v1/"
"""What begins so has errors in Prometheus' form."""


def route(request: Request, accounts: Accounts, queries: Queries) -> Response:
    """The answer to a read; RequestError and RetryableError are left to ``http.answer``."""
    try:
        return dispatch(ROUTES, request, accounts, queries)
    except RequestError as error:
        if request.path.startswith(PROMETHEUS):
            return prometheus.failed(error)
        raise
