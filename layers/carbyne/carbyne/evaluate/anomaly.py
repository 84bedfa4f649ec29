"""How unlike before a host is: its distance from what was usual at this hour of the week.

Of each metric: the median of the hourly means of the last five weeks at the same hour of the week, the hours beside it
included, and the median distance from it (MAD).  A sample's score is its distance from the median in units of that
spread; the host's score is that of its worst metric.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from carbyne.alerts.judging import SamplePairs
from carbyne.core.keys import SourceKey
from carbyne.core.limits import AHEAD_MS_MAX, ALERT_HORIZON_MS, ANOMALY_BASELINES_MAX

HOUR_MS: Final = 3_600_000
WEEK_HOURS: Final = 168
WEEKS: Final = 5
VALUES_MIN: Final = 6
"""Of the 15 hours of five weeks; with fewer nothing is usual yet."""
SPREADS: Final[Mapping[str, float]] = {
    "loadavg5": 0.2,
    "cpu.user.percentage": 2.0,
    "cpu.system.percentage": 2.0,
    "cpu.iowait.percentage": 2.0,
    "memory.used": 1.0,
}
"""Metrics that are judged -> a spread below which no difference counts."""
RELATIVE_SPREAD: Final = 0.05
"""A spread is at least so much of the median."""
MAD_OF_NORMAL: Final = 1.4826
"""The standard deviation of normal values is so many times their MAD."""


class MeanReader(Protocol):
    """Means of buckets; RetryableError if they can't be read whole."""

    def means(
        self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int, resolution: str
    ) -> Mapping[str, SamplePairs]: ...


class UsualValues(NamedTuple):
    """``median`` and ``spread`` [168] by hours since 1970 modulo a week; NaN where too little is known."""

    median: NDArray[np.float64]
    spread: NDArray[np.float64]

    def score(self, ts_ms: int, value: float) -> float:
        hour = ts_ms // HOUR_MS % WEEK_HOURS
        return float(abs(value - self.median[hour]) / self.spread[hour])


class WorstScore(NamedTuple):
    """Of a minute; ``metric``: the worst one."""

    ts_ms: int
    score: float
    metric: str


Usual = Mapping[str, UsualValues]
"""By metric."""


def learned_until_ms(source: SourceKey, ts_ms: int) -> int:
    """Until when samples teach what is usual at a time: a whole hour, once a day, of each source another one.

    Behind it lies the horizon at least, by the clock too, which a sample may be ahead of: late samples which are still
    judged are no part of it.
    """
    own_ms = crc32(f"{source.tenant}/{source.source}".encode()) % 24 * HOUR_MS
    day_ms = 24 * HOUR_MS
    return (ts_ms - AHEAD_MS_MAX - ALERT_HORIZON_MS - own_ms) // day_ms * day_ms + own_ms


class Baselines:
    """What is usual of sources: computed once a day of each, and kept while there is room.  Used by several threads."""

    def __init__(self, samples: MeanReader) -> None:
        self._samples = samples
        self._known: OrderedDict[tuple[SourceKey, int, int], Usual] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, source: SourceKey, until_ms: int, since_ms: int) -> bool:
        return (source, until_ms, since_ms) in self._known

    def of(self, source: SourceKey, until_ms: int, since_ms: int) -> Usual:
        """Of the five weeks until a time, without what is older than ``since_ms``; RetryableError as ``means``."""
        key = source, until_ms, since_ms
        if (usual := self._known.get(key)) is None:
            start_ms = until_ms - WEEKS * WEEK_HOURS * HOUR_MS
            read = self._samples.means(source, list(SPREADS), max(start_ms, since_ms), until_ms - 1, "1h")
            usual = {name: _usual(pairs, start_ms, SPREADS[name]) for name, pairs in read.items() if pairs}
        with self._lock:
            self._known[key] = usual
            self._known.move_to_end(key)
            while len(self._known) > ANOMALY_BASELINES_MAX:
                self._known.popitem(last=False)
        return usual


def worst(usual: Usual, samples: Mapping[str, SamplePairs]) -> list[WorstScore]:
    """One for each time of a sample that can be compared, ascending."""
    scores = [
        WorstScore(ts_ms, score, name)
        for name in sorted(usual)
        for ts_ms, value in samples.get(name, ())
        if not np.isnan(score := usual[name].score(ts_ms, value))
    ]
    by_time: dict[int, WorstScore] = {}
    for each in scores:
        if each.ts_ms not in by_time or each.score > by_time[each.ts_ms].score:
            by_time[each.ts_ms] = each
    return [by_time[ts_ms] for ts_ms in sorted(by_time)]


def _usual(pairs: SamplePairs, start_ms: int, least: float) -> UsualValues:
    hours = np.full(WEEKS * WEEK_HOURS, np.nan)
    for ts_ms, value in pairs:
        hours[(ts_ms - start_ms) // HOUR_MS] = value if math.isfinite(value) else math.nan
    none = np.array([np.nan])
    beside = np.stack([np.concatenate([none, hours[:-1]]), hours, np.concatenate([hours[1:], none])])
    values = beside.reshape(3 * WEEKS, WEEK_HOURS)
    known = (~np.isnan(values)).sum(axis=0) >= VALUES_MIN
    median, mad = np.full(WEEK_HOURS, np.nan), np.full(WEEK_HOURS, np.nan)
    median[known] = np.nanmedian(values[:, known], axis=0)
    mad[known] = np.nanmedian(np.abs(values[:, known] - median[known]), axis=0)
    spread = np.maximum(np.maximum(MAD_OF_NORMAL * mad, RELATIVE_SPREAD * np.abs(median)), least)
    first = start_ms // HOUR_MS % WEEK_HOURS
    return UsualValues(np.roll(median, first), np.roll(spread, first))
