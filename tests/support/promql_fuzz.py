"""Random queries of PromQL, and samples to ask them of: the same for the same seed."""

import numpy as np
from carbyne.core.labels import STALE_BITS
from carbyne.promql.labels import NAME, made

from tests.support.promqltest import Memory

START_MS = 1_700_004_900_000
STEP_MS = 15_000
ROWS = 240
OFFSET_MS = 3_141
"""How far samples are from round times, so that none is at the edge of a window."""
LATE_SHARE = 0.02
STALE = np.array([STALE_BITS], np.uint64).view(np.float64)[0]

JOBS = [("api", "a"), ("api", "b"), ("db", "a")]
BOUNDS = ["0.1", "0.5", "1", "5", "+Inf"]


class _Shifted(Memory):
    def __init__(self, offset_ms):
        super().__init__()
        self.offset_ms = offset_ms


def hard_samples(seed):
    """Samples at round times, with stale markers: (all but some, those some, which come late)."""
    random, series = np.random.default_rng(seed), samples(seed, 0).samples
    for labels in list(series)[:: len(series) // 7]:
        times = sorted(series[labels])
        for at in random.integers(20, len(times), 2):
            series[labels] |= dict.fromkeys(times[at - 8 : at], STALE)
    late = {labels: {} for labels in series}
    for labels, points in series.items():
        for ts_ms in [ts_ms for ts_ms in points if random.random() < LATE_SHARE]:
            late[labels][ts_ms] = points.pop(ts_ms)
    return series, {labels: points for labels, points in late.items() if points}


def samples(seed, offset_ms=OFFSET_MS):
    """A Memory with gauges, counters that are reset, histograms, gaps and NaN."""
    random, memory = np.random.default_rng(seed), _Shifted(offset_ms)
    for nth, (job, instance) in enumerate(JOBS):
        labels = {"job": job, "instance": instance}
        gauge = random.normal(10, 5, ROWS).round(3) + nth / 100_000  # none are equal: which of these topk takes is open
        _put(memory, {NAME: "gauge", **labels}, gauge, random.random(ROWS) > 0.1)
        _put(memory, {NAME: "other", **labels}, random.integers(-3, 4, ROWS).astype(float), np.ones(ROWS, bool))
        counter = 1_000_000 * (nth + 1) + np.cumsum(random.integers(0, 50, ROWS)).astype(float)
        counter[100 + 20 * nth :] -= counter[100 + 20 * nth] - 7
        there = np.ones(ROWS, bool)
        there[180 + nth : 190 + 3 * nth] = False
        _put(memory, {NAME: "requests_total", **labels}, counter, there)
        grown = np.cumsum(random.integers(0, 9, (len(BOUNDS), ROWS)), axis=1).cumsum(axis=0)
        for row, bound in enumerate(BOUNDS):
            _put(memory, {NAME: "latency_bucket", "le": bound, **labels}, grown[row].astype(float), np.ones(ROWS, bool))
    strange = np.where(random.random(ROWS) > 0.7, np.nan, random.normal(0, 1, ROWS).round(3))
    _put(memory, {NAME: "gauge", "job": "odd", "instance": "c"}, strange, np.ones(ROWS, bool))
    _put(memory, {NAME: "info", "job": "api", "version": "1"}, np.ones(ROWS), np.ones(ROWS, bool))
    return memory


def _put(memory, labels, values, there):
    times = START_MS + memory.offset_ms + np.arange(ROWS) * STEP_MS
    pairs = zip(times[there].tolist(), values[there].tolist(), strict=True)
    memory.samples[made(labels)] = dict(pairs)


def open_metrics(memory):
    """The samples as text that promtool makes blocks of."""
    lines = []
    for labels, pairs in sorted(memory.samples.items()):
        given = dict(labels)
        text = ",".join(f'{name}="{value}"' for name, value in labels if name != NAME)
        lines += [f"{given[NAME]}{{{text}}} {value} {ts_ms / 1000:.3f}" for ts_ms, value in pairs.items()]
    return "\n".join([*lines, "# EOF", ""]).replace(" nan ", " NaN ")


VECTORS = ["gauge", "other", "requests_total", 'gauge{job="api"}', 'other{instance=~"a|c"}', 'gauge{job!="db"}']
RANGED = [
    *("delta", "irate", "idelta", "resets", "changes", "deriv", "sum_over_time", "min_over_time"),
    *("max_over_time", "count_over_time", "last_over_time", "stddev_over_time", "stdvar_over_time"),
    *("present_over_time", "absent_over_time"),
]
RANGED_OF_3 = [
    *RANGED,
    *("rate", "increase", "avg_over_time", "mad_over_time", "first_over_time", "ts_of_last_over_time"),
    *("ts_of_max_over_time", "ts_of_min_over_time", "ts_of_first_over_time"),
]
PLAIN = ["abs", "ceil", "floor", "exp", "sqrt", "sgn", "ln", "log2", "sin", "atan", "deg", "timestamp", "absent"]
AGGREGATES = ["sum", "min", "max", "count", "group"]
AGGREGATES_OF_3 = [*AGGREGATES, "avg", "stddev", "stdvar"]
ARITHMETIC = ["+", "-", "*", "/", "%", "^"]
COMPARED = ["==", "!=", ">", "<", ">=", "<="]
GROUPS = ["", " by (job)", " without (instance)", " by (job, instance)"]
MATCHED = ["", "ignoring (le) ", "on (job, instance) ", "on (job) group_left () ", "on (job) group_left (version) "]
MOVED = ["", "", "", " offset 1m", " offset -30s", f" @ {START_MS // 1000 + 1000}"]


class Queries:
    """Makes queries: each call gives another one.

    Means are left out, since 2.42 rounds them otherwise, and numbers to compare with are none that samples can reach.
    ``%`` is of samples as they are: of large computed numbers it would make the last bit the first.
    ``of_3``: with all that only Prometheus 3 computes as we do.
    """

    def __init__(self, seed, *, of_3=False):
        self._random = np.random.default_rng(seed)
        self._of_3 = of_3

    def _one(self, choices):
        return choices[int(self._random.integers(len(choices)))]

    def vector(self, depth):
        """An instant vector."""
        kinds = [self._select, self._ranged, self._plain, self._aggregate, self._with_scalar, self._pair, self._ranked]
        kinds += [self._quantile, self._label, self._subquery, self._other]
        kinds += [self._new] if self._of_3 else []
        return self._select(0) if depth <= 0 else self._one(kinds)(depth - 1)

    def _select(self, _):
        return self._one(VECTORS) + self._one(
            ["", "", "", " offset 1m", " offset -30s", f" @ {START_MS // 1000 + 1000}"]
        )

    def _window(self):
        return self._one(["1m", "2m", "5m", "7m30s"])

    def _ranged(self, _):
        """Rates only of counters: of what comes near zero 2.42 and 3 extrapolate differently."""
        window = f"[{self._window()}]{self._one(['', '', ' offset 40s'])}"
        if self._one([True, False, False]):
            return f"{self._one(['rate', 'increase'])}(requests_total{window})"
        return f"{self._one(RANGED_OF_3 if self._of_3 else RANGED)}({self._one(VECTORS)}{window})"

    def _subquery(self, depth):
        function = self._one(["max_over_time", "sum_over_time", "count_over_time", "deriv"])
        return f"{function}(({self.vector(depth - 1)})[3m7s:{self._one(['30s', '50s', '1m'])}])"

    def _plain(self, depth):
        return f"{self._one(PLAIN)}({self.vector(depth)})"

    def _aggregate(self, depth):
        aggregates = AGGREGATES_OF_3 if self._of_3 else AGGREGATES
        return f"{self._one(aggregates)}{self._one(GROUPS)} ({self.vector(depth)})"

    def _ranked(self, depth):
        return self._one(
            [
                f"topk{self._one(GROUPS[:3])} ({self._one('123')}, gauge{self._one(MOVED)})",
                f"bottomk(2, abs(gauge{self._one(MOVED)}))",
                f"quantile{self._one(GROUPS)} ({self._one(['0.1', '0.5', '0.99', '2'])}, {self.vector(depth)})",
                f"count_values by (job) ('v', {self._one(['other', 'round(gauge / 5)'])})",
            ]
        )

    def _with_scalar(self, depth):
        number = self._one(["2.0003", "0.5001", "-1.0007", "0.0001", "NaN", "scalar(info) * 1.0002", "(time() % 7.7)"])
        op = self._one([*ARITHMETIC, *COMPARED, *(f"{each} bool" for each in COMPARED)])
        if op == "%":
            return f"{self._select(0)} % {number}"
        sides = [f"({self.vector(depth)})", number]
        return f" {op} ".join(sides if self._one([True, False]) else sides[::-1])

    def _pair(self, depth):
        op = self._one([*ARITHMETIC, *COMPARED, "> bool", "and", "or", "unless"])
        sides = f"({self.vector(depth)})", f"({self.vector(depth)})"
        if op == "%":
            return f"{self._select(0)} % {self._select(0)}"
        if op in {"and", "or", "unless"}:
            return f"{sides[0]} {op} {self._one(['', 'on (job) ', 'ignoring (instance) '])}{sides[1]}"
        matched = self._one(MATCHED)
        return f"{sides[0]} {op} {matched}{'info' if 'group' in matched else sides[1]}"

    def _quantile(self, _):
        inner = self._one(["latency_bucket", "rate(latency_bucket[5m])", "sum by (le, job) (latency_bucket)"])
        return f"histogram_quantile({self._one(['0.5', '0.9', '0', '1', '1.1'])}, {inner})"

    def _label(self, depth):
        return self._one(
            [
                f'label_replace({self.vector(depth)}, "to", "$1-x", "job", "(a.*)")',
                f'label_join({self.vector(depth)}, "to", "/", "job", "instance")',
            ]
        )

    def _other(self, depth):
        return self._one(
            [
                f"quantile_over_time(0.3, {self._one(VECTORS)}[{self._window()}])",
                f"predict_linear({self._one(VECTORS)}[{self._window()}], 60)",
                f"clamp({self.vector(depth)}, 0, 5)",
                f"round({self.vector(depth)}, 0.5)",
                f"-({self.vector(depth)})",
                f"vector(scalar({self.vector(depth)}))",
            ]
        )

    def _new(self, depth):
        return self._one(
            [
                f"limitk{self._one(GROUPS[:3])} (9, {self.vector(depth)})",
                f"double_exponential_smoothing({self._one(VECTORS)}[{self._window()}], 0.3, 0.7)",
                f"histogram_fraction(0.2, {self._one(['0.7', '+Inf'])}, rate(latency_bucket[{self._window()}]))",
                f"sort_by_label({self.vector(depth)}, 'job')",
                f"info({self._one(VECTORS)}, {{__name__='info', version=~'.+'}})",
                f"avg_over_time(({self.vector(depth - 1)})[4m:{self._one(['30s', '1m'])}])",
                f"{self._one(VECTORS)} + on (job, instance) group_left () fill (2) ({self.vector(depth)})",
                f"({self.vector(depth)}) {self._one(COMPARED)} bool ({self.vector(depth)})",
            ]
        )
