"""The local gateway sends what API Gateway's HTTP API would, and answers as it would."""

import json
from base64 import b64decode, b64encode

import pytest
from werkzeug.test import Client

from local.gateway import BODY_BYTES_MAX, DEFAULT, HEAD_BYTES_MAX, Gateway
from servers.lambdas import FunctionError


class Recorder:
    """A function that keeps the event and gives the answer it was told to."""

    def __init__(self):
        self.answer = {"statusCode": 200, "body": "ok"}
        self.event = None

    def invoke(self, event):
        self.event = json.loads(json.dumps(event))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def function():
    return Recorder()


@pytest.fixture
def client(function):
    gateway = Gateway()
    gateway.add("POST /api/v0/tsdb", function)
    gateway.add("GET /hosts/{id}/metrics", function)
    client = Client(gateway)
    yield client


@pytest.mark.parametrize(
    ("content_type", "body", "is_base64"),
    [
        ("application/json", b"[]", False),
        ("application/json; charset=utf-8", b"[]", False),
        ("application/xml", b"<a/>", False),
        ("application/javascript", b"1", False),
        ("text/plain", b"a", False),
        ("text/csv", "ä".encode(), False),
        ("application/x-www-form-urlencoded", b"a=b", True),
        ("application/octet-stream", b"[]", True),
        ("application/x-ndjson", b"{}", True),
        ("application/json", b"\x1f\x8b\xff", True),
        (None, b"[]", True),
    ],
)
def test_only_text_types_come_as_text(client, function, content_type, body, is_base64):
    client.post("/api/v0/tsdb", data=body, content_type=content_type)
    assert function.event["isBase64Encoded"] is is_base64
    sent = function.event["body"]
    assert (b64decode(sent) if is_base64 else sent.encode()) == body


def test_an_empty_body_is_absent(client, function):
    client.post("/api/v0/tsdb", content_type="application/json")
    assert "body" not in function.event
    assert function.event["isBase64Encoded"] is False


@pytest.mark.parametrize(
    ("method", "path", "key", "parts"),
    [
        ("GET", "/hosts/a/metrics", "GET /hosts/{id}/metrics", {"id": "a"}),
        ("POST", "/hosts/a/metrics", "ANY /hosts/{path+}", {"path": "a/metrics"}),
        ("GET", "/hosts/a/b/metrics", "ANY /hosts/{path+}", {"path": "a/b/metrics"}),
        ("DELETE", "/hosts/a", "ANY /hosts/{path+}", {"path": "a"}),
    ],
)
def test_a_route_of_any_method_and_path_comes_behind_those_with_names(function, method, path, key, parts):
    gateway = Gateway()
    for each in ("ANY /hosts/{path+}", "GET /hosts/{id}/metrics"):
        gateway.add(each, function)
    Client(gateway).open(path, method=method)
    assert function.event["routeKey"] == key
    assert function.event["pathParameters"] == parts
    assert function.event["requestContext"]["http"]["method"] == method


def test_event_has_the_form_of_payload_2(client, function):
    client.get(
        "/hosts/a%20b/metrics?name=x&name=y%2Fz&from=1", headers=[("X-Api-Key", "k"), ("X-B", "1"), ("X-B", "2")]
    )
    event = function.event
    assert event["version"] == "2.0"
    assert event["routeKey"] == event["requestContext"]["routeKey"] == "GET /hosts/{id}/metrics"
    assert event["rawQueryString"] == "name=x&name=y%2Fz&from=1"
    assert event["queryStringParameters"] == {"name": "x,y/z", "from": "1"}
    assert event["pathParameters"] == {"id": "a b"}
    assert event["headers"]["x-api-key"] == "k"
    assert event["headers"]["x-b"].replace(" ", "") == "1,2"
    assert event["requestContext"]["stage"] == "$default"
    assert event["requestContext"]["http"]["method"] == "GET"


def test_a_query_and_path_parameters_are_absent_when_there_are_none(client, function):
    client.post("/api/v0/tsdb", data=b"[]", content_type="application/json")
    assert not {"queryStringParameters", "pathParameters", "cookies"} & function.event.keys()


def test_cookies_are_a_list_and_no_header(client, function):
    client.set_cookie("a", "1")
    client.set_cookie("b", "2")
    client.post("/api/v0/tsdb")
    assert function.event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in function.event["headers"]


@pytest.mark.parametrize("path", ["/", "/api/v0/tsdb/", "/api/v0", "/hosts//metrics", "/hosts/a/b/metrics"])
def test_unknown_routes(client, path):
    for answer in (client.post(path), client.get(path)):
        assert (answer.status_code, answer.json) == (404, {"message": "Not Found"})


def test_what_no_route_takes_goes_to_the_default_route(function):
    gateway, other = Gateway(), Recorder()
    gateway.add("GET /hosts/{id}", other)
    gateway.add(DEFAULT, function)
    client = Client(gateway)
    for path in ("/", "/hosts/a/b", "/hosts/a%2541"):
        client.post(path)
        event = function.event
        assert event["routeKey"] == event["requestContext"]["routeKey"] == "$default"
        assert "pathParameters" not in event
    assert event["rawPath"] == "/hosts/a%41", "decoded once"
    client.get("/hosts/a")
    assert other.event["routeKey"] == "GET /hosts/{id}"


@pytest.mark.parametrize("size", [BODY_BYTES_MAX + 1, 5_000_000])
def test_too_large(client, function, size):
    """Over 10 MB for the gateway, and over 6 MB as base64 for the function."""
    answer = client.post("/api/v0/tsdb", data=bytes(size))
    assert (answer.status_code, answer.json) == (413, {"message": "Request Entity Too Large"})
    assert function.event is None


def test_too_much_of_headers(client):
    assert client.get(f"/hosts/a/metrics?{'a' * HEAD_BYTES_MAX}").status_code == 431


@pytest.mark.parametrize("answer", [FunctionError("raised"), {"statusCode": "x"}, {"statusCode": 200, "body": 7}])
def test_a_failed_function_is_500(client, function, answer):
    function.answer = answer
    got = client.get("/hosts/a/metrics")
    assert (got.status_code, got.json) == (500, {"message": "Internal Server Error"})


def test_answers(client, function):
    function.answer = {
        "statusCode": 201,
        "headers": {"Content-Type": "application/x", "X-A": "1"},
        "cookies": ["a=1", "b=2"],
        "body": b64encode(b"\xff").decode(),
        "isBase64Encoded": True,
    }
    got = client.get("/hosts/a/metrics")
    assert (got.status_code, got.data, got.content_type) == (201, b"\xff", "application/x")
    assert got.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    function.answer = {"hello": 1}
    assert client.get("/hosts/a/metrics").json == {"hello": 1}
