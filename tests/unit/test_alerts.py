"""What monitors make of samples and of silence: tables, and that the order of arrival does not matter."""

import itertools

import pytest
from carbyne.alerts.absence import Bounds, Heard, listen
from carbyne.alerts.decisions import Saying, decide
from carbyne.alerts.episodes import Episode, Turn, episodes, overlay
from carbyne.alerts.judging import Judgement, Rule, RuleVersion, back_ms, judge
from carbyne.core.limits import ALERT_HORIZON_MS, ALERT_SPACING_MS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MINUTE_MS = 60_000
NAN = float("nan")


def minutes(*values):
    """Samples of minutes 1, 2, ...; None leaves a minute out."""
    return [(number * MINUTE_MS, value) for number, value in enumerate(values, 1) if value is not None]


def statuses(rule, *values, since=0):
    judged = judge([RuleVersion(since, rule)], minutes(*values), 0)
    return {each.ts_ms // MINUTE_MS: each.status[0] for each in judged}


def letters(rule, *values):
    return "".join(statuses(rule, *values).values())


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        (Rule(">", 1, 2), (0, 1, 1.5, 2, 3), "OOWWC"),
        (Rule("<", 2, 1), (3, 2, 1.5, 1, 0), "OOWWC"),
        (Rule(">", None, 2), (0, 1.5, 3), "OOC"),
        (Rule(">", 1, None), (0, 1.5, 9e300), "OWW"),
        (Rule(">", None, None), (1, 2), "OO"),
        (Rule(">", 1, 2, attempts=3), (3, 3, 3, 0, 3, 3, 1.5), "OOCOOOW"),
        (Rule(">", 1, 2, duration=3), (0, 0, 3, 3, 3), "OWC"),
        (Rule(">", 1, 2, duration=2, attempts=2), (0, 4, 0, 0), "OWO"),
        (Rule(">", 1, 2), (NAN, 3, NAN), "C"),
        (Rule(">", 1, 2, duration=2), (float("inf"), float("-inf")), "O"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_a_rule_judges_each_sample(rule, values, expected):
    assert letters(rule, *values) == expected


def test_an_average_that_is_no_number_of_json_is_told_as_the_nearest():
    rule = Rule(">", 1, 2, duration=2)
    judged = judge([RuleVersion(0, rule)], minutes(1.7e308, 1.7e308, float("-inf"), float("inf")), 0)
    assert [(each.status, each.value) for each in judged] == [
        ("CRITICAL", 1.7976931348623157e308),
        ("OK", -1.7976931348623157e308),
        ("OK", 0.0),
    ]


def test_an_average_needs_its_samples_close_together():
    gap = [None] * (2 * ALERT_SPACING_MS // MINUTE_MS - 1)
    assert statuses(Rule(">", 1, 2, duration=2), 9, *gap[1:], 9) == {20: "C"}
    assert statuses(Rule(">", 1, 2, duration=2), 9, *gap, 9) == {}


def test_attempts_in_a_row_lie_close_together():
    gap = [None] * (2 * ALERT_SPACING_MS // MINUTE_MS - 1)
    assert statuses(Rule(">", 1, 2, attempts=2), 9, *gap[1:], 9) == {1: "O", 20: "C"}
    assert statuses(Rule(">", 1, 2, attempts=2), 9, *gap, 9) == {1: "O", 21: "O"}


def test_a_sample_is_judged_by_the_rule_of_its_time():
    versions = [RuleVersion(2 * MINUTE_MS, Rule(">", None, 5)), RuleVersion(4 * MINUTE_MS, Rule(">", None, 1))]
    judged = judge(versions, minutes(9, 3, 9, 3), 0)
    assert [(each.ts_ms // MINUTE_MS, each.status) for each in judged] == [(2, "OK"), (3, "CRITICAL"), (4, "CRITICAL")]


def test_only_samples_from_a_time_on_are_judged_but_earlier_ones_count():
    judged = judge([RuleVersion(0, Rule(">", 1, 2, attempts=2))], minutes(3, 3, 3), 2 * MINUTE_MS)
    assert [each.status for each in judged] == ["CRITICAL", "CRITICAL"]


def test_attempts_count_averages_of_the_version_before():
    """Whatever the look that judges: a sample depends on those of the time before it that is read, and no others."""
    versions = [
        RuleVersion(0, Rule(">", 1, 2, duration=10)),
        RuleVersion(180 * MINUTE_MS, Rule(">", 1, 2, attempts=10)),
    ]
    samples = [(minute * MINUTE_MS, 9.0) for minute in range(0, 300, 9)]
    for ts_ms, _ in samples:
        read = [each for each in samples if each[0] > ts_ms - back_ms(versions)]
        assert judge(versions, read, ts_ms) == judge(versions, samples, ts_ms)


def turns(text):
    """``"OCCO"``: one judgement a minute, from minute 0 on."""
    names = {"O": "OK", "C": "CRITICAL", "W": "WARNING"}
    return [Judgement(number, names[letter], 0.0) for number, letter in enumerate(text)]


def spans(history):
    return [(episode.opened_ms, episode.closed_ms, episode.last.status[0]) for episode in episodes(history)]


def test_episodes_are_the_spans_that_are_not_ok():
    assert spans(overlay([], turns("OCCWOOW"), 0)) == [(1, 4, "W"), (6, None, "W")]


def test_a_turn_before_the_horizon_stays_and_a_later_one_is_replaced():
    known = (Turn(1, "CRITICAL"), Turn(4, "OK"), Turn(6, "WARNING"))
    assert spans(overlay(known, [Judgement(7, "OK", 0.0)], 5)) == []
    assert spans(overlay(known, [Judgement(7, "CRITICAL", 0.0)], 5)) == [(7, None, "C")]
    assert spans(overlay(known[:1], [], 5)) == [(1, None, "C")]


def test_a_long_episode_remembers_when_it_opened():
    known = (Turn(1, "CRITICAL"), Turn(2, "WARNING"), Turn(3, "CRITICAL"))
    history = overlay(known, [], 10)
    assert [turn.ts_ms for turn in history] == [1, 3]
    assert spans(overlay(history, [Judgement(30, "OK", 0.0)], 20)) == [(1, 30, "C")]


def test_closing_by_hand_ends_the_episode_until_the_next_bad_sample():
    assert spans(overlay([], turns("OCC"), 0, [2])) == [(1, 2, "C")]
    assert spans(overlay([], turns("OCCC"), 0, [2])) == [(1, 2, "C"), (3, None, "C")]


class Mind:
    """What an evaluator keeps of one pair, and what it said, in its order."""

    def __init__(self):
        self.turns, self.alerts, self.said = (), (), []
        self.ids = (f"a{number}" for number in itertools.count(1))

    def look(self, judged, from_ms):
        self.turns = overlay(self.turns, judged, from_ms)
        self.alerts, decisions = decide(self.alerts, episodes(self.turns), from_ms, lambda: next(self.ids))
        told = [(each.kind, each.alert.id, each.alert.opened_ms, each.alert.closed_ms) for each in decisions]
        self.said += told
        return told


def test_an_alert_opens_changes_and_closes_once():
    mind = Mind()
    assert mind.look(turns("O"), 0) == []
    assert mind.look(turns("OC"), 0) == [(Saying.OPENED, "a1", 1, None)]
    assert mind.look(turns("OCC"), 0) == []
    assert mind.look(turns("OCCW"), 0) == [(Saying.CHANGED, "a1", 1, None)]
    assert mind.look(turns("OCCWO"), 0) == [(Saying.CLOSED, "a1", 1, 4)]
    assert mind.look(turns("OCCWOC"), 0) == [(Saying.OPENED, "a2", 5, None)]


def test_late_samples_correct_what_was_said():
    mind = Mind()
    mind.look([Judgement(1, "OK", 0.0), Judgement(5, "CRITICAL", 0.0)], 0)
    assert mind.look(turns("OCCCCC"), 0) == [(Saying.CORRECTED, "a1", 1, None)]
    assert mind.look(turns("OCOOOC"), 0) == [(Saying.CLOSED, "a1", 1, 2), (Saying.OPENED, "a2", 5, None)]
    assert mind.look(turns("OOOOOC"), 0) == [(Saying.WITHDRAWN, "a1", 1, 2)]
    assert mind.look(turns("OOOCOC"), 0) == [(Saying.LATE, "a3", 3, 4)]
    assert mind.look(turns("OOOCCC"), 0) == [(Saying.REOPENED, "a3", 3, None), (Saying.WITHDRAWN, "a2", 5, 5)]


def test_an_alert_that_closed_before_the_horizon_is_not_mentioned_again():
    mind = Mind()
    mind.look(turns("OCO"), 0)
    assert mind.look([Judgement(9, "OK", 0.0)], 5) == []
    assert mind.alerts == ()


rules = st.builds(
    Rule,
    st.sampled_from([">", "<"]),
    st.none() | st.integers(0, 4),
    st.none() | st.integers(0, 4),
    st.integers(1, 4),
    st.integers(1, 4),
)
histories = st.dictionaries(st.integers(1, 45), st.integers(0, 4) | st.just(NAN), max_size=40)


@given(st.data(), histories, st.lists(rules, min_size=1, max_size=3))
def test_any_order_of_arrival_ends_in_the_same_intervals(data, by_minute, in_force):
    """With looks in between, whenever they come: each sample arrives within the horizon."""
    versions = [RuleVersion(20 * number * MINUTE_MS, rule) for number, rule in enumerate(in_force)]
    arriving = data.draw(st.permutations(sorted(by_minute)))
    mind, there = Mind(), {}
    for number, minute in enumerate(arriving):
        there[minute * MINUTE_MS] = by_minute[minute]
        if data.draw(st.booleans()) or number + 1 == len(arriving):
            now_ms = data.draw(st.integers(max(arriving), ALERT_HORIZON_MS // MINUTE_MS)) * MINUTE_MS
            from_ms = now_ms - ALERT_HORIZON_MS
            mind.look(judge(versions, sorted(there.items()), from_ms), from_ms)
    whole = episodes(overlay([], judge(versions, sorted(there.items()), -1), -1))
    assert spans(mind.turns) == [(each.opened_ms, each.closed_ms, each.last.status[0]) for each in whole]
    told = {alert_id: (kind, opened, closed) for kind, alert_id, opened, closed in mind.said}
    left = sorted((opened, closed) for kind, opened, closed in told.values() if kind is not Saying.WITHDRAWN)
    assert left == [(each.opened_ms, each.closed_ms) for each in whole]


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.integers(0, 400), st.lists(st.integers(0, 4), min_size=60, max_size=60), rules)
def test_what_came_in_time_is_judged_alike_by_a_look_each_minute_and_by_one_at_the_end(data, first, values, rule):
    """Also of a day that is longer than the horizon, with samples up to half an hour late."""
    samples = {(first + 5 * number) * MINUTE_MS: value for number, value in enumerate(values)}
    arrival = {ts_ms: ts_ms + data.draw(st.integers(0, 30)) * MINUTE_MS for ts_ms in samples}
    versions, mind = [RuleVersion(0, rule)], Mind()
    for minute in range(first, first + 5 * len(values) + 31):
        now_ms = minute * MINUTE_MS
        if any(arrived == now_ms for arrived in arrival.values()):
            from_ms = now_ms - ALERT_HORIZON_MS
            known = [(ts, value) for ts, value in samples.items() if arrival[ts] <= now_ms]
            mind.look(
                judge(versions, [each for each in known if each[0] > from_ms - back_ms(versions)], from_ms), from_ms
            )
    told = {alert_id: (kind, opened, closed) for kind, alert_id, opened, closed in mind.said}
    left = sorted((opened, closed) for kind, opened, closed in told.values() if kind is not Saying.WITHDRAWN)
    whole = episodes(overlay([], judge(versions, list(samples.items()), -1), -1))
    assert left == [(each.opened_ms, each.closed_ms) for each in whole]


def test_silence_is_counted_from_the_last_arrival():
    heard = listen(None, 3, 100, 99)
    assert heard == Heard(3, 100)
    heard = listen(heard, 4, 101, 100)
    assert heard == Heard(4, 101)
    for minute in range(102, 108):
        heard = listen(heard, 4, minute, minute - 1)
    assert heard.silent_minutes(107) == 6
    assert listen(heard, 2, 108, 107).silent_minutes(108) == 7, "a window expired"
    assert listen(heard, 5, 108, 107).silent_minutes(108) == 0


def test_minutes_that_could_not_be_seen_are_no_silence():
    heard = listen(Heard(4, 100), 4, 103, 102)
    for minute in range(104, 120):
        heard = listen(heard, None, minute, minute - 1)
    assert heard.silent_minutes(119) == 3
    assert listen(heard, 4, 120, 119).silent_minutes(120) == 4


def test_minutes_without_a_look_are_no_silence():
    """As many rows may expire in an hour as arrive: then all hosts that post would be gone at once."""
    heard = listen(Heard(90, 100), 90, 160, 100)
    assert heard.silent_minutes(160) == 1
    assert listen(Heard(90, 100), 40, 160, 100).silent_minutes(160) == 1
    assert listen(heard, 90, 161, 160).silent_minutes(161) == 2


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(3, 6), "OOOWWWCC"),
        (Bounds(None, 6), "OOOOOOCC"),
        (Bounds(3, None), "OOOWWWWW"),
        (Bounds(4, 2), "OOCCCCCC"),
    ],
    ids=["both", "critical", "warning", "crossed"],
)
def test_silence_has_bounds(bounds, expected):
    assert "".join(bounds.status_of(minute)[0] for minute in range(8)) == expected


def test_episodes_that_touch_do_not_overlap():
    first, second = Episode((Turn(1, "CRITICAL"),), 4), Episode((Turn(4, "CRITICAL"),), None)
    assert not first.overlaps(second) and not second.overlaps(first)
    assert second.overlaps(Episode((Turn(9, "WARNING"),), None))
