"""The first start: the mark follows the lanes, whatever fails in between."""

import pytest
from carbyne.core.errors import RetryableError
from carbyne.hot.lanes import ensure_initialised


class System:
    """Mark and lanes in one, which note what was done; ``broken``: the names of calls that fail."""

    def __init__(self, marked=False, broken=()):
        self.marked = marked
        self.broken = set(broken)
        self.done = []

    def is_set(self):
        self._do("is_set")
        return self.marked

    def set(self):
        self._do("set")
        self.marked = True

    def init(self):
        self._do("init")

    def _do(self, name):
        if name in self.broken:
            raise RetryableError(name)
        self.done.append(name)


def test_the_lanes_come_before_the_mark():
    system = System()
    ensure_initialised(system, system)
    assert system.done == ["is_set", "init", "set"]


def test_a_marked_system_is_left_alone():
    system = System(marked=True)
    ensure_initialised(system, system)
    assert system.done == ["is_set"]


@pytest.mark.parametrize("broken", ["is_set", "init", "set"])
def test_after_a_failure_it_is_done_again_from_the_start(broken):
    system = System(broken=[broken])
    with pytest.raises(RetryableError):
        ensure_initialised(system, system)
    assert not system.marked
    system.broken.clear()
    system.done.clear()
    ensure_initialised(system, system)
    assert system.done == ["is_set", "init", "set"]


def test_no_lane_is_touched_while_the_mark_is_unknown():
    system = System(broken=["is_set"])
    with pytest.raises(RetryableError):
        ensure_initialised(system, system)
    assert system.done == []
