"""Replay: who begins it, who runs it, and when a lane is whole."""

from collections import Counter

import pytest
from carbyne.core.errors import InvariantError, RetryableError
from carbyne.core.keys import lane_of_tag, lane_tag
from carbyne.core.limits import PUT_RECORDS_MAX, REPLAY_FILL_MAX, REPLAY_TRIES_S
from carbyne.hot.replay import Job, Jobs, Replayer, Supervisor, Watch, demand
from carbyne.stream import records
from carbyne.stream.arrived import Arrived

from tests.support.fakes import FakeTable

NOW_S = 1_700_000_000


class World:
    """Lanes, readers and stream in one; ``token``: lane -> token of the replay that it is in; whole ones have none."""

    def __init__(self):
        self.jobs = Jobs(FakeTable())
        self.token, self.forced = {}, []
        self.full = 0.0
        self.now_s = NOW_S
        self.started, self.stopped = 0, []
        self.put_entries, self.calls, self.failing = [], 0, []
        self.ingested, self.ingest_fails_at = [], None
        self.counts = Counter()
        tokens = iter(f"token{number}" for number in range(99))
        self.failed_over = []
        self.watch = Watch(self.jobs, self, self, lambda: True, lambda: next(tokens), lambda: self.now_s * 1000)
        self.supervisor = Supervisor(self.jobs, self, self)
        self.replayer = Replayer(self, self, self)

    def look(self):
        return self.failed_over

    def begin(self, lanes, token, *, force=False):
        self.forced.append(force)
        self.token.update(dict.fromkeys(lanes, token))

    def make_whole(self, lane, token):
        if self.token.get(lane) == token:
            del self.token[lane]
        return lane not in self.token

    def in_replay(self, lanes):
        return set(lanes) & self.token.keys()

    def fill(self):
        return self.full

    def start(self):
        self.started += 1
        return "reader"

    def stop(self, name):
        self.stopped.append(name)

    def put(self, entries):
        self.calls += 1
        self.put_entries += entries
        return self.failing

    def ingest(self, entries):
        self.ingested += [entry.sequence for entry in entries]
        return self.ingest_fails_at

    def add(self, name, amount=1):
        self.counts[name] += amount

    def flush_due(self):
        pass

    @property
    def job(self):
        return self.jobs.load()[0]


@pytest.fixture
def world():
    return World()


def fence(lane, token, sequence):
    return Arrived(str(sequence), records.encode(records.FenceRecord(token)), lane_tag(lane))


def sample(lane, sequence):
    return Arrived(str(sequence), b"whatever", lane_tag(lane))


def test_lanes_that_are_not_whole_are_given_a_token_and_a_job(world):
    world.watch.look({5: "", 3: ""})
    assert world.job == Job("token0", [3, 5], NOW_S, 2) and world.token == {3: "token0", 5: "token0"}
    assert world.forced == [False]


def test_lanes_of_a_master_that_was_replaced_are_replayed_at_once(world):
    world.failed_over = [7]
    world.watch.look({5: ""})
    assert world.job == Job("token0", [5, 7], NOW_S, 2)


def test_lanes_that_fail_over_during_their_replay_need_another(world):
    world.watch.look({5: "", 7: ""})
    world.failed_over = [7]
    world.watch.look({5: "token0", 7: "token0"})
    assert world.job.left == 1
    world.failed_over = []
    world.watch.look({7: ""})
    assert world.job.left == 0
    world.watch.look({7: ""})
    assert world.job == Job("token1", [7], NOW_S, 1)


def test_whole_lanes_need_nothing(world):
    world.watch.look({})
    assert world.job is None


def test_a_job_counts_the_lanes_that_still_have_its_token(world):
    world.watch.look({3: "", 5: "", 7: ""})
    world.watch.look({3: "token0", 5: "", 9: "another"})
    assert world.job.left == 1
    world.watch.look({5: ""})
    assert world.job.left == 0


def test_the_next_job_waits_until_the_reader_of_the_last_one_has_stopped(world):
    world.watch.look({3: ""})
    world.supervisor.tick()
    world.watch.look({5: ""})
    world.watch.look({5: ""})
    assert world.job == Job("token0", [3], NOW_S, 0, "reader")
    world.supervisor.tick()
    assert world.stopped == ["reader"] and world.job.reader == ""
    world.watch.look({5: ""})
    assert world.job == Job("token1", [5], NOW_S, 1)


def test_a_job_that_does_not_end_is_begun_anew(world):
    world.watch.look({3: ""})
    world.supervisor.tick()
    world.now_s += REPLAY_TRIES_S + 1
    world.watch.look({3: "token0"})
    world.supervisor.tick()
    world.watch.look({3: "token0"})
    assert world.job.token == "token1" and world.token == {3: "token1"}


def test_the_supervisor_starts_a_reader_with_a_fence_of_each_lane_and_only_once(world):
    world.supervisor.tick()
    assert not world.started
    world.watch.look(dict.fromkeys(range(1024), ""))
    for _ in range(3):
        world.supervisor.tick()
    assert world.started == 1 and world.calls == -(-1024 // PUT_RECORDS_MAX)
    assert [key for key, _ in world.put_entries] == [lane_tag(lane) for lane in range(1024)]
    assert {records.decode(data) for _, data in world.put_entries} == {records.FenceRecord("token0")}


def test_fences_that_were_not_taken_are_put_again(world):
    world.watch.look({3: ""})
    world.failing = [0]
    with pytest.raises(RetryableError, match="1 fences"):
        world.supervisor.tick()
    world.failing = []
    world.supervisor.tick()
    assert world.job.reader == "reader" and world.calls == 2


def test_the_replayer_takes_only_lanes_that_are_not_whole(world):
    world.token = {3: "t"}
    assert world.replayer.ingest([sample(3, 1), sample(4, 2), sample(3, 3)]) is None
    assert world.ingested == ["1", "3"] and world.counts["RecordsReplayed"] == 2


def test_a_lane_is_whole_behind_its_fence(world):
    world.token = {3: "t", 4: "t"}
    assert world.replayer.ingest([sample(3, 1), fence(3, "t", 2), sample(4, 3)]) is None
    assert world.token == {4: "t"}


def test_an_older_fence_makes_nothing_whole(world):
    world.token = {3: "new"}
    world.replayer.ingest([fence(3, "old", 1)])
    assert world.token == {3: "new"}


def test_a_fence_behind_a_failed_record_waits_with_it(world):
    world.token, world.ingest_fails_at = {3: "t", 4: "t"}, "2"
    assert world.replayer.ingest([fence(4, "t", 1), sample(3, 2), fence(3, "t", 10)]) == "2"
    assert world.token == {3: "t"}


def test_a_replay_waits_while_redis_is_full(world):
    world.token, world.full = {3: "t"}, REPLAY_FILL_MAX + 0.01
    with pytest.raises(RetryableError, match="71% full"):
        world.replayer.ingest([sample(3, 1)])
    assert world.ingested == []
    assert world.replayer.ingest([sample(4, 1)]) is None, "records of whole lanes cost no memory"


def test_an_operator_s_demand_reaches_the_lanes_before_the_reader_starts(world):
    demand(world.jobs, [1, 2], "asked", NOW_S)
    world.supervisor.tick()
    assert not world.started
    world.watch.look({})
    assert world.forced == [True] and world.token == {1: "asked", 2: "asked"}
    world.supervisor.tick()
    assert world.started == 1
    with pytest.raises(RetryableError, match="asked runs: 2 of 2 lanes are left"):
        demand(world.jobs, [1], "again", NOW_S)
    with pytest.raises(InvariantError):
        demand(Jobs(FakeTable()), [], "none", NOW_S)


def test_nothing_is_lost_on_a_stack_that_never_began(world):
    watch = Watch(world.jobs, world, world, lambda: False, lambda: "token", lambda: 0)
    watch.look(dict.fromkeys(range(1024), ""))
    assert world.job is None and world.token == {}


def test_a_record_that_no_writer_of_ours_put_holds_up_nothing(world):
    world.token = {3: "t"}
    assert world.replayer.ingest([Arrived("1", b"", "whose?"), sample(3, 2)]) is None
    assert world.ingested == ["2"]


@pytest.mark.parametrize("tag", ["", "l1024", "l041", "l04177", "x0417", "l04a7", "0417"])
def test_only_lanes_have_tags(tag):
    assert lane_of_tag(tag) is None
    assert [lane_of_tag(lane_tag(lane)) for lane in (0, 417, 1023)] == [0, 417, 1023]


@pytest.mark.parametrize("lanes_left", [{}, {3: ""}])
def test_a_reader_whose_start_was_not_noted_in_the_end_is_stopped_all_the_same(world, lanes_left):
    """The fences, or the job after them, could not be put; then the lanes are whole, or lost for another replay."""
    world.watch.look({3: ""})
    world.failing = [0]
    with pytest.raises(RetryableError, match="fences"):
        world.supervisor.tick()
    assert world.started == 1 and world.job.reader == "starting"
    world.failing = []
    world.watch.look(lanes_left)
    assert world.job == Job("token0", [3], NOW_S, 0, "starting")
    world.supervisor.tick()
    assert world.stopped == ["reader"] and world.job.reader == ""
    world.watch.look({3: ""})
    assert world.job == Job("token1", [3], NOW_S, 1)
