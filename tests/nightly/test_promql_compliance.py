"""All queries of PromQL's compliance tests, answered by the oracle and by us, of the same samples by remote write."""

import pytest
from carbyne.promql.scope import QuerySpan

from harness.pipeline import flush
from tests.support import oracle
from tests.support.both import Both, between, boundary_ms
from tests.support.compliance import FOLDER, TEMPLATES, queries, samples

MINUTE_MS = 60_000
BOUNDARY_MS = boundary_ms(1_790_000_000_000)
"""Of two windows: what is before is sealed, what is after is in Redis."""
SPAN = QuerySpan(BOUNDARY_MS + 18 * MINUTE_MS, BOUNDARY_MS + 28 * MINUTE_MS, 10_000)


def fill(both):
    """The samples up to the boundary are sealed, the others in Redis."""
    all_samples = samples(BOUNDARY_MS - 50 * MINUTE_MS, BOUNDARY_MS + 29 * MINUTE_MS)
    both.write(between(all_samples, 0, BOUNDARY_MS))
    both.pipeline.now_s += 30 * 60
    both.write(between(all_samples, BOUNDARY_MS, 2**53))
    both.pipeline.now_s += 10 * 60
    assert both.pipeline.seal() > 0


@pytest.mark.nightly
@pytest.mark.skipif(
    not TEMPLATES.exists(), reason=f"no queries in {FOLDER}: PROMQL_COMPLIANCE names promql/ of prometheus/compliance"
)
def test_all_queries_have_the_answer_of_the_oracle(cluster, tmp_path):
    flush(cluster)
    with oracle.running(tmp_path) as url, Both(cluster, url, BOUNDARY_MS // 1000) as both:
        fill(both)
        asked = queries()
        differences = {text: wrong for text in asked if (wrong := both.difference(text, SPAN)[0])}
    assert not differences, f"{len(differences)} of {len(asked)}: {list(differences.items())[:5]}"
    assert len(asked) >= 539
