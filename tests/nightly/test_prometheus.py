"""The same for ten minutes, with a longer outage; see ``tests/integration/test_prometheus.py``."""

import pytest

from harness.pipeline import flush
from tests.support.prometheus_door import PROMETHEUS
from tests.support.prometheus_run import run


@pytest.mark.nightly
@pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus on PATH (apt-get install prometheus)")
def test_ten_minutes_with_an_outage(cluster, tmp_path):
    flush(cluster)
    assert run(cluster, tmp_path, open_s=270, shut_s=60).keys() == {204, 503}
