"""Lambda function behind the reads: samples out of all tiers."""

from collections.abc import Callable
from typing import Any

from carbyne.http import message
from carbyne.read import api
from carbyne.wiring.reader import ReaderDeps, reader


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Entry point of Lambda."""
    return handle(event, reader)


def handle(event: dict[str, Any], deps: Callable[[], ReaderDeps]) -> dict[str, Any]:
    """The answer to an HTTP event; ``deps`` is called inside, so that its failure is answered as well."""
    return message.answer(event, lambda request: api.route(request, *deps()))
