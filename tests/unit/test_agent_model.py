"""The simulated agent does what was measured of the real one's loop."""

import json

import pytest

from tests.support.agent import FIND_DELAY_S, FIND_TRIES, RETRIES_MAX, Agent, Simulation

START_S = 1_700_000_000


class Server:
    """Answers as little as an agent needs; ``down``: a span in which tsdb does not;
    ``poison``: a time that it never takes; ``taken``: those that it took."""

    def __init__(self, outage_min):
        self.simulation = Simulation(START_S)
        self.down = range(START_S + 1_800, START_S + 1_800 + 60 * outage_min)
        self.poison = None
        self.taken = set()
        self.agent = Agent(self.simulation, "web", self.send)

    def send(self, method, path, text):
        if "tsdb" in path:
            return self._post({sample["time"] for sample in json.loads(text)})
        host = {"createdAt": 1, "status": "working", "meta": {"memory": {}, "kernel": {}}}
        return 200, json.dumps({"id": "22CXRB3pZmu", "hosts": [], "host": host})

    def _post(self, times):
        if int(self.simulation.now_s) in self.down or self.poison in times:
            return 503, "{}"
        self.taken |= times
        return 200, "{}"

    def run_for(self, seconds):
        self.simulation.run_until(self.simulation.now_s + seconds)

    def catch_up_min(self):
        """Minutes after the outage until the queue is empty."""
        self.simulation.run_until(self.down.stop)
        for minute in range(600):
            if len(self.agent.queue) <= 1:
                return minute
            self.run_for(60)
        raise AssertionError("never")


@pytest.mark.parametrize("outage_min", [30, 60, 360])
def test_catching_up_takes_a_third_of_the_outage(outage_min):
    server = Server(outage_min)
    assert server.catch_up_min() == pytest.approx(outage_min / 3, abs=4)
    assert (server.agent.abandoned, server.agent.dropped_ticks) == (0, [])


def test_after_eight_hours_the_newest_two_are_lost():
    server = Server(480)
    server.catch_up_min()
    assert len(server.agent.dropped_ticks) == pytest.approx(119, abs=4)
    assert server.agent.abandoned == 0


def test_one_poisoned_minute_is_given_up_at_the_61st_time_and_drags_no_other_along():
    server = Server(0)
    server.poison = START_S + FIND_TRIES * FIND_DELAY_S  # the first one
    server.run_for(12 * 3_600)
    failures = [post for post in server.agent.posts if not post[2]]
    assert server.agent.abandoned == 1
    assert len(failures) == RETRIES_MAX + 1
    collected = set(server.agent.collected["loadavg1"])
    assert collected - server.taken - {server.poison} <= {
        time for time in collected if time > START_S + 12 * 3_600 - 180
    }
