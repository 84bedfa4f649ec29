"""Lambda function behind hosts, services, metadata, graphs and checks."""

from collections.abc import Callable
from typing import Any

from carbyne.http import message
from carbyne.http.routes import dispatch
from carbyne.registry.api import ROUTES
from carbyne.wiring.registry import RegistryDeps, registry


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Entry point of Lambda."""
    return handle(event, registry)


def handle(event: dict[str, Any], deps: Callable[[], RegistryDeps]) -> dict[str, Any]:
    """The answer to an HTTP event; ``deps`` is called inside, so that its failure is answered as well."""
    return message.answer(event, lambda request: dispatch(ROUTES, request, *deps()))
