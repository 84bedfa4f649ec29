"""API Gateway's HTTP API in front of the functions: payload 2.0, as AWS sends it.

Unverified on AWS, chosen here: a text body that is not UTF-8 comes as base64; an event over 6 MB is answered 413.
"""

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
        """``key``: "GET /a/{b}"."""
        parts = re.split(r"\{(\w+)\}", key)
        pattern = "".join(f"(?P<{part}>[^/]+)" if odd % 2 else re.escape(part) for odd, part in enumerate(parts))
        self.routes[key] = (re.compile(pattern), function)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        request.max_content_length = BODY_BYTES_MAX
        raw_path, _, raw_query = request.environ["RAW_URI"].partition("?")
        if len(request.environ["RAW_URI"]) + sum(len(k) + len(v) for k, v in request.headers) > HEAD_BYTES_MAX:
            return _message(431, "Request Header Fields Too Large")
        for key, (pattern, function) in self.routes.items():
            if found := pattern.fullmatch(f"{request.method} {raw_path}"):
                try:
                    event = _event(request, key, unquote(raw_path), raw_query, found.groupdict())
                except RequestEntityTooLarge:
                    return _message(413, "Request Entity Too Large")
                return _call(function, event)
        return _message(404, "Not Found")


def _message(status: int, message: str) -> Response:
    return Response(json.dumps({"message": message}), status, content_type="application/json")


def _event(request: Request, key: str, path: str, raw_query: str, parameters: dict[str, str]) -> dict[str, Any]:
    now = time.time()
    headers = {name.lower(): value for name, value in request.headers}
    client = request.remote_addr or ""
    forwarded = {
        "x-forwarded-for": client,
        "x-forwarded-port": request.environ["SERVER_PORT"],
        "x-forwarded-proto": "http",
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": raw_query,
        "headers": {**headers, **forwarded},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": headers.get("host", ""),
            "domainPrefix": "local",
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.environ["SERVER_PROTOCOL"],
                "sourceIp": client,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": uuid.uuid4().hex[:16],
            "routeKey": key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if "cookie" in headers:
        event["cookies"] = event["headers"].pop("cookie").split("; ")
    if raw_query:
        event["queryStringParameters"] = {name: ",".join(values) for name, values in request.args.lists()}
    if parameters:
        event["pathParameters"] = {name: unquote(value) for name, value in parameters.items()}
    return {**event, **_body(request)}


def _body(request: Request) -> dict[str, Any]:
    body = request.get_data()
    if not body:
        return {}
    if TEXT.fullmatch(request.mimetype):
        try:
            return {"body": body.decode()}
        except UnicodeDecodeError:
            pass
    return {"body": b64encode(body).decode(), "isBase64Encoded": True}


def _call(function: Function, event: dict[str, Any]) -> Response:
    if len(json.dumps(event)) > PAYLOAD_BYTES_MAX:
        return _message(413, "Request Entity Too Large")
    try:
        answer = function.invoke(event)
        if not isinstance(answer, dict) or "statusCode" not in answer:
            return Response(json.dumps(answer), 200, content_type="application/json")
        body = answer.get("body") or ""
        data = b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        response = Response(data, int(answer["statusCode"]), answer.get("headers") or {})
        for cookie in answer.get("cookies") or ():
            response.headers.add("Set-Cookie", cookie)
    except (FunctionError, TypeError, ValueError, AttributeError):
        return _message(500, "Internal Server Error")
    return response
