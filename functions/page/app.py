"""Lambda function behind the page in the browser: its files, its sessions, and a look at the system."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from carbyne.http import message as http
from carbyne.page import api
from carbyne.page.api import PageDeps
from carbyne.wiring.page import page

FILES = Path(__file__).parent / "static"


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Entry point of Lambda."""
    return handle(event, page)


def handle(event: dict[str, Any], deps: Callable[[], PageDeps]) -> dict[str, Any]:
    """The answer to an HTTP event; ``deps`` is called inside, so that its failure is answered as well."""
    return http.answer(event, lambda request: api.route(request, FILES, deps))
