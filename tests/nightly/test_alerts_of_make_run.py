"""How long it takes from a sample's arrival to the notification, through the whole system of `make run`."""

import statistics
import time

import pytest
from carbyne.alerts.pictures import HEIGHT, WIDTH

from tests.support.hook import HOOK_NETWORKS, hooked
from tests.support.make_run import running

SAMPLES = 24
APART_S = 5.0
TARGET_S = 70.0
MONITOR = {"type": "service", "name": "x", "service": "hooked", "operator": ">", "critical": 1, "duration": 1}


@pytest.mark.nightly
def test_a_sample_is_told_within_seventy_seconds(capsys):
    with hooked() as hook, running(PARAMETERS=HOOK_NETWORKS) as system:
        hook.watch(system)
        for number in range(SAMPLES):
            made = {**MONITOR, "name": f"m{number}", "metric": f"x{number}"}
            assert system.call("/api/v0/monitors", made)[0] == 200
        expression = {"type": "expression", "name": "sum", "operator": ">", "critical": 1}
        query = {"type": "query", "name": "query", "operator": ">", "critical": 1, "query": '{__name__=~"x0|x1"}'}
        formula = "sum(group(service(hooked, x0), service(hooked, x1)))"
        late = {"expression": formula, "evaluateBackwardMinutes": 0}
        assert system.call("/api/v0/monitors", {**expression, **late})[0] == 200
        assert system.call("/api/v0/monitors", query)[0] == 200
        sent = {}
        for number in range(SAMPLES):
            sample = {"name": f"x{number}", "time": int(time.time()), "value": 9}
            assert system.call("/api/v0/services/hooked/tsdb", [sample])[0] == 200
            sent[f"m{number}"] = time.monotonic()
            time.sleep(APART_S)
        expected = {*sent, "m", "sum", "query"}
        end_s = time.monotonic() + 2 * TARGET_S
        while not first_told(hook).keys() >= expected and time.monotonic() < end_s:
            time.sleep(0.5)
        told = first_told(hook)
        assert told.keys() == expected
        assert hook.picture().shape == (HEIGHT, WIDTH, 4)
        assert all(body["imageUrl"] for _, body in hook.told)
    delays_s = sorted(told[name] - sent[name] for name in sent)
    p50_s, p99_s = statistics.median(delays_s), delays_s[-1]
    with capsys.disabled():
        print(f"\nfrom sample to notification, {SAMPLES} alerts: p50 {p50_s:.1f} s, p99 {p99_s:.1f} s")
    assert p99_s < TARGET_S


def first_told(hook):
    """When each monitor's alert was told first."""
    told = {}
    for at_s, body in list(hook.told):
        told.setdefault(body["alert"]["monitorName"], at_s)
    return told
