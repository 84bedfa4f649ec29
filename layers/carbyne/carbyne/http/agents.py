"""The door for agents: a Function URL in front of one function, which costs nothing beside its invocations.

It tells the function a path as it was sent, where the HTTP API tells it decoded; and all that agents ask comes to this
one function.  What another function answers is handed on to it, in the form in which the HTTP API hands it over.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from carbyne.core.errors import RequestError
from carbyne.http import message
from carbyne.http.message import Request, Response
from carbyne.http.routes import Route

URL_DOMAIN: Final = ".on.aws"
"""How the name of a Function URL ends; AWS says it, not the client."""

Event = Mapping[str, Any]
HandOn = Callable[[Event], dict[str, Any]]
"""The answer of another function to an event; RetryableError if there is none now."""


def answer(
    event: Event, routes: Sequence[Route[Any]], respond: Callable[[Request], Response], hand_on: HandOn
) -> dict[str, Any]:
    """``respond``'s answer; another function's for a request by a Function URL that none of ``routes`` takes."""
    if not _is_by_url(event):
        return message.answer(event, respond)
    try:
        told = _as_http_api(event)
        return message.answer(told, respond) if _is_ours(told, routes) else hand_on(told)
    except Exception as error:  # noqa: BLE001 - as of ``message.answer``, which says what each means
        return message.answer(event, _raising(error))


def _is_by_url(event: Event) -> bool:
    return str(event["requestContext"].get("domainName", "")).endswith(URL_DOMAIN)


def _as_http_api(event: Event) -> dict[str, Any]:
    """The event with its path decoded once; RequestError 400 if that is no UTF-8."""
    try:
        path = unquote(event["rawPath"], errors="strict")
    except UnicodeDecodeError:
        raise RequestError(400, "the path is not valid UTF-8") from None
    context = event["requestContext"]
    return {**event, "rawPath": path, "requestContext": {**context, "http": {**context["http"], "path": path}}}


def _is_ours(event: Event, routes: Sequence[Route[Any]]) -> bool:
    method = event["requestContext"]["http"]["method"]
    return any(route.parts_of(method, event["rawPath"]) is not None for route in routes)


def _raising(error: Exception) -> Callable[[Request], Response]:
    def respond(request: Request) -> Response:
        raise error

    return respond
