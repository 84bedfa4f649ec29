"""Expressions that are drawn: their lines, what they are called, and their bounds."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from carbyne.core.errors import QueryError, RequestError
from carbyne.core.limits import EXPRESSION_LINES_MAX
from carbyne.evaluate.expressions import grid_of, lines_of
from carbyne.evaluate.leaves import FormulaLeaves
from carbyne.read.batch import ReadSpan
from carbyne.read.registered import RegisteredSource
from carbyne.wiring.expressions import drawn_by

from tests.support.memory_system import MemorySystem
from tests.support.registry_system import answer_of, event

NOW_S = 1_700_000_000 // 3_600 * 3_600 + 1_800
DAY_MS = 86_400_000
VALUES = {"host/a": {"load": 1.0, "cpu.user": 10.0, "cpu.idle": 20.0}, "host/b": {"load": 3.0}}


class Samples:
    """Each series has the same value each minute; ``host/c`` has none."""

    def names(self, source):
        return VALUES.get(source.source, {})

    def read(self, source, names, from_ms, to_ms):
        times = range(-(-from_ms // 60_000) * 60_000, to_ms + 1, 60_000)
        known = VALUES.get(source.source, {})
        return {name: [(ts_ms, known[name]) for ts_ms in times] if name in known else [] for name in names}

    def means(self, *_):
        raise AssertionError("no long time was asked for")


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as made:
        yield made


def drawn(threads, text, role=("host/a", "host/b", "host/c"), samples=None):
    leaves = FormulaLeaves(samples or Samples(), threads, "acme", lambda _: role, time.monotonic)
    lines = lines_of(text, grid_of(0, 120_000), leaves)
    return {label: row.tolist() for label, row in zip(lines.labels, lines.values, strict=True)}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("host(a, load)", {"host/a load": 1.0}),
        ("role(shop:web, load)", {"host/a load": 1.0, "host/b load": 3.0}),
        ("host(a, cpu.*)", {"host/a cpu.idle": 20.0, "host/a cpu.user": 10.0}),
        ("avg(role(shop:web, load))", {"avg": 2.0}),
        ("alias(max(role(shop:web, load)), 'the worst')", {"the worst": 3.0}),
        ("alias(role(shop:web, load), 'of')", {"of host/a load": 1.0, "of host/b load": 3.0}),
        ("stack(group(host(a, cpu.user), alias(host(b, load), 'b')))", {"host/a cpu.user": 10.0, "b": 3.0}),
        ("scale(timeShift(role(shop:web, load), 1h), 2)", {"host/a load": 2.0, "host/b load": 6.0}),
        ("divide(role(shop:web, load), host(b, load))", {"host/a load": 1 / 3, "host/b load": 1.0}),
        ("group(diff(host(b, load), host(a, load)), movingAverage(host(a, load), 5m))", None),
        ("host(c, load)", {}),
    ],
)
def test_lines_are_called_by_what_they_show(threads, text, lines):
    made = drawn(threads, text)
    if lines is None:
        assert made == {"host/b load": [2.0] * 3, "host/a load": [1.0] * 3}
        return
    assert made == {label: pytest.approx([value] * 3) for label, value in lines.items()}


def test_what_is_no_expression_or_too_much_is_refused(threads):
    with pytest.raises(RequestError, match="'nonsense' is no function"):
        drawn(threads, "nonsense(x)")
    for owner in ("x" * 3_000, "''"):
        with pytest.raises(RequestError) as refused:
            drawn(threads, f"host({owner}, load)")
        assert refused.value.status == 400
    with pytest.raises(RequestError, match="at most 3000 days"):
        grid_of(0, 3_001 * DAY_MS)
    many = [f"host/{number}" for number in range(EXPRESSION_LINES_MAX + 1)]

    class All(Samples):
        def read(self, source, names, from_ms, to_ms):
            return {name: [(from_ms, 1.0)] for name in names}

    with pytest.raises(QueryError, match="101 lines, over 100"):
        drawn(threads, "role(shop:web, load)", many, All())
    assert len(drawn(threads, "sum(role(shop:web, load))", many, All())) == 1


@pytest.mark.parametrize(
    ("span_ms", "step_ms"), [(DAY_MS, 60_000), (7 * DAY_MS, 300_000), (90 * DAY_MS, 3_600_000), (365 * DAY_MS, DAY_MS)]
)
def test_points_lie_as_far_apart_as_suits_the_span(span_ms, step_ms):
    grid = grid_of(1, 1 + span_ms)
    assert (grid.step_ms, grid.start_ms) == (step_ms, step_ms)
    assert grid.times()[-1] <= 1 + span_ms < grid.end_ms


@pytest.fixture
def system():
    made = MemorySystem(lambda: NOW_S, lambda: 0.0)
    body = [
        {"hostId": host, "name": "load", "time": time_s, "value": value}
        for host, value in (("a", 1), ("b", 5))
        for time_s in range(NOW_S - 7_200, NOW_S, 60)
    ]
    assert answer_of(made.handle(event("POST", "/api/v0/tsdb", body))).status == 200
    return made


def ask(system, text, span_s=600):
    url = f"/carbyne/v1/expression?expression={text}&from={NOW_S - span_s}&to={NOW_S - 60}"
    return answer_of(system.handle(event("GET", url)))


def test_an_expression_is_answered_as_a_batch_of_one_source(system):
    answer = ask(system, "sum(group(host(a,load),host(b,load)))")
    [source] = answer.body["sources"]
    assert (answer.status, answer.body["resolution"], answer.body["step"]) == (200, "expression", 60)
    assert source["times"] == list(range(NOW_S - 600, NOW_S, 60))
    assert source["series"] == [{"name": "sum", "values": [6.0] * 10}]
    assert ask(system, "sum(").status == 400


@pytest.mark.parametrize(("days", "step_s"), [(2, 300), (30, 3_600), (365, 86_400)])
def test_long_spans_are_drawn_of_means(system, days, step_s):
    [source] = ask(system, "host(b,load)", days * 86_400).body["sources"]
    times, values = source["times"], source["series"][0]["values"]
    there = {time_s: value for time_s, value in zip(times, values, strict=True) if value is not None}
    assert there and set(there.values()) == {5.0} and times[1] - times[0] == step_s


def test_a_role_has_the_hosts_that_monitors_look_at(system):
    roles = {"shop": ["web"]}
    known = [
        RegisteredSource("host/a", "web-1", "working", roles),
        RegisteredSource("host/b", "b", "poweroff", roles),
        RegisteredSource("host/c", "c", "working", {"shop": ["db"]}),
    ]
    draw = drawn_by(system.deps["reader"].queries.reader, lambda tenant: known if tenant == "a" else ())
    answer = draw("a", "role('shop: web', load)", ReadSpan((NOW_S - 600) * 1000, NOW_S * 1000))
    assert [series.name for series in answer.sources[0].series] == ["web-1 load"]
