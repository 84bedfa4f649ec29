"""Mackerel's calls on check reports and graph definitions."""

from typing import Final

import msgspec

from carbyne.core import keys
from carbyne.http.answers import DONE, Success
from carbyne.http.forms import form, loose_form
from carbyne.http.listing import Listing, page_of
from carbyne.http.message import Response, json_response, skipped_header
from carbyne.http.routes import PAGE, SKIPPED, Call, Parameter, Route, Text
from carbyne.registry import checks, graphs
from carbyne.registry.answers import CheckReport, Graphs, HostReports, HostsReports
from carbyne.registry.checks import Report
from carbyne.registry.graphs import Graph
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, Permission


class NameForm(msgspec.Struct, frozen=True):
    name: str


class ReportsForm(msgspec.Struct, frozen=True):
    reports: list[Report]


def post_reports(registry: Registry, call: Call) -> Response:
    skipped = checks.report(registry, call.tenant, loose_form(call, ReportsForm).reports)
    return json_response(200, DONE, skipped_header(skipped))


def get_checks(registry: Registry, call: Call) -> HostsReports:
    hosts = [host for host in dict.fromkeys(call.request.query.get("hostId", ())) if host]
    states = checks.of_hosts(registry.store, call.tenant, hosts)
    return HostsReports([HostReports(host, [_report(state) for state in mine]) for host, mine in states.items()])


def _report(state: checks.State) -> CheckReport:
    return CheckReport(keys.check_monitor(state.name), state.name, state.status, state.message, state.occurred_s)


def post_graphs(registry: Registry, call: Call) -> Success:
    graphs.create(registry, call.tenant, form(call, list[Graph]))
    return DONE


def get_graphs(registry: Registry, call: Call) -> Response:
    page = page_of(call.request.query)
    defined = graphs.find(registry.store, call.tenant, page.after)
    return Response(200, Listing("graphDefs", ((graph.name, graph) for graph in defined), page))


def delete_graph(registry: Registry, call: Call) -> Success:
    graphs.delete(registry, call.tenant, form(call, NameForm).name)
    return DONE


GRAPHS: Final = "/api/v0/graph-defs"
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route(
        "POST",
        "/api/v0/monitoring/checks/report",
        BOTH,
        "Report states of checks",
        Success,
        post_reports,
        body=ReportsForm,
        headers=SKIPPED,
    ),
    Route(
        "GET",
        "/carbyne/v1/checks",
        Permission.READ,
        "The latest states of the checks of several hosts",
        HostsReports,
        get_checks,
        parameters=(Parameter("hostId", list[Text], "Hosts"),),
    ),
    Route("POST", f"{GRAPHS}/create", BOTH, "Define graphs of custom metrics", Success, post_graphs, body=list[Graph]),
    Route("GET", GRAPHS, Permission.READ, "Graph definitions", Graphs, get_graphs, parameters=PAGE),
    Route("DELETE", GRAPHS, BOTH, "Forget a graph definition", Success, delete_graph, body=NameForm),
)
