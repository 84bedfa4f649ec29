"""What rules recorded and the store can't have yet, laid over what it has."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from carbyne.promql.labels import Labels
from carbyne.promql.select import Selection, Selector, SeriesSamples, tests_of


class RecordedSample(NamedTuple):
    """A sample that a rule made; a stale marker where its series ends."""

    labels: Labels
    ts_ms: int
    value: float


class Overlay:
    """A Selector: the samples of another one and those that were ``added``, which win where both have one."""

    def __init__(self, below: Selector) -> None:
        self._below = below
        self._added: dict[Labels, dict[int, float]] = {}

    def add(self, samples: Sequence[RecordedSample]) -> None:
        for sample in samples:
            self._added.setdefault(sample.labels, {})[sample.ts_ms] = sample.value

    def select(self, selection: Selection) -> Sequence[SeriesSamples]:
        matches = tests_of(selection.matches)
        series = {each.labels: each for each in self._below.select(selection)}
        for labels, values in self._added.items():
            inside = {ts: value for ts, value in values.items() if selection.after_ms < ts <= selection.until_ms}
            if inside and matches(labels):
                series[labels] = _joined(labels, series.get(labels), inside)
        return sorted(series.values(), key=lambda each: each.labels)


def _joined(labels: Labels, below: SeriesSamples | None, added: dict[int, float]) -> SeriesSamples:
    """By times; the bits of values stay as they are."""
    ts_ms = np.array(sorted(added), np.int64)
    values = np.array([added[each] for each in sorted(added)], np.float64)
    if below is None:
        return SeriesSamples(labels, ts_ms, values)
    stays = ~np.isin(below.ts_ms, ts_ms)
    ts_ms, values = np.concatenate([below.ts_ms[stays], ts_ms]), np.concatenate([below.values[stays], values])
    order = np.argsort(ts_ms, kind="stable")
    return SeriesSamples(labels, ts_ms[order], values[order])
