"""Tables of routes: which one takes a request, and that the gateway sends each function exactly its routes."""

import re
from pathlib import Path
from typing import get_type_hints

import pytest
from carbyne.http.answers import DONE, Success
from carbyne.http.message import Response
from carbyne.http.routes import Route
from carbyne.page.api import UNDESCRIBED
from carbyne.read.prometheus import QuerySuccess
from carbyne.tenants.accounts import Permission
from carbyne.wiring.openapi import TABLES

from local.gateway import DEFAULT, Gateway
from local.template import Template, pairs

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = pairs(Template(ROOT / "template.yaml", "").sections["Resources"])


def route(path, method="GET"):
    return Route(method, path, Permission.READ, "", Success, lambda deps, call: DONE)


@pytest.mark.parametrize(
    ("pattern", "path", "parts"),
    [
        ("/a", "/a", {}),
        ("/a", "/a/", None),
        ("/a", "/b", None),
        ("/a", "a", None),
        ("/a/{b}", "/a/x", {"b": "x"}),
        ("/a/{b}", "/a/x%2Fy z", {"b": "x%2Fy z"}),
        ("/a/{b}", "/a/", None),
        ("/a/{b}", "/a/x/y", None),
        ("/a/{b}/c/{d}", "/a/1/c/2", {"b": "1", "d": "2"}),
        ("/a/{b}/c/{d}", "/a/1/x/2", None),
        ("/a/{b+}", "/a/x/y", {"b": "x/y"}),
        ("/a/{b+}", "/a/x", {"b": "x"}),
        ("/a/{b+}", "/a/", None),
        ("/a/{b+}", "/a", None),
    ],
)
def test_parts_of_a_path(pattern, path, parts):
    assert route(pattern).parts_of("GET", path) == parts
    assert route(pattern).parts_of("POST", path) is None


def in_template():
    """Folder of a function -> the keys of its routes."""
    functions = [pairs(node) for node in RESOURCES.values() if pairs(node)["Type"].value == "AWS::Serverless::Function"]
    return {
        properties["CodeUri"].value: sorted(routes_of(properties))
        for properties in (pairs(function["Properties"]) for function in functions)
        if routes_of(properties)
    }


def routes_of(properties):
    """The keys of a function's routes; DEFAULT is what no other one takes."""
    events = [pairs(event) for event in pairs(properties.get("Events")).values()]
    routes = [pairs(event["Properties"]) for event in events if event["Type"].value == "HttpApi"]
    return [f"{event['Method'].value} {event['Path'].value}" if "Path" in event else DEFAULT for event in routes]


def gateway_of_the_template():
    """The folder of a function stands for it."""
    gateway = Gateway()
    for folder, keys in in_template().items():
        for key in keys:
            gateway.add(key, folder)
    return gateway


def in_code():
    """Folder of a function -> (method, path) of what it answers."""
    tables = {f"functions/{name}": [(row.method, row.path) for row in table] for name, table in TABLES.items()}
    tables["functions/page"] += [(row.method, row.path) for row in UNDESCRIBED]
    return tables


def test_the_gateway_sends_each_function_the_routes_of_its_code():
    """The gateway prefers a route whose path has no `+`, and takes the registry's only if no other one fits."""
    gateway = gateway_of_the_template()
    for folder, routes in in_code().items():
        for method, path in routes:
            (_, chosen), _ = gateway.match(f"/{method}{re.sub(r'[{}+]', '', path)}")
            assert chosen == folder, (method, path)


def test_the_template_has_no_route_that_the_code_lacks():
    code = {folder: [f"{method} {path}" for method, path in routes] for folder, routes in in_code().items()}
    for folder, keys in in_template().items():
        for key in keys:
            if key != DEFAULT:
                prefix = key.removeprefix("ANY ").removesuffix("{path+}")
                assert key in code[folder] or sum(f" {prefix}" in route for route in code[folder]) > 1, key


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/write", "/carbyne/v1/queues/a/nothing", "/nothing"])
def test_a_path_that_no_function_has_reaches_one_that_says_so(path):
    gateway = gateway_of_the_template()
    (_, folder), _ = gateway.match(f"/GET{path}")
    assert folder in ("functions/reader", "functions/queue", "functions/registry")
    rows = TABLES[folder.removeprefix("functions/")]
    assert all(row.parts_of("GET", path) is None for row in rows)


def test_no_two_routes_take_the_same_request():
    keys = [(route.method, route.path) for table in TABLES.values() for route in table]
    assert len(keys) == len(set(keys))
    for method, path in keys:
        request = path.replace("{", "").replace("+}", "").replace("}", "")
        taken = [
            key
            for table in TABLES.values()
            for route in table
            if route.parts_of(method, request) is not None
            for key in [(route.method, route.path)]
        ]
        assert taken == [(method, path)]


def test_a_handler_returns_what_its_row_says():
    for table in TABLES.values():
        for row in table:
            assert get_type_hints(row.handler)["return"] in (row.answer, Response), row


def test_whatever_changes_something_needs_a_key_that_may_write():
    for table in TABLES.values():
        for route in table:
            # A session is of the key itself, whatever it may; Prometheus takes queries as forms too.
            if route.path != "/carbyne/v1/sessions/{id}" and route.answer is not QuerySuccess:
                assert (Permission.WRITE in route.permission) == (route.method != "GET"), route


def test_every_route_is_documented():
    documented = (ROOT / "docs/api.md").read_text()
    paths = {route.path for table in TABLES.values() for route in table}
    assert sorted(path for path in paths if f"{path}`" not in documented and f"{path}\n" not in documented) == []
