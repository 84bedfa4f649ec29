"""The local scheduler calls a function at its rate, and again after a failure."""

import threading
import time

import pytest

from local.sources import Schedule
from servers.lambdas import FunctionError


class Failing:
    """A function that fails at each call and says when it was called three times."""

    name = "Failing"

    def __init__(self):
        self.events, self.thrice = [], threading.Event()

    def invoke(self, event):
        self.events.append(event)
        if len(self.events) == 3:
            self.thrice.set()
        raise FunctionError("told so")


def test_calls_go_on_after_a_failure():
    function = Failing()
    schedule = Schedule(function, "rate(1 minute)")
    assert schedule.period_s == 60
    schedule.period_s = 0.01
    schedule.start()
    assert function.thrice.wait(5)
    schedule.stopping.set()
    assert function.events[0]["source"] == "aws.scheduler"
    assert len({event["id"] for event in function.events[:3]}) == 3


@pytest.mark.parametrize(
    ("expression", "period_s"), [("rate(5 minutes)", 300), ("rate(1 hour)", 3600), ("rate(1 day)", 86400)]
)
def test_rates(expression, period_s):
    assert Schedule(Failing(), expression).period_s == period_s


@pytest.mark.parametrize("expression", ["cron(0 * * * ? *)", "rate(1 week)", "at(2030-01-01T00:00:00)", ""])
def test_other_schedules_are_refused(expression):
    with pytest.raises(ValueError, match="the schedule"):
        Schedule(Failing(), expression)


def test_an_answer_goes_to_the_destination_as_lambda_tells_it():
    class Answering(Failing):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def invoke(self, event):
            self.events.append(event)
            return {"seen": len(self.events)}

    first, second = Answering("First"), Answering("Second")
    schedule = Schedule(first, "rate(1 minute)")
    schedule.work()
    assert second.events == []
    schedule.destination = second
    schedule.work()
    [told] = second.events
    assert told["responsePayload"] == {"seen": 2} and told["requestPayload"] == first.events[1]
    assert told["requestContext"]["condition"] == "Success" and "First" in told["requestContext"]["functionArn"]


def test_turns_do_not_slip_by_the_time_that_they_take():
    """Three of them: the last would come 0.4 s late."""
    period_s, turn_s, times, enough = 0.5, 0.2, [], threading.Event()

    class Slow(Failing):
        def invoke(self, event):
            times.append(time.monotonic())
            enough.wait(turn_s)
            if len(times) == 3:
                enough.set()

    schedule = Schedule(Slow(), "rate(1 minute)")
    schedule.period_s, begun_s = period_s, time.monotonic()
    schedule.start()
    assert enough.wait(5)
    schedule.stopping.set()
    assert all((at_s - begun_s) % period_s < turn_s - 0.01 for at_s in times)
