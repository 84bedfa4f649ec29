"""Which replicas have every write that counts, and which promotions prove that nothing was lost."""

from typing import NamedTuple

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.limits import FOLLOWER_JOIN_S, FOLLOWERS_KNOWN_S, LANES
from carbyne.hot.failovers import Failovers
from carbyne.hot.followers import Followers, MastersItem

from tests.support.fakes import FakeTable
from tests.unit.test_failovers import TOKENS

A, B, C = "aa" * 20, "bb" * 20, "cc" * 20
NAME, OTHER = "10.0.0.2:6379", "10.0.0.3:6379"


class Master(NamedTuple):
    id: str
    before: str = ""
    process: str = "first"
    offset: int = 100
    replicas: frozenset = frozenset({NAME})


class Replica(NamedTuple):
    process: str = "replica"
    master: str = A
    offset: int = 100


class Shard:
    """All lanes on one master, its replicas by name, and the clock."""

    def __init__(self):
        self.now_s = 1_000_000
        self.table = FakeTable()
        self.served = Master(A)
        self.lanes = range(LANES)
        self.replicas = {NAME: Replica()}
        self.begun = []
        self.failovers = Failovers(self.table, self, lambda: self.now_s)
        self.writes = self.instance()

    def instance(self):
        return Followers(MastersItem(self.table), lambda: self.now_s)

    def masters(self):
        return dict.fromkeys(self.lanes, self.served)

    def followers(self, names):
        return {name: replica for name, replica in self.replicas.items() if name in names}

    def begin(self, known, token, *, force=False):
        self.begun.append(list(known))
        return []

    def look(self, after_s=60):
        self.now_s += after_s
        return len(self.failovers.look(TOKENS).lost)

    def promote(self, process="replica", before=A):
        self.served = Master(B, before, process, replicas=frozenset())
        return self.look()


@pytest.fixture
def shard():
    return Shard()


@pytest.fixture
def counted(shard):
    shard.look()
    shard.look()
    return shard


def test_a_replica_that_had_every_write_proves_its_promotion(counted):
    assert counted.promote() == 0 and counted.begun == []
    assert counted.failovers.masters()[0] == B


def test_a_replica_counts_only_when_all_instances_go_by_its_name(shard):
    """Whoever writes by an older note waits for no replica of this name: what it wrote must be there as well."""
    assert FOLLOWER_JOIN_S > FOLLOWERS_KNOWN_S
    shard.look()
    assert shard.promote() == LANES


@pytest.mark.parametrize("after_s", [FOLLOWER_JOIN_S - 1, FOLLOWER_JOIN_S])
def test_two_looks_in_short_succession_prove_nothing(shard, after_s):
    shard.look()
    shard.look(after_s)
    assert shard.promote() == (LANES if after_s < FOLLOWER_JOIN_S else 0)


@pytest.mark.parametrize(
    "replica", [Replica(offset=99), Replica(master=C), Replica(process="another")], ids=["behind", "of another", "new"]
)
def test_a_replica_that_lacks_something_when_it_is_looked_at_does_not_count(shard, replica):
    shard.look()
    shard.replicas[NAME] = replica
    shard.look()
    assert shard.promote() == LANES


def test_a_replica_that_its_master_does_not_list_does_not_count(shard):
    shard.look()
    shard.served = Master(A, replicas=frozenset())
    shard.look()
    assert shard.promote() == LANES


@pytest.mark.parametrize(("process", "before"), [("another", A), ("first", A), ("", A), ("replica", C)])
def test_only_the_process_that_followed_until_it_took_over_proves_anything(counted, process, before):
    """A server that started again shows the noted id as the one before, like one that was promoted."""
    assert counted.promote(process, before) == LANES


def test_a_replica_that_lacks_a_write_is_struck_out_before_that_counts(counted):
    assert counted.writes.required(A) == {NAME}
    counted.writes.leave(A, [NAME])
    assert counted.writes.required(A) == set()
    assert counted.promote() == LANES


def test_who_was_struck_out_comes_to_count_again_in_two_looks(counted):
    counted.writes.leave(A, [NAME])
    counted.look()
    assert counted.writes.required(A) == {NAME}
    counted.look()
    assert counted.promote() == 0


def test_one_that_is_away_goes_on_to_count_until_something_is_written(counted):
    """It has all that was acknowledged, and may be the one that is promoted."""
    del counted.replicas[NAME]
    counted.served = Master(A, replicas=frozenset())
    counted.look()
    assert counted.writes.required(A) == {NAME} and counted.promote() == 0


def test_of_two_replicas_each_proves_its_own_promotion(counted):
    counted.served = Master(A, replicas=frozenset({NAME, OTHER}))
    counted.replicas[OTHER] = Replica("other")
    counted.look()
    counted.look()
    counted.writes.leave(A, [NAME])
    assert counted.writes.required(A) == {OTHER}
    assert counted.promote("other") == 0


def test_lanes_that_came_from_another_master_make_replicas_prove_themselves_again(counted):
    """Keys are moved without a WAIT."""
    counted.lanes = range(LANES - 1)
    other = Failovers(counted.table, counted, lambda: counted.now_s)
    moved = Master(A)
    counted.masters = lambda: {**dict.fromkeys(range(LANES - 1), moved), LANES - 1: moved}
    note = MastersItem(counted.table)
    noted, item = note.load()
    note.save(type(noted)(noted.ids, [*noted.lanes[:-1], -1], noted.shards), item)
    other.look(TOKENS)
    del counted.masters
    counted.lanes = range(LANES)
    assert counted.promote() == LANES


def test_no_write_of_a_master_counts_for_which_another_one_was_taken(counted):
    """It may be cut off and take writes still, which no look would find any more."""
    counted.promote()
    counted.now_s += FOLLOWERS_KNOWN_S + 1
    for work in (lambda: counted.writes.required(A), lambda: counted.writes.leave(A, [NAME])):
        with pytest.raises(RetryableError, match="another master"):
            work()
    assert counted.writes.required(B) == set() and counted.writes.required(C) is None


def test_striking_out_meets_the_successor_even_if_the_note_was_read_before(counted):
    assert counted.writes.required(A) == {NAME}
    counted.promote()
    counted.now_s -= 60
    assert counted.writes.required(A) == {NAME}, "it goes by what it knows"
    with pytest.raises(RetryableError, match="another master"):
        counted.writes.leave(A, [NAME])


def test_a_replica_that_is_struck_out_while_the_sealer_looks_is_not_taken(counted):
    """The look's note is put only if it is unchanged meanwhile."""
    counted.served = Master(B, A, "replica", replicas=frozenset())
    masters = counted.masters

    def meanwhile():
        counted.instance().leave(A, [NAME])
        return masters()

    counted.masters = meanwhile
    counted.look()
    del counted.masters
    assert counted.failovers.masters()[0] == A
    assert counted.look() == LANES


def test_a_reader_knows_the_heir_whichever_note_it_began_with(counted):
    noted = counted.failovers.masters()
    counted.promote()
    assert counted.failovers.lost(noted, counted.masters()) == []


def test_an_instance_asks_again_after_a_while(counted):
    asked = counted.table.calls["get"]
    for _ in range(3):
        counted.writes.required(A)
    assert counted.table.calls["get"] == asked + 1
    counted.now_s += FOLLOWERS_KNOWN_S + 1
    counted.writes.required(A)
    assert counted.table.calls["get"] == asked + 2
