"""Lambda function behind the blocks table's stream: blocks into the archive."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.archive.archiver import Archiver
from carbyne.stream import events
from carbyne.wiring.archiver import archiver

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse


def handler(event: dict[str, Any], context: object) -> "PartialItemFailureResponse":
    """Entry point of Lambda."""
    return handle(event, archiver)


def handle(event: dict[str, Any], deps: Callable[[], Archiver]) -> "PartialItemFailureResponse":
    """The partial batch response."""
    return events.answer_changes(event, lambda images: deps().take(images))
