"""A thousand hosts: alerts equal those of a plain oracle."""

import pytest

from tests.support.alert_day import run

pytestmark = pytest.mark.nightly


def test_alerts_of_a_thousand_hosts_are_those_of_the_oracle():
    told, expected = run(1, hosts=1_000, minutes=90)
    assert sum(map(len, expected.values())) > 1_000
    assert told == expected
