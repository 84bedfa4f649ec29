"""Prometheus' own test files, read from a cache outside of the repository; see tests/support/promqltest.py."""

import pytest

from tests.support.promqltest import FOLDER, Runner, files

REFUSED = {
    "native histograms",
    "start timestamps",
    "anchored and smoothed",
    "arithmetic in durations",
    "info without a label",
    "escapes of bytes",
}
"""Why a statement may stay unanswered."""


@pytest.mark.skipif(
    not files(), reason=f"no test files of Prometheus in {FOLDER} (promql/promqltest/testdata of its repository)"
)
def test_every_statement_about_floats_is_answered_as_prometheus_does():
    for path in files():
        results = Runner().run(path.read_text())
        failed = [result for result in results if result.outcome not in REFUSED | {"passed"}]
        assert not failed, f"{path.name}: {failed[0]}"
