"""Groups of rules beside what promtool can say: errors, bounds, gaps, changes of a group."""

from itertools import count

import msgspec
import numpy as np
import pytest
from carbyne.core import limits
from carbyne.core.errors import RetryableError
from carbyne.promql.labels import made
from carbyne.rules import evaluation
from carbyne.rules.alerting import RESOLVED_MS
from carbyne.rules.evaluation import STALE, evaluate
from carbyne.rules.files import read
from carbyne.rules.kept import KeptGroup, KeptSeries
from carbyne.rules.overlay import Overlay

from tests.support.promqltest import Memory

MINUTE_MS = 60_000


class Group:
    """One group over samples in memory; ``minute``: of the next evaluation."""

    def __init__(self, rules, head="name: g"):
        self.memory, self.minute = Memory(), 0
        self.kept, self.series = KeptGroup(), KeptSeries()
        self.change(rules, head)

    def change(self, rules, head="name: g"):
        [self.group] = read(f"groups:\n- {head}\n  rules:\n{rules}".encode(), "f").groups

    def put(self, value, **labels):
        self.memory.samples.setdefault(made({"__name__": "m", **labels}), {})[self.minute * MINUTE_MS] = value

    def step(self, *, minutes=1):
        """Evaluate; what was recorded, by labels."""
        at_ms = self.minute * MINUTE_MS
        done = evaluate(self.group, self.kept, self.series, at_ms, Overlay(self.memory), lambda: 0.0)
        self.kept, self.series = done.kept, done.series
        self.minute += minutes
        return {sample.labels: sample.value for sample in done.samples}

    @property
    def rule(self):
        return next(iter(self.kept.rules.values()))

    @property
    def states(self):
        return [alert.state for alert in self.rule.alerts]


HIGH = "  - {alert: High, expr: m > 5, for: 3m}"
HIGH_KEPT = "  - {alert: High, expr: m > 5, keep_firing_for: 3m}"


def test_a_gap_moves_the_deadline_of_a_pending_alert():
    group = Group(HIGH)
    group.put(6.0)
    group.step()
    group.put(6.0)
    group.step(minutes=11)  # at 1, then nothing can be seen until 12
    for expected in ("pending", "firing"):
        group.put(6.0)
        group.step()
        assert group.states == [expected], group.minute
    assert group.rule.alerts[0].active_ms == 10 * MINUTE_MS


def test_a_gap_moves_the_end_of_what_is_kept_firing():
    group = Group(HIGH_KEPT)
    group.put(6.0)
    group.step()
    group.put(1.0)
    group.step(minutes=20)
    for expected in ("firing", "firing", "inactive"):
        group.put(1.0)
        group.step()
        assert group.states == [expected], group.minute


def test_an_alert_that_is_over_is_kept_to_be_told_then_gone_and_may_come_again():
    group = Group("  - {alert: High, expr: m > 5}")
    group.put(6.0)
    group.step()
    for _ in range(RESOLVED_MS // MINUTE_MS + 1):
        group.put(1.0)
        group.step()
        assert group.states == ["inactive"]
    assert group.rule.alerts[0].resolved_ms == MINUTE_MS
    group.put(6.0)
    group.step()
    assert (group.states, group.rule.alerts[0].active_ms) == (["firing"], 17 * MINUTE_MS)
    group.put(1.0)
    group.step(minutes=17)
    group.put(1.0)
    group.step()
    assert group.states == []


def test_a_rule_that_fails_says_why_and_holds_up_no_other():
    group = Group("  - {record: a, expr: m + on (x) m}\n  - {record: b, expr: sum(m)}")
    group.put(1.0, kind="1")
    assert group.step() == {made({"__name__": "a"}): 2.0, made({"__name__": "b"}): 1.0}
    group.put(1.0, kind="1")
    group.put(1.0, kind="2")
    recorded = group.step()
    assert recorded == {made({"__name__": "b"}): 2.0}, "no stale marker for what is not known"
    assert "found duplicate series" in group.rule.error
    assert list(group.kept.rules.values())[1].error == ""


def test_limits_of_a_group_and_labels_that_meet():
    group = Group("  - {record: a, expr: m}\n  - {alert: b, expr: m}", "name: g\n  limit: 1")
    assert group.group.limit == 1
    group.put(1.0, kind="1")
    group.step()
    assert [rule.error for rule in group.kept.rules.values()] == ["", ""]
    group.put(1.0, kind="2")
    group.step()
    record, alert = group.kept.rules.values()
    assert record.error == "exceeded limit of 1 with 2 series"
    assert (alert.error, alert.alerts) == ("exceeded limit of 1 with 2 alerts", [])
    group = Group("  - {record: a, expr: m, labels: {kind: x}}\n  - {alert: b, expr: m, labels: {kind: x}}")
    group.put(1.0, kind="1")
    group.put(1.0, kind="2")
    group.step()
    assert [rule.error.split(" after")[0] for rule in group.kept.rules.values()] == [
        "vector contains metrics with the same labelset"
    ] * 2


@pytest.mark.parametrize("name", ["RULE_SERIES_MAX", "GROUP_SERIES_BYTES_MAX", "GROUP_ALERTS_BYTES_MAX"])
def test_a_rule_gives_no_more_than_is_kept(monkeypatch, name):
    assert getattr(limits, name) >= 2_000
    monkeypatch.setattr(evaluation, name, 3)
    group = Group("  - {alert: b, expr: m}")
    for kind in "abcd":
        group.put(1.0, kind=kind)
    assert group.step() == {}
    assert group.states == [] and "3" in group.rule.error


class Slow(Memory):
    """``clock``: seconds, of which each read takes seven."""

    clock = 0.0

    def select(self, selection):
        self.clock += 7.0
        return super().select(selection)


def test_a_slow_rule_leaves_no_time_to_the_others_which_say_so():
    group, slow = Group("  - {record: a, expr: m}\n  - {record: b, expr: m}"), Slow()
    done = evaluate(group.group, group.kept, group.series, 0, Overlay(slow), lambda: slow.clock)
    first, second = done.kept.rules.values()
    assert "timed out" in first.error or "took too long" in first.error, first.error
    assert (second.error, second.took_s) == ("the rules before it took the 6 s of a group", 0.0)


def test_templates_that_take_long_fail_their_rule():
    """Within one expansion, each of whose steps may take long."""
    ticks = count()
    group = Group("  - {alert: b, expr: m, annotations: {x: '" + "{{ $value }}" * 300 + "'}}")
    group.put(1.0, kind="a")
    done = evaluate(group.group, group.kept, group.series, 0, Overlay(group.memory), lambda: next(ticks) / 100)
    [rule] = done.kept.rules.values()
    assert rule.error == "templates take more than 4 s: write simpler ones, or aggregate"
    assert next(ticks) < 500


def test_alerts_are_counted_before_they_fill_the_memory(monkeypatch):
    expansions = []
    monkeypatch.setattr(evaluation, "expand", lambda text, *_: expansions.append(1) or "x" * 8_000)
    group = Group("  - {alert: b, expr: m, annotations: {x: y}}")
    for kind in range(100):
        group.put(1.0, kind=str(kind))
    group.step()
    assert len(expansions) == limits.GROUP_ALERTS_BYTES_MAX // 8_000 + 1
    assert "more than the 100000 bytes" in group.rule.error


def test_rules_that_take_turns_in_failing_keep_no_more_than_a_group_may():
    """What a rule that fails keeps counts, so that the state and the names of series stay items of the table."""
    rules = "\n".join(f'  - {{alert: a{n}, expr: \'m{{turn="{n}"}} * on (x) m{{turn="{n}"}}\'}}' for n in range(4))
    group = Group(rules)
    for turn in range(4):
        for number in range(200):
            for failed in range(turn):
                group.put(1.0, turn=str(failed), x="same", number=str(number))
            group.put(1.0, turn=str(turn), x=f"{number}-" + "y" * 200)
        group.step()
    assert [len(rule.alerts) for rule in group.kept.rules.values()] == [200, 0, 0, 0]
    assert all(rule.error for rule in group.kept.rules.values())
    assert len(msgspec.json.encode(group.kept)) < 150_000
    assert len(msgspec.json.encode(group.series)) < 260_000


def test_names_of_rules_do_not_fill_the_state():
    """Labels of a group belong to each of its rules."""
    labels = ", ".join(f"l{number}: '{'=' * 2_000}'" for number in range(20))
    group = Group("\n".join(f"  - {{record: a{n}, expr: m}}" for n in range(100)), f"name: g\n  labels: {{{labels}}}")
    group.step()
    assert len(group.kept.rules) == 100
    assert len(msgspec.json.encode(group.kept)) < 20_000


def test_what_a_changed_group_makes_no_more_ends():
    group = Group("  - {record: a, expr: m}\n  - {record: b, expr: m}\n" + HIGH)
    group.put(6.0)
    group.step()
    group.put(6.0)
    group.change(HIGH + "\n  - {record: b, expr: m, labels: {new: x}}")
    recorded = group.step()
    ended = [labels for labels, value in recorded.items() if np.float64(value).tobytes() == np.float64(STALE).tobytes()]
    assert sorted(dict(labels)["__name__"] for labels in ended) == ["a", "b"]
    assert group.rule.alerts[0].active_ms == 0, "a rule that stays keeps its alerts"


def test_of_two_values_of_a_series_the_first_is_recorded_and_the_second_rule_says_so():
    group = Group("  - {record: a, expr: m}\n  - {record: a, expr: m * 2}\n  - {record: a, expr: m}")
    group.put(6.0)
    recorded = group.step()
    assert recorded == {made({"__name__": "a"}): 6.0}
    first, second, third = group.kept.rules.values()
    assert not first.error and not third.error
    assert second.error == "duplicate sample for timestamp: a rule before has other values of 1 series"


def test_a_series_goes_on_while_one_of_its_rules_has_a_value():
    group = Group("  - {record: a, expr: 'm{x=\"1\"}', labels: {x: ''}}\n  - {record: a, expr: m, labels: {x: ''}}")
    group.put(6.0, x="1")
    group.step()
    group.put(7.0, x="2")
    group.memory.samples[made({"__name__": "m", "x": "1"})][group.minute * MINUTE_MS] = STALE
    assert group.step() == {made({"__name__": "a"}): 7.0}, "the first rule ends it, the second has it still"


def test_an_alert_whose_for_becomes_longer_is_pending_again():
    group = Group(HIGH_KEPT)
    group.put(6.0)
    group.step()
    assert group.states == ["firing"]
    group.change(HIGH)
    for expected in ("pending", "pending", "firing"):
        group.put(6.0)
        group.step()
        assert group.states == [expected]
    assert group.rule.alerts[0].fired_ms == 3 * MINUTE_MS


def test_nothing_is_known_of_a_time_at_which_samples_can_not_be_read():
    class Away:
        def select(self, selection):
            raise RetryableError("rebuilding")

    group = Group(HIGH)
    with pytest.raises(RetryableError):
        evaluate(group.group, group.kept, group.series, 0, Overlay(Away()), lambda: 0.0)
