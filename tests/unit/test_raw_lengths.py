"""How long raw windows are: a function of tenant, kind of source and the time of a sample."""

import pytest
from carbyne.core import limits
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.keys import SourceKey, Window
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.windows import Cadence, LengthStep, RawLengths, Seen, length_s, stepped

from harness.pipeline import MemoryAccounts

USUAL_S = 14_400
START_S = 1_700_006_400  # where windows of all lengths begin
STEPS = (LengthStep(START_S, True), LengthStep(START_S + 10 * USUAL_S, False))
LABELLED, HOST = SourceKey("acme", "prom/a"), SourceKey("acme", "host/a")


def test_the_length_follows_the_time_of_the_sample():
    lengths = RawLengths(lambda tenant: STEPS, USUAL_S)
    assert lengths.window(LABELLED, 1000 * START_S - 1) == Window(START_S - USUAL_S, USUAL_S)
    assert lengths.window(LABELLED, 1000 * START_S) == Window(START_S, 3_600)
    assert lengths.window(LABELLED, 1000 * (START_S + 10 * USUAL_S) - 1) == Window(
        START_S + 10 * USUAL_S - 3_600, 3_600
    )
    assert lengths.window(LABELLED, 1000 * (START_S + 10 * USUAL_S)) == Window(START_S + 10 * USUAL_S, USUAL_S)


def test_hosts_keep_the_usual_length_and_cost_no_look_up():
    def steps_of(tenant):
        raise AssertionError("asked")

    assert RawLengths(steps_of, USUAL_S).window(HOST, 1000 * START_S) == Window(START_S, USUAL_S)


def test_a_tenant_that_is_gone_has_usual_windows_and_one_that_is_unknowable_none():
    def gone(tenant):
        raise RequestError(403, "unknown")

    def away(tenant):
        raise RetryableError("away")

    assert RawLengths(gone, USUAL_S).window(LABELLED, 1000 * START_S) == Window(START_S, USUAL_S)
    with pytest.raises(RetryableError):
        RawLengths(away, USUAL_S).window(LABELLED, 1000 * START_S)


@pytest.mark.parametrize("usual_s", [60, 3_600, 5_400, 7_200, 14_400, 86_400])
@pytest.mark.parametrize("now_s", [START_S, START_S + 1, START_S + 12_600, START_S + 12_601, START_S + 50_000])
def test_no_window_lies_on_both_sides_of_a_step_which_no_sample_has_passed(usual_s, now_s):
    seen = stepped(Seen(), now_s, usual_s, often=True)
    (step,) = seen.steps
    assert step.from_s - now_s >= limits.AHEAD_MS_MAX // 1000 + 2 * limits.TENANT_CACHE_S
    assert step.from_s % usual_s == 0 and step.from_s % min(usual_s, 3_600) == 0
    assert length_s(seen.steps, step.from_s - 1, usual_s) == usual_s
    assert length_s(seen.steps, step.from_s, usual_s) == min(usual_s, 3_600)


def test_steps_that_were_stored_never_change_what_lies_before_them():
    seen, now_s = Seen(), START_S
    for often in (True, True, False, True, False, True):
        before, now_s = seen, now_s + 8 * 86_400
        seen = stepped(seen, now_s, USUAL_S, often=often)
        for at_s in range(START_S - USUAL_S, now_s + 600, 1800):
            assert length_s(seen.steps, at_s, USUAL_S) == length_s(before.steps, at_s, USUAL_S)
    assert len(seen.steps) == 5


@pytest.mark.parametrize("stored_s", range(START_S, START_S + USUAL_S + 1, 1_200))
def test_an_instance_that_just_misses_a_step_agrees_on_all_that_it_writes_before_it_looks_again(stored_s):
    """It looked the tenant up a second before.  The last sample may be as far ahead as a writer takes it."""
    store = MemoryAccounts({})
    clock_s = [stored_s - 1.0]
    stale = Accounts(store, lambda: clock_s[0])
    lengths = RawLengths(lambda tenant: stale.standing(tenant).steps, USUAL_S)
    store.tenant_of_key["key"] = "acme"
    lengths.window(LABELLED, 0)
    store.steps["acme"] = stepped(Seen(), stored_s, USUAL_S, often=True).steps
    (step,) = store.steps["acme"]
    for clock_s[0] in range(stored_s - 1, step.from_s + 60, 7):
        for ahead_s in (-USUAL_S, -60, 0, limits.AHEAD_MS_MAX // 1000):
            at_s = int(clock_s[0]) + ahead_s
            expected = Window.holding(1000 * at_s, length_s(store.steps["acme"], at_s, USUAL_S))
            assert lengths.window(LABELLED, 1000 * at_s) == expected


def test_a_step_is_never_before_one_that_a_clock_ahead_has_stored():
    ahead = stepped(Seen(), START_S + 7_200, USUAL_S, often=True)
    behind = stepped(ahead._replace(often_s=0), START_S, USUAL_S, often=False)
    assert [step.is_short for step in behind.steps] == [True, False]
    assert behind.steps[1].from_s >= behind.steps[0].from_s


def test_steps_are_bounded():
    seen = Seen(tuple(LengthStep(START_S + n * USUAL_S, n % 2 == 0) for n in range(limits.WINDOW_STEPS_MAX)))
    assert len(stepped(seen, START_S + 10**8, USUAL_S, often=True).steps) == limits.WINDOW_STEPS_MAX


def test_the_samples_of_most_sources_decide():
    cadence = Cadence()
    assert cadence.often is None
    for second in range(0, 60, 15):
        cadence.note("prom/small", 1000 * second, 10)
    assert cadence.often
    cadence.note("prom/large", 0, 1000)
    assert not cadence.often, "one small source in a thousand"


def test_a_drifting_scrape_of_a_minute_is_not_often():
    cadence = Cadence()
    for number in range(60):
        cadence.note("prom/a", 59_000 * number, 100)
    assert not cadence.often


def test_pieces_of_one_scrape_are_one_time():
    cadence = Cadence()
    for _ in range(8):
        cadence.note("prom/a", 1000, 50)
    assert not cadence.often


def test_a_cadence_has_a_bound(monkeypatch):
    monkeypatch.setattr("carbyne.tenants.windows.CADENCE_MINUTES_MAX", 2)
    cadence = Cadence()
    for number in range(100):
        cadence.note(f"prom/{number}", 0, 1)
    assert len(cadence._first_ms) == 2
