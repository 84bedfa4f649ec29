"""Groups of rules each minute: once for each time, nothing while nothing is known, recorded samples on the stream."""

import json
import logging

import pytest
from carbyne.core import keys
from carbyne.core.errors import OverLimitError
from carbyne.core.limits import LANES, RECORDED_ITEM_BYTES, RULE_CATCH_UP
from carbyne.evaluate import groups
from carbyne.evaluate.groups import due
from carbyne.evaluate.recording import Recording
from carbyne.promql.labels import made
from carbyne.registry.rule_states import GroupName
from carbyne.rules.evaluation import STALE
from carbyne.rules.forms import FileGroup
from carbyne.rules.overlay import RecordedSample
from carbyne.stream import records

from tests.support.ruled import MINUTE_S, URL, Ruled

RECORD = "  - {record: total, expr: sum(m)}"
CHAIN = RECORD + "\n  - {record: twice, expr: total * 2}\n  - {record: hour, expr: 'sum_over_time(twice[10m])'}"
HIGH = "  - {alert: High, expr: m > 5, for: 2m}"
ALERTMANAGER = {"type": "alertmanager", "name": "am", "url": "https://am.example/prefix/"}


def test_recorded_samples_reach_the_stream_with_their_time_and_the_rules_behind():
    system = Ruled(CHAIN)
    for value in (1, 2, 3):
        system.put_sample(value, job="api", instance="x")
        system.step()
    assert system.recorded("total") == {-2: 1.0, -1: 2.0, 0: 3.0}
    assert system.recorded("twice") == {-2: 2.0, -1: 4.0, 0: 6.0}
    assert system.recorded("hour")[0] == 12.0
    assert system.store.items(keys.RECORDED_ITEM) == []


def test_series_of_a_target_name_it_and_series_that_end_are_marked():
    system = Ruled("  - {record: up2, expr: m * 2}")
    system.put_sample(1, job="api", instance="x", zone="z")
    system.step()
    labels = made({"__name__": "up2", "job": "api", "instance": "x", "zone": "z"})
    assert list(system.series["a"].samples[labels].values()) == [2.0]
    system.step(6)
    values = list(system.series["a"].samples[labels].values())
    assert len(values) == 6 and str(values[-1]) == "nan"
    bits = [bytes(row.values) for record in map(records.decode, system.bodies) for row in getattr(record, "rows", ())]
    assert (0x7FF0000000000002).to_bytes(8, "little") in bits


def test_an_alert_is_pending_then_fires_and_is_listed_and_recorded():
    system = Ruled(HIGH)
    system.put_sample(6, host="h")
    system.step()
    assert system.states() == {"pending": 1}
    for _ in range(2):
        system.put_sample(6, host="h")
        system.step()
    [rule] = system.rules()
    assert (rule.state, rule.health, rule.duration) == ("firing", "ok", 120.0)
    [alert] = rule.alerts
    assert alert.labels == {"alertname": "High", "host": "h"} and alert.value == "6e+00"
    assert alert.active_at == "2023-11-14T22:14:00.000Z"
    system.put_sample(1, host="h")
    system.step()
    assert (system.rules()[0].state, system.rules()[0].alerts) == ("inactive", [])
    for_state = made({"__name__": "ALERTS_FOR_STATE", "alertname": "High", "host": "h"})
    values = list(system.series["a"].samples[for_state].values())
    assert values[:3] == [system.now_s - 180.0] * 3 and str(values[3]) == "nan"


def test_of_two_evaluators_at_once_one_evaluates():
    system = Ruled(HIGH)
    system.put_sample(6)
    system.now_s += MINUTE_S
    system.store.before_write = lambda: system.another().groups.run(lambda: 50.0)
    system.evaluator.groups.run(lambda: 50.0)
    assert len(system.store.items(keys.RECORDED_ITEM)) == 1
    assert system.states() == {"pending": 1}
    assert system.another().groups.run(lambda: 50.0) == 0, "each time once"


def test_nothing_opens_or_closes_while_nothing_is_known_and_what_was_missed_is_made_up_for():
    system = Ruled(HIGH + "\n" + RECORD)
    system.put_sample(6)
    system.step()
    system.series["a"].away = True
    for _ in range(3):
        system.put_sample(6)
        system.step()
        assert system.states() == {"pending": 1}
    system.series["a"].away = False
    system.put_sample(1)
    system.step()
    assert system.states() == {}
    assert system.recorded("total") == {-4: 6.0, -3: 6.0, -2: 6.0, -1: 6.0, 0: 1.0}


def test_a_long_time_of_which_nothing_is_known_moves_deadlines():
    system = Ruled("  - {alert: High, expr: m > 5, for: 20m}")
    system.put_sample(6)
    system.step()
    system.series["a"].away = True
    system.step(60)
    system.series["a"].away = False
    for ago in range(RULE_CATCH_UP):
        system.now_s -= MINUTE_S * ago
        system.put_sample(6)
        system.now_s += MINUTE_S * ago
    system.step()
    [alert] = system.rules()[0].alerts
    assert alert.state == "pending" and alert.active_at == "2023-11-14T23:00:00.000Z", "46 minutes later"


@pytest.mark.parametrize("lanes", [range(1), range(LANES)], ids=["one", "all"])
def test_a_stream_that_is_behind_makes_everything_unknown(lanes):
    system = Ruled(HIGH)
    system.put_sample(6)
    system.arrived.lanes_behind = set(lanes)
    system.step()
    assert system.rules()[0].state == "unknown"
    system.arrived.lanes_behind = set()
    system.step()
    assert system.states() == {"pending": 1}


def test_a_group_waits_until_what_it_recorded_is_on_the_stream():
    system = Ruled(CHAIN)
    system.put_sample(1)
    system.stopped = True
    system.step()
    for _ in range(3):
        system.put_sample(2)
        system.step()
    assert len(system.store.items(keys.RECORDED_ITEM)) == 1
    system.stopped = False
    system.step(2)
    assert system.recorded("hour") == {-5: 2.0, -4: 6.0, -3: 10.0, -2: 14.0, -1: 18.0, 0: 22.0}


def test_a_stream_that_is_away_loses_nothing():
    system = Ruled(RECORD)
    system.put_sample(1)
    system.stream_is_away = True
    system.now_s += MINUTE_S
    system.evaluator.groups.run(lambda: 50.0)
    with pytest.raises(Exception, match="away"):
        system.notify()
    system.stream_is_away = False
    system.notify()
    assert system.recorded("total") == {0: 1.0}


def test_a_deleted_file_ends_its_series_and_is_forgotten():
    system = Ruled(RECORD)
    system.put_sample(1)
    system.step()
    system.ok("DELETE", URL)
    system.step()
    assert [str(value) for value in system.recorded("total").values()] == ["1.0", "nan"]
    left = {key.pk for key in system.store.table}
    assert not left & {"a:rule-states", "a:rule-series"}
    selects = system.series["a"].selects
    system.step()
    assert system.series["a"].selects == selects


def test_a_changed_group_begins_at_its_change():
    system = Ruled(HIGH)
    for _ in range(4):
        system.put_sample(6)
        system.step()
    assert system.states() == {"firing": 1}
    system.now_s += 600
    system.load("  - {alert: High, expr: m > 7, for: 2m}")
    system.put_sample(6)
    before = system.series["a"].selects
    system.step()
    assert system.series["a"].selects == before + 2, "of the minutes before the change none is made up for"
    assert system.states() == {}


def test_tenants_do_not_share_series_and_one_that_fails_holds_up_no_other():
    system = Ruled(RECORD)
    system.ok("PUT", URL, "groups: [{name: g, rules: [{record: total, expr: sum(m)}]}]", key="key-b")
    system.series["a"].away = True
    system.put_sample(1)
    system.put_sample(5, tenant="b")
    system.step()
    total = made({"__name__": "total"})
    assert total not in system.series["a"].samples
    assert list(system.series["b"].samples[total].values()) == [5.0]


def test_a_bug_of_ours_that_one_tenant_meets_holds_up_neither_others_nor_monitors(caplog):
    system = Ruled(RECORD)
    system.ok("PUT", URL, "groups: [{name: g, rules: [{record: total, expr: sum(m)}]}]", key="key-b")
    system.series["a"].select = lambda _: 1 // 0
    system.put_sample(5, tenant="b")
    for _ in range(2):  # each tenant begins once
        system.now_s += MINUTE_S
        assert system.evaluator.run(lambda: 50.0) == 2
        system.notify()
    assert made({"__name__": "total"}) in system.series["b"].samples
    assert "rules of a can't be evaluated: ZeroDivisionError at" in caplog.text
    assert system.counted == {"BugsMet": 2}


def test_what_rules_record_is_refused_as_posts_are_while_a_tenant_is_over_its_limits(caplog):
    caplog.set_level(logging.CRITICAL + 1)
    system = Ruled(RECORD + "\n  - {alert: high, expr: m > 3}")
    system.put_sample(5)
    system.over = OverLimitError("samples-per-minute", 11, 10)
    system.step()
    assert made({"__name__": "total"}) not in system.series["a"].samples
    assert [alert.state for alert in system.rules()[1].alerts] == ["firing"], "it is judged and told all the same"
    assert system.rules()[0].last_error == "not recorded: over the limit samples-per-minute: 11 of at most 10"
    system.over = None
    system.step()
    assert list(system.recorded("total").values()) == [5.0] and not system.rules()[0].last_error


def test_recorded_samples_are_counted_behind_the_stream_as_posts_are():
    """By what the ingester counts: rows of records."""
    system, counted = Ruled(RECORD), []
    system.put_sample(5)
    system.step()
    for body in system.bodies:
        record = records.decode(body)
        counted += [record.tenant] * len(getattr(record, "rows", ()))
    assert counted == ["a"]


def evaluated_in(monkeypatch, costs_s, minutes):
    """The tenants that were evaluated in each minute, each of which takes so long."""
    system, clock_s, turns = Ruled(), [0.0], []
    evaluator = system.evaluator.groups
    evaluator._monotonic = evaluator._turns._monotonic = lambda: clock_s[0]
    monkeypatch.setattr(groups.rules, "tenants", lambda _: costs_s)

    def evaluate(tenant):
        clock_s[0] += costs_s[tenant]
        turns[-1].append(tenant)
        return 1

    evaluator._tenant = evaluate
    for _ in range(minutes):
        turns.append([])
        evaluator.run(lambda: 50.0)
        system.now_s += MINUTE_S
    return turns


def test_tenants_with_cheap_rules_are_evaluated_each_minute_beside_those_that_take_all_the_time(monkeypatch):
    cheap, dear = {f"b{number}": 0.1 for number in range(20)}, {f"a{number}": 11.0 for number in range(3)}
    turns = evaluated_in(monkeypatch, dear | cheap, 16)
    learned = turns[4:]
    assert all(cheap.keys() <= set(each) for each in learned)
    for tenant in dear:
        minutes = [number for number, each in enumerate(learned) if tenant in each]
        assert len(minutes) >= 4, "the others take turns"


def test_with_too_many_for_a_minute_each_tenant_has_its_turn(monkeypatch):
    turns = evaluated_in(monkeypatch, {f"t{number:02d}": 1.0 for number in range(40)}, 20)
    assert all(sum(tenant in each for each in turns[-6:]) >= 1 for tenant in [f"t{number:02d}" for number in range(40)])


def test_a_tenant_with_much_that_waits_for_the_stream_is_not_evaluated(monkeypatch, caplog):
    monkeypatch.setattr(groups, "RECORDED_WAITING_BYTES_MAX", 100)
    system = Ruled(RECORD)
    system.stopped = True
    system.put_sample(1)
    system.step(2)
    assert "wait until the stream has what they recorded" in caplog.text
    system.stopped = False
    system.notify()
    system.put_sample(2)
    system.step()
    assert system.recorded("total")[0] == 2.0


NAME = GroupName("f", "g")
NOW_MS = 1_700_000_040_000


def times(evaluated_ms, since_ms=0, interval="1m"):
    group = FileGroup(name="g", interval=interval, rules=[])
    return [(at - NOW_MS) // 60_000 for at in due(NAME, group, evaluated_ms, since_ms, NOW_MS + 7)]


def test_the_times_that_are_due():
    assert times(None) == [0]
    assert times(NOW_MS) == []
    assert times(NOW_MS - 120_000) == [-1, 0]
    assert times(NOW_MS - 3_600_000) == list(range(-RULE_CATCH_UP + 1, 1))
    assert times(NOW_MS - 3_600_000, NOW_MS - 90_000) == [-1, 0]
    assert times(NOW_MS - 3_600_000, NOW_MS + 7) == [0], "the newest is evaluated whenever the group changed"
    [newest] = times(None, interval="5m")
    assert -5 < newest <= 0 and times(NOW_MS + newest * 60_000 - 600_000, interval="5m") == [newest - 5, newest]
    phases = {
        next(due(GroupName("f", str(n)), FileGroup(name="g", interval="5m", rules=[]), None, 0, NOW_MS)) % 300_000
        for n in range(50)
    }
    assert len(phases) == 5, "groups of the same interval are spread over its minutes"


def test_records_of_many_long_series_fit_items():
    samples = [
        RecordedSample(made({"__name__": "m", "text": f"{number}-{number * 7919 % 104_729:x}" * 60}), 60_000, 1.0)
        for number in range(1_000)
    ]
    recording = Recording(lambda: 0.0)
    entries, before, _ = recording.entries("a", recording.taking(samples))
    assert before
    rows = [row for _, data in entries for row in getattr(records.decode(data), "rows", ())]
    assert len(rows) > 3 and all(len(data) <= RECORDED_ITEM_BYTES for _, data in entries)
    assert sum(len(row.values) for row in rows) == 8_000
    assert recording.entries("a", recording.taking(samples))[0] == entries, "the same records each time"


def test_series_whose_labels_can_not_be_stored_are_left_out():
    fits = RecordedSample(made({"__name__": "m"}), 60_000, STALE)
    recording = Recording(lambda: 0.0)
    taking = recording.taking([fits, RecordedSample(made({"__name__": "m", "text": "x" * 3_000}), 60_000, 1.0)])
    assert (taking.samples, sum(taking.refused.values())) == (1, 1)


def test_an_alertmanager_hears_of_what_fires_until_it_is_over():
    system = Ruled("  - {alert: High, expr: m > 5, annotations: {summary: '{{ $value }}'}}")
    system.channel(ALERTMANAGER)
    system.put_sample(6, host="h")
    system.step()
    [(url, body, headers)] = system.posts
    assert (url, headers) == ("https://am.example/prefix/api/v2/alerts", {"Content-Type": "application/json"})
    [alert] = json.loads(body)
    assert alert == {
        "labels": {"alertname": "High", "host": "h"},
        "annotations": {"summary": "6"},
        "generatorURL": "https://door.example/#/hosts?q=h",
        "startsAt": "2023-11-14T22:14:00.000Z",
        "endsAt": "2023-11-14T22:18:00.000Z",
    }
    system.put_sample(6, host="h")
    system.step()
    assert len(system.posts) == 2, "each minute again"
    system.put_sample(1, host="h")
    system.step()
    [over] = json.loads(system.posts[-1][1])
    assert over["endsAt"] == "2023-11-14T22:16:00.000Z"
    for _ in range(20):
        system.put_sample(1, host="h")
        system.step()
    assert len(system.posts) == 3 + 15, "what is over is told of for 15 minutes"


def test_what_fires_is_told_of_while_nothing_is_known():
    system = Ruled("  - {alert: High, expr: m > 5}")
    system.channel(ALERTMANAGER)
    system.put_sample(6)
    system.step()
    system.series["a"].away = True
    system.step(3)
    assert len(system.posts) == 4
    [alert] = json.loads(system.posts[-1][1])
    assert alert["endsAt"] == "2023-11-14T22:21:00.000Z"


def test_a_message_that_comes_late_tells_what_is_so_now():
    system = Ruled("  - {alert: High, expr: m > 5}")
    system.channel(ALERTMANAGER)
    system.problem = "away"
    system.put_sample(6)
    system.step()
    system.put_sample(1)
    system.now_s += MINUTE_S
    system.evaluator.groups.run(lambda: 50.0)
    system.problem = ""
    system.world.sleep(61)
    system.notify()
    assert {alert["endsAt"] for _, body, _ in system.posts for alert in json.loads(body)} == {
        "2023-11-14T22:15:00.000Z"
    }


def test_monitors_do_not_tell_alertmanagers_but_a_test_call_does():
    system = Ruled()
    host, channel = system.host(), system.channel(ALERTMANAGER)
    system.report(host, "CRITICAL")
    system.notify()
    assert system.posts == []
    system.ok("POST", f"/carbyne/v1/channels/{channel}/test")
    system.notify()
    [(url, body, _)] = system.posts
    assert url.endswith("/api/v2/alerts") and json.loads(body)[0]["labels"] == {"alertname": "CarbyneTest"}
