"""API Gateway's HTTP API in front of the functions: payload 2.0, as AWS sends it.

Unverified on AWS, chosen here: a text body that is not UTF-8 comes as base64; an event over 6 MB is answered 413.
"""

import contextlib
import json
import re
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from local.functions import PAYLOAD_BYTES_MAX, Function, FunctionError

BODY_BYTES_MAX = 10 * 1024 * 1024
HEAD_BYTES_MAX = 10_240
TEXT = re.compile(r"text/.*|application/(json|xml|javascript)")


class Gateway:
    """A WSGI application in front of functions."""

    def __init__(self) -> None:
        self.routes: dict[str, tuple[re.Pattern[str], Function]] = {}

    def add(self, key: str, function: Function) -> None:
        """``key``: "GET /a/{b}" or, where slashes may follow, "GET /a/{b+}"."""
        parts = re.split(r"\{(\w+\+?)\}", key)
        pattern = "".join(_group(part) if odd % 2 else re.escape(part) for odd, part in enumerate(parts))
        self.routes[key] = (re.compile(pattern), function)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401
        try:
            response = self._answer(Request(environ))
        except RequestEntityTooLarge:
            response = _message(413, "Request Entity Too Large")
        except (FunctionError, TypeError, ValueError, AttributeError):  # no answer, or not in the form of one
            response = _message(500, "Internal Server Error")
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        request.max_content_length = BODY_BYTES_MAX
        uri = request.environ["RAW_URI"]
        if len(uri) + sum(len(name) + len(value) for name, value in request.headers) > HEAD_BYTES_MAX:
            return _message(431, "Request Header Fields Too Large")
        for key, (pattern, function) in self.routes.items():
            if found := pattern.fullmatch(f"{request.method} {uri.partition('?')[0]}"):
                event = {**_event(request, key, found.groupdict()), **_body(request)}
                if len(json.dumps(event)) > PAYLOAD_BYTES_MAX:
                    raise RequestEntityTooLarge
                return _response(function.invoke(event))
        return _message(404, "Not Found")


def _group(name: str) -> str:
    return f"(?P<{name[:-1]}>.+)" if name.endswith("+") else f"(?P<{name}>[^/]+)"


def _message(status: int, message: str) -> Response:
    return Response(json.dumps({"message": message}), status, content_type="application/json")


def _event(request: Request, key: str, parameters: dict[str, str]) -> dict[str, Any]:
    raw_path, _, raw_query = request.environ["RAW_URI"].partition("?")
    path, client, now_s = unquote(raw_path), request.remote_addr or "", time.time()
    headers = {name.lower(): value for name, value in request.headers}
    cookies = headers.pop("cookie", "")
    agent, protocol = headers.get("user-agent", ""), request.environ["SERVER_PROTOCOL"]
    http = {"method": request.method, "path": path, "protocol": protocol, "sourceIp": client, "userAgent": agent}
    moment = {"time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now_s)), "timeEpoch": int(now_s * 1000)}
    api = {"accountId": "123456789012", "apiId": "local", "domainName": headers.get("host"), "domainPrefix": "local"}
    context = {**api, "http": http, "requestId": uuid.uuid4().hex[:16], "routeKey": key, "stage": "$default", **moment}
    port = request.environ["SERVER_PORT"]
    forwarded = {"x-forwarded-for": client, "x-forwarded-port": port, "x-forwarded-proto": "http"}
    event = {"version": "2.0", "routeKey": key, "rawPath": path, "rawQueryString": raw_query}
    only_if_there = {
        "cookies": cookies.split("; ") if cookies else None,
        "queryStringParameters": {name: ",".join(values) for name, values in request.args.lists()},
        "pathParameters": {name: unquote(value) for name, value in parameters.items()},
    }
    there = {name: value for name, value in only_if_there.items() if value}
    return {**event, "headers": {**headers, **forwarded}, **there, "requestContext": context}


def _body(request: Request) -> dict[str, Any]:
    body = request.get_data()
    if not body:
        return {"isBase64Encoded": False}
    if TEXT.fullmatch(request.mimetype):
        with contextlib.suppress(UnicodeDecodeError):
            return {"body": body.decode(), "isBase64Encoded": False}
    return {"body": b64encode(body).decode(), "isBase64Encoded": True}


def _response(answer: Any) -> Response:  # noqa: ANN401 - whatever the function returned
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return Response(json.dumps(answer), 200, content_type="application/json")
    body = answer.get("body") or ""
    data = b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    response = Response(data, int(answer["statusCode"]), answer.get("headers") or {})
    for cookie in answer.get("cookies") or ():
        response.headers.add("Set-Cookie", cookie)
    return response
