"""2,000,000 series of 10,000 sources: how long selectors take, what memory, and what writes cost."""

import pytest

from bench.directory import COLD_RUNS, WARM_RUNS, apart, run


@pytest.mark.nightly
def test_selectors_at_two_million_series():
    result, month = run(10_000, 200, (COLD_RUNS, WARM_RUNS), apart)
    for name in ("one target", "a name of one target", "a name that 100 targets have"):
        cold_p95_ms, _, warm_p95_ms = result["figures"][name]
        assert cold_p95_ms < 1_500 and warm_p95_ms < 300, result["figures"]
    assert result["peak_mb"] < 700
    month.pop("in the place of that, pages with each seal of 4 h")
    assert sum(month.values()) <= 2
