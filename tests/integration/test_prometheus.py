"""A real Prometheus (Debian's) writes here unchanged, through an outage of the door: nothing is lost or altered."""

import pytest

from harness.pipeline import flush
from tests.support.prometheus_door import PROMETHEUS
from tests.support.prometheus_run import run


@pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus on PATH (apt-get install prometheus)")
def test_every_sample_of_its_own_store_is_here_bit_for_bit(cluster, tmp_path):
    flush(cluster)
    statuses = run(cluster, tmp_path, open_s=5, shut_s=4)
    assert statuses.keys() == {204, 503}
    assert statuses[204] > 10
