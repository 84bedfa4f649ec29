"""API Gateway's HTTP API in front of the functions: payload 2.0, as AWS sends it.

Unverified on AWS, chosen here: a text body that is not UTF-8 comes as base64; an event over 6 MB is answered 413.
"""

import contextlib
import json
import re
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge, RequestHeaderFieldsTooLarge
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from servers.lambdas import PAYLOAD_BYTES_MAX, Function, FunctionError

DEFAULT = "$default"
METHOD = "method"
BODY_BYTES_MAX = 10 * 1024 * 1024
HEAD_BYTES_MAX = 10_240
TEXT = re.compile(r"text/.*|application/(json|xml|javascript)")


class Gateway:
    """A WSGI application; a rule is the method and the path as sent, "/GET/a/<b>"; those with fewer names go first."""

    def __init__(self) -> None:
        self.rules = Map(merge_slashes=False)
        self.default: Function | None = None

    def add(self, key: str, function: Function) -> None:
        """``key``: "GET /a/{b}" or, where slashes may follow, "GET /a/{b+}"; "ANY" is each method; DEFAULT for what no
        other one takes."""
        if key == DEFAULT:
            self.default = function
            return
        path = re.sub(r"\{(\w+)\}", r"<\1>", re.sub(r"\{(\w+)\+\}", r"<path:\1>", re.sub("^ANY ", f"<{METHOD}>", key)))
        self.rules.add(Rule(f"/{path.replace(' ', '')}", endpoint=(key, function)))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401
        try:
            response = self._answer(Request(environ))
        except HTTPException as error:
            response = as_json({"message": error.name}, error.code)
        except (FunctionError, TypeError, ValueError, AttributeError) as error:  # no answer, or not in the form of one
            print(f"[{environ['REQUEST_METHOD']} {environ['PATH_INFO']}] answered 500: {error}", flush=True)
            response = as_json({"message": "Internal Server Error"}, 500)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        uri, request.max_content_length = request.environ["RAW_URI"], BODY_BYTES_MAX
        if len(uri) + sum(len(name) + len(value) for name, value in request.headers) > HEAD_BYTES_MAX:
            raise RequestHeaderFieldsTooLarge
        path, _, query = uri.partition("?")
        (key, function), parameters = self.match(f"/{request.method}{path}")
        event = {**event_of(request, key, path, query, parameters), **body_of(request)}
        if len(json.dumps(event)) > PAYLOAD_BYTES_MAX:
            raise RequestEntityTooLarge
        return response_of(function.invoke(event))

    def match(self, path: str) -> tuple[tuple[str, Function], Mapping[str, str]]:
        """Key and function of the route that takes a method and path, and the parts of the path that have a name."""
        try:
            return self.rules.bind("").match(path)
        except NotFound:
            if self.default is None:
                raise
            return (DEFAULT, self.default), {}


def event_of(request: Request, key: str, path: str, query: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The event of a request, but for its body."""
    client, now_s = request.remote_addr or "", time.time()
    headers = {name.lower(): value for name, value in request.headers}
    cookies, agent, port = headers.pop("cookie", ""), headers.get("user-agent", ""), request.environ["SERVER_PORT"]
    forwarded = {"x-forwarded-for": client, "x-forwarded-port": port, "x-forwarded-proto": "http"}
    only_if_there = {
        "cookies": cookies.split("; ") if cookies else None,
        "queryStringParameters": {name: ",".join(values) for name, values in request.args.lists()},
        "pathParameters": {name: unquote(value) for name, value in parameters.items() if name != METHOD},
    }
    http = {"method": request.method, "path": unquote(path), "protocol": request.environ["SERVER_PROTOCOL"]}
    api = {"accountId": "123456789012", "apiId": "local", "domainName": headers.get("host"), "domainPrefix": "local"}
    times = {"time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now_s)), "timeEpoch": int(now_s * 1000)}
    named = {**api, "requestId": uuid.uuid4().hex[:16], "routeKey": key, "stage": "$default", **times}
    return {
        **{"version": "2.0", "routeKey": key, "rawPath": unquote(path), "rawQueryString": query},
        **{name: value for name, value in only_if_there.items() if value},
        "headers": {**headers, **forwarded},
        "requestContext": {**named, "http": {**http, "sourceIp": client, "userAgent": agent}},
    }


def body_of(request: Request) -> dict[str, Any]:
    """Text of text types; base64 of others, and of bytes that are none."""
    body = request.get_data()
    if body and TEXT.fullmatch(request.mimetype):
        with contextlib.suppress(UnicodeDecodeError):
            return {"body": body.decode(), "isBase64Encoded": False}
    return {"body": b64encode(body).decode(), "isBase64Encoded": True} if body else {"isBase64Encoded": False}


def response_of(answer: Any) -> Response:  # noqa: ANN401 - whatever the function returned
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return as_json(answer, 200)
    body = answer.get("body") or ""
    data = b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    response = Response(data, int(answer["statusCode"]), answer.get("headers") or {})
    for cookie in answer.get("cookies") or ():
        response.headers.add("Set-Cookie", cookie)
    return response


def as_json(answer: object, status: int | None) -> Response:
    return Response(json.dumps(answer), status, content_type="application/json")
