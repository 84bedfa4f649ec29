"""Expressions of Mackerel's functions: what is one, and its values, against loops over samples."""

import math

import numpy as np
import pytest
from carbyne.alerts.formula import AppliedFunction, NamedMetrics, parse_formula
from carbyne.core.errors import QueryError, RequestError
from carbyne.core.limits import EXPRESSION_CALLS_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_POINTS_MAX
from carbyne.evaluate.formulas import FormulaValues, PointGrid, minutes_of
from hypothesis import given
from hypothesis import strategies as st

MINUTE = 60_000
START = 1_700_000_040_000
NAN = math.nan
X = NamedMetrics("host", "x", "m")


def test_documented_examples_are_expressions():
    days = parse_formula("scale(timeLeftForecast(host('22CXRB3pZmu', \"cpu.system.percentage\"), 7d, 10), 1/86400)")
    assert days.numbers == (1 / 86400,)
    assert days.metrics[0].numbers == (7 * 86_400_000, 10.0)
    role = parse_formula("avg( roleSlots(Blog:db , loadavg5) )")
    assert role == AppliedFunction("avg", (NamedMetrics("role", "Blog:db", "loadavg5"),))
    two = parse_formula("product(group(service(Blog, foo.bar), service(Blog, foo.baz)))")
    assert [leaf.metric for leaf in two.metrics[0].metrics] == ["foo.bar", "foo.baz"]
    assert parse_formula("alias(stack(service(Blog, foo.bar)), 'Blog foo bar')").is_one


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a function is missing"),
        ("loadavg5", "no function; there are alias, avg"),
        ("avg(loadavg5)", "character 12: 'loadavg5' is no function"),
        ("host(x m)", "',' is missing; got 'm'"),
        ("host(x, m", "')' is missing; the expression ends"),
        ("host(x, m))", "goes on behind its end"),
        ("host(x, 'm)", "a quote has no end"),
        ("host(x, )", "a name is missing; got )"),
        ("scale(host(x, m), many)", "'many' is no factor: a number"),
        ("scale(host(x, m), 1/0)", "'1/0' is no factor"),
        ("scale(host(x, m), nan)", "'nan' is no factor"),
        ("percentile(role(a:b, m), 100)", "'100' is no percentage: a number between 0 and 100"),
        ("timeShift(host(x, m), 1s)", "'1s' is no duration"),
        ("timeShift(host(x, m), 0m)", "'0m' is no duration"),
        ("timeShift(host(x, m), 2y)", "looks back more than 400 days"),
        ("role(shop:db, m)", "several lines"),
        ("host(x, disk.*.reads)", "several lines"),
        ("group(host(x, m), host(y, m))", "several lines"),
        ("diff(role(shop:db, m), host(x, m))", "several lines"),
        ("stack(" * EXPRESSION_DEPTH_MAX + "host(x, m)" + ")" * EXPRESSION_DEPTH_MAX, "functions within each other"),
        (f"sum(group({', '.join(['host(x, m)'] * EXPRESSION_CALLS_MAX)}))", f"or {EXPRESSION_CALLS_MAX} in all"),
    ],
    ids=range(21),
)
def test_what_is_no_expression_is_refused_in_words(text, told):
    with pytest.raises(RequestError) as error:
        parse_formula(text)
    assert error.value.status == 400
    assert told in error.value.message


@given(st.text(alphabet="avghost(),'\"x1m/ *.", max_size=60))
def test_any_text_is_an_expression_or_refused(text):
    try:
        parse_formula(text)
    except RequestError as error:
        assert error.status == 400


def values_of(text, lines, minutes=5, tick=lambda: None):
    """[T] over minutes from START on; ``lines``: {owner: {minute: value}}, read at any step."""

    def read(leaf, grid):
        owners = sorted(lines) if leaf.kind == "role" else [leaf.owner]
        rows = []
        for owner in owners:
            row = [NAN] * grid.steps
            for minute, value in sorted(lines.get(owner, {}).items()):
                at = (START + minute * MINUTE - grid.start_ms) // grid.step_ms
                if 0 <= at < grid.steps:
                    row[at] = value
            rows.append(row)
        return np.array(rows)

    with np.errstate(all="ignore"):
        return FormulaValues(read, tick).line(parse_formula(text), PointGrid(START, MINUTE, minutes)).tolist()


LINES = {"x": {0: 1.0, 1: 2.0, 3: 4.0}, "y": {0: 3.0, 1: 0.0, 2: 5.0}, "z": {0: 8.0}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host(x, m)", [1, 2, NAN, 4, NAN]),
        ("host(unknown, m)", [NAN] * 5),
        ("avg(role(a:b, m))", [4, 1, 5, 4, NAN]),
        ("max(role(a:b, m))", [8, 2, 5, 4, NAN]),
        ("min(role(a:b, m))", [1, 0, 5, 4, NAN]),
        ("sum(role(a:b, m))", [12, 2, 5, 4, NAN]),
        ("product(role(a:b, m))", [24, 0, 5, 4, NAN]),
        ("percentile(role(a:b, m), 50)", [3, 1, 5, 4, NAN]),
        ("percentile(role(a:b, m), 25)", [2, 0.5, 5, 4, NAN]),
        ("diff(host(x, m), host(y, m))", [-2, 2, NAN, NAN, NAN]),
        ("divide(host(x, m), host(y, m))", [1 / 3, NAN, NAN, NAN, NAN]),
        ("sum(diff(role(a:b, m), host(x, m)))", [9, -2, NAN, 0, NAN]),
        ("sum(divide(group(host(y, m), host(z, m)), group(host(x, m), host(y, m))))", [3 + 8 / 3, 0, NAN, NAN, NAN]),
        ("scale(host(x, m), 1/2)", [0.5, 1, NAN, 2, NAN]),
        ("offset(host(x, m), -1.5e1)", [-14, -13, NAN, -11, NAN]),
        ("timeShift(host(x, m), 2m)", [NAN, NAN, 1, 2, NAN]),
        ("movingAverage(host(x, m), 2m)", [1, 1.5, 2, 4, 4]),
        ("movingAverage(host(x, m), 3m)", [1, 1.5, 1.5, 3, 4]),
        ("linearRegression(host(x, m), 4m)", [NAN, 2, 3, 4, 5]),
        ("timeLeftForecast(host(x, m), 4m, 10)", [NAN, 480, 420, 360, 300]),
        ("timeLeftForecast(host(x, m), 4m, 0)", [NAN] * 5),
        ("scale(host(x, m), 1e308)", [1e308, NAN, NAN, NAN, NAN]),
    ],
    ids=range(22),
)
def test_functions(text, expected):
    assert values_of(text, LINES) == pytest.approx(expected, nan_ok=True)


def test_lines_that_can_not_be_paired_are_refused():
    with pytest.raises(QueryError, match="3 lines stand against 2"):
        values_of("sum(diff(role(a:b, m), group(host(x, m), host(y, m))))", LINES)


def test_points_are_bounded():
    with pytest.raises(QueryError, match=f"more than {EXPRESSION_POINTS_MAX} points"):
        values_of("host(x, m)", {}, minutes=EXPRESSION_POINTS_MAX + 1)


def test_the_time_is_asked_for_at_each_function():
    """A percentile of many points takes long, and nothing within it asks."""
    ticks = []
    values_of("percentile(percentile(host(x, m), 50), 50)", LINES, tick=lambda: ticks.append(1))
    assert len(ticks) == 3


def test_a_long_duration_is_read_as_means_that_are_over():
    """A day and more: steps of five minutes, and an hour after a week; only whole ones count."""
    grids = []

    def read(leaf, grid):
        grids.append(grid)
        return np.arange(grid.steps, dtype=np.float64)[None, :]

    hour = PointGrid(START, MINUTE, 60)
    for duration in ("1d", "2d", "2w"):
        FormulaValues(read, lambda: None).line(parse_formula(f"movingAverage(host(x, m), {duration})"), hour)
    assert [grid.step_ms for grid in grids] == [MINUTE, 300_000, 3_600_000]
    for grid in grids:
        assert grid.start_ms % grid.step_ms == 0
        assert grid.end_ms <= START + 60 * MINUTE


@given(
    st.lists(st.none() | st.integers(-50, 50), min_size=12, max_size=12),
    st.integers(1, 6),
    st.integers(0, 6),
)
def test_a_point_is_the_same_whichever_span_it_is_computed_in(values, minutes, first):
    """Bit for bit: what was judged a minute ago is judged alike now."""
    line = {minute: float(value) / 3 for minute, value in enumerate(values) if value is not None}
    text = f"linearRegression(movingAverage(host(x, m), {minutes}m), {minutes + 1}m)"
    whole = values_of(text, {"x": line}, 12)
    shifted = {"x": {minute - first: value for minute, value in line.items()}}
    part = values_of(text, shifted, 12 - first)
    assert np.array_equal(np.array(whole[first:]).view(np.uint64), np.array(part).view(np.uint64))


def test_minutes_of_a_span():
    assert minutes_of(START - 1, START + 1) == PointGrid(START, MINUTE, 1)
    assert minutes_of(START + 1, START + 2).steps == 0
