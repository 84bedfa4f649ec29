"""Usage: what instances of the ingester count and write, and what the writer makes of it."""

from collections import Counter
from itertools import count

import pytest
from carbyne.core import limits
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, join_series, list_identity
from carbyne.tenants.usage import Counted, Limits, Standing, Usage, UsedRow
from carbyne.tenants.windows import LengthStep, length_s

NOW_S = 1_700_000_000
MINUTE = NOW_S // 60
HOUR = NOW_S // 3_600
SEQUENCES = count(1)


class Store:
    """Tenants' items in a dict; ``away`` makes it fail after it has applied what it was asked, ``seen_away`` says when
    it fails of how often series come."""

    def __init__(self):
        self.samples = {"acme": Counter(), "bolt": Counter()}
        self.series = {}
        self.estimate = {}
        self.months = Counter()
        self.calls = Counter()
        self.away = False
        self.seen_away = ""

    def add(self, tenant, samples, use):
        self.calls["add"] += 1
        if tenant not in self.samples:
            return None
        self.samples[tenant].update(samples)
        self.months.update({(tenant, use.month, field): number for field, number in use.counts.items()})
        if self.away:
            raise RetryableError("timed out")
        return self.series.get(tenant, Counted(b"", 0))

    def put_series(self, tenant, counted, estimate):
        self.calls["put_series"] += 1
        self.series[tenant], self.estimate[tenant] = counted, estimate

    def put_seen(self, tenant, seen, before):
        self.calls["put_seen"] += 1
        counted = self.series[tenant]
        assert counted.seen == before
        if self.seen_away == "before":
            raise RetryableError("timed out")
        self.series[tenant] = counted._replace(seen=seen)
        if self.seen_away == "after":
            raise RetryableError("timed out")


class Clock:
    now_s = float(NOW_S)

    def __call__(self):
        return self.now_s


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def clock():
    return Clock()


def row(source="host/a", series=("m",), arrived_s=NOW_S, tenant="acme", ts_ms=1000 * NOW_S):
    blob = join_series(series)
    number, sequence = len(series), next(SEQUENCES)
    counted = number, arrived_s, sequence, ts_ms, number, Window.holding(ts_ms, 14_400)
    return UsedRow(SourceKey(tenant, source), list_identity(blob), blob, *counted)


def rows(hosts, metrics=50, **more):
    return [row(f"host/{host}", [f"m{number}" for number in range(metrics)], **more) for host in hosts]


def test_samples_are_added_to_the_minute_in_which_they_arrived(store, clock):
    usage = Usage(store, clock, 14_400)
    usage.take(rows(range(3)) + rows(range(2), arrived_s=NOW_S - 61))
    usage.take([])
    assert store.samples["acme"] == {MINUTE: 150, MINUTE - 1: 100}


def test_a_late_row_counts_for_more_as_a_limit_and_for_its_samples_in_the_month(store, clock):
    usage = Usage(store, clock, 14_400)
    usage.take([row()._replace(samples=50)])
    usage.take([])
    assert store.samples["acme"] == {MINUTE: 50}
    assert store.months["acme", 202_311, "samples"] == store.months["acme", 202_311, "rows"] == 1


def test_it_writes_once_a_minute_and_loses_nothing(store, clock):
    usage = Usage(store, clock, 14_400)
    for _ in range(600):
        usage.take(rows(range(2), arrived_s=clock.now_s))
        clock.now_s += 1
    usage.take([])
    assert store.calls["add"] <= 11
    assert store.calls["put_series"] == 1, "the series did not change"
    clock.now_s += 60
    usage.take([])
    assert store.samples["acme"].total() == 600 * 100


def test_a_write_that_fails_is_not_made_again_since_it_may_have_been_applied(store, clock):
    """Else a table that answers too late would turn use within the limit into refusals."""
    usage = Usage(store, clock, 14_400)
    usage.take(rows(range(2)))
    store.away = True
    usage.take(rows(range(1)))
    assert store.samples["acme"] == {MINUTE: 100}
    store.away = False
    clock.now_s += 60
    usage.take([])
    assert store.samples["acme"] == {MINUTE: 150}
    assert store.estimate["acme"] == pytest.approx(100, rel=0.1), "series are merged, as often as it takes"


def test_a_table_that_is_away_takes_the_time_of_one_write(store, clock):
    store.samples |= {f"t{number}": Counter() for number in range(20)}
    usage = Usage(store, clock, 14_400)
    usage.take([row(tenant=f"t{number}") for number in range(20)])
    store.away = True
    usage.take([])
    assert store.calls["add"] == 1
    store.away = False
    usage.take([])
    assert sum(samples.total() for samples in store.samples.values()) == 20


def test_a_batch_counts_only_when_it_was_answered(store, clock):
    """An instance that dies at the end of its call has the batch come to another one, which counts it."""
    batch = rows(range(3))
    for _ in range(5):
        Usage(store, clock, 14_400).take(batch)
    assert store.samples["acme"] == {}
    usage = Usage(store, clock, 14_400)
    usage.take(batch)
    usage.take(batch)
    assert store.samples["acme"] == {MINUTE: 150}


def test_what_arrived_long_ago_is_no_use_of_now(store, clock):
    """An ingester that catches up after an outage must not make the writer refuse."""
    usage = Usage(store, clock, 14_400)
    usage.take(rows(range(3), arrived_s=NOW_S - 60 * limits.USAGE_MINUTES_KEPT - 60))
    usage.take([])
    assert store.samples["acme"] == {}
    assert store.months == {("acme", 202_311, "samples"): 150, ("acme", 202_311, "rows"): 3}, (
        "but it is use of the month"
    )


def test_a_batch_that_comes_again_is_not_counted_again(store, clock):
    """Else an outage, in which a batch is tried for minutes, would be use and then refusals for all."""
    usage = Usage(store, clock, 14_400)
    batch = rows(range(3))
    for _ in range(5):
        usage.take(batch)
    usage.take(rows(range(1)))
    clock.now_s += 60
    usage.take([])
    assert store.samples["acme"].total() == 200


def test_all_rows_of_a_record_count(store, clock):
    usage = Usage(store, clock, 14_400)
    usage.take([row("host/a", (name,))._replace(sequence=9) for name in "abc"])
    usage.take([])
    assert store.samples["acme"].total() == 3


def test_several_instances_count_each_series_once(store, clock):
    first, second = Usage(store, clock, 14_400), Usage(store, clock, 14_400)
    for _ in range(3):
        first.take(rows(range(20), arrived_s=clock.now_s))
        second.take(rows(range(10, 40), arrived_s=clock.now_s))
        clock.now_s += 60
    assert store.estimate["acme"] == pytest.approx(40 * 50, rel=0.1)


def test_a_new_instance_does_not_forget_what_others_counted(store, clock):
    for hosts in (range(40), range(40, 42)):
        usage = Usage(store, clock, 14_400)
        usage.take(rows(hosts))
        usage.take([])
    assert store.estimate["acme"] == pytest.approx(42 * 50, rel=0.1)


def test_series_are_counted_from_zero_each_hour(store, clock):
    usage = Usage(store, clock, 14_400)
    usage.take(rows(range(40)))
    clock.now_s += 3_600
    usage.take(rows(range(4), arrived_s=clock.now_s))
    clock.now_s += 60
    usage.take([])
    assert store.series["acme"].hour == HOUR + 1
    assert store.estimate["acme"] == pytest.approx(4 * 50, rel=0.1)


def test_the_same_list_of_another_source_or_tenant_is_another_series(store, clock):
    usage = Usage(store, clock, 14_400)
    usage.take([row(f"host/{host}", tenant=tenant) for host in range(30) for tenant in ("acme", "bolt")])
    usage.take([])
    assert store.estimate == {"acme": pytest.approx(30, abs=2), "bolt": pytest.approx(30, abs=2)}


def test_lists_past_the_bound_are_counted_again_and_change_nothing(store, clock, monkeypatch):
    monkeypatch.setattr("carbyne.tenants.usage.LISTS_REMEMBERED_MAX", 5)
    usage = Usage(store, clock, 14_400)
    for _ in range(3):
        usage.take(rows(range(20), arrived_s=clock.now_s))
        clock.now_s += 60
    assert store.estimate["acme"] == pytest.approx(1_000, rel=0.1)


def test_many_tenants_are_written_by_turns(store, clock):
    names = [f"t{number}" for number in range(3 * limits.USAGE_TENANTS_PER_FLUSH)]
    store.samples |= {name: Counter() for name in names}
    usage = Usage(store, clock, 14_400)
    usage.take([row(tenant=name) for name in names])
    usage.take([])
    assert store.calls["add"] == limits.USAGE_TENANTS_PER_FLUSH
    for _ in range(2):
        usage.take([])
    assert all(store.samples[name].total() == 1 for name in names)


def test_an_unknown_tenant_has_no_usage(store, clock):
    usage = Usage(store, clock, 14_400)
    usage.take([row(tenant="nobody")])
    usage.take([])
    assert store.series == {}


LIMITS = Limits(samples_per_minute=100, active_series=10)


@pytest.mark.parametrize(
    ("samples", "series", "hour", "limit"),
    [
        ({}, 0, 0, None),
        ({MINUTE: 100}, 10, HOUR, None),
        ({MINUTE: 101}, 0, HOUR, "samples-per-minute"),
        ({MINUTE - 2: 101}, 0, HOUR, "samples-per-minute"),
        ({MINUTE - 3: 101}, 0, HOUR, None),
        ({MINUTE + 1: 101}, 0, HOUR, None),
        ({MINUTE: 60, MINUTE - 1: 60}, 0, HOUR, None),
        ({}, 11, HOUR, "active-series"),
        ({}, 11, HOUR - 1, None),
        ({MINUTE: 101}, 11, HOUR, "samples-per-minute"),
    ],
)
def test_who_is_over_a_limit(samples, series, hour, limit):
    over = Standing(LIMITS, samples, series, hour).over(NOW_S)
    assert (over and over.limit) == limit
    if over:
        assert limit in str(over) and str(100 if "samples" in limit else 10) in str(over)


def simulated(limit, rate, minutes, lag_s=2):
    """Samples accepted in each minute of a tenant that sends ``rate`` a minute, in posts of a second each.

    The ingester follows by ``lag_s``; the look-up lives as long as a key's.
    """
    store, clock = Store(), Clock()
    clock.now_s = float(NOW_S - NOW_S % 60)
    usage, accepted, waiting = Usage(store, clock, 14_400), Counter(), []
    looked_up_s, standing = 0.0, Standing()
    size = rate // 60
    for _ in range(minutes * 60):
        now_s = clock.now_s
        if now_s - looked_up_s >= limits.TENANT_CACHE_S:
            looked_up_s = now_s
            standing = Standing(Limits(samples_per_minute=limit), dict(store.samples["acme"]))
        if not standing.over(int(now_s)):
            accepted[int(now_s) // 60] += size
            waiting.append(row("host/a", [f"m{number}" for number in range(size)], now_s))
        ready = [piece for piece in waiting if piece.arrived_s + lag_s <= now_s]
        waiting = [piece for piece in waiting if piece.arrived_s + lag_s > now_s]
        usage.take(ready)
        clock.now_s += 1
    return accepted


@pytest.mark.parametrize("factor", [2, 5, 20])
def test_a_tenant_over_its_limit_is_held_near_it(factor):
    """It overshoots for a minute or two, and is then refused for as long: never shut out, never let through."""
    accepted = simulated(limit=600, rate=600 * factor, minutes=30)
    refused = [minute for minute in range(NOW_S // 60 + 1, NOW_S // 60 + 29) if accepted[minute] == 0]
    assert refused, "it is refused at times"
    assert len(accepted) > 5, "and let in at others"
    for first in range(NOW_S // 60, NOW_S // 60 + 26):
        assert any(accepted[minute] < 600 * factor for minute in range(first, first + 3)), "three minutes at most"


def test_a_tenant_within_its_limit_never_waits():
    assert simulated(limit=600, rate=600, minutes=10).total() == 6_000


def test_a_known_list_is_not_read_again(store, clock):
    """Else counting would cost as much as storing."""
    usage = Usage(store, clock, 14_400)
    usage.take(rows(range(10)))
    usage.take(row._replace(series=b"never\nread") for row in rows(range(10)))
    clock.now_s += 60
    usage.take([])
    assert store.estimate["acme"] == pytest.approx(500, rel=0.1)
    assert store.calls["put_series"] == 1


def scrapes(clock, step_s, source="prom/a", seconds=60):
    """The rows of a labelled source in the minute from the clock on."""
    times = range(int(clock()), int(clock()) + seconds, step_s)
    return [row(source, ("up", "m"), arrived_s=clock(), ts_ms=1000 * at_s) for at_s in times]


def counted(usage, batch):
    usage.take(batch)
    usage.take([])


@pytest.mark.parametrize(("step_s", "steps"), [(15, 1), (30, 1), (60, 0)])
def test_short_windows_begin_ahead_once_labelled_sources_post_more_often_than_once_a_minute(
    store, clock, step_s, steps
):
    clock.now_s -= clock.now_s % 60
    counted(Usage(store, clock, 14_400), scrapes(clock, step_s))
    noted = store.series["acme"].seen.steps
    assert len(noted) == steps
    assert all(step.is_short and step.from_s % 14_400 == 0 for step in noted)
    assert all(step.from_s >= clock() + limits.STEP_AHEAD_S for step in noted)


def test_hosts_never_change_the_windows_of_a_tenant(store, clock):
    counted(Usage(store, clock, 14_400), scrapes(clock, 5, "host/a"))
    assert store.calls["put_seen"] == 0


def test_instances_that_see_slow_sources_leave_short_windows_until_none_posted_often_for_a_week(store, clock):
    clock.now_s -= clock.now_s % 60
    fast, slow = Usage(store, clock, 14_400), Usage(store, clock, 14_400)
    counted(fast, scrapes(clock, 15))
    (first,) = store.series["acme"].seen.steps
    for _ in range(6):
        clock.now_s += 86_400
        counted(slow, scrapes(clock, 60, "prom/b"))
    assert store.series["acme"].seen.steps == (first,)
    counted(fast, scrapes(clock, 15))
    for _ in range(8):
        clock.now_s += 86_400
        counted(slow, scrapes(clock, 60, "prom/b"))
    last = store.series["acme"].seen.steps[-1]
    assert not last.is_short and last.from_s > clock() - 86_400
    assert len(store.series["acme"].seen.steps) == 2
    clock.now_s += 86_400
    counted(fast, scrapes(clock, 15))
    assert store.series["acme"].seen.steps[:2] == (first, last)
    assert store.series["acme"].seen.steps[2] == LengthStep(store.series["acme"].seen.steps[2].from_s, True)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_step_that_could_not_be_stored_is_stored_a_minute_later_once(store, clock, when):
    clock.now_s -= clock.now_s % 60
    usage = Usage(store, clock, 14_400)
    store.seen_away = when
    counted(usage, scrapes(clock, 15))
    store.seen_away = ""
    for _ in range(3):
        clock.now_s += 60
        counted(usage, scrapes(clock, 15))
    (step,) = store.series["acme"].seen.steps
    assert step.is_short and step.from_s >= clock() - 240 + limits.STEP_AHEAD_S


def test_short_windows_come_back_when_an_instance_that_saw_slow_sources_has_ended_them_meanwhile(store, clock):
    """Both steps may hold from one boundary on: the last one counts."""
    clock.now_s -= clock.now_s % 60
    fast, slow = Usage(store, clock, 14_400), Usage(store, clock, 14_400)
    counted(fast, scrapes(clock, 15))
    clock.now_s += 9 * 86_400
    counted(slow, scrapes(clock, 60, "prom/b"))
    counted(fast, scrapes(clock, 15))
    steps = store.series["acme"].seen.steps
    assert [step.is_short for step in steps] == [True, False, True]
    assert steps[1].from_s == steps[2].from_s and length_s(steps, steps[1].from_s, 14_400) == limits.SHORT_WINDOW_S
