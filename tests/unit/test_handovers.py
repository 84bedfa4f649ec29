"""Planned changes of masters are no losses; everything that is not proven is one."""

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.limits import HANDOVER_OPEN_S, HANDOVER_S, HANDOVERS_MAX, LANES
from carbyne.hot.failovers import Failovers, failed_over
from carbyne.hot.handovers import Handovers, is_open, leads

from tests.support.fakes import FakeTable
from tests.unit.test_failovers import TOKENS, A, B, C, D, Lanes, Master

HALF = range(LANES // 2)


class World:
    """The sealer's look, and the tool's notes, with one clock."""

    def __init__(self):
        self.table, self.lanes, self.now_s = FakeTable(), Lanes(), 1_700_000_000
        self.handovers = Handovers(self.table, lambda: self.now_s)
        self.failovers = Failovers(self.table, self.lanes, lambda: self.now_s)
        assert self.failovers.look(TOKENS).lost == []


@pytest.fixture
def world():
    return World()


def test_a_proven_promotion_is_no_loss(world):
    world.handovers.opened(A, HALF)
    world.lanes.fail_over(0, 512, Master(C, A))
    assert world.failovers.look(TOKENS).lost == [], "under way: the next look decides"
    world.handovers.proven(A, C, HALF)
    assert world.failovers.look(TOKENS).lost == [] and world.lanes.begun == []
    world.lanes.fail_over(0, 512, Master(D, C))
    assert world.failovers.look(TOKENS).lost == list(HALF), "an unplanned one after it is a loss"


def test_a_promotion_that_proved_nothing_is_a_loss_after_a_while(world):
    world.handovers.opened(A, HALF)
    world.lanes.fail_over(0, 512, Master(C, A))
    assert world.failovers.look(TOKENS).lost == []
    world.now_s += HANDOVER_OPEN_S
    assert world.failovers.look(TOKENS).lost == list(HALF)


def test_another_successor_than_the_proven_one_is_a_loss(world):
    """The successor died in turn, or is a process that restarted from an older snapshot."""
    world.handovers.proven(A, C, HALF)
    world.lanes.fail_over(0, 512, Master(D, A))
    assert world.failovers.look(TOKENS).lost == list(HALF)


def test_only_the_lanes_that_were_noted_are_handed_over(world):
    world.handovers.proven(A, C, range(100))
    world.lanes.fail_over(0, 512, Master(C, A))
    assert world.failovers.look(TOKENS).lost == list(range(100, 512))


def test_the_last_lanes_of_a_shard_that_leaves(world):
    """Its master is none of any lane afterwards, which without the note looks like a loss."""
    world.lanes.fail_over(0, 512, Master(B))
    noted = dict.fromkeys(HALF, A)
    assert failed_over(noted, {lane: world.lanes.served[lane] for lane in HALF}) == list(HALF)
    world.handovers.proven(A, B, HALF)
    assert world.failovers.look(TOKENS).lost == []


def test_several_changes_between_two_looks(world):
    world.handovers.proven(A, C, HALF)
    world.handovers.proven(C, D, HALF)
    world.handovers.proven(D, A, HALF)
    world.lanes.fail_over(0, 512, Master(D, C))
    assert world.failovers.look(TOKENS).lost == []
    notes = world.handovers.noted()
    assert leads(notes, 3, A, D) and leads(notes, 3, C, A) and not leads(notes, 3, A, B) and not leads(notes, 900, A, D)
    assert not is_open(notes, 3, A)


def test_the_note_of_a_move_that_was_cut_off_hides_no_loss(world):
    """Noted, then the master died and its replica took over without the tail, then the move went on from there, all
    between two looks."""
    world.handovers.proven(A, B, HALF)
    world.handovers.proven(C, B, range(100, LANES // 2))
    assert not leads(world.handovers.noted(), 100, A, B) and leads(world.handovers.noted(), 99, A, B)
    noted = dict.fromkeys(HALF, A)
    assert failed_over(noted, {lane: Master(B) for lane in HALF}, world.handovers.noted()) == list(range(100, 512))


def test_notes_are_bounded_in_time_and_number(world):
    world.handovers.proven(A, C, HALF)
    world.now_s += HANDOVER_S
    assert world.handovers.noted() == []
    for number in range(HANDOVERS_MAX + 9):
        world.handovers.proven(A, f"{number:040x}", [number % LANES])
    assert len(world.handovers.noted()) == HANDOVERS_MAX
    world.handovers.proven(A, f"{HANDOVERS_MAX + 8:040x}", [(HANDOVERS_MAX + 8) % LANES])
    assert len(world.handovers.noted()) == HANDOVERS_MAX, "one that stands already is not added"


def test_two_tools_at_once_lose_no_note(world):
    table, put = world.table, world.table.put

    def interfered(*args):
        table.put = put
        Handovers(table, lambda: world.now_s).proven(B, D, HALF)
        return put(*args)

    table.put = interfered
    world.handovers.proven(A, C, HALF)
    assert {note.after.hex() for note in world.handovers.noted()} == {C, D}
    table.put = lambda *args: False
    with pytest.raises(RetryableError):
        world.handovers.proven(A, D, HALF)
