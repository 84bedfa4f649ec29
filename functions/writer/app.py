"""Lambda function behind ``POST /api/v0/tsdb``: samples of agents onto the stream."""

from collections.abc import Callable
from typing import Any

from carbyne.http import agents
from carbyne.intake.writer import ROUTES, Writer
from carbyne.wiring.writer import ask_registry, writer


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Entry point of Lambda."""
    return handle(event, writer)


def handle(event: dict[str, Any], deps: Callable[[], Writer], hand_on: agents.HandOn = ask_registry) -> dict[str, Any]:
    """The answer to an HTTP event; ``deps`` is called inside, so that its failure is answered as well; ``hand_on``: the
    function that answers what agents ask beside posts."""
    return agents.answer(event, ROUTES, lambda request: deps().route(request), hand_on)
