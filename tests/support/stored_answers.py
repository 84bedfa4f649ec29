"""Queries with the oracle's answers, kept in ``tests/golden/promql-answers.json``, so that ``make test`` compares with
Prometheus where there is none.  ``python -m tests.support.stored_answers`` makes the file again.
"""

import json
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
from carbyne.promql.labels import NAME, made
from carbyne.promql.scope import QuerySpan

from tests.support import oracle
from tests.support.remote_write import body_1, packed, series_1

FILE = Path(__file__).parents[1] / "golden" / "promql-answers.json"
START_MS = 1_790_000_000_000
SCRAPE_MS = 15_000
SPAN = QuerySpan(START_MS + 900_000, START_MS + 1_560_000, 220_000)
STALE = np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0]
BOUNDS = ["0.5", "1", "2.5", "+Inf"]

AGGREGATES = ["sum", "avg", "max", "min", "count", "stddev", "stdvar", "group"]
GROUPS = ["", " by (queue)", " by (absent)", " without (shard)"]
ARITHMETIC = ["+", "-", "*", "/", "%", "^", "atan2"]
COMPARISONS = ["==", "!=", ">", "<", ">=", "<="]
QUANTILES = ["-1", "0", "0.3", "0.99", "2"]
WINDOWS = ["15s", "1m", "4m", "13m"]
OVER_TIME = ["sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last", "present", "mad", "first"]
OF_WINDOWS = ["rate", "increase", "delta", "irate", "idelta", "deriv", "resets", "changes"]
OF_NUMBERS = ["abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round", "sgn", "sin", "rad", "tanh"]
OF_DATES = ["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"]
TEMPLATES = [
    ("{0}{1} (depth)", AGGREGATES, GROUPS),
    ("{0} by (queue) ({1}, depth)", ["topk", "bottomk"], ["1", "2"]),
    ("quantile by (queue) ({0}, depth)", QUANTILES),
    ("depth {0} 3.5", [*ARITHMETIC, *COMPARISONS]),
    ("3.5 {0} bool depth", COMPARISONS),
    ("depth {0} on (queue, shard) level", [*ARITHMETIC, *COMPARISONS, "and", "or", "unless"]),
    ("sum by (queue) (depth) {0} on (queue) group_right () level", ["+", "/", ">", "<= bool"]),
    ("{0}_over_time(depth[{1}])", OVER_TIME, WINDOWS),
    ("quantile_over_time({0}, depth[{1}])", QUANTILES, ["4m"]),
    ("{0}(jobs_total[{1}])", OF_WINDOWS, WINDOWS),
    ("{0}(-depth)", OF_NUMBERS),
    ("{0}(last_run_seconds offset {1})", OF_DATES, ["1m", "-2m"]),
    ("predict_linear(depth[4m], {0})", ["-60", "600"]),
    ("histogram_quantile({0}, rate(wait_seconds_bucket[{1}]))", QUANTILES, ["1m", "4m"]),
    ("histogram_quantile({0}, sum by (le) (wait_seconds_bucket))", QUANTILES),
    ("histogram_fraction({0}, 2, wait_seconds_bucket)", ["-Inf", "0.75"]),
    ("depth @ {0}", [str(START_MS // 1000 + 1000), "start()", "end()"]),
    ("max_over_time({0}[5m:40s])", ["sum(depth)", "rate(jobs_total[1m])", "(depth > 5)"]),
    ("depth{{{0}}}", ['queue="mail"', 'queue!="mail"', 'shard=~"a|c"', 'shard!~"a.*"', 'absent=""']),
    ('label_replace(depth, "{0}", "<$1>", "queue", "{1}")', ["queue", "to"], ["(m).*", "(.*)", "x"]),
    ("{0}", ["flaky", "timestamp(flaky)", "absent(flaky)", "absent(none)", "scalar(sum(depth))", "vector(time())"]),
    ("{0}", ["label_join(depth, 'to', '-', 'queue', 'shard')", "count_values('v', level)", "clamp(depth, 2, 4)"]),
    ("{0}", ["sort_by_label(depth, 'shard')", "double_exponential_smoothing(depth[4m], 0.4, 0.3)", "-2 ^ 2", "1 / 0"]),
    (
        "{0}",
        ["depth / level", "depth + on (queue) level", 'label_replace(depth, "a", "", "b", "(")', "topk(NaN, depth)"],
    ),
]


def queries():
    """All of them."""
    return [template.format(*chosen) for template, *values in TEMPLATES for chosen in product(*values)]


def samples():
    """Labels -> {ts_ms: value}: gauges, counters with a reset, a histogram, gaps, and stale markers."""
    series, nth = {}, np.arange(120)
    for row, (queue, shard) in enumerate((("mail", "a"), ("mail", "b"), ("print", "a"))):
        labels, times = {"queue": queue, "shard": shard}, START_MS + nth * SCRAPE_MS + 37 * row
        series |= _put("depth", labels, times, np.round(5 + (row + 1) * np.sin(nth / (3 + row)), 3))
        series |= _put("level", labels, times, (nth * (row + 3)) // 7 % 5 - 1.0)
        counter = (nth * nth + 13 * nth * row).astype(float)
        series |= _put("jobs_total", labels, times, np.where(nth < 70 + 5 * row, counter, counter - counter[70]))
        flaky = np.where(nth % 29 > 3 + row, 1.5, STALE)
        series |= _put("flaky", labels, times[nth % 31 > 8], flaky[nth % 31 > 8])
        series |= _put("last_run_seconds", labels, times, np.floor(times / 90_000) * 90)
    for row, bound in enumerate(BOUNDS):
        series |= _put("wait_seconds_bucket", {"le": bound}, START_MS + nth * SCRAPE_MS + 11, nth * (row + 2.0) + row)
    return series


def _put(name, labels, times, values):
    return {made({NAME: name, **labels}): dict(zip(times.tolist(), values.tolist(), strict=True))}


def answers():
    """Query -> the error's type, or the oracle's series as [labels, [step, value as text] ...], warnings and infos."""
    with tempfile.TemporaryDirectory() as folder, oracle.running(Path(folder)) as url:
        of_all = (series_1(labels, *((v, ts) for ts, v in at.items())) for labels, at in samples().items())
        oracle.write(url, packed(body_1(*of_all)))
        return {text: _answer(url, text) for text in queries()}


def _answer(url, text):
    given = {"start": SPAN.start_ms / 1000, "end": SPAN.end_ms / 1000, "step": SPAN.step_ms / 1000}
    status, body = oracle.ask(url, "query_range", query=text, **given)
    if status != 200:
        return body["errorType"]
    notes = [*body.get("warnings", ()), *body.get("infos", ())]
    series = [
        [" ".join(f"{name}={value}" for name, value in sorted(each["metric"].items())), *_values(each["values"])]
        for each in body["data"]["result"]
    ]
    return [series, *notes]


def _values(points):
    """As text, one for each step, null where there is none."""
    at = {round(1000 * time): value for time, value in points}
    return [at.get(time) for time in SPAN.times().tolist()]


if __name__ == "__main__":
    lines = (f"{json.dumps(text)}: {json.dumps(answer)}" for text, answer in answers().items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
