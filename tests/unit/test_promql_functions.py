"""Functions of PromQL, each against its formula computed here in plain Python.

The series: ``up`` 1 to 9 each minute, then again from 3 (a counter that was reset); ``noise`` with a gap and a NaN.
"""

import math
import statistics
from fractions import Fraction

import pytest
from carbyne.core.errors import QueryError

from tests.support.promqltest import Memory, Runner, almost, query

MINUTE = 60_000
UP = [1.0, 2.0, 3.0, 5.0, 9.0, 3.0, 4.0]
NOISE = [4.0, -1.5, 0.1, 0.2, 7.0, 2.0]
LOADED = """
load 1m
    up{host="a", dir="in"} 1 2 3 5 9 3 4
    noise{host="a"} 4 -1.5 0.1 0.2 7 2
    strange{host="a"} 4 NaN 2
    flat 5 5 5 5
    h_bucket{le="0.5"} 2x6
    h_bucket{le="1"} 6x6
    h_bucket{le="4"} 8x6
    h_bucket{le="+Inf"} 10x6
    disk{host="a", dev="sda"} 10x6
    disk{host="b", dev="sdb"} 20x6
    disk{host="b", dev="sdc"} NaNx6
    when{of="leap"} 951782400x6
    when{of="sunday"} 1704067199x6
    target_info{job="j", instance="i", version="7"} 1x6
    served{job="j", instance="i"} 3x6
"""


@pytest.fixture(scope="module")
def loaded():
    runner = Runner(late_names=False)
    runner.run(LOADED)
    return runner.memory


def value(memory, text, at_ms=5 * MINUTE):
    """The values of an instant query by their labels without names, as ``a=b`` pairs."""
    answer = query.instant(text, at_ms, memory, query.Options(lambda: 0.0))
    rows = zip(answer.frame.labels, answer.frame.values, strict=True)
    return {
        ",".join(f"{name}={each}" for name, each in labels if name not in {"host", "__name__"}): values[0]
        for labels, values in rows
    }


def only(memory, text, at_ms=5 * MINUTE):
    (number,) = value(memory, text, at_ms).values()
    return number


def line(values, x0):
    """Slope per second and value at ``x0`` minutes of the line through values at 0, 1, 2, ... minutes."""
    xs = [Fraction(at - x0) * 60 for at in range(len(values))]
    ys = [Fraction(each) for each in values]
    n, sx, sy = len(xs), sum(xs), sum(ys)
    slope = (n * sum(x * y for x, y in zip(xs, ys, strict=True)) - sx * sy) / (n * sum(x * x for x in xs) - sx * sx)
    return float(slope), float((sy - slope * sx) / n)


def smoothed(values, smoothing, trend):
    levels, drift = [values[0]], values[1] - values[0]
    for each in values[1:]:
        if len(levels) > 1:
            drift = trend * (levels[-1] - levels[-2]) + (1 - trend) * drift
        levels.append(smoothing * each + (1 - smoothing) * (levels[-1] + drift))
    return levels[-1]


MEDIAN = statistics.median(NOISE)
OVER_TIME = {
    # The window (-1m, 5m] has all six; samples are 60 s apart, so both ends are reached: 300 s to 360 s of increase.
    "increase(up[6m])": (9 - 1 + 3) * (300 + 0 + 0) / 300 + (11 / 300) * min(60, 300 * 1 / 11),
    "rate(up[6m])": (11 + (11 / 300) * min(60, 300 * 1 / 11)) / 360,
    "delta(noise[6m])": (2.0 - 4.0) * (300 + 60) / 300,
    "irate(up[6m])": 3 / 60,
    "idelta(up[6m])": 3 - 9,
    "resets(up[6m])": 1,
    "changes(up[6m])": 5,
    "changes(flat[6m])": 0,
    "changes(strange[6m])": 2,
    "sum_over_time(noise[6m])": math.fsum(NOISE),
    "avg_over_time(noise[6m])": math.fsum(NOISE) / 6,
    "min_over_time(noise[6m])": -1.5,
    "max_over_time(strange[6m])": 4,
    "count_over_time(strange[6m])": 3,
    "present_over_time(strange[6m])": 1,
    "stddev_over_time(noise[6m])": statistics.pstdev(NOISE),
    "stdvar_over_time(noise[6m])": statistics.pvariance(NOISE),
    "quantile_over_time(0.5, noise[6m])": MEDIAN,
    "quantile_over_time(0.25, noise[6m])": sorted(NOISE)[1] * 0.75 + sorted(NOISE)[2] * 0.25,
    "quantile_over_time(0, strange[6m])": math.nan,
    "mad_over_time(noise[6m])": statistics.median(abs(each - MEDIAN) for each in NOISE),
    "first_over_time(noise[6m])": 4,
    "last_over_time(noise[6m])": 2,
    "ts_of_first_over_time(noise[6m])": 0,
    "ts_of_last_over_time(noise[6m])": 300,
    "ts_of_max_over_time(noise[6m])": 240,
    "ts_of_min_over_time(noise[6m])": 60,
    "deriv(noise[6m])": line(NOISE, 0)[0],
    "predict_linear(noise[6m], 600)": line(NOISE, 5)[1] + 600 * line(NOISE, 5)[0],
    "predict_linear(flat[6m], 600)": 5,
    "double_exponential_smoothing(noise[6m], 0.3, 0.6)": smoothed(NOISE, 0.3, 0.6),
    "sum_over_time(noise[2m:30s])": 2 * (7.0 + 0.2) + 2.0 - 0.2,
}


@pytest.mark.parametrize("text", OVER_TIME)
def test_functions_of_windows(loaded, text):
    assert almost(only(loaded, text), OVER_TIME[text])


def test_extrapolation_stops_half_a_step_beyond_a_series_that_ends():
    memory = Memory()
    labels = (("__name__", "late_total"),)
    memory.samples[labels] = {ts * MINUTE: 100.0 + ts for ts in (3, 4, 5)}
    # (0, 10m]: 3 minutes to the start and 5 to the end are far: half a minute on each side, 2 + 1 = 3 minutes.
    assert almost(only(memory, "increase(late_total[10m])", 10 * MINUTE), 2 * 3 / 2)


NUMBERS = {
    "abs(-noise)": 2.0,
    "ceil(noise / 4)": 1,
    "floor(noise / 4)": 0,
    "round(noise / 4)": 1,
    "round(noise * 1.3, 0.5)": 2.5,
    "exp(noise)": math.exp(2),
    "ln(noise)": math.log(2),
    "log2(noise)": 1,
    "log10(noise)": math.log10(2),
    "sqrt(noise)": math.sqrt(2),
    "sgn(-noise)": -1,
    "clamp(noise, 3, 4)": 3,
    "clamp_max(noise, 1)": 1,
    "clamp_min(noise, 2.5)": 2.5,
    "sin(noise)": math.sin(2),
    "cos(noise)": math.cos(2),
    "tan(noise)": math.tan(2),
    "asin(noise / 4)": math.asin(0.5),
    "acos(noise / 4)": math.acos(0.5),
    "atan(noise)": math.atan(2),
    "sinh(noise)": math.sinh(2),
    "cosh(noise)": math.cosh(2),
    "tanh(noise)": math.tanh(2),
    "asinh(noise)": math.asinh(2),
    "acosh(noise)": math.acosh(2),
    "atanh(noise / 4)": math.atanh(0.5),
    "deg(noise)": math.degrees(2),
    "rad(noise)": math.radians(2),
    "noise atan2 4": math.atan2(2, 4),
    "noise % 1.5": 0.5,
    "-noise % 1.5": -0.5,
    "2 ^ noise ^ 2": 16,
    "pi()": math.pi,
    "time()": 300,
    "vector(3) + scalar(noise)": 5,
    "scalar(disk)": math.nan,
    "max_of(2, 3) - min_of(2, 3)": 1,
    "timestamp(noise offset 30s)": 240,
    "timestamp(noise * 1)": 300,
    "hour()": 0,
    "minute()": 5,
    "year()": 1970,
    'day_of_month(when{of="leap"})': 29,
    'month(when{of="leap"})': 2,
    'year(when{of="leap"})': 2000,
    'days_in_month(when{of="leap"})': 29,
    'day_of_year(when{of="leap"})': 60,
    'day_of_week(when{of="sunday"})': 0,
    'day_of_year(when{of="sunday"})': 365,
    'hour(when{of="sunday"})': 23,
    'minute(when{of="sunday"})': 59,
    "histogram_quantile(0.5, h_bucket)": 0.5 + 0.5 * (5 - 2) / 4,
    "histogram_quantile(0.1, h_bucket)": 0.5 * 1 / 2,
    "histogram_quantile(0.95, h_bucket)": 4,
    "histogram_fraction(0.75, 2.5, h_bucket)": ((6 + 1) - (2 + 2)) / 10,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_functions_of_numbers(loaded, text):
    assert almost(only(loaded, text), NUMBERS[text])


LABELS = {
    'label_replace(served, "port", "$2-$$", "instance", "(i)(.*)")': {"instance=i,job=j,port=-$": 3},
    'label_replace(served, "port", "x", "instance", "no")': {"instance=i,job=j": 3},
    'label_replace(served, "port", "${n}1", "job", "(?P<n>.*)")': {"instance=i,job=j,port=j1": 3},
    'label_join(served, "both", "/", "job", "instance", "none")': {"both=j/i/,instance=i,job=j": 3},
    'absent(gone{a="b", c=~"d"})': {"a=b": 1},
    "absent(served)": {},
    'absent_over_time(gone{a="b"}[5m])': {"a=b": 1},
    "info(served)": {"instance=i,job=j,version=7": 3},
    'info(served, {version="8"})': {},
    'info(served, {other="", version=~".+"})': {"instance=i,job=j,version=7": 3},
    'histogram_quantiles(h_bucket, "q", 0.1, 1)': {"q=0.1": 0.25, "q=1.0": 4},
}


@pytest.mark.parametrize("text", LABELS)
def test_functions_of_labels(loaded, text):
    assert value(loaded, text) == pytest.approx(LABELS[text])


ORDERED = {
    "sort(disk)": ["sda", "sdb", "sdc"],
    "sort_desc(disk)": ["sdb", "sda", "sdc"],
    'sort_by_label_desc(disk, "host", "dev")': ["sdc", "sdb", "sda"],
    "topk(2, disk)": ["sdb", "sda"],
    "bottomk(5, disk)": ["sda", "sdb", "sdc"],
}


@pytest.mark.parametrize("text", ORDERED)
def test_orders(loaded, text):
    answer = query.instant(text, 0, loaded, query.Options(lambda: 0.0))
    assert [dict(labels)["dev"] for labels in answer.frame.labels] == ORDERED[text]


def test_numbers_within_labels_are_ordered_by_value():
    memory = Memory()
    for name in ("node10", "node9", "node9b", "node", "10"):
        memory.samples["__name__", "x"] = {}
        memory.samples[(("__name__", "x"), ("n", name))] = {0: 1.0}
    del memory.samples["__name__", "x"]
    answer = query.instant('sort_by_label(x, "n")', 0, memory, query.Options(lambda: 0.0))
    assert [dict(labels)["n"] for labels in answer.frame.labels] == ["10", "node", "node9", "node9b", "node10"]


@pytest.mark.parametrize("text", ["rate(gone[5m])", "quantile_over_time(2, gone[5m])", "deriv(up[1s])"])
def test_windows_without_samples_give_nothing_and_say_nothing(loaded, text):
    answer = query.instant(text, 1, loaded, query.Options(lambda: 0.0))
    assert (answer.frame.series, answer.warnings, answer.infos) == (0, [], [])


def test_a_histogram_that_falls_is_repaired_and_says_so():
    memory = Memory()
    for bound, count in (("1", 5.0), ("2", 3.0), ("+Inf", 6.0)):
        memory.samples[(("__name__", "x_bucket"), ("le", bound))] = {0: count}
    answer = query.instant("histogram_quantile(0.5, x_bucket)", 0, memory, query.Options(lambda: 0.0))
    assert almost(answer.frame.values[0, 0], 3 / 5)
    assert answer.infos == [
        "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see"
        " https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets 2 to 2,"
        " with a max diff of 2, over 1 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:00:00Z (1:25)"
    ]


CHURNED = """load 1m
    work{instance="a", job="1"} 0+1x9
    other{instance="b", job="1"} 0+1x9
    target_info{instance="a", job="1", version="old"} 1 1 1 stale
    target_info{instance="a", job="1", version="new"} _ _ _ 1x6
    target_info{instance="b", job="1", version="only"} 1x9
    lone{instance="b"} 1x9
    target_info{instance="b", zone="z"} 1x9
"""
OLD, NEW = {"instance=a,job=1,version=old": 1}, {"instance=a,job=1,version=new": 1}
BOTH_OF = {"instance=b,job=1,version=only": 1}
INFO_LOOKS = {
    "info(group by (instance, job) (work))": NEW,
    "info(group by (instance, job) (work @ 60))": OLD,
    "info(group by (instance, job) (work offset 4m))": OLD,
    "info(last_over_time(group by (instance, job) (work)[1m:1m] @ 120))": OLD,
    "info(group by (instance, job) (work @ 60 or other))": NEW | BOTH_OF,
    "info(group by (instance, job) (work @ 60 or other @ 60))": OLD | BOTH_OF,
    "info(group by (instance, job) (work) * scalar(other @ 60))": NEW,
    "info(lone)": {"instance=b,zone=z": 1},
}
"""Where all selectors of the argument look, and else at the step."""


@pytest.mark.parametrize("text", INFO_LOOKS)
def test_info_looks_where_its_selectors_all_look(text):
    runner = Runner(late_names=False)
    runner.run(CHURNED)
    assert value(runner.memory, text) == INFO_LOOKS[text]


def test_a_number_begins_at_its_sign(loaded):
    answer = query.instant("quantile(-  0.5, up)", 0, loaded, query.Options(lambda: 0.0))
    assert answer.warnings == ["PromQL warning: quantile value should be between 0 and 1, got -0.5 (1:10)"]
    answer = query.instant("quantile(1 - -2, up)", 0, loaded, query.Options(lambda: 0.0))
    assert answer.warnings[0].endswith("got 3 (1:10)")


def test_a_bad_pattern_of_label_replace_is_an_error_of_execution(loaded):
    with pytest.raises(QueryError, match="invalid regular expression in label_replace") as error:
        query.instant('label_replace(up, "a", "", "b", "(")', 0, loaded, query.Options(lambda: 0.0))
    assert error.value.kind == "execution"
