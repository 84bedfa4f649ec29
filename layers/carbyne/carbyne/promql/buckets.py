"""Classic histograms: quantiles and fractions of observations, out of counters of buckets by upper bound (``le``)."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from carbyne.promql.called import Called
from carbyne.promql.frames import Floats, Frame, Ints, Mask, groups_of, joined, stacked
from carbyne.promql.labels import BUCKET, NAME, Labels, drop, get, put
from carbyne.promql.numbers import of_label
from carbyne.promql.remarks import bad_bucket, bad_quantile, repaired

NUMBER: Final = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[iI]nf(?:inity)?|[nN]a[nN])")
TOLERANCE: Final = 1e-12
"""Two counts that differ by less than this share are equal: differences that floating point makes."""
LEAST_NORMAL: Final = 2.2250738585072014e-308


class Histograms(NamedTuple):
    """One histogram at steps where it has the same buckets: ``row`` of the answer, ``steps``, ascending ``bounds`` [B],
    each once, and ``counts`` [B, steps]."""

    row: int
    steps: Ints
    bounds: Floats
    counts: Floats


def quantile(called: Called) -> Frame:
    """``histogram_quantile``."""
    which, frame = called.scalar(0), called.frame(1)
    note_quantiles(called, which, called.start(0))
    return called.naming.loses(_quantile(called, frame, which, called.start(1)))


def quantiles(called: Called) -> Frame:
    """``histogram_quantiles``: several at once, distinguished by a label."""
    frame, label = called.frame(0), called.text(1)
    rows = []
    for at in range(2, len(called)):
        which = called.scalar(at)
        note_quantiles(called, which, called.start(at))
        frame_of_quantile = _quantile(called, frame, which, called.start(0))
        values = sorted({of_label(each) for each in which})
        for value in values:
            steps = np.array([of_label(each) == value for each in which])
            rows.append(_labelled(frame_of_quantile.but(there=frame_of_quantile.there & steps[None, :]), label, value))
    return called.naming.loses(joined(stacked(rows, len(called.times_ms))))


def _labelled(frame: Frame, label: str, value: str) -> Frame:
    return frame.relabelled(lambda labels: put(labels, label, value))


def note_quantiles(called: Called, which: Floats, start: int | None) -> None:
    """Say so if quantiles are none."""
    for value in which[np.isnan(which) | (which < 0) | (which > 1)]:
        called.notes.add(bad_quantile(float(value), start))


def _quantile(called: Called, frame: Frame, which: Floats, start: int | None) -> Frame:
    answer, metrics = _answer(called, frame, start)
    for each in _histograms(frame, metrics, called.times_ms):
        values = which[each.steps]
        answer.values[each.row, each.steps] = _quantile_of(called, each, values, answer.labels[each.row], start)
        answer.there[each.row, each.steps] = True
    return answer


def _quantile_of(called: Called, each: Histograms, which: Floats, labels: Labels, start: int | None) -> Floats:
    sound = (which >= 0) & (which <= 1)
    outside: Floats = np.where(
        np.isnan(which), np.nan, np.where(which < 0, -np.inf, np.where(which > 1, np.inf, np.nan))
    )
    if not np.isposinf(each.bounds[-1]):
        return outside
    raised, counts = _monotonic(each.counts)
    for step in np.flatnonzero(raised.any(axis=0) & sound):
        at = raised[:, step]
        gap = float((counts[:, step] - each.counts[:, step])[at].max())
        bounds = each.bounds[at]
        metric = get(labels, NAME) if called.naming.late else ""
        ts_ms = int(called.times_ms[each.steps[step]])
        called.notes.add(repaired(metric, start, ts_ms, (float(bounds.min()), float(bounds.max()), gap)))
    if len(each.bounds) < 2:
        return outside
    return np.where(sound & (counts[-1] != 0), _interpolated(each.bounds, counts, which), outside)


def _interpolated(bounds: Floats, counts: Floats, which: Floats) -> Floats:
    steps = np.arange(counts.shape[1])
    rank = which * counts[-1]
    reached = counts[:-1] >= rank[None, :]
    at = np.where(reached.any(axis=0), reached.argmax(axis=0), len(bounds) - 1)
    below = np.maximum(at - 1, 0)
    start = np.where(at > 0, bounds[below], 0.0)
    under = np.where(at > 0, counts[below, steps], 0.0)
    inside = start + (bounds[at] - start) * ((rank - under) / (counts[at, steps] - under))
    inside = np.where((at == 0) & (bounds[0] <= 0), bounds[0], inside)
    return np.asarray(np.where(at == len(bounds) - 1, bounds[-2], inside))


def _monotonic(counts: Floats) -> tuple[Mask, Floats]:
    """Which counts are clearly below that of a smaller bucket, and the counts without such falls."""
    repaired_counts, raised = counts.copy(), np.zeros(counts.shape, bool)
    before = counts[0]
    for at in range(1, len(counts)):
        now = counts[at]
        same = (now == before) | _almost(before, now)
        falls = ~same & (now < before)
        raised[at] = falls
        repaired_counts[at] = np.where(same | falls, before, now)
        before = repaired_counts[at]
    return raised, repaired_counts


def _almost(left: Floats, right: Floats) -> Mask:
    total, apart = np.abs(left) + np.abs(right), np.abs(left - right)
    tiny = (left == 0) | (right == 0) | (total < LEAST_NORMAL)
    both_nan = np.isnan(left) & np.isnan(right)
    return np.asarray(both_nan | np.where(tiny, apart < TOLERANCE * LEAST_NORMAL, apart / total < TOLERANCE))


def fraction(called: Called) -> Frame:
    """``histogram_fraction``: the share of observations between two values."""
    lower, upper, frame = called.scalar(0), called.scalar(1), called.frame(2)
    answer, bounds = _answer(called, frame, called.start(2))
    for each in _histograms(frame, bounds, called.times_ms):
        for nth, step in enumerate(each.steps):
            share = _share(each.bounds, each.counts[:, nth], float(lower[step]), float(upper[step]))
            answer.values[each.row, step], answer.there[each.row, step] = share, True
    return called.naming.loses(answer)


def _share(bounds: Floats, counts: Floats, lower: float, upper: float) -> float:
    if not np.isposinf(bounds[-1]) or counts[-1] == 0 or np.isnan(lower) or np.isnan(upper):
        return float("nan")
    if lower >= upper:
        return 0.0
    ranks = (_rank(bounds, counts, lower), _rank(bounds, counts, upper))
    return float((ranks[1] - ranks[0]) / counts[-1])


def _rank(bounds: Floats, counts: Floats, value: float) -> float:
    """How many observations are below a value, observations evenly spread in their buckets."""
    lowest = 0.0 if bounds[0] > 0 else -np.inf
    starts, before = np.concatenate([[lowest], bounds[:-1]]), np.concatenate([[0.0], counts[:-1]])
    for start, end, under, count in zip(starts, bounds, before, counts, strict=True):
        if start >= value:
            return min(float(under), float(counts[-1]))
        if start < value < end:
            part = count if np.isneginf(start) else under + (count - under) * (value - start) / (end - start)
            return min(float(part), float(counts[-1]))
    return float(counts[-1])


def _answer(called: Called, frame: Frame, start: int | None) -> tuple[Frame, list[float | None]]:
    """An empty row for each histogram, and the bounds of the series, None for one without."""
    bounds = [_bound(labels) for labels in frame.labels]
    for at, labels in enumerate(frame.labels):
        if bounds[at] is None and frame.there[at].any():
            metric = get(labels, NAME) if called.naming.late else ""
            called.notes.add(bad_bucket(get(labels, BUCKET), metric, start))
    keys = groups_of(
        drop(labels, {BUCKET}) for labels, bound in zip(frame.labels, bounds, strict=True) if bound is not None
    )
    shape = (len(keys), len(called.times_ms))
    return Frame(tuple(keys), np.zeros(shape), np.zeros(shape, bool), np.zeros(len(keys), bool)), bounds


def _bound(labels: Labels) -> float | None:
    written = get(labels, BUCKET)
    return float(written) if NUMBER.fullmatch(written) else None


def _histograms(frame: Frame, bounds: list[float | None], times_ms: Ints) -> Iterator[Histograms]:
    at = [row for row, bound in enumerate(bounds) if bound is not None]
    groups = groups_of(drop(frame.labels[row], {BUCKET}) for row in at)
    for row, members in enumerate(groups.values()):
        yield from _of_group(frame, row, np.array([at[member] for member in members]), bounds, len(times_ms))


def _of_group(frame: Frame, row: int, rows: Ints, bounds: list[float | None], steps: int) -> Iterator[Histograms]:
    patterns, which = np.unique(frame.there[rows], axis=1, return_inverse=True)
    which = which.reshape(steps)
    for nth in range(patterns.shape[1]):
        members = rows[patterns[:, nth]]
        if len(members):
            at = np.flatnonzero(which == nth)
            limits = np.array([bounds[member] for member in members], np.float64)
            yield _ordered(row, at, limits, frame.values[np.ix_(members, at)])


def _ordered(row: int, steps: Ints, bounds: Floats, counts: Floats) -> Histograms:
    """Buckets of equal bounds (``1`` and ``1.0``) are one, with the sum of their counts."""
    order = np.argsort(bounds, kind="stable")
    bounds, counts = bounds[order], counts[order]
    first = np.concatenate([[True], bounds[1:] != bounds[:-1]])
    return Histograms(row, steps, bounds[first], np.add.reduceat(counts, np.flatnonzero(first), axis=0))
