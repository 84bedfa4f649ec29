"""The full size of ``tests/integration/test_neighbours.py``: a thousand deletes, then 2 M sparse late samples, then 2 M
new series, as fast as they are let in."""

import time

import pytest
from carbyne.tenants.usage import Limits

from harness.neighbours import Neighbours
from harness.pipeline import LENGTH_S, Pipeline, flush

pytestmark = pytest.mark.nightly

DELETES = 1_000
SAMPLES = 2_000_000
HOSTS, WINDOWS = 10, 30
"""Of a post of sparse late samples: as many windows as one may have."""
POSTS_PER_MINUTE = 400
SERIES_PER_BODY = 20_000


def test_a_thousand_deletes_and_two_million_late_samples_and_new_series(cluster):
    flush(cluster)
    start_s = int(time.time()) // LENGTH_S * LENGTH_S + 3_600
    path = Pipeline(cluster, start_s, tenants={"loud": "loud", "quiet": "quiet"}, clocked=True)
    path.accounts.limits = Limits()
    two = Neighbours(path)
    two.seal_windows("old")
    for number in range(DELETES):
        two.delete("old", number)
        if number % 100 == 99:
            two.quiet()
            two.minute()
    for number in range(SAMPLES // (HOSTS * WINDOWS)):
        two.sparse([f"h{number}x{which}" for which in range(HOSTS)], WINDOWS, 86_400)
        if number % POSTS_PER_MINUTE == 0:
            two.quiet()
            two.minute()
    for number in range(SAMPLES // SERIES_PER_BODY):
        two.new_series(f"wide{number % 50}", number, SERIES_PER_BODY)
        if number % 10 == 9:
            two.quiet()
            two.minute()
    two.expect_quick()
    two.settle()
    two.expect_all()
    path.close()
