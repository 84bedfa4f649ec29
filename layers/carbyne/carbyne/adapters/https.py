"""Calls of an API over HTTPS: no redirect is followed, so that no other host gets a token, and answers are bounded."""

import http.client
import ssl
import urllib.request
from functools import cache
from typing import Any
from urllib.error import HTTPError

from carbyne.clouds.azure import HttpAnswer, HttpCall
from carbyne.core.errors import RetryableError
from carbyne.core.limits import CLOUD_ANSWER_BYTES_MAX, CLOUD_CALL_S


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - as of the library
        """None: the answer that redirects is the answer."""


@cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        _NoRedirects(),
        urllib.request.ProxyHandler({}),
    )


def fetch(call: HttpCall) -> HttpAnswer:
    """RetryableError if there is no whole answer; its message has no part of the request but its host."""
    request = urllib.request.Request(call.url, call.body, dict(call.headers), method=call.method)  # noqa: S310
    try:
        with _opener().open(request, timeout=CLOUD_CALL_S) as answer:
            return HttpAnswer(answer.status, _body(answer))
    except HTTPError as error:
        with error:
            return HttpAnswer(error.code, error.read(CLOUD_ANSWER_BYTES_MAX))
    except (OSError, http.client.HTTPException) as error:
        raise RetryableError(f"no answer of {request.host}: {error or type(error).__name__}") from None


def _body(answer: http.client.HTTPResponse) -> bytes:
    body = answer.read(CLOUD_ANSWER_BYTES_MAX + 1)
    if len(body) > CLOUD_ANSWER_BYTES_MAX:
        raise RetryableError(f"an answer has more than {CLOUD_ANSWER_BYTES_MAX} bytes")
    return body
