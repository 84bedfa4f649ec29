"""The Function URL for agents: paths are decoded once, posts stay, other calls go to the registry."""

import json

import pytest
from carbyne.adapters.handed import InvokedFunction
from carbyne.core.errors import RetryableError
from carbyne.http import agents
from carbyne.http.message import Response
from carbyne.intake.writer import ROUTES

URL = "abc123.lambda-url.us-east-1.on.aws"
HTTP_API = "abc123.execute-api.us-east-1.amazonaws.com"


def event(method, path, domain=URL):
    context = {"http": {"method": method, "path": path}, "domainName": domain, "requestId": "r"}
    return {"version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {}, "requestContext": context}


class Doors:
    """What the writer was asked, and what was handed on."""

    def __init__(self, failing=None):
        self.here, self.there, self.failing = [], [], failing

    def ask(self, given):
        return agents.answer(given, ROUTES, self.respond, self.hand_on)

    def respond(self, request):
        self.here.append((request.method, request.path))
        return Response(200, "{}")

    def hand_on(self, given):
        if self.failing:
            raise self.failing
        self.there.append((given["requestContext"]["http"]["method"], given["rawPath"]))
        assert given["requestContext"]["http"]["path"] == given["rawPath"]
        return {"statusCode": 201, "body": "there"}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("/api/v0/services/a%20b/tsdb", "/api/v0/services/a b/tsdb"),
        ("/api/v0/services/a%2541/tsdb", "/api/v0/services/a%41/tsdb"),
        ("/api/v0/services/%E3%81%82/tsdb", "/api/v0/services/あ/tsdb"),
        ("/api/v0/services/a+b/tsdb", "/api/v0/services/a+b/tsdb"),
    ],
)
def test_a_path_is_decoded_once_by_either_door(sent, told):
    by_url, by_api = Doors(), Doors()
    assert by_url.ask(event("POST", sent))["statusCode"] == 200
    assert by_api.ask(event("POST", told, HTTP_API))["statusCode"] == 200
    assert by_url.here == by_api.here == [("POST", told)]


@pytest.mark.parametrize("path", ["/api/v0/tsdb", "/api/v0/services/a/tsdb", "/api/v1/write", "/api/v1/push"])
def test_posts_are_answered_by_the_writer(path):
    doors = Doors()
    assert doors.ask(event("POST", path))["statusCode"] == 200
    assert (doors.here, doors.there) == ([("POST", path)], [])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v0/hosts"),
        ("PUT", "/api/v0/hosts/2eQGDXqtoXs"),
        ("POST", "/api/v0/graph-defs/create"),
        ("POST", "/api/v0/monitoring/checks/report"),
        ("GET", "/no/such/call"),
    ],
)
def test_what_agents_ask_beside_posts_is_handed_on(method, path):
    doors = Doors()
    assert doors.ask(event(method, path)) == {"statusCode": 201, "body": "there"}
    assert (doors.here, doors.there) == ([], [(method, path)])


def test_an_encoded_slash_does_not_choose_another_function():
    """It is a slash once decoded, as behind the HTTP API."""
    doors = Doors()
    doors.ask(event("POST", "/api/v0%2Ftsdb"))
    assert doors.here == [("POST", "/api/v0/tsdb")]


def test_behind_the_http_api_nothing_is_handed_on():
    doors = Doors()
    doors.ask(event("GET", "/api/v0/hosts", HTTP_API))
    assert (doors.here, doors.there) == ([("GET", "/api/v0/hosts")], [])


def test_a_path_that_is_no_text_is_refused():
    doors = Doors()
    answer = doors.ask(event("POST", "/api/v0/services/%FF/tsdb"))
    assert answer["statusCode"] == 400 and "UTF-8" in answer["body"]
    assert (doors.here, doors.there) == ([], [])


@pytest.mark.parametrize("failing", [RetryableError("away"), ValueError("a bug")])
def test_a_registry_that_is_away_is_asked_again(failing):
    answer = Doors(failing).ask(event("GET", "/api/v0/hosts"))
    assert (answer["statusCode"], "Retry-After" in answer["headers"]) == (503, True)


class Lambda:
    def __init__(self, answer, **more):
        self.answer, self.more, self.asked = answer, more, []

    def invoke(self, *, FunctionName, Payload):
        self.asked.append((FunctionName, json.loads(Payload)))
        return {"Payload": self, **self.more}

    def read(self):
        return json.dumps(self.answer).encode()


def test_the_registrys_answer_is_passed_as_it_is():
    client = Lambda({"statusCode": 200, "body": "{}", "headers": {"ETag": "x"}})
    given = event("GET", "/api/v0/hosts")
    assert InvokedFunction(client, "registry")(given) == client.answer
    assert client.asked == [("registry", given)]


def test_a_function_that_failed_may_be_asked_again():
    with pytest.raises(RetryableError, match="registry"):
        InvokedFunction(Lambda({"errorMessage": "x"}, FunctionError="Unhandled"), "registry")(event("GET", "/"))
