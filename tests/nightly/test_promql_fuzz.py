"""10,000 random queries, answered by a Prometheus on this machine and by us."""

import pytest

from tests.support.prometheus import compare, needs_prometheus

QUERIES = 1_000


@pytest.mark.nightly
@needs_prometheus
@pytest.mark.parametrize("seed", range(10))
def test_random_queries_have_the_same_answer(seed, tmp_path):
    assert compare(seed, QUERIES, tmp_path) > QUERIES / 2
