"""Samples of series, found for each step of a query: the newest one, or those of a window, whose left end is open."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from carbyne.promql.frames import Floats, Frame, Ints, Mask
from carbyne.promql.labels import Labels
from carbyne.promql.select import SeriesSamples, is_stale


def newest(series: Sequence[SeriesSamples], times_ms: Ints, lookback_ms: int) -> tuple[Frame, Floats]:
    """The newest sample of each series at each time, unless it is a stale marker or as old as ``lookback_ms``; and when
    it was, in ms."""
    shape = (len(series), len(times_ms))
    values, there, when = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape)
    for at, each in enumerate(series):
        if not len(each.ts_ms):
            continue
        newest_at = np.searchsorted(each.ts_ms, times_ms, "right") - 1
        near = np.maximum(newest_at, 0)
        values[at], when[at] = each.values[near], each.ts_ms[near]
        there[at] = (newest_at >= 0) & (each.ts_ms[near] > times_ms - lookback_ms) & ~is_stale(each.values)[near]
    labels = tuple(each.labels for each in series)
    return Frame(labels, values, there, np.zeros(len(series), bool)), when


TICK_VISITS: Final = 16
"""Visits between two looks at the clock."""


@dataclass(frozen=True, eq=False)
class SampleWindows:
    """Windows of S series at T steps over the samples of all series, one series behind the other.

    ``ts_ms``, ``values`` [N]; a window has the samples from ``low`` to before ``high`` [S, T]; ``start_ms`` (open) and
    ``end_ms`` [T] are its ends, ``step_ms`` [T] the time of its step.  ``labels``, ``unnamed`` [S] as in a Frame;
    ``offsets`` [S]: where the samples of each series begin; ``tick``: to be called now and then; it raises when the
    time of the query is over; ``weights`` [N]: how many samples each stands for, None where that is one.
    """

    labels: tuple[Labels, ...]
    unnamed: Mask
    offsets: Ints
    ts_ms: Ints
    values: Floats
    low: Ints
    high: Ints
    start_ms: Ints
    end_ms: Ints
    step_ms: Ints
    tick: Callable[[], None]
    weights: Floats | None = None

    @property
    def counts(self) -> Ints:
        """Samples of each window, of those that are here."""
        return self.high - self.low

    @property
    def stood_for(self) -> Floats:
        """Samples of each window, those among them that others stand for."""
        if self.weights is None:
            return self.counts.astype(np.float64)
        until = np.concatenate([[0.0], np.cumsum(self.weights)])
        return np.asarray(until[self.high] - until[self.low])

    @property
    def there(self) -> Mask:
        """Windows that have a sample."""
        return self.counts > 0

    @property
    def range_s(self) -> float:
        """How long each window is."""
        return float(self.end_ms[0] - self.start_ms[0]) / 1000

    def at(self, index: Ints) -> tuple[Ints, Floats]:
        """Times and values of samples, any for an index that no sample has."""
        if not len(self.ts_ms):
            return np.zeros(index.shape, np.int64), np.zeros(index.shape)
        near = np.clip(index, 0, len(self.ts_ms) - 1)
        return self.ts_ms[near], self.values[near]

    def first(self) -> tuple[Ints, Floats]:
        """Of each window."""
        return self.at(self.low)

    def last(self) -> tuple[Ints, Floats]:
        """Of each window."""
        return self.at(self.high - 1)

    def walk(self) -> "Walk":
        """All windows at once, sample by sample."""
        return Walk(self)


class Walk:
    """Visits the first sample of every window, then the second of those that have two, and so on.

    ``order``: the windows, as indices of [S, T] laid flat, those with most samples first; each visit is of the first
    ``n`` of them.
    """

    def __init__(self, windows: SampleWindows) -> None:
        counts = windows.counts.ravel()
        self.order = np.argsort(-counts, kind="stable")
        self._counts = counts[self.order]
        self._low = windows.low.ravel()[self.order]
        self._windows = windows
        self.size = len(counts)

    def visits(self) -> Iterator[tuple[slice, Ints, Floats]]:
        """(windows, times, values) of each visit."""
        deepest = int(self._counts[0]) if self.size else 0
        for nth in range(deepest):
            n = int(np.searchsorted(-self._counts, -nth, "left"))
            index = self._low[:n] + nth
            if nth % TICK_VISITS == 0:
                self._windows.tick()
            yield slice(0, n), self._windows.ts_ms[index], self._windows.values[index]

    def spread(self, values: Floats) -> Floats:
        """What was computed for the windows in ``order``, as [S, T]."""
        flat = np.empty(self.size)
        flat[self.order] = values
        return flat.reshape(self._windows.low.shape)


def windows_of(
    series: Sequence[SeriesSamples],
    ends: tuple[Ints, Ints],
    range_ms: int,
    tick: Callable[[], None],
    unnamed: Mask | None = None,
) -> SampleWindows:
    """Windows of ``range_ms``; ``ends``: where they end and the time of their steps, in ms.  Stale markers are left
    out."""
    end_ms, step_ms = ends
    kept = [_fresh(each) for each in series]
    offsets = np.cumsum([0, *(len(each.ts_ms) for each in kept)], dtype=np.int64)[:-1]
    shape = (len(series), len(end_ms))
    low, high = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    places: dict[int, tuple[Ints, Ints]] = {}
    for at, (each, offset) in enumerate(zip(kept, offsets, strict=True)):
        if id(each.ts_ms) not in places:  # series of a source share their times
            places[id(each.ts_ms)] = _places(each.ts_ms, end_ms - range_ms), _places(each.ts_ms, end_ms)
        of_times = places[id(each.ts_ms)]
        low[at], high[at] = of_times[0] + offset, of_times[1] + offset
    return SampleWindows(
        tuple(each.labels for each in kept),
        np.zeros(len(series), bool) if unnamed is None else unnamed,
        offsets,
        _laid([each.ts_ms for each in kept], np.int64),
        _laid([each.values for each in kept], np.float64),
        low,
        high,
        end_ms - range_ms,
        end_ms,
        step_ms,
        tick,
        _weights(kept),
    )


def _weights(series: Sequence[SeriesSamples]) -> Floats | None:
    if all(each.weights is None for each in series):
        return None
    return np.concatenate([np.ones(len(each.ts_ms)) if each.weights is None else each.weights for each in series])


def _places(ts_ms: Ints, ends_ms: Ints) -> Ints:
    """How many of the times are not after each end."""
    return np.searchsorted(ts_ms, ends_ms, "right").astype(np.int64, copy=False)


def _fresh(series: SeriesSamples) -> SeriesSamples:
    stale = is_stale(series.values)
    if not stale.any():
        return series
    weights = None if series.weights is None else series.weights[~stale]
    return SeriesSamples(series.labels, series.ts_ms[~stale], series.values[~stale], weights)


Dtype = TypeVar("Dtype", np.int64, np.float64)


def _laid(parts: Sequence[NDArray[Dtype]], kind: type[Dtype]) -> NDArray[Dtype]:
    return np.concatenate(parts) if parts else np.empty(0, kind)


def samples_of(frame: Frame, times_ms: Ints) -> list[SeriesSamples]:
    """The values of a frame as samples at the times of its steps."""
    rows = zip(frame.labels, frame.values, frame.there, strict=True)
    return [SeriesSamples(labels, times_ms[there], values[there]) for labels, values, there in rows]
