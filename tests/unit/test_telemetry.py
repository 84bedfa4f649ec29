"""Metrics are written at most once a minute and lose nothing in between; logs are JSON lines."""

import json
import logging

import pytest
from carbyne.adapters import telemetry
from carbyne.core.meter import FLUSH_S, Meter


@pytest.fixture
def written():
    return []


class Clock:
    now_s = 5.0

    def __call__(self):
        return self.now_s


def test_sums_are_written_at_once_and_then_each_minute(written):
    clock = Clock()
    meter = Meter(clock, lambda sums: written.append(dict(sums)))
    meter.flush_due()
    assert written == []
    meter.add("A", 2)
    meter.add("A")
    meter.flush_due()
    assert written == [{"A": 3}]
    meter.add("A", 5)
    clock.now_s += FLUSH_S - 0.001
    meter.flush_due()
    assert len(written) == 1
    clock.now_s += 0.001
    meter.add("B", 0.5)
    meter.flush_due()
    assert written[1:] == [{"A": 5, "B": 0.5}]


def test_of_a_level_the_peak_is_written(written):
    clock = Clock()
    meter = Meter(clock, lambda sums: written.append(dict(sums)))
    for level in (3, 7, 5):
        meter.peak("A", level)
    meter.flush_due()
    clock.now_s += FLUSH_S
    meter.peak("A", 0)
    meter.flush_due()
    assert written == [{"A": 7}, {"A": 0}]


def test_metrics_are_one_line_of_embedded_metric_format(capsys):
    telemetry.emf("reader", "carbyne-prod")
    emit = telemetry.emf("writer", "carbyne-dev")
    emit({"SamplesAccepted": 3, "SamplesRejected.bad-name": 1})
    emit({"SamplesAccepted": 4})
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    (directive,) = first["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Carbyne", [["stack", "service"]])
    assert [metric["Name"] for metric in directive["Metrics"]] == ["SamplesAccepted", "SamplesRejected.bad-name"]
    assert (first["service"], first["SamplesAccepted"], first["SamplesRejected.bad-name"]) == ("writer", [3.0], [1.0])
    assert second["SamplesAccepted"] == [4.0]
    assert first["stack"] == second["stack"] == "carbyne-dev"
    assert "SamplesRejected.bad-name" not in second


def test_logs_of_our_modules_are_json_with_the_functions_name(capsys):
    carbyne_log = logging.getLogger("carbyne")
    before = (carbyne_log.handlers[:], carbyne_log.propagate, carbyne_log.level)
    try:
        telemetry.log_as_json("writer")
        telemetry.log_as_json("writer")
        logging.getLogger("carbyne.http.message").warning("later: %s", "throttled", extra={"http_request_id": "r1"})
        try:
            raise KeyError("lost")
        except KeyError:
            logging.getLogger("carbyne.http.message").exception("unexpected error")
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    finally:
        carbyne_log.handlers[:], carbyne_log.propagate = before[:2]
        carbyne_log.setLevel(before[2])
    assert len(lines) == 2
    assert (lines[0]["service"], lines[0]["level"]) == ("writer", "WARNING")
    assert (lines[0]["message"], lines[0]["http_request_id"]) == ("later: throttled", "r1")
    assert "KeyError" in lines[1]["exception"]
