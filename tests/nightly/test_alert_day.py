"""A day of a thousand hosts: alerts of every type of monitor equal those of a plain oracle."""

import pytest

from tests.support.alert_day import run

pytestmark = pytest.mark.nightly


def test_alerts_of_a_thousand_hosts_are_those_of_the_oracle():
    """Takes a quarter of an hour of one core."""
    told, expected = run(1, hosts=1_000, minutes=1_440)
    assert sum(map(len, expected.values())) > 10_000
    assert told == expected
