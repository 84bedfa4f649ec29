"""Some hours of hosts that post late, twice, or not at all: alerts equal those of a plain oracle."""

import pytest

from tests.support.alert_day import run


@pytest.mark.parametrize("seed", range(2))
def test_alerts_of_every_type_are_those_of_the_oracle(seed):
    told, expected = run(seed, hosts=5, minutes=240)
    assert sum(map(len, expected.values())) > 150
    assert all(any(spans for key, spans in expected.items() if key[0] == kind) for kind, _ in expected)
    assert told == expected
