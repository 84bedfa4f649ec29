"""One tenant does all that is expensive; another one's samples stay readable, and nothing that was accepted is lost."""

import time

import pytest
from carbyne.core import limits
from carbyne.tenants.usage import Limits

from harness.neighbours import Neighbours
from harness.pipeline import LENGTH_S, Pipeline, flush


@pytest.fixture
def two(cluster):
    flush(cluster)
    start_s = int(time.time()) // LENGTH_S * LENGTH_S + 3_600
    path = Pipeline(cluster, start_s, tenants={"loud": "loud", "quiet": "quiet"}, clocked=True)
    path.accounts.limits = Limits()
    yield Neighbours(path)
    path.close()


def test_deletes_late_samples_and_new_series_of_one_tenant_hold_up_no_other(two):
    two.seal_windows("old")
    for number in range(limits.DELETES_PER_MINUTE_MAX):
        assert two.delete("old", number)
        if number % 20 == 0:
            two.quiet()
    assert not two.delete("old", 0), "more than a minute allows"
    two.quiet()
    two.minute()
    assert not two.sparse(["old"], 2_700), "more windows than a post may have"
    assert two.sparse(["old"], 30, 86_400), "behind the deletes"
    two.minute()
    for number in range(3):
        assert two.sparse([f"h{number}{which}" for which in range(10)], 20, 86_400) == (number < 3)
        two.quiet()
    assert not two.sparse([f"h9{which}" for which in range(10)], 20, 86_400), "more windows than a minute allows"
    assert two.sparse([f"late{which}" for which in range(100)], 1), "what any agent may have is let in"
    two.quiet()
    for number in range(2):
        assert two.new_series("wide", number, 1_000)
        two.quiet()
    two.expect_quick()
    two.settle()
    two.expect_all()
