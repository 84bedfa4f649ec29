"""Lambda function behind queues: requests from outside, calls of the stack's own functions, and the minute's sweep."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carbyne.http import message
from carbyne.queue import api
from carbyne.queue.api import QueueDeps
from carbyne.wiring.queue import queue

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Entry point of Lambda; the event of a schedule has no request."""
    if "requestContext" not in event:
        return {"swept": queue().sweep.run(lambda: context.get_remaining_time_in_millis() / 1000)}
    return handle(event, queue)


def handle(event: dict[str, Any], deps: Callable[[], QueueDeps]) -> dict[str, Any]:
    """The answer to an HTTP event; ``deps`` is called inside, so that its failure is answered as well."""
    return message.answer(event, lambda request: api.route(event, request, deps()))
