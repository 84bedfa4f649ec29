"""Tables of routes: which one takes a request, and that the template sends each function exactly its routes."""

from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from carbyne.http.answers import DONE, Success
from carbyne.http.message import Response
from carbyne.http.routes import Route
from carbyne.page.api import UNDESCRIBED
from carbyne.read.prometheus import QuerySuccess
from carbyne.tenants.accounts import Permission
from carbyne.wiring.openapi import TABLES

from local.template import pairs

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = pairs(pairs(yaml.compose((ROOT / "template.yaml").read_text()))["Resources"])


def route(path, method="GET"):
    return Route(method, path, Permission.READ, "", Success, lambda deps, call: DONE)


@pytest.mark.parametrize(
    ("wanted", "path", "parts"),
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
def test_parts_of_a_path(wanted, path, parts):
    assert route(wanted).parts_of("GET", path) == parts
    assert route(wanted).parts_of("POST", path) is None


def in_template():
    """Folder of a function -> (method, path) of its events."""
    functions = [pairs(node) for node in RESOURCES.values() if pairs(node)["Type"].value == "AWS::Serverless::Function"]
    return {
        properties["CodeUri"].value: sorted(routes_of(properties))
        for properties in (pairs(function["Properties"]) for function in functions)
        if routes_of(properties)
    }


def routes_of(properties):
    """(method, path) of a function's events; ("", "") is every other one."""
    events = [pairs(event) for event in pairs(properties.get("Events")).values()]
    found = [pairs(event["Properties"]) for event in events if event["Type"].value == "HttpApi"]
    return [(event["Method"].value, event["Path"].value) if "Path" in event else ("", "") for event in found]


def test_the_template_has_the_routes_of_the_code():
    """Writer's and reader's by name; the registry takes what they leave."""
    in_code = {f"functions/{name}": sorted((one.method, one.path) for one in table) for name, table in TABLES.items()}
    site = sorted([*in_code["functions/page"], *((one.method, one.path) for one in UNDESCRIBED)])
    assert in_template() == {**in_code, "functions/registry": [("", "")], "functions/page": site}


def test_no_two_routes_take_the_same_request():
    keys = [(one.method, one.path) for table in TABLES.values() for one in table]
    assert len(keys) == len(set(keys))
    for method, path in keys:
        request = path.replace("{", "").replace("+}", "").replace("}", "")
        taken = [
            key
            for table in TABLES.values()
            for one in table
            if one.parts_of(method, request) is not None
            for key in [(one.method, one.path)]
        ]
        assert taken == [(method, path)]


def test_a_handler_returns_what_its_row_says():
    for table in TABLES.values():
        for row in table:
            assert get_type_hints(row.handler)["return"] in (row.answer, Response), row


def test_whatever_changes_something_needs_a_key_that_may_write():
    for table in TABLES.values():
        for one in table:
            # A session is of the key itself, whatever it may; Prometheus takes queries as forms too.
            if one.path != "/carbyne/v1/sessions/{id}" and one.answer is not QuerySuccess:
                assert (Permission.WRITE in one.permission) == (one.method != "GET"), one


def test_every_route_is_documented():
    documented = (ROOT / "docs/api.md").read_text()
    paths = {one.path for table in TABLES.values() for one in table}
    assert sorted(path for path in paths if f"{path}`" not in documented and f"{path}\n" not in documented) == []
