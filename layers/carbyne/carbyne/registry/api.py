"""The HTTP side of the registry: its whole table of routes, and the calls that are about no thing of a tenant."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from carbyne.http.message import Response
from carbyne.http.routes import Call, Route
from carbyne.registry import (
    api_alerts,
    api_channels,
    api_dashboards,
    api_hosts,
    api_integrations,
    api_metadata,
    api_monitoring,
    api_monitors,
    api_pictures,
    api_rules,
    api_services,
)
from carbyne.registry.answers import Org
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import NO_KEY, Permission


def description(_: Registry, __: Call) -> Response:
    return Response(200, _description(), {"Cache-Control": "public, max-age=3600"})


@cache
def _description() -> str:
    return (Path(__file__).parents[1] / "http" / "openapi.json").read_text()


def org(_: Registry, call: Call) -> Org:
    return Org(call.tenant, None)


ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("GET", "/openapi.json", NO_KEY, "This description", dict[str, Any], description),
    Route("GET", "/api/v0/org", Permission.READ, "The tenant of the API key", Org, org),
    *api_hosts.ROUTES,
    *api_monitoring.ROUTES,
    *api_monitors.ROUTES,
    *api_alerts.ROUTES,
    *api_pictures.ROUTES,
    *api_rules.ROUTES,
    *api_channels.ROUTES,
    *api_integrations.ROUTES,
    *api_dashboards.ROUTES,
    *api_services.ROUTES,
    *api_metadata.ROUTES,
)
