"""What is evaluated each minute: groups of rules, whose time is bounded, then monitors."""

from collections.abc import Callable
from typing import NamedTuple

from carbyne.core.errors import RetryableError
from carbyne.core.meter import Meter
from carbyne.evaluate.evaluator import MonitorEvaluator
from carbyne.evaluate.groups import GroupEvaluator


class MinuteEvaluator(NamedTuple):
    """Rules that can't be evaluated hold up no monitor.  ``meter``: of bugs that a tenant met."""

    groups: GroupEvaluator
    monitors: MonitorEvaluator
    meter: Meter

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many tenants' monitors were looked at; RetryableError if none could be, or the rules could not."""
        failure: RetryableError | None = None
        try:
            self.groups.run(seconds_left)
        except RetryableError as error:
            failure = error
        try:
            done = self.monitors.run(seconds_left)
        finally:
            self.meter.flush_due()
        if failure:
            raise failure
        return done
