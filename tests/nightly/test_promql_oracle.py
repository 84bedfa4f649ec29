"""What the oracle says today: its test files, and the answers that are stored here."""

import json
from collections import Counter

import pytest

from tests.support import oracle, stored_answers
from tests.support.promqltest import Runner

COUNTED = {
    "passed": 1_141,
    "native histograms": 880,
    "anchored and smoothed": 139,
    "arithmetic in durations": 51,
    "start timestamps": 19,
    "info without a label": 11,
    "escapes of bytes": 2,
}
"""Statements of the files by what became of them: passed, or why they are not about what is stored."""


@pytest.mark.nightly
def test_every_statement_about_floats_is_answered_as_prometheus_does():
    results, evaluations = [], 0
    for path in oracle.files():
        runner = Runner()
        results += [(path.name, result) for result in runner.run(path.read_text())]
        evaluations += runner.evaluations
    failed = [each for each in results if each[1].outcome not in COUNTED]
    assert not failed, failed[:3]
    assert Counter(result.outcome for _, result in results) == COUNTED
    assert evaluations > 5_000, "each statement is also asked with @ at other times"


@pytest.mark.nightly
def test_the_stored_answers_are_the_oracles():
    oracle.programs()
    assert stored_answers.answers() == json.loads(stored_answers.FILE.read_text())
