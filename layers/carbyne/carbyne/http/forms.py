"""Bodies of requests as typed values."""

from typing import Any, TypeVar

import msgspec

from carbyne.core.errors import RequestError
from carbyne.http.message import inflate
from carbyne.http.routes import Call

Form = TypeVar("Form")


def form(call: Call, kind: type[Form]) -> Form:
    """The body of a request as ``kind``; RequestError 400 if it is not of this form, 413 if it is too large."""
    return _decode(json_of(call), kind)


def json_of(call: Call) -> bytes:
    """The body of a request, inflated: JSON that can be stored as it is; RequestError as of ``form``."""
    body = inflate(call.request.body)
    _decode(body, Any)  # Raw parts of a form are only skipped over by its own decoding
    return body


def _decode(body: bytes, kind: type[Form]) -> Form:
    try:
        return msgspec.json.decode(body, type=kind)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not as it should be: {error}") from None
