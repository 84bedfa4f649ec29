"""Replay: who begins it, who runs it, and when a lane is whole."""

from collections import Counter
from typing import NamedTuple

import pytest
from carbyne.core.errors import InvariantError, RetryableError
from carbyne.core.keys import lane_of_tag, lane_tag
from carbyne.core.limits import (
    MARK_MARGIN_S,
    PUT_RECORDS_MAX,
    REPLAY_FILL_MAX,
    REPLAY_STUCK_S,
    TICK_MINUTES,
)
from carbyne.hot.failovers import Look
from carbyne.hot.jobs import Job, Jobs, demand
from carbyne.hot.marks import Marks
from carbyne.hot.progress import Notes, Progress
from carbyne.hot.replay import Replayer, ReplayRecords, Supervisor, Watch
from carbyne.stream import records
from carbyne.stream.arrived import Arrived

from tests.support.fakes import FakeTable

NOW_S = 1_700_000_000


class States(NamedTuple):
    """What Redis said: tokens of lanes that are not whole, and arrivals of whole ones, which were never replayed."""

    rebuilding: dict[int, str]
    arrivals: dict[int, "Lane"]

    @property
    def tokens(self):
        return {**dict.fromkeys(self.arrivals, ""), **self.rebuilding}


class World:
    """Lanes, readers and stream in one; ``token``: lane -> token of the replay that it is in; whole ones have none."""

    def __init__(self):
        self.table = FakeTable()
        self.jobs, self.marks, self.notes = Jobs(self.table), Marks(self.table), Notes(self.table)
        self.token, self.forced = {}, []
        self.full, self.away = 0.0, False
        self.now_s = NOW_S
        self.started, self.stopped = 0, []
        self.put_entries, self.calls, self.failing = [], 0, []
        self.ingested, self.ingest_fails_at = [], None
        self.counts = Counter()
        tokens = iter(f"token{number}" for number in range(99))
        self.failed_over, self.steady, self.noted = [], set(), {}
        self.watch = self.new_watch(lambda: True, lambda: next(tokens))
        self.supervisor = Supervisor(self.jobs, self, self, lambda: self.now_s, [])
        self.replayer = Replayer(self, self, self)

    def new_watch(self, initialised, new_token):
        known = ReplayRecords(self.jobs, self.marks, self.notes)
        return Watch(known, self, self, initialised, new_token, lambda: self.now_s * 1000)

    def see(self, rebuilding, arrivals):
        self.token.update(rebuilding)
        self.watch.begin_look()(States(rebuilding, arrivals))

    def look(self, tokens):
        self.token.update(dict.fromkeys(self.failed_over, ""))
        return Look(self.failed_over, dict.fromkeys(self.steady, "m"))

    def masters(self):
        return dict.fromkeys(self.steady, "m") | self.noted

    def begin(self, known, token, *, force=False):
        if self.away:
            raise RetryableError("the node is away")
        self.forced.append(force)
        others = [lane for lane, before in known.items() if self.token.get(lane, before) not in (before, token)]
        self.token.update(dict.fromkeys(known.keys() - set(others), token))
        return others

    def make_whole(self, lane, token):
        if self.token.get(lane) == token:
            del self.token[lane]
        return lane not in self.token

    def in_replay(self, lanes):
        return set(lanes) & self.token.keys()

    def fill(self):
        return self.full

    def start(self, start_s):
        self.started += 1
        self.start_s = start_s
        return "reader"

    def stop(self, name):
        self.stopped.append(name)

    def put(self, entries):
        self.calls += 1
        self.put_entries += entries
        return self.failing

    def ingest(self, entries, seconds_left):
        self.seconds_left = seconds_left()
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
    world.see({5: "", 3: ""}, {})
    assert world.job == Job("token0", [3, 5], NOW_S, 2) and world.token == {3: "token0", 5: "token0"}
    assert world.forced == [False]


def test_lanes_of_a_master_that_was_replaced_are_replayed_at_once(world):
    world.failed_over = [7]
    world.see({5: ""}, {})
    assert world.job == Job("token0", [5, 7], NOW_S, 2)


def test_lanes_that_fail_over_during_their_replay_need_another(world):
    world.see({5: "", 7: ""}, {})
    world.now_s += 1
    world.failed_over = [7]
    world.see({5: "token0", 7: "token0"}, {})
    assert world.job.left == 1
    world.failed_over = []
    world.see({7: ""}, whole(5))
    assert world.job.left == 0
    world.see({7: ""}, whole(5))
    assert world.job == Job("token1", [7], NOW_S + 1, 1)


def test_whole_lanes_need_nothing(world):
    world.see({}, {})
    assert world.job is None


def test_a_job_counts_the_lanes_that_still_have_its_token(world):
    world.see({3: "", 5: "", 7: ""}, {})
    world.now_s += 1
    world.see({3: "token0", 5: "", 9: "another"}, {})
    assert world.job.left == 2
    world.see({3: "token0", 5: "", 9: "another"}, whole(7))
    assert world.job.left == 1
    world.see({5: ""}, whole(3, 7))
    assert world.job.left == 0


def test_a_job_goes_on_while_its_lanes_can_t_be_asked(world):
    """Else it would end, and they would be replayed once more from the mark on."""
    begun(world)
    world.see({}, {})
    assert world.job.left == 1
    world.see({3: "token0"}, {})
    assert world.job.token == "token0" and world.job.left == 1


def test_a_look_that_began_before_the_job_does_not_end_it(world):
    """Two runs of the sealer overlap: what the later one knows of the lanes is older than the job."""
    late = world.watch.begin_look()
    world.see({3: ""}, {})
    late(States({3: ""}, {}))
    assert world.job == Job("token0", [3], NOW_S, 1) and world.token == {3: "token0"}
    world.see({3: ""}, {})
    assert world.job.left == 0, "lost again"


def test_a_look_that_began_before_a_replay_ended_begins_no_other(world):
    begun(world)
    late = world.watch.begin_look()
    world.see({}, whole(3))
    late(States({3: "token0"}, {}))
    world.supervisor.tick()
    assert (world.job.token, world.job.left, world.job.reader) == ("token0", 0, "")


def test_of_two_runs_that_find_a_loss_one_begins_a_replay_wherever_the_other_one_stops(world):
    """The job is saved before its lanes get its token, so that no lane has one that belongs to no job."""
    looks = [world.watch.begin_look() for _ in range(2)]
    world.away = True
    with pytest.raises(RetryableError):
        looks[0](States({3: "", 5: ""}, {}))
    world.away = False
    looks[1](States({3: "", 5: ""}, {}))
    assert world.job.entering and set(world.token.values()) <= {""}
    world.supervisor.tick()
    assert not world.started, "its fences would make nothing whole"
    world.see({3: "", 5: ""}, {})
    assert world.job == Job("token2", [3, 5], NOW_S, 2) and world.token == {3: "token2", 5: "token2"}


def test_lanes_that_enter_again_get_another_token(world):
    """An ingester that saw a row under the first one, which was lost since, would find the lane lost once more."""
    save = world.jobs.save
    world.jobs.save = lambda job, item: save(job, item) if job.entering else None  # the run ends before its last step
    world.see({3: ""}, {})
    assert world.job.entering and world.token == {3: "token0"}
    world.jobs.save = save
    world.see({3: "token0"}, {})
    assert world.job == Job("token1", [3], NOW_S, 1) and world.token == {3: "token1"}


def test_a_lane_that_does_not_answer_or_is_lost_again_holds_up_no_replay(world):
    world.away = True
    with pytest.raises(RetryableError):
        world.see({3: "", 5: "", 7: ""}, {})
    world.away = False
    late = world.watch.begin_look()
    world.token = {3: "changed since"}
    late(States({3: "", 7: ""}, {}))
    assert world.job.entering
    world.see({3: "changed since", 7: ""}, {})
    assert world.job == Job("token2", [3, 7], NOW_S, 2)


def whole(*lanes):
    return dict.fromkeys(lanes, Lane(None, None))


def begun(world):
    world.see({3: ""}, {})
    world.supervisor.tick()
    world.now_s += 1
    world.see({3: "token0"}, {})
    assert world.job.reader == "reader"


def test_a_job_that_does_not_go_on_is_begun_again(world):
    begun(world)
    world.now_s += REPLAY_STUCK_S + 1
    world.see({3: "token0"}, {})
    world.see({3: "token0"}, {})
    assert world.job.token == "token1" and world.token == {3: "token1"}
    world.supervisor.tick()
    assert world.stopped == ["reader"] and world.started == 2


@pytest.mark.parametrize("lost", [(3,), (3, 5)])
def test_a_lane_that_the_stuck_reader_made_whole_after_all_needs_no_other_one(world, lost):
    begun(world)
    world.now_s += REPLAY_STUCK_S + 1
    world.see({3: "token0"}, {})
    entered, others = world.begin, [lane for lane in lost if lane != 3]

    def begin(known, token, *, force=False):
        world.make_whole(3, "token0")  # between the look at the lanes and this
        return entered({lane: known[lane] for lane in others}, token, force=force)

    world.begin = begin
    world.see({3: "token0", **dict.fromkeys(others, "")}, {})
    assert (world.job.token, world.job.lanes, world.job.left) == ("token1", others, len(others))
    world.supervisor.tick()
    world.supervisor.tick()
    assert world.stopped == ["reader"] and world.started == 1 + len(others) and not world.job.is_new


@pytest.mark.parametrize("full", [False, True])
def test_a_job_that_goes_on_or_waits_for_memory_is_never_too_old(world, full):
    begun(world)
    progress = Progress(world.notes, lambda: "token0", lambda: float(world.now_s))
    replayer = Replayer(world, world, world, progress)
    replayer.ingest([sample(3, 1)], "shard")
    for number in range(100):
        world.now_s += REPLAY_STUCK_S - 60
        if full:
            world.full = 0.9
            with pytest.raises(RetryableError):
                replayer.ingest([sample(3, 2)], "shard")
        else:
            replayer.ingest([sample(3, 2 + number)], "shard")
        world.see({3: "token0"}, {})
        assert world.job.token == "token0" and world.job.left == 1


def test_a_reader_that_can_t_be_started_is_no_reason_to_begin_again(world):
    world.see({3: ""}, {})
    for _ in range(3):
        world.now_s += REPLAY_STUCK_S + 1
        world.see({3: "token0"}, {})
    assert world.job.token == "token0" and world.job.left == 1


def test_a_loss_soon_after_a_replay_does_not_wait_for_its_reader_to_stop(world):
    begun(world)
    world.see({}, whole(3))
    assert world.job.left == 0 and world.job.reader == "reader"
    world.see({5: ""}, {})
    assert world.job == Job("token1", [5], NOW_S + 1, 1, old="reader")
    world.supervisor.tick()
    assert world.stopped == ["reader"] and world.started == 2 and world.job.reader == "reader"
    assert world.job.old == "" and world.job.left == 1


class Lane(NamedTuple):
    first_ms: int | None
    tick_ms: int | None
    unsealed_s: int | None = None


LATER_S = NOW_S + 10_000


@pytest.mark.parametrize(
    ("lane", "mark_s"),
    [
        (Lane(None, LATER_S * 1000), LATER_S - MARK_MARGIN_S),
        (Lane(NOW_S * 1000, LATER_S * 1000), NOW_S - MARK_MARGIN_S),
        (Lane(LATER_S * 1000, NOW_S * 1000), NOW_S - MARK_MARGIN_S),
        (Lane(0, LATER_S * 1000), 0),
        (Lane(None, None), 0),
        (Lane(NOW_S * 1000, None), 0),
    ],
)
def test_a_replay_begins_where_the_first_row_came_that_no_block_has_or_the_ingester_is(world, lane, mark_s):
    world.steady = {3, 4}
    world.see({}, {3: lane, 4: Lane(None, LATER_S * 1000 + 5_000_000)})
    world.see({3: "", 4: ""}, {})
    assert world.job.start_s == mark_s
    world.supervisor.tick()
    assert world.start_s == mark_s


def test_a_mark_stays_while_another_run_notes_the_next_master(world):
    """The lane had lost its tail when it was asked, and is replayed from the mark."""
    old, new = Lane(None, NOW_S * 1000), Lane(None, LATER_S * 1000)
    world.steady = {3}
    world.see({}, {3: old})
    world.noted = {3: "the one before"}
    world.see({}, {3: new})
    assert world.marks.start_s([3]) == NOW_S - MARK_MARGIN_S
    world.noted = {}
    world.see({}, {3: new})
    assert world.marks.start_s([3]) == LATER_S - MARK_MARGIN_S


def test_the_mark_of_a_lane_is_moved_on_by_no_look_that_may_lack_something(world):
    old, new = Lane(None, NOW_S * 1000), Lane(None, LATER_S * 1000)
    world.steady = {3}
    world.see({}, {3: old})
    world.steady = set()  # another master serves it
    world.see({}, {3: new})
    assert world.marks.start_s([3]) == NOW_S - MARK_MARGIN_S
    world.steady = {3}  # it is not whole: the sealer gives no arrivals
    world.see({3: ""}, {})
    assert world.job.start_s == NOW_S - MARK_MARGIN_S
    world.see({}, {3: new})
    world.see({}, {3: old})
    assert world.marks.start_s([3]) == LATER_S - MARK_MARGIN_S, "it never goes back"


@pytest.mark.parametrize(
    ("first_ms", "tick_ms", "unsealed_s", "sealed_s"),
    [
        (None, NOW_S * 1000, None, NOW_S - MARK_MARGIN_S - 60),
        (1, NOW_S * 1000, NOW_S - 7200, NOW_S - 7200),
        (1, NOW_S * 1000, NOW_S, NOW_S - MARK_MARGIN_S - 60),
        (0, NOW_S * 1000, NOW_S - 7200, 0),
        (None, None, None, 0),
    ],
    ids=["nothing unsealed", "an unsealed window", "an open window", "opened by older code", "no tick"],
)
def test_windows_are_sealed_until_the_first_that_may_have_rows_in_redis_alone(
    world, first_ms, tick_ms, unsealed_s, sealed_s
):
    """Rows that come in time for a window come by the end of its grace, here a minute."""
    marks = Marks(world.table, grace_s=60)
    marks.advance({3: Lane(first_ms, tick_ms, unsealed_s)}, {3})
    assert marks.sealed_s(3) == sealed_s and marks.sealed_s(4) == 0
    marks.advance({3: Lane(None, 5_000, None)}, {3})
    assert marks.sealed_s(3) == sealed_s, "it never goes back"
    marks.advance({3: Lane(None, LATER_S * 1000, None)}, set())
    assert marks.sealed_s(3) == sealed_s, "another master may lack something"


def test_one_lane_without_a_mark_begins_with_the_oldest_record(world):
    world.steady = {3}
    world.see({}, {3: Lane(None, NOW_S * 1000)})
    world.see({3: "", 4: ""}, {})
    assert world.job.start_s == 0


def test_each_lane_gets_its_tick_once_in_so_many_minutes(world):
    supervisor = Supervisor(world.jobs, world, world, lambda: world.now_s)
    for _ in range(TICK_MINUTES):
        before = len(world.put_entries)
        supervisor.tick()
        assert len(world.put_entries) - before <= PUT_RECORDS_MAX
        world.now_s += 60
    assert sorted(key for key, _ in world.put_entries) == [lane_tag(lane) for lane in range(1024)]
    assert {records.decode(data) for _, data in world.put_entries} == {records.FenceRecord(records.TICK)}


def test_a_tick_is_no_fence(world):
    world.token = {3: records.TICK}
    assert world.replayer.ingest([fence(3, records.TICK, 1)]) is None
    assert world.token == {3: records.TICK}


def test_the_supervisor_starts_a_reader_with_a_fence_of_each_lane_and_only_once(world):
    world.supervisor.tick()
    assert not world.started
    world.see(dict.fromkeys(range(1024), ""), {})
    for _ in range(3):
        world.supervisor.tick()
    assert world.started == 1 and world.calls == -(-1024 // PUT_RECORDS_MAX)
    assert [key for key, _ in world.put_entries] == [lane_tag(lane) for lane in range(1024)]
    assert {records.decode(data) for _, data in world.put_entries} == {records.FenceRecord("token0")}


def test_fences_that_were_not_taken_are_put_again(world):
    world.see({3: ""}, {})
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


def test_the_ingester_knows_how_long_a_call_of_the_replayer_has(world):
    world.token = {3: "t"}
    world.replayer.ingest([sample(3, 1)], seconds_left=lambda: 7.0)
    assert world.seconds_left == 7.0


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
    world.see({}, whole(1))
    assert world.job.demanded, "a lane does not answer"
    world.token = {}
    world.see({}, whole(1, 2))
    assert world.forced == [True, True] and world.token == {1: "asked", 2: "asked"}
    world.supervisor.tick()
    assert world.started == 1
    with pytest.raises(RetryableError, match="asked runs: 2 of 2 lanes are left"):
        demand(world.jobs, [1], "again", NOW_S)
    with pytest.raises(InvariantError):
        demand(Jobs(FakeTable()), [], "none", NOW_S)


def test_nothing_is_lost_on_a_stack_that_never_began(world):
    world.new_watch(lambda: False, lambda: "token").begin_look()(States(dict.fromkeys(range(1024), ""), {}))
    assert world.job is None and world.token == {}


def test_a_record_that_no_writer_of_ours_put_holds_up_nothing(world):
    world.token = {3: "t"}
    assert world.replayer.ingest([Arrived("1", b"", "whose?"), sample(3, 2)]) is None
    assert world.ingested == ["2"]


@pytest.mark.parametrize("tag", ["", "l1024", "l041", "l04177", "x0417", "l04a7", "0417"])
def test_only_lanes_have_tags(tag):
    assert lane_of_tag(tag) is None
    assert [lane_of_tag(lane_tag(lane)) for lane in (0, 417, 1023)] == [0, 417, 1023]


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_reader_whose_start_was_not_noted_in_the_end_is_stopped_all_the_same(world, is_whole):
    """The fences, or the job after them, could not be put; then the lanes are whole, or lost for another replay."""
    world.see({3: ""}, {})
    world.failing = [0]
    with pytest.raises(RetryableError, match="fences"):
        world.supervisor.tick()
    assert world.started == 1 and world.job.reader == "starting"
    world.failing = []
    world.now_s += 1
    world.see({} if is_whole else {3: ""}, whole(3) if is_whole else {})
    assert (world.job.token, world.job.left, world.job.reader) == ("token0", 0, "starting")
    world.supervisor.tick()
    assert world.stopped == ["reader"] and world.job.reader == ""
    world.see({3: ""}, {})
    assert world.job == Job("token1", [3], NOW_S + 1, 1)
