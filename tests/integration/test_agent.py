"""Agents as they are, through outages as they come: every minute is readable afterwards, and none twice."""

import itertools
import json
import random

import pytest
from carbyne.registry.ids import new_host_id

from harness.pipeline import Pipeline
from tests.support.agent import METRICS, PLUGIN, QUEUE_ENTRIES, TIMEOUT_S, Agent, NetworkError, Simulation
from tests.support.registry_system import System, event

START_S = 1_699_999_987
KEY = "key-a"
MINUTE_S = 60


class Endpoint:
    """What agents talk to.  ``fault(now_s)``: what is wrong then, None if nothing is."""

    def __init__(self, path, registry, simulation, fault):
        self.path, self.registry, self.simulation, self.fault = path, registry, simulation, fault
        self.refused, self.lost = 0, 0

    def send(self, method, path, text):
        """Status and text; NetworkError if none comes."""
        self.path.now_s = self.registry.now_s = int(self.simulation.now_s)
        fault = self.fault(self.simulation.now_s)
        self.refused += fault is not None
        if fault == "refused":
            raise NetworkError(0.1)
        if fault == "bad gateway":
            return 502, "<html>Bad Gateway</html>"
        if fault == "silent":
            raise NetworkError(TIMEOUT_S)
        answer = self._answer(method, path, text)
        if fault == "too slow":  # done, but the agent does not hear of it
            self.lost += 1
            raise NetworkError(TIMEOUT_S)
        return answer

    def _answer(self, method, path, text):
        if path.startswith("/api/v0/tsdb"):
            answer = self.path.post(text, api_key=KEY)
            assert "Carbyne-Skipped" not in answer["headers"]
            return answer["statusCode"], answer["body"]
        answer = self.registry.app.handle(
            event(method, path, text, KEY), lambda: (self.registry.accounts, self.registry.registry)
        )
        return answer["statusCode"], answer["body"]


def ingesting(path, simulation, each_s):
    """Delivers what is new on the stream, again and again."""
    delivered = 0
    while True:
        new = path.stream.records[delivered:]
        delivered += len(new)
        path.now_s = int(simulation.now_s)
        if new:
            assert path.deliver(new) == 0
        yield each_s


class World:
    """Agents, their endpoint, and the system behind it, which ingests each second and seals now and then."""

    def __init__(self, cluster, agents, fault, seal_each_s):
        self.simulation = Simulation(START_S)
        self.path = Pipeline(cluster, START_S, tenants={KEY: "a"})
        registry = System()
        ids = itertools.count(1)
        registry.registry = registry.registry._replace(new_id=lambda: new_host_id(_choices(next(ids))))
        self.endpoint = Endpoint(self.path, registry, self.simulation, fault)
        self.agents = [Agent(self.simulation, f"web{number}", self.endpoint.send) for number in range(agents)]
        self.seal_each_s = seal_each_s
        self.simulation.start(ingesting(self.path, self.simulation, 1))
        self.simulation.start(self._seal())

    def _seal(self):
        while True:
            yield self.seal_each_s
            self.path.now_s = int(self.simulation.now_s)
            self.path.seal()

    def run_for(self, seconds):
        self.simulation.run_until(self.simulation.now_s + seconds)
        self.path.now_s = int(self.simulation.now_s)

    def posts(self):
        return [post for agent in self.agents for post in agent.posts]


def _choices(seed):
    """A choice of characters that is another one for each id."""
    return random.Random(seed).choice


@pytest.fixture
def world(cluster):
    made = []

    def make(agents, fault, seal_each_s):
        made.append(World(cluster, agents, fault, seal_each_s))
        return made[-1]

    yield make
    for each in made:
        each.path.close()


def expect_all_readable(world, minutes):
    """Everything that was collected and is not on its way, bit for bit, once; at least so many minutes."""
    for agent in world.agents:
        waiting = {sample["time"] for entry in agent.queue for sample in entry.values}
        for name in METRICS + PLUGIN:
            status, _, points = world.path.get_metric(agent.host_id, name, START_S - 600, START_S + 86_400, api_key=KEY)
            expected = {
                time_s // MINUTE_S * MINUTE_S: value
                for time_s, value in agent.collected[name].items()
                if time_s not in waiting and time_s <= agent.posts[-1][0] - 2 * MINUTE_S
            }
            times = [time_s for time_s, _ in points]
            assert len(expected) >= minutes
            assert status == 200 and times == sorted(set(times)), "none twice"
            got = dict(points)
            assert {time_s: got.get(time_s) for time_s in expected} == expected


def during(outage, then):
    begin_s, end_s = outage
    return lambda now_s: then(now_s) if START_S + begin_s <= now_s < START_S + end_s else None


def mixed(now_s):
    """Each kind of outage for a quarter of an hour's third."""
    return ("refused", "bad gateway", "silent", "too slow")[int(now_s - START_S) // 300 % 4]


def test_an_hour_with_an_outage_of_20_minutes_in_its_middle(world):
    """Then ten minutes to catch up: a third of the outage is what the agents need."""
    an_hour = world(5, during((1_200, 2_400), mixed), seal_each_s=300)
    an_hour.run_for(3_600)
    assert all(agent.running for agent in an_hour.agents)
    assert an_hour.endpoint.refused > 50 and an_hour.endpoint.lost > 5
    assert any(entries == 2 and not done for _, entries, done in an_hour.posts()), "a pair failed"
    an_hour.run_for(600)
    for agent in an_hour.agents:
        assert len(agent.queue) <= 1 and agent.abandoned == 0 and agent.dropped_ticks == []
        assert len(agent.collected["loadavg1"]) >= 69
    expect_all_readable(an_hour, 66)


def test_posts_come_at_the_second_of_their_host_and_60_to_119_s_late(world):
    calm = world(8, lambda _: None, seal_each_s=3_600)
    calm.run_for(1_200)
    for agent in calm.agents:
        seconds = {int(now_s) % 60 for now_s, _, _ in agent.posts[2:]}
        assert seconds <= {agent.delay_s, (agent.delay_s + 1) % 60}
        assert all(done for _, _, done in agent.posts)
    assert len({agent.delay_s for agent in calm.agents}) > 4
    expect_all_readable(calm, 16)


def test_a_backlog_of_six_hours(world):
    """Memory for 360 minutes is what an agent has; it needs two hours to catch up, and loses none of them."""
    backlog = world(1, during((1_800, 1_800 + 6 * 3_600 - 300), mixed), seal_each_s=1_200)
    backlog.run_for(1_800 + 6 * 3_600)
    [agent] = backlog.agents
    assert QUEUE_ENTRIES - 20 < len(agent.queue) <= QUEUE_ENTRIES
    backlog.run_for(2 * 3_600 + 600)
    assert len(agent.queue) <= 2 and agent.abandoned == 0 and agent.dropped_ticks == []
    assert len(agent.collected["loadavg1"]) >= 500
    expect_all_readable(backlog, 500)


def test_an_agent_that_starts_in_an_outage_gives_up_and_the_next_start_works(world):
    starting = world(1, during((0, 120), lambda _: "bad gateway"), seal_each_s=3_600)
    starting.run_for(110)
    [agent] = starting.agents
    assert agent.gave_up and not agent.running
    starting.run_for(10)
    again = Agent(starting.simulation, "web0", starting.endpoint.send)
    starting.agents = [again]
    starting.run_for(600)
    assert again.running
    expect_all_readable(starting, 5)


def test_a_restarted_agent_finds_its_host(world):
    first = world(1, lambda _: None, seal_each_s=3_600)
    first.run_for(300)
    [agent] = first.agents
    again = Agent(first.simulation, "web0", first.endpoint.send)
    first.run_for(10)
    assert again.host_id == agent.host_id
    listed = first.endpoint.send("GET", "/api/v0/hosts?", None)
    assert len(json.loads(listed[1])["hosts"]) == 1
