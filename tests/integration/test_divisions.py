"""Targets with too many series, through writers, stream, ingester, a real Redis, sealer and reader: every sample is
read back once, whatever holds of a division by then, and whoever knows of it."""

import pytest
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.usage import Limits

from harness.pipeline import flush
from tests.support.divided import NOW_S, SOURCE, Divided, bodies, check_many, sources_of


@pytest.fixture
def path(cluster):
    flush(cluster)
    pipeline = Divided(cluster, NOW_S)
    yield pipeline
    pipeline.close()


def test_all_series_of_a_divided_target_are_read_back_once(path):
    """Of 50,000, with the real bound: tests/nightly."""
    check_many(path, series=2_000, per_source=800)


def test_writers_that_disagree_and_bodies_that_are_sent_again_store_no_sample_twice(path):
    """One writer learns of the division only when it must; the body across the step comes at each state again."""
    path.accounts.limits = Limits(series_per_source=30)
    stale = path.new_writer()
    from_s = path.until_divided(stale, 80)
    path.now_s -= 1  # the stale one looked 59 s ago
    (now,) = bodies(80, [1000 * path.now_s], metrics=8)
    for writer in (stale, path.new_writer()):
        path.write(writer, now)
    path.take_all()
    assert sources_of(path) == {SOURCE}
    step_ms = 1000 * from_s
    (across,) = bodies(80, range(step_ms - 60_000, step_ms + 61_000, 15_000), metrics=8)
    for at_s in (from_s - 400, from_s - 60, from_s, from_s + 59):
        path.now_s = at_s
        for writer in (stale, path.new_writer()):
            path.write(writer, across)
        path.take_all()
    assert len(sources_of(path)) > 2
    path.now_s = from_s + 61
    every = '{job="kube"}'
    assert path.number(f"sum(count_over_time({every}[130s]))") == 80 * 9
    assert path.number(f"count({every})") == 80 == len(path.listed(every))


def test_a_delete_by_selectors_takes_a_series_out_of_all_sources_of_its_target(path):
    path.accounts.limits = Limits(series_per_source=30)
    writer = path.new_writer()
    path.now_s = path.until_divided(writer, 80) + 30
    for body in bodies(80, [1000 * path.now_s], metrics=8):
        path.write(writer, body)
    path.take_all()
    path.now_s += 10
    before = path.number('sum(count_over_time({job="kube"}[8h]))')
    times = path.number('count_over_time({n="7"}[8h])')
    assert times > 2, "before the division and after it"
    path.delete_series('{n="7"}')
    assert path.query('count_over_time({n="7"}[8h])') == {}
    assert path.number('sum(count_over_time({job="kube"}[8h]))') == before - times


def test_a_sample_in_two_sources_by_mistake_is_read_once_and_the_later_one_counts(path):
    """A writer that would never look again, which none does."""
    path.accounts.limits = Limits(series_per_source=30)
    stale = path.new_writer()
    stale_accounts = Accounts(path.accounts, lambda: 0.0)
    stale._accounts = stale._door._accounts = stale_accounts
    path.now_s = path.until_divided(stale, 60) + 30
    (first,), (second,) = (list(bodies(60, [1000 * path.now_s], value, 8)) for value in (0.0, 0.25))
    path.write(path.new_writer(), first)
    path.write(stale, second)
    path.take_all()
    path.now_s += 10
    every = '{job="kube"}'
    assert path.number(f"sum(count_over_time({every}[1m]))") == 60
    assert path.number(f"sum({every})") == sum(range(60)) + 15
    assert len(path.listed(every)) == 60
