"""Ten thousand made up requests, others each night; see ``tests.support.fuzz``."""

import pytest

from tests.support.fuzz import LABELS, Fuzz

CASES = 10_000

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def fuzz():
    return Fuzz(same=False)


@pytest.mark.parametrize("label", LABELS)
def test_answers_are_as_described(fuzz, label):
    fuzz.run(label, -(-CASES // (len(LABELS) - 1)))


def test_as_many_as_it_says(fuzz):
    asked = {label for label, _ in fuzz.statuses}
    assert asked < set(LABELS) or sum(fuzz.statuses.values()) >= CASES
