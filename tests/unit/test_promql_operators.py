"""Operators and aggregations of PromQL."""

import math
import statistics

import pytest
from carbyne.core.errors import QueryError
from carbyne.core.limits import QUERY_SAMPLES_MAX
from carbyne.promql.scope import QuerySpan

from tests.support.promqltest import Runner, almost, query

LOADED = """
load 1m
    a{k="1", x="p"} 1 2 3
    a{k="2", x="q"} 10 20 30
    b{k="1", y="r"} 5 5 5
    b{k="3", y="s"} 7 7 7
    many{k="1", n="1"} 2 2 2
    many{k="1", n="2"} 3 NaN 3
    gone{k="1"} 1 stale 1
    big{n="1"} 1e300 1e300
    big{n="2"} 1 1
    big{n="3"} -1e300 -1e300
"""


@pytest.fixture(scope="module")
def loaded():
    runner = Runner(late_names=False)
    runner.run(LOADED)
    return runner.memory


def at(memory, text, ts_ms=0, **options):
    answer = query.instant(text, ts_ms, memory, query.Options(lambda: 0.0, **options))
    rows = zip(answer.frame.labels, answer.frame.values[:, 0], strict=True)
    return {",".join(f"{name}={value}" for name, value in labels): value for labels, value in rows}


CASES = {
    "a + on(k) b": {"k=1": 6},
    "a + ignoring(x, y) b": {"k=1": 6},
    "a + on(k) fill(0) b": {"k=1": 6, "k=2": 10, "k=3": 7},
    "many * on(k) group_left(y) b": {"k=1,n=1,y=r": 10, "k=1,n=2,y=r": 15},
    "b / on(k) group_right() many": {"k=1,n=1": 2.5, "k=1,n=2": 5 / 3},
    "a > 5": {"__name__=a,k=2,x=q": 10},
    "5 < a": {"__name__=a,k=2,x=q": 10},
    "a > bool 5": {"k=1,x=p": 0, "k=2,x=q": 1},
    "a == on(k) b - 4": {"k=1": 1},
    "a and on(k) b": {"__name__=a,k=1,x=p": 1},
    "a unless on(k) b": {"__name__=a,k=2,x=q": 10},
    "a or on(k) b": {"__name__=a,k=1,x=p": 1, "__name__=a,k=2,x=q": 10, "__name__=b,k=3,y=s": 7},
    "-a": {"k=1,x=p": -1, "k=2,x=q": -10},
    "1 - -a": {"k=1,x=p": 2, "k=2,x=q": 11},
    "vector(1) > bool 2": {"": 0},
    "sum(a)": {"": 11},
    "sum by (k) (many)": {"k=1": 5},
    "sum without (n) (many)": {"k=1": 5},
    "sum(big)": {"": 1},
    "avg(big)": {"": 1 / 3},
    "min(a)": {"": 1},
    "max(a)": {"": 10},
    "count(many)": {"": 2},
    "group(a)": {"": 1},
    "stddev(a)": {"": statistics.pstdev([1, 10])},
    "stdvar(a)": {"": statistics.pvariance([1, 10])},
    "quantile(0.25, a)": {"": 1 + 9 * 0.25},
    "topk(1, a)": {"__name__=a,k=2,x=q": 10},
    "bottomk(1, a)": {"__name__=a,k=1,x=p": 1},
    "count_values('v', many)": {"v=2": 1, "v=3": 1},
    "count_values by (k) ('v', many)": {"k=1,v=2": 1, "k=1,v=3": 1},
    "count(limitk(1, a))": {"": 1},
    "count(limit_ratio(0.5, a) or limit_ratio(-0.5, a))": {"": 2},
}


@pytest.mark.parametrize("text", CASES)
def test_operators_and_aggregations(loaded, text):
    assert at(loaded, text) == pytest.approx(CASES[text])


def test_nan_is_the_least_of_ranks_and_no_extreme(loaded):
    assert at(loaded, "max(many)", 60_000) == {"": 2}
    assert list(at(loaded, "topk(2, many)", 60_000)) == ["__name__=many,k=1,n=1", "__name__=many,k=1,n=2"]
    assert math.isnan(at(loaded, "quantile(0, many)", 60_000)[""])


def test_a_mean_whose_sum_overflows(loaded):
    assert at(loaded, "avg(big{n='1'} * 1.5e8 or big{n='1'} * 1e8)") == pytest.approx({"": 1.5e308})
    many = " or ".join(f'label_replace(vector(1.5e308), "n", "{n}", "", "")' for n in range(4))
    assert at(loaded, f"avg({many})") == pytest.approx({"": 1.5e308})


FAILURES = {
    "a + on() b": "found duplicate series for the match group {} on the right hand-side of the operation",
    "b + on(k) many": 'found duplicate series for the match group {k="1"} on the right hand-side',
    "many + on(k) b": "many-to-one matching must be explicit (group_left/group_right)",
    'ceil(label_replace({k="1"}, "n", "", "", "") or a)': "vector cannot contain metrics with the same labelset",
    "topk(NaN, a)": "Parameter value is NaN",
    "limit_ratio(NaN, a)": "Ratio value is NaN",
    "topk(1e30, a)": "Scalar value 1e+30 overflows int64",
    'label_replace(a, "", "", "", "")': "invalid destination label name",
}


@pytest.mark.parametrize("text", FAILURES)
def test_failures_of_execution(loaded, text):
    with pytest.raises(QueryError) as raised:
        at(loaded, text)
    assert (raised.value.kind, raised.value.status) == ("execution", 422)
    assert FAILURES[text] in raised.value.message


def test_a_stale_series_ends_at_once_and_begins_again(loaded):
    answer = query.over("gone", QuerySpan(0, 120_000, 60_000), loaded, query.Options(lambda: 0.0))
    assert answer.frame.there.tolist() == [[True, False, True]]


def test_windows_are_open_at_their_left_end(loaded):
    assert at(loaded, "count_over_time(b{k='1'}[1m])", 60_000) == {"k=1,y=r": 1}
    assert at(loaded, "count_over_time(b{k='1'}[61s])", 60_000) == {"k=1,y=r": 2}
    assert at(loaded, "b{k='1'}", 120_000 + 300_000) == {}
    assert at(loaded, "b{k='1'}", 120_000 + 299_999) == {"__name__=b,k=1,y=r": 5}
    assert at(loaded, "b{k='1'}", 180_000, lookback_ms=60_000) == {}


def test_times_that_a_selector_fixes(loaded):
    span = QuerySpan(0, 120_000, 60_000)
    for text, expected in {
        "sum(a @ 60)": [22, 22, 22],
        "sum(a @ end())": [33, 33, 33],
        "sum(a @ start() offset -1m)": [22, 22, 22],
        "sum(a offset 1m)": [None, 11, 22],
        "sum(sum_over_time(a[2m:1m] @ 60))": [33, 33, 33],
        "timestamp(b{k='1'} @ 60)": [60, 60, 60],
        "max_over_time(sum(a)[2m:1m])": [11, 22, 33],
    }.items():
        answer = query.over(text, span, loaded, query.Options(lambda: 0.0))
        (row,), (there,) = answer.frame.values, answer.frame.there
        values = [float(value) if has else None for value, has in zip(row, there, strict=True)]
        assert values == expected, text


def test_labels_of_one_series_may_come_from_several_over_time(loaded):
    answer = query.over("a > 25 or on(k) a < 15", QuerySpan(0, 120_000, 60_000), loaded, query.Options(lambda: 0.0))
    assert answer.frame.series == 2


BOUNDS = {
    "the query has 200001 steps": ("a", QuerySpan(0, 200_000, 1)),
    "more than": ("sum_over_time(a[1d:1ms])", QuerySpan(0, QUERY_SAMPLES_MAX * 2, QUERY_SAMPLES_MAX)),
}


@pytest.mark.parametrize("says", BOUNDS)
def test_bounds_say_their_figures(loaded, says):
    text, span = BOUNDS[says]
    with pytest.raises(QueryError) as raised:
        query.over(text, span, loaded, query.Options(lambda: 0.0))
    assert says in raised.value.message


def test_a_query_stops_when_its_time_is_over(loaded):
    now = iter(range(1_000))
    with pytest.raises(QueryError) as raised:
        query.instant("a + b", 0, loaded, query.Options(lambda: float(next(now)), timeout_s=1.5))
    assert (raised.value.kind, raised.value.status) == ("timeout", 503)


def test_numbers_stay_equal_to_those_of_a_sum_without_rounding(loaded):
    memory = Runner().memory
    values = [1e16, 1.0, -1e16, 3.25] * 50
    memory.samples[(("__name__", "s"),)] = {nth * 1000: value for nth, value in enumerate(values)}
    answer = query.instant("sum_over_time(s[1h])", 1_000_000, memory, query.Options(lambda: 0.0))
    assert almost(answer.frame.values[0, 0], math.fsum(values))
