"""A full Redis: which windows are sealed early and in which order, and who is refused meanwhile."""

from collections import Counter
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import (
    ADMIT_FILL_MAX,
    ADMIT_TENANTS_MAX,
    EARLY_FILL_GOAL,
    EARLY_FILL_MAX,
    EARLY_FILL_MAX_REPLAY,
    EARLY_SLICE_S,
    SEAL_RESERVE_S,
)
from carbyne.seal.relief import Relief, ReliefPorts, Relieved

NOW_S = 1_700_000_000
WINDOW = Window.holding(NOW_S * 1000, 14_400)
MAX_BYTES = 1_000


class Master(NamedTuple):
    lanes: frozenset[int]
    used_bytes: int
    max_bytes: int = MAX_BYTES

    @property
    def fill(self):
        return self.used_bytes / self.max_bytes


class World:
    """``held``: {(tenant, host): bytes of its window}; ``masters``: None for one that serves all lanes; ``sealed`` and
    ``refused`` say what was done.  A window in ``busy`` is not sealed."""

    def __init__(self, sizes_of, used_bytes=0, masters=None):
        self.windows = [(size, SourceKey(tenant, f"host/{host}"), WINDOW) for (tenant, host), size in sizes_of.items()]
        self.masters = masters or [Master(frozenset(range(1024)), used_bytes)]
        self.sealed, self.refused, self.busy = [], {}, set()
        self.asked = Counter()
        self.fails = ""
        meter = SimpleNamespace(add=lambda name, number: None)
        self.relief = Relief(ReliefPorts(self, self, self.seal, lambda: NOW_S * 1000, meter))

    def shards(self):
        self._ask("shards")
        return self.masters

    def sizes(self):
        self._ask("sizes")
        return self.windows

    def used_by_rows(self):
        return sum(size for size, _, _ in self.windows)

    def seal(self, source, window):
        assert window == WINDOW
        self.sealed.append(source.source)
        return source.source not in self.busy

    def refuse(self, tenant, used_bytes, allowed_bytes, now_s):
        self._ask("refuse")
        assert now_s == NOW_S
        self.refused[tenant] = used_bytes, allowed_bytes

    def _ask(self, what):
        self.asked[what] += 1
        if self.fails == what:
            raise RetryableError(what)

    def run(self, seconds_left=lambda: 300.0, *, replaying=False):
        return self.relief.run(seconds_left, replaying=replaying)


HELD = {("acme", "small"): 50, ("acme", "large"): 150, ("acme", "middle"): 90}


@pytest.mark.parametrize(("fill", "replaying"), [(EARLY_FILL_MAX, False), (EARLY_FILL_MAX_REPLAY, True)])
def test_nothing_is_sealed_early_while_there_is_room(fill, replaying):
    world = World(HELD, int(fill * MAX_BYTES))
    assert world.run(replaying=replaying) == Relieved()
    assert (world.sealed, world.asked) == ([], {"shards": 1}), "and no window's size is asked for"


def test_the_largest_windows_go_first_until_there_is_room_again():
    world = World(HELD, int(EARLY_FILL_MAX * MAX_BYTES) + 10)
    assert world.run() == Relieved(set(range(1024)), 1)
    assert EARLY_FILL_GOAL * MAX_BYTES + 10 <= 150
    assert world.sealed == ["host/large"]


def test_a_replay_has_room_made_for_it_before_it_would_wait():
    world = World(HELD, int(EARLY_FILL_MAX * MAX_BYTES))
    world.run(replaying=True)
    assert world.sealed == ["host/large", "host/middle"]


def test_a_window_that_was_not_sealed_makes_no_room():
    world = World(HELD, int(EARLY_FILL_MAX * MAX_BYTES) + 10)
    world.busy = {"host/large"}
    assert world.run().sealed == 2
    assert world.sealed == ["host/large", "host/middle", "host/small"]


def test_only_windows_of_the_full_shard_are_sealed():
    lanes = {name: SourceKey("acme", f"host/{name}").lane for name in ("small", "large", "middle")}
    full = frozenset({lanes["small"]})
    masters = [Master(frozenset(range(1024)) - full, 100), Master(full, 900)]
    world = World(HELD, masters=masters)
    assert world.run() == Relieved(full, 1)
    assert world.sealed == ["host/small"]


@pytest.mark.parametrize("left_s", [300.0, 60.0])
def test_windows_that_are_due_have_their_turn_in_each_run(left_s):
    """It stops after its slice, and where the sealer begins no window either."""
    times = iter([left_s, left_s, left_s, max(left_s - EARLY_SLICE_S, SEAL_RESERVE_S) - 1])
    world = World(HELD, 999)
    world.run(lambda: next(times))
    assert world.sealed == ["host/large", "host/middle"]


@pytest.mark.parametrize("others_bytes", [0, 200])
def test_who_holds_more_than_an_equal_share_of_a_full_shard_is_refused(others_bytes):
    """The share is one of what there is for unsealed rows: much of a shard may be kept windows and lists."""
    sizes_of = {("greedy", "a"): 400, ("greedy", "b"): 260 - others_bytes, ("honest", "c"): 190, ("small", "d"): 1}
    world = World(sizes_of, int(ADMIT_FILL_MAX * MAX_BYTES) + 1)
    assert world.used_by_rows() == 851 - others_bytes
    world.run()
    assert world.refused == {"greedy": (660 - others_bytes, (850 - others_bytes) // 3)}


def test_a_tenant_that_fills_a_shard_alone_is_refused():
    world = World({("only", "a"): 400}, int(ADMIT_FILL_MAX * MAX_BYTES) + 1)
    world.run()
    assert world.refused == {"only": (400, 399)}


def test_no_tenant_is_refused_while_early_seals_suffice():
    world = World({("greedy", "a"): 700, ("honest", "c"): 9}, int(ADMIT_FILL_MAX * MAX_BYTES))
    world.run()
    assert world.sealed and world.refused == {}


def test_those_that_hold_most_are_refused_first():
    sizes_of = {(f"t{number}", "a"): 30 + number for number in range(ADMIT_TENANTS_MAX + 5)}
    sizes_of |= {(f"tiny{number}", "a"): 1 for number in range(1_000)}
    world = World(sizes_of, 999)
    world.run()
    assert len(world.refused) == ADMIT_TENANTS_MAX and "t4" not in world.refused and "t5" in world.refused


@pytest.mark.parametrize(("fails", "sealed"), [("shards", False), ("sizes", False), ("refuse", True)])
def test_a_store_that_is_away_holds_nothing_else_up(fails, sealed):
    world = World(HELD, 999)
    world.fails = fails
    world.run()
    assert bool(world.sealed) == sealed
