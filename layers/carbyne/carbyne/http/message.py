"""HTTP as API Gateway's HTTP API hands it to Lambda (payload 2.0): typed requests in, JSON answers out.

Every exception becomes an answer here: RequestError its status, everything else 503 with Retry-After, since agents
send again what was not taken.  A body is never empty: Mackerel's Go client takes an empty 200 for a failure.
"""

import logging
import re
import zlib
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import msgspec

from carbyne.core.errors import OverLimitError, RequestError, RetryableError
from carbyne.core.limits import (
    ANSWER_BYTES_MAX,
    ANSWER_PLAIN_BYTES_MAX,
    BODY_BYTES_MAX,
    QUERY_FIELDS_MAX,
    RETRY_AFTER_S,
    TENANT_CACHE_S,
    TIME_S_MAX,
)
from carbyne.http import listing
from carbyne.http.listing import GZIP_WBITS, Listing

GZIP_MAGIC: Final = b"\x1f\x8b"
SKIPPED_HEADER: Final = "Carbyne-Skipped"
"""Of an answer when parts of the body were skipped: ``<reason>=<number>``, comma separated."""

_log = logging.getLogger(__name__)


class Request(msgspec.Struct, frozen=True):
    """``path``: decoded, as API Gateway hands it over; ``query``: with the order of repeated values; header names in
    lower case; ``cookies`` by name."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    cookies: Mapping[str, str] = {}


class Response(msgspec.Struct, frozen=True):
    """``body``: text in UTF-8, JSON unless ``headers`` say otherwise, or bytes that go as they are, or a list, which is
    encoded while it is read; ``cookies``: values of Set-Cookie."""

    status: int
    body: str | bytes | Listing
    headers: Mapping[str, str] = {}
    cookies: Sequence[str] = ()


def parameter(request: Request, name: str) -> str:
    """The value of a query's parameter; RequestError 400 unless it is there once and not empty."""
    values = request.query.get(name, [])
    if len(values) != 1 or not values[0]:
        raise RequestError(400, f"the query needs {name} once")
    return values[0]


def span_ms(request: Request) -> tuple[int, int]:
    """``from`` and ``to`` of a query, both included, in ms; RequestError 400."""
    from_s, to_s = _time_s(request, "from"), _time_s(request, "to")
    if from_s > to_s:
        raise RequestError(400, f"from ({from_s}) is after to ({to_s})")
    return from_s * 1000, to_s * 1000


def _time_s(request: Request, name: str) -> int:
    text = parameter(request, name)
    if not re.fullmatch(r"-?[0-9]{1,13}", text) or abs(int(text)) > TIME_S_MAX:
        raise RequestError(400, f"{name} must be a time in seconds since 1970; got {text[:32]!r}")
    return int(text)


def parse(event: Mapping[str, Any]) -> Request:
    """The request of an event; RequestError 400 for a malformed query or body, 413 for a body over the limit."""
    return Request(
        method=event["requestContext"]["http"]["method"],
        path=_path(event["rawPath"]),
        query=_query(event.get("rawQueryString") or ""),
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        body=_body(event.get("body") or "", event.get("isBase64Encoded", False)),
        cookies=dict(pair.partition("=")[::2] for pair in event.get("cookies") or ()),
    )


def event_of(request: Request, path: str, headers: Collection[str]) -> dict[str, Any]:
    """The mirror of ``parse``: an event with the query and body of a request for another path, and some headers."""
    return {
        "rawPath": path,
        "rawQueryString": urlencode(request.query, doseq=True),
        "headers": {name: value for name, value in request.headers.items() if name in headers},
        "requestContext": {"http": {"method": request.method, "path": path}},
        "body": b64encode(request.body).decode(),
        "isBase64Encoded": True,
    }


def _path(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no key can hold
        raise RequestError(400, "the path is not valid UTF-8") from None
    return text


def _query(raw: str) -> dict[str, list[str]]:
    try:
        return parse_qs(raw, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise RequestError(400, f"the query has more than {QUERY_FIELDS_MAX} parameters") from None


def _body(text: str, is_base64: bool) -> bytes:
    try:
        body = b64decode(text, validate=True) if is_base64 else text.encode(errors="surrogatepass")
    except ValueError:
        raise RequestError(400, "the body is not valid base64") from None
    if len(body) > BODY_BYTES_MAX:
        raise _too_large(BODY_BYTES_MAX)
    return body


def inflate(body: bytes, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """A body without its gzip, which is found by its magic bytes; other bodies as they are.

    Raises RequestError: 413 if more than ``bytes_max`` come out, 400 if it is no whole gzip member.
    """
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    if not body.startswith(GZIP_MAGIC):
        return body
    inflater = zlib.decompressobj(GZIP_WBITS)
    try:
        inflated = inflater.decompress(body, bytes_max + 1)
    except zlib.error:
        raise RequestError(400, "the body begins like gzip and is not gzip") from None
    if len(inflated) > bytes_max:
        raise _too_large(bytes_max)
    if not inflater.eof or inflater.unused_data:
        raise RequestError(400, "the gzip body is truncated, or bytes follow its end")
    return inflated


def _too_large(bytes_max: int) -> RequestError:
    return RequestError(413, f"the body is larger than {bytes_max} bytes; send it in smaller parts")


def json_response(status: int, value: object, headers: Mapping[str, str] | None = None) -> Response:
    """``value`` as JSON."""
    return Response(status, msgspec.json.encode(value).decode(), headers or {})


def skipped_header(skipped: Counter[str]) -> dict[str, str]:
    """The header that says how much was skipped and why; none if nothing was."""
    if not skipped:
        return {}
    return {SKIPPED_HEADER: ", ".join(f"{reason}={number}" for reason, number in sorted(skipped.items()))}


def if_changed(request: Request, response: Response, of: bytes = b"") -> Response:
    """The response with an ETag, or 304 without a body for a client that has this one already.

    ``of``: what tells the body from others, in the place of the body.
    """
    if isinstance(response.body, Listing):  # known only when it was sent
        return response
    tag = _tag(of or (response.body if isinstance(response.body, bytes) else response.body.encode()))
    headers = {**response.headers, "ETag": tag, "Cache-Control": "private, no-cache"}
    if _has(request, tag):
        return Response(304, b"", headers)
    return Response(response.status, response.body, headers, response.cookies)


def unchanged(request: Request, of: bytes) -> Response | None:
    """304 for a client that has the body that ``if_changed`` tagged with ``of``; None: answer the request."""
    return if_changed(request, Response(200, b""), of) if of and _has(request, _tag(of)) else None


def _tag(of: bytes) -> str:
    return f'"{sha256(of).hexdigest()[:32]}"'


def _has(request: Request, tag: str) -> bool:
    return tag in map(str.strip, request.headers.get("if-none-match", "").replace("W/", "").split(","))


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error in the form whose message Mackerel's clients show."""
    return json_response(status, {"error": {"message": message}}, headers)


def no_route(request: Request) -> RequestError:
    """The refusal of a method and path that no route takes."""
    return RequestError(404, f"no such call: {request.method} {request.path[:200]}; GET /openapi.json lists all calls")


def answer(event: Mapping[str, Any], respond: Callable[[Request], Response]) -> dict[str, Any]:
    """The Lambda answer of ``respond`` for ``event``; never raises."""
    try:
        return _payload(event, respond(parse(event)))
    except RequestError as error:
        response = error_response(error.status, error.message)
    except OverLimitError as error:
        response = error_response(503, f"{error}; send the request again later", {"Retry-After": str(TENANT_CACHE_S)})
    except RetryableError as error:
        _log.warning("try again later: %s", error, extra=_trace(event))
        response = _unavailable()
    except Exception:  # noqa: BLE001 - the one place where a bug becomes "send again" instead of a bare 500
        _log.exception("unexpected error", extra=_trace(event))
        response = _unavailable()
    return _payload(event, response)


def _unavailable() -> Response:
    message = f"temporarily unavailable; send the request again in {RETRY_AFTER_S} seconds"
    return error_response(503, message, {"Retry-After": str(RETRY_AFTER_S)})


def _trace(event: Mapping[str, Any]) -> dict[str, object]:
    return {"http_request_id": (event.get("requestContext") or {}).get("requestId")}


def _payload(event: Mapping[str, Any], response: Response) -> dict[str, Any]:
    """Lambda's answer.  RequestError 413 if it can't carry the body."""
    gzip = _takes_gzip(event)
    if isinstance(response.body, Listing):
        packed = listing.payload_of(response.body, gzip=gzip)
    elif isinstance(response.body, bytes):
        packed = _in_base64(response.body)
    elif len(response.body) > ANSWER_PLAIN_BYTES_MAX:
        packed = _large(response.body, gzip=gzip)
    else:
        packed = {"headers": {}, "body": response.body, "isBase64Encoded": False}
    headers = {"Content-Type": "application/json", **response.headers, **packed["headers"]}
    cookies = {"cookies": list(response.cookies)} if response.cookies else {}
    return {"statusCode": response.status, **packed, "headers": headers, **cookies}


def _takes_gzip(event: Mapping[str, Any]) -> bool:
    accepted = {name.lower(): value for name, value in (event.get("headers") or {}).items()}.get("accept-encoding", "")
    return "gzip" in accepted


def _large(text: str, *, gzip: bool) -> dict[str, Any]:
    """In base64, which costs a third where text in JSON may cost double, and gzip for those who take it."""
    if not gzip:
        return _in_base64(text.encode())
    packed = _in_base64(zlib.compress(text.encode(), level=1, wbits=GZIP_WBITS))
    return {**packed, "headers": {"Content-Encoding": "gzip"}}


def _in_base64(body: bytes) -> dict[str, Any]:
    encoded = b64encode(body).decode()
    if len(encoded) > ANSWER_BYTES_MAX:
        raise RequestError(413, "the answer is too large; ask for less, or accept gzip")
    return {"headers": {}, "body": encoded, "isBase64Encoded": True}
