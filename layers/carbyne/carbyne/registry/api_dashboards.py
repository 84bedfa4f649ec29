"""Mackerel's calls on dashboards and graph annotations."""

from typing import Final

from carbyne.http.forms import form
from carbyne.http.message import parameter, span_ms
from carbyne.http.routes import Call, Parameter, Route, Seconds, Text
from carbyne.registry import annotations, dashboards
from carbyne.registry.annotations import Annotation, AnnotationForm
from carbyne.registry.answers import Annotations, Dashboards
from carbyne.registry.dashboards import Dashboard, DashboardForm
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, Permission


def get_annotations(registry: Registry, call: Call) -> Annotations:
    from_s, to_s = (max(0, time_ms // 1000) for time_ms in span_ms(call.request))
    return Annotations(annotations.find(registry.store, call.tenant, parameter(call.request, "service"), from_s, to_s))


def post_annotation(registry: Registry, call: Call) -> Annotation:
    return annotations.create(registry, call.tenant, form(call, AnnotationForm))


def put_annotation(registry: Registry, call: Call) -> Annotation:
    return annotations.replace(registry, call.tenant, call.parts["id"], form(call, AnnotationForm))


def delete_annotation(registry: Registry, call: Call) -> Annotation:
    return annotations.delete(registry, call.tenant, call.parts["id"])


def get_dashboards(registry: Registry, call: Call) -> Dashboards:
    return Dashboards(dashboards.find(registry.store, call.tenant))


def post_dashboard(registry: Registry, call: Call) -> Dashboard:
    return dashboards.create(registry, call.tenant, form(call, DashboardForm))


def get_dashboard(registry: Registry, call: Call) -> Dashboard:
    return dashboards.get(registry.store, call.tenant, call.parts["id"])


def put_dashboard(registry: Registry, call: Call) -> Dashboard:
    return dashboards.replace(registry, call.tenant, call.parts["id"], form(call, DashboardForm))


def delete_dashboard(registry: Registry, call: Call) -> Dashboard:
    return dashboards.delete(registry, call.tenant, call.parts["id"])


NOTES: Final = "/api/v0/graph-annotations"
NOTE: Final = "/api/v0/graph-annotations/{id}"
BOARDS: Final = "/api/v0/dashboards"
BOARD: Final = "/api/v0/dashboards/{id}"
FIND: Final = (
    Parameter("service", Text, "Its name", required=True),
    Parameter("from", Seconds, "Seconds since 1970", required=True),
    Parameter("to", Seconds, "Seconds since 1970, not before `from`", required=True),
)
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("GET", NOTES, Permission.READ, "Annotations of a service", Annotations, get_annotations, parameters=FIND),
    Route("POST", NOTES, BOTH, "Make a graph annotation", Annotation, post_annotation, body=AnnotationForm),
    Route("PUT", NOTE, BOTH, "Replace a graph annotation", Annotation, put_annotation, body=AnnotationForm),
    Route("DELETE", NOTE, BOTH, "Delete a graph annotation", Annotation, delete_annotation),
    Route("GET", BOARDS, Permission.READ, "Dashboards", Dashboards, get_dashboards),
    Route("POST", BOARDS, BOTH, "Make a dashboard", Dashboard, post_dashboard, body=DashboardForm),
    Route("GET", BOARD, Permission.READ, "A dashboard with its widgets", Dashboard, get_dashboard),
    Route("PUT", BOARD, BOTH, "Replace a dashboard", Dashboard, put_dashboard, body=DashboardForm),
    Route("DELETE", BOARD, BOTH, "Delete a dashboard", Dashboard, delete_dashboard),
)
