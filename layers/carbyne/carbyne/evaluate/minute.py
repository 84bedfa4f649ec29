"""What is evaluated each minute: groups of rules, whose time is bounded, then monitors."""

from collections.abc import Callable
from typing import NamedTuple

from carbyne.core.errors import RetryableError
from carbyne.evaluate.evaluator import MonitorEvaluator
from carbyne.evaluate.groups import GroupEvaluator


class MinuteEvaluator(NamedTuple):
    """Rules that can't be evaluated hold up no monitor."""

    groups: GroupEvaluator
    monitors: MonitorEvaluator

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many tenants' monitors were looked at; RetryableError if none could be, or the rules could not."""
        failure: RetryableError | None = None
        try:
            self.groups.run(seconds_left)
        except RetryableError as error:
            failure = error
        done = self.monitors.run(seconds_left)
        if failure:
            raise failure
        return done
