"""Real senders write here unchanged, through an outage, a reshard and a kill -9: nothing is lost or altered."""

from tests.support.prometheus_door import needs_senders
from tests.support.prometheus_run import Times, run


@needs_senders
def test_every_sample_of_its_own_store_is_here_bit_for_bit(tmp_path, monkeypatch):
    outcome = run(tmp_path, Times(open_s=6, shut_s=6, interval_s=2), monkeypatch)
    assert outcome.statuses.keys() == {204, 503}
    assert outcome.statuses[204] > 10
    assert 0 < outcome.unsent < outcome.samples, "the kill came while the door was shut"
