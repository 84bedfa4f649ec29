"""Which lanes may lack a tail, and that no change of masters goes by."""

from typing import NamedTuple

import msgspec
import pytest
from carbyne.core import frame
from carbyne.core.errors import RetryableError, UnknownVersionError
from carbyne.core.items import Item
from carbyne.core.limits import JOB_BYTES_MAX, LANES, NOTE_BYTES_MAX
from carbyne.hot.failovers import Failovers, failed_over
from carbyne.hot.followers import MastersItem

from tests.support.fakes import FakeTable

A, B, C, D = ("aa" * 20, "bb" * 20, "cc" * 20, "dd" * 20)
TOKENS = dict.fromkeys(range(LANES), "")
"""Of lanes that were never replayed."""


class Master(NamedTuple):
    id: str
    before: str = ""
    process: str = ""
    offset: int = 0
    replicas: frozenset = frozenset()


class Lanes:
    """``begun``: calls so far; ``away``: begin fails; ``tokens``: of lanes that were replayed."""

    def __init__(self):
        self.served = {lane: Master(A if lane < 512 else B) for lane in range(LANES)}
        self.begun = []
        self.away = False
        self.tokens = {}

    def masters(self):
        return dict(self.served)

    def followers(self, names):
        return {}

    def begin(self, known, token, *, force=False):
        if self.away:
            raise RetryableError("the node is away")
        others = [lane for lane, before in known.items() if self.tokens.get(lane, "") != before]
        self.begun.append(([lane for lane in known if lane not in others], token, force))
        return others

    def fail_over(self, first, last, master):
        self.served.update(dict.fromkeys(range(first, last), master))


class Table(FakeTable):
    """``away``: a put fails, before or after it was done."""

    away = ""

    def put(self, *args):
        done = super().put(*args) if self.away != "before" else None
        if self.away:
            raise RetryableError("the table is away")
        return done


@pytest.fixture
def lanes():
    return Lanes()


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def failovers(table, lanes):
    made = Failovers(table, lanes)
    made.look(TOKENS)
    assert lanes.begun == [], "the first look only notes"
    return made


def test_nothing_changed_is_nothing_lost_and_nothing_written(failovers, lanes, table):
    puts = table.calls["put"]
    assert failovers.look(TOKENS).lost == [] and lanes.begun == [] and table.calls["put"] == puts == 1


def test_the_lanes_of_a_replaced_master_are_lost_once(failovers, lanes):
    lanes.fail_over(0, 512, Master(C, A))
    assert failovers.look(TOKENS).lost == list(range(512))
    assert lanes.begun == [(list(range(512)), "", True)]
    assert failovers.look(TOKENS).lost == [] and len(lanes.begun) == 1


def test_lanes_are_steady_only_under_the_master_that_was_noted_before(failovers, lanes):
    lanes.fail_over(0, 512, Master(C, A))
    assert failovers.look(TOKENS).steady.keys() == set(range(512, LANES)), "marks go by no other"
    assert failovers.look(TOKENS).steady.keys() == set(range(LANES))


def test_another_instance_without_memory_notices(failovers, lanes, table):
    lanes.fail_over(0, 512, Master(C, A))
    assert Failovers(table, lanes).look(TOKENS).lost == list(range(512))


def test_a_second_failover_within_a_minute_is_one(failovers, lanes):
    lanes.fail_over(0, 512, Master(D, C))
    assert len(failovers.look(TOKENS).lost) == 512


def test_a_master_that_started_again_is_a_replaced_one(failovers, lanes):
    lanes.fail_over(0, 512, Master(C))
    assert len(failovers.look(TOKENS).lost) == 512


def test_lanes_that_could_not_be_taken_out_are_tried_again(failovers, lanes):
    lanes.fail_over(0, 512, Master(C, A))
    lanes.away = True
    with pytest.raises(RetryableError):
        failovers.look(TOKENS)
    lanes.away = False
    assert len(failovers.look(TOKENS).lost) == 512


@pytest.mark.parametrize("away", ["before", "after"])
def test_a_note_that_failed_is_made_again(failovers, lanes, table, away):
    """Lanes first: what is noted was taken out of service."""
    lanes.fail_over(0, 512, Master(C, A))
    table.away = away
    with pytest.raises(RetryableError):
        failovers.look(TOKENS)
    assert len(lanes.begun) == 1
    table.away = ""
    assert len(failovers.look(TOKENS).lost) == (512 if away == "before" else 0)
    assert failovers.look(TOKENS).lost == []


def test_of_two_sealers_none_forgets_what_the_other_one_noted(lanes, table):
    first = Failovers(table, lanes)
    first.look(TOKENS)
    lanes.fail_over(0, 512, Master(C, A))
    seen = lanes.masters()

    def meanwhile():
        del lanes.masters  # who is asked again says what is so now
        lanes.fail_over(0, 512, Master(D, C))
        Failovers(table, lanes_of(lanes.served)).look(TOKENS)
        return seen

    lanes.masters = meanwhile
    assert first.look(TOKENS).lost == [], "the other one has found them"
    assert first.masters()[0] == D and first.look(TOKENS).lost == []


def test_no_run_takes_lanes_out_of_the_replay_that_another_one_began_meanwhile(failovers, lanes, table):
    """It asked for masters and their note before the other one noted them: they would need a second replay."""
    lanes.fail_over(0, 512, Master(C, A))

    def meanwhile():
        del lanes.masters
        assert len(Failovers(table, lanes).look(TOKENS).lost) == 512
        lanes.tokens = dict.fromkeys(range(512), "replay")
        return lanes.masters()

    lanes.masters = meanwhile
    with pytest.raises(RetryableError, match="at work on 512 of 512"):
        failovers.look(TOKENS)
    assert [len(begun) for begun, _, _ in lanes.begun] == [512, 0]
    assert failovers.look({**TOKENS, **lanes.tokens}).lost == []


def test_a_lane_of_which_no_token_is_known_waits_for_the_next_look(failovers, lanes):
    lanes.fail_over(0, 512, Master(C, A))
    assert failovers.look(dict.fromkeys(range(500, LANES), "")).lost == list(range(500, 512))
    assert failovers.look(TOKENS).lost == list(range(500))


def test_lost_lanes_are_noted_before_their_replay_begins(failovers, lanes, table):
    """Else the next look would find them lost again, and end the replay: it would need another one."""
    lanes.fail_over(0, 512, Master(C, A))
    put, others = table.put, iter([True])

    def meanwhile(partition, sort, item, replaces):
        if next(others, False):  # such as a writer that strikes a replica out
            note, before = MastersItem(table).load()
            changed = msgspec.structs.replace(note, shards=[])
            table.put = put
            assert MastersItem(table).save(changed, before)
        return put(partition, sort, item, replaces)

    table.put = meanwhile
    assert failovers.look(TOKENS).lost == list(range(512)) and failovers.masters()[0] == C
    assert failovers.look(TOKENS).lost == []


def test_a_note_that_keeps_changing_is_an_error(failovers, lanes, table):
    lanes.fail_over(0, 512, Master(C, A))
    table.put = lambda *args: False
    with pytest.raises(RetryableError, match="keeps changing"):
        failovers.look(TOKENS)


def lanes_of(served):
    other = Lanes()
    other.served = served
    return other


def test_lanes_whose_master_does_not_answer_keep_their_note(failovers, lanes):
    gone = {lane: lanes.served.pop(lane) for lane in range(512)}
    assert failovers.look(TOKENS).lost == []
    lanes.served.update(gone)
    assert failovers.look(TOKENS).lost == []
    lanes.fail_over(0, 512, Master(C, A))
    assert len(failovers.look(TOKENS).lost) == 512


@pytest.mark.parametrize(
    ("master", "lost"),
    [
        (Master(B), False),  # to a shard that was there
        (Master(C), False),  # to a new one
        (Master(B, D), False),  # which was promoted once, before the last look
        (Master(C, B), True),  # to one that was promoted since: what it followed may have had more
        (Master(C, A), True),  # a failover, in one view of the cluster
        (Master(B, A), True),
    ],
)
def test_lanes_that_move_to_another_shard_bring_their_data_along(master, lost):
    noted = {0: A, 1: A, 2: B}
    assert failed_over(noted, {0: master, 1: Master(A), 2: Master(B)}) == ([0] if lost else [])


def test_a_lane_whose_old_master_is_gone_may_lack_a_tail():
    assert failed_over({0: A, 2: B}, {0: Master(B), 2: Master(B)}) == [0]
    assert failed_over({}, {0: Master(A, B)}) == []


def test_a_note_of_500_masters_fits_its_bound(table, lanes):
    lanes.served = {
        lane: Master(f"{lane % 500 * 0x9E3779B97F4A7C15F39CC0605CEDC834:040x}"[-40:]) for lane in range(LANES)
    }
    failovers = Failovers(table, lanes)
    failovers.look(TOKENS)
    (item,) = table.items.values()
    noted = failovers.masters()
    assert noted == {lane: master.id for lane, master in lanes.served.items()} and len(item.data) < NOTE_BYTES_MAX


def test_a_later_version_of_the_note_is_left_alone(failovers, table):
    ((place, note_item),) = table.items.items()
    body = bytes(frame.inflate(note_item.data, 1, JOB_BYTES_MAX))
    table.items[place] = Item(frame.pack(b"\x02", body, 3))
    with pytest.raises(UnknownVersionError, match="version 2"):
        failovers.look(TOKENS)


def test_a_master_that_is_silent_and_then_replaced_is_a_replaced_one(failovers, lanes):
    """A master that dies is silent before another one serves its lanes: a look in between must not forget it."""
    for lane in range(512):
        del lanes.served[lane]
    assert failovers.look(TOKENS).lost == []
    lanes.fail_over(0, 512, Master(C, A))
    assert failovers.look(TOKENS).lost == list(range(512))
