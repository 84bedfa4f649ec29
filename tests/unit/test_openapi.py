"""The description of the API: complete, as the code is, and true: each status and header that it names is answered."""

import io
import json
from pathlib import Path

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.keys import api_key_item
from carbyne.core.limits import BODY_BYTES_MAX, QUERY_FIELDS_MAX
from carbyne.http import openapi
from carbyne.http.prometheus import DELETE_PATH, MATCHED_PATH
from carbyne.http.routes import JSON
from carbyne.page.sessions import Session
from carbyne.read import finder, listings
from carbyne.registry.alerts import alert_id
from carbyne.wiring.openapi import TABLES
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.support.clouds import AWS_FORM, AZURE_FORM, EXTERNAL_ID
from tests.support.memory_system import APPS, MemorySystem
from tests.support.pictures import PICTURE_QUERY
from tests.support.remote_write import V2, Body2, packed

FILE = Path(openapi.__file__).with_name("openapi.json")
DOCUMENT = json.loads(FILE.read_text())
ROOT = Path(__file__).resolve().parents[2]
ROUTES = [(function, route) for function, table in TABLES.items() for route in table]
NOW_S = 1_700_000_000
SAMPLE = {"name": "m", "time": NOW_S, "value": 1.5}
PARTS = {"id": "host1", "name": "jobs", "service": "shop", "role": "web", "namespace": "env", "identifier": "i/1"}
PARTS |= {"file": "known.yml"}
REPORT = {"source": {"type": "host", "hostId": "host1"}, "name": "ping", "status": "OK", "occurredAt": NOW_S}
NOTE = {"service": "shop", "title": "deploy", "from": NOW_S - 60, "to": NOW_S}
LAYOUT = {"x": 0, "y": 0, "width": 24, "height": 6}
BOARD = {"title": "Shop", "widgets": [{"type": "markdown", "markdown": "# Hello", "layout": LAYOUT}]}
ALERT = alert_id(NOW_S, EXTERNAL_ID[:16])
RULE_FILE = {"groups": [{"name": "g", "rules": [{"alert": "Down", "expr": "up == 0", "for": "5m"}]}]}
DOWNTIME = {"name": "d", "start": NOW_S, "duration": 60}
HOOK = {"type": "webhook", "name": "Hook", "url": "https://shop.example/"}
DOCUMENTS = {
    "downtimes": DOWNTIME,
    "channels": HOOK,
    "notification-groups": {"name": "g"},
    "alert-group-settings": {"name": "s"},
}
EXTERNAL = {
    "type": "external",
    "name": "Shop",
    "url": "https://shop.example/",
    "headers": [{"name": "A", "value": "b"}],
}
LEASE = f"{1:016d}-{2:011x}-{3:08x}.{4:016x}"
WRITE = packed(
    Body2()
    .add({"__name__": "m"}, (1.0, NOW_S * 1000), exemplars=[{}])  # skipped with a reason
    .bytes()
)
BODIES = {
    ("POST", "/api/v0/tsdb"): [{"hostId": name, **SAMPLE} for name in ("host1", "", "stranger")],
    ("POST", "/api/v0/services/{service}/tsdb"): [SAMPLE, {}],
    ("POST", "/api/v1/write"): WRITE,
    ("POST", "/api/v1/push"): WRITE,
    ("POST", "/api/v0/hosts"): {"name": "other"},
    ("PUT", "/api/v0/hosts/{id}"): {"name": "other"},
    ("POST", "/api/v0/hosts/{id}/status"): {"status": "standby"},
    ("PUT", "/api/v0/hosts/{id}/role-fullnames"): {"roleFullnames": ["shop:web"]},
    ("POST", "/api/v0/hosts/{id}/retire"): None,
    ("POST", "/api/v0/hosts/bulk-update-statuses"): {"ids": ["host1"], "status": "standby"},
    ("POST", "/api/v0/hosts/bulk-retire"): {"ids": ["host1"]},
    ("POST", "/api/v0/monitoring/checks/report"): {"reports": [REPORT, {**REPORT, "occurredAt": 0}]},
    ("POST", "/api/v0/graph-defs/create"): [{"name": "custom.fresh"}],
    ("DELETE", "/api/v0/graph-defs"): {"name": "custom.x"},
    ("POST", "/api/v0/graph-annotations"): NOTE,
    ("PUT", "/api/v0/graph-annotations/{id}"): NOTE,
    ("POST", "/api/v0/dashboards"): BOARD,
    ("PUT", "/api/v0/dashboards/{id}"): BOARD,
    ("POST", "/api/v0/monitors"): EXTERNAL,
    ("PUT", "/api/v0/monitors/{id}"): EXTERNAL,
    ("PUT", "/carbyne/v1/rules/{file}"): RULE_FILE,
    ("PUT", "/api/v0/alerts/{id}"): {"memo": "m"},
    ("POST", "/api/v0/alerts/{id}/close"): {"reason": "r"},
    **{("POST", f"/api/v0/{path}"): body for path, body in DOCUMENTS.items()},
    **{("PUT", f"/api/v0/{path}/{{id}}"): body for path, body in DOCUMENTS.items()},
    ("POST", "/api/v0/aws-integrations"): {**AWS_FORM, "name": "other"},
    ("PUT", "/api/v0/aws-integrations/{id}"): AWS_FORM,
    ("POST", "/carbyne/v1/azure-integrations"): {**AZURE_FORM, "name": "other"},
    ("PUT", "/carbyne/v1/azure-integrations/{id}"): AZURE_FORM,
    ("POST", "/carbyne/v1/queues/{name}/messages"): {"messages": [{"body": {"a": 1}, "key": "k"}]},
    ("POST", "/carbyne/v1/queues/{name}/take"): {"max": 1},
    ("POST", "/carbyne/v1/queues/{name}/ack"): {"leases": [LEASE]},
    ("POST", "/carbyne/v1/queues/{name}/extend"): {"leases": [LEASE], "lease_s": 60},
    ("POST", "/carbyne/v1/queues/{name}/release"): {"leases": [LEASE]},
    ("POST", "/carbyne/v1/queues/{name}/dead/put-back"): {"ids": [LEASE.partition(".")[0]]},
    ("POST", "/api/v0/services"): {"name": "fresh"},
    ("POST", "/api/v0/services/{service}/roles"): {"name": "fresh"},
}
"""What gets a 200; metadata is any JSON."""
READ = f"name=m&from={NOW_S - 600}&to={NOW_S}"
QUERIES = {
    "/api/v0/hosts/{id}/metrics": READ,
    "/api/v0/services/{service}/metrics": READ,
    "/api/v0/tsdb/latest": "hostId=host1&name=m",
    "/carbyne/v1/samples": "source=host%2Fhost1&name=m",
    "/api/v0/graph-annotations": f"service=shop&from={NOW_S - 600}&to={NOW_S}",
    "/carbyne/v1/checks": "hostId=host1",
    "/carbyne/v1/expression": f"expression=host(host1,m)&from={NOW_S - 600}&to={NOW_S}",
    "/carbyne/v1/batch": f"source=host%2Fhost1&from={NOW_S - 600}&to={NOW_S}",
    "/api/v1/query": "query=m",
    "/api/v1/query_range": f"query=m&start={NOW_S - 600}&end={NOW_S}&step=60",
    "/api/v1/format_query": "query=m",
    "/api/v1/parse_query": "query=m",
    "/api/v1/series": "match[]=m",
    "/api/v1/labels": "match[]=m",
    **dict.fromkeys((MATCHED_PATH, DELETE_PATH), "match[]=m"),
    "/api/v1/label/{name}/values": "match[]=m",
    "/carbyne/v1/picture.png": PICTURE_QUERY,
    "/carbyne/v1/storage": f"source=host%2Fhost1&from={NOW_S - 600}&to={NOW_S}",
}


KEYS = {"/carbyne/v1/system": "key-operator"}
"""Of the tenant that a route is for, where it is one alone."""


class Answer:
    """Of one request to ``system``: ``status``, ``headers``, and ``body``, decoded."""

    def __init__(self, system, method, path, query="", body=b"", api_key="key-a", content_type="application/json"):
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "HTTP_X_API_KEY": api_key,
            "CONTENT_TYPE": content_type,
        }
        [data] = system.application(environ, self._start)
        self.body = data if self.headers.get("Content-Type") == "image/png" else json.loads(data) if data else None

    def _start(self, status, headers):
        self.status, self.headers = status.split()[0], dict(headers)


@pytest.fixture
def system():
    """One with a host, a service and a role, samples, metadata of each, a graph and a check."""
    made = MemorySystem(lambda: NOW_S, lambda: 0.0)
    # Of the host, an annotation, a dashboard, a monitor, two integrations and others.
    ids = iter(["host1"] * (6 + len(DOCUMENTS)))
    accounts, registry = made.deps["registry"]
    made.deps["registry"] = (
        accounts,
        registry._replace(new_id=lambda: next(ids, "another"), new_mark=lambda: EXTERNAL_ID[:16]),
    )
    host = {"name": "web", "customIdentifier": "i/1", "roleFullnames": ["shop:web"], "meta": {"kernel": {"name": "x"}}}
    for method, path, body in [
        ("POST", "/api/v0/hosts", host),
        ("POST", "/api/v0/graph-annotations", NOTE),
        ("POST", "/api/v0/dashboards", BOARD),
        ("POST", "/api/v0/tsdb", [{"hostId": "host1", **SAMPLE}]),
        ("POST", "/api/v0/services/shop/tsdb", [SAMPLE]),
        ("POST", "/api/v0/graph-defs/create", [{"name": "custom.x"}]),
        ("POST", "/api/v0/monitoring/checks/report", {"reports": [{**REPORT, "status": "CRITICAL"}]}),
        ("POST", "/api/v0/monitors", EXTERNAL),
        *(("POST", f"/api/v0/{path}", body) for path, body in DOCUMENTS.items()),
        ("POST", "/api/v0/aws-integrations-external-id", None),
        ("POST", "/api/v0/aws-integrations", AWS_FORM),
        ("POST", "/carbyne/v1/azure-integrations", AZURE_FORM),
        ("POST", "/carbyne/v1/queues/jobs/messages", {"messages": [{"body": 1}]}),
        ("PUT", "/carbyne/v1/rules/known.yml", RULE_FILE),
        ("PUT", "/api/v0/hosts/host1/metadata/env", 1),
        ("PUT", "/api/v0/services/shop/metadata/env", 1),
        ("PUT", "/api/v0/services/shop/roles/web/metadata/env", 1),
    ]:
        assert Answer(made, method, path, body=json.dumps(body).encode()).status == "200"
    made.sessions.put("host1", Session("a", api_key_item("key-a"), NOW_S, NOW_S, "a browser"))
    return made


def said(route):
    return DOCUMENT["paths"][openapi.path_of(route)][route.method.lower()]


def schema_of(response):
    """Of the body of a response that is described, or referred to."""
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def ask(system, route, parts=PARTS, **changed):
    """The request that gets a 200 of this route, with changes."""
    sent = BODIES.get((route.method, route.path), {"a": 1})
    body = b"" if route.method == "GET" else sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    path = openapi.path_of(route).format_map(
        parts | ({"id": ALERT} if "/alerts/" in route.path and parts is PARTS else {})
    )
    usual = {
        "query": QUERIES.get(route.path, ""),
        "body": body,
        "api_key": KEYS.get(route.path, "key-a"),
        "content_type": V2 if route.media != JSON else JSON,
    }
    return Answer(system, route.method, path, **usual | changed)


def good(route):
    """The status of a request that is done."""
    return "204" if route.answer is None else "200"


def name(case):
    return f"{case[1].method} {case[1].path}"


def test_the_file_is_what_the_code_says():
    assert FILE.read_text() == openapi.text(TABLES), "routes or forms changed: run `make openapi`"


def test_it_is_openapi():
    validate(DOCUMENT)


def test_paths_are_those_of_the_code():
    described = sorted((method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods)
    assert described == sorted((route.method, openapi.path_of(route)) for _, route in ROUTES)


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", ROUTES, ids=name)
def test_a_good_request_is_answered_as_described(case, system):
    _, route = case
    answer = ask(system, route)
    assert answer.status == good(route), answer.body
    described = said(route)["responses"][good(route)]
    if route.answer_media != JSON:
        assert list(described["content"]) == [route.answer_media] == [answer.headers["Content-Type"]]
    elif "content" in described:
        schema_of(described).validate(answer.body)
    else:
        assert answer.body is None
    headers = described.get("headers", {}).keys() - {"Carbyne-Warnings"}
    ours = {
        header
        for header in answer.headers
        if header.startswith(("Carbyne-", "X-Prometheus-")) or header == "Last-Modified"
    }
    assert ours == headers


@pytest.mark.parametrize("case", [case for case in ROUTES if "Carbyne-Warnings" in str(said(case[1]))], ids=name)
def test_a_partial_answer_says_so(case, system):
    _, route = case
    system.hot.away = True
    answer = ask(system, route, query=f"{QUERIES[route.path]}&partial=true")
    assert answer.status == "200" and "hot tier" in answer.headers["Carbyne-Warnings"]


def refusals(system, function, route):
    """Requests that are refused for each reason that there is."""
    yield ask(system, route, query="&".join(["a=1"] * (QUERY_FIELDS_MAX + 1)))
    yield ask(system, route, body=b" " * (BODY_BYTES_MAX + 1))
    yield ask(system, route, body=b"{", query="")
    if route.answer_media != JSON:
        yield ask(system, route, query=QUERIES[route.path] + "x")
    if route.permission:
        yield ask(system, route, api_key="nobody")
    if route.media != JSON:
        yield ask(system, route, content_type=JSON)
    if "{" in route.path:
        yield ask(system, route, parts=dict.fromkeys(PARTS, "none-of-these"))
        yield ask(system, route, parts=dict.fromkeys(PARTS, "a/b"))
    if route.unprocessable:
        impossible = QUERIES[route.path].replace("query=m", "query=topk(NaN,m)").replace("[]=m", "[]=m{zone!='x'}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(finder, "FOUND_SOURCES_MAX", 0)
            patch.setattr(listings, "LISTED_SOURCES_MAX", 0)
            yield ask(system, route, parts=PARTS | {"name": "__name__"}, query=impossible)
    if "bulk" in route.path:
        ids = {"ids": ["none-of-these"], "status": "working"}
        yield ask(system, route, body=json.dumps(ids).encode())
    system.deps[function] = None  # no store of its dependencies answers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(APPS[function], "handle", _without_deps(APPS[function].handle))
        yield ask(system, route)


def _without_deps(handle):
    def away():
        raise RetryableError("Redis is away")

    return lambda event, deps: handle(event, away)


@pytest.mark.parametrize("case", ROUTES, ids=name)
def test_every_refusal_is_described_and_every_described_one_happens(case, system):
    function, route = case
    seen = {good(route)}
    for answer in refusals(system, function, route):
        seen.add(answer.status)
        if answer.status != good(route):
            schema_of(said(route)["responses"][answer.status]).validate(answer.body)
        assert ("Retry-After" in answer.headers) == (answer.status == "503")
    assert seen == said(route)["responses"].keys()


def test_it_is_served_without_a_key(system):
    answer = Answer(system, "GET", "/openapi.json", api_key="")
    assert (answer.status, answer.body) == ("200", DOCUMENT)


def test_what_the_document_calls_absent_is_absent():
    """Dashboards and annotations were on that list for days after they had come."""
    text = " ".join((ROOT / "docs" / "api.md").read_text().split())
    listed = text.split("with the reason in `error`: ")[1].split(", and `DELETE")[0].split(", ")
    assert len(listed) > 2
    there = {route.path.split("/")[3] for _, route in ROUTES if route.path.startswith("/api/v0/")}
    assert {name.replace(" ", "-") for name in listed} & there == set()
