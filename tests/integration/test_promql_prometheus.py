"""Random queries, answered by a Prometheus on this machine and by us, of the same samples.

Debian's 2.42 has windows that are closed at both ends: no sample is at the edge of one here.
"""

from tests.support.prometheus import compare, needs_prometheus

QUERIES = 400


@needs_prometheus
def test_random_queries_have_the_same_answer(tmp_path):
    assert compare(20_261_129, QUERIES, tmp_path) > QUERIES / 2
