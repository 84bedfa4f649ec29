"""10,000 random queries, answered by the oracle and by us, of the same samples by remote write.

The samples have gaps, stale markers, NaN, counters that are reset, and times at the edges of windows.  Half of them are
sealed; then some come late, of both halves.
"""

import pytest

from harness.pipeline import flush
from tests.support import oracle
from tests.support.both import Both, between, boundary_ms
from tests.support.prometheus import SPAN
from tests.support.promql_fuzz import Queries, hard_samples

QUERIES = 1_000


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(10))
def test_random_queries_have_the_same_answer(cluster, tmp_path, seed):
    flush(cluster)
    boundary = boundary_ms(SPAN.end_ms)
    assert SPAN.start_ms < boundary
    with oracle.running(tmp_path) as url, Both(cluster, url, boundary // 1000) as both:
        _fill(both, seed, boundary)
        queries, answered = Queries(seed, of_3=True), 0
        for _ in range(QUERIES):
            text = queries.vector(3)
            wrong, has = both.difference(text, SPAN)
            assert not wrong, (seed, text, wrong)
            answered += has
    assert answered > QUERIES / 2


def _fill(both, seed, boundary):
    samples, late = hard_samples(seed)
    both.write(between(samples, 0, boundary))
    both.pipeline.now_s += 3_600
    both.write(between(samples, boundary, 2**53))
    assert both.pipeline.seal() > 0
    both.write(late)
