"""The same for ten minutes, with a longer outage; see ``tests/integration/test_prometheus.py``."""

import pytest

from tests.support.prometheus_door import needs_senders
from tests.support.prometheus_run import Times, run


@pytest.mark.nightly
@needs_senders
def test_ten_minutes_with_an_outage(tmp_path, monkeypatch):
    outcome = run(tmp_path, Times(open_s=270, shut_s=60, interval_s=5), monkeypatch)
    assert outcome.statuses.keys() == {204, 503}
    assert 0 < outcome.unsent < outcome.samples
