"""Lambda function behind the daily schedule: what will expire is in the archive."""

from collections.abc import Callable
from typing import Any

from carbyne.reconciler import Reconciler
from carbyne.wiring.reconciler import reconciler


def handler(event: dict[str, Any], context: object) -> None:
    """Entry point of Lambda; raises if blocks could not be compared, so that the alarm on errors says so."""
    handle(reconciler)


def handle(deps: Callable[[], Reconciler]) -> int:
    """The number of blocks of which the archive lacked something."""
    return deps().run()
