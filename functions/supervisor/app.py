"""Lambda function behind the minute's schedule: starts and stops the replays that the sealer found to be needed."""

from collections.abc import Callable
from typing import Any

from carbyne.hot.replay import Supervisor
from carbyne.wiring.supervisor import supervisor


def handler(event: dict[str, Any], context: object) -> None:
    """Entry point of Lambda; raises if something could not be asked: the next minute tries again."""
    handle(supervisor)


def handle(deps: Callable[[], Supervisor]) -> None:
    """One look at the job."""
    deps().tick()
