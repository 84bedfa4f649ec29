"""Lambda function behind ``POST /api/v0/tsdb``: samples of agents onto the stream."""

from collections.abc import Callable
from typing import Any

from carbyne.http import message
from carbyne.intake.writer import Writer
from carbyne.wiring.writer import writer


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Entry point of Lambda."""
    return handle(event, writer)


def handle(event: dict[str, Any], deps: Callable[[], Writer]) -> dict[str, Any]:
    """The answer to an HTTP event; ``deps`` is called inside, so that its failure is answered as well."""
    return message.answer(event, lambda request: deps().route(request))
