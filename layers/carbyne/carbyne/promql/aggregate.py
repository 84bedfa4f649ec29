"""Aggregations: one value of each group of series at each step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from carbyne.core.errors import QueryError
from carbyne.promql.frames import Floats, Frame, Ints, Mask, groups_of
from carbyne.promql.labels import NAME, Labels, drop, keep, put
from carbyne.promql.numbers import plain
from carbyne.promql.over_time import of_sorted
from carbyne.promql.remarks import Remarks, bad_quantile
from carbyne.promql.sums import means, sums
from carbyne.promql.tree import Aggregate


class Groups:
    """Series of a frame in groups, in the order of their first series.  ``labels``: what a group's series share."""

    def __init__(self, node: Aggregate, frame: Frame) -> None:
        self.frame = frame
        groups = groups_of(map(key_of(node), frame.labels))
        self.labels = tuple(groups)
        self.members = list(groups.values())
        self.shape = (len(groups), frame.values.shape[1])

    def walk(self) -> Iterator[tuple[Ints, Floats, Mask]]:
        """(groups, values, where there are any) of the first series of each group, then of the second, and so on."""
        for nth in range(max(map(len, self.members), default=0)):
            at = np.array([group for group, rows in enumerate(self.members) if len(rows) > nth])
            rows = [self.members[group][nth] for group in at]
            yield at, self.frame.values[rows], self.frame.there[rows]

    def counts(self) -> Ints:
        """Values of each group at each step."""
        counts = np.zeros(self.shape, np.int64)
        for at, _, there in self.walk():
            counts[at] += there
        return counts

    def folded(self, start: float, fold: Callable[[Floats, Floats], Floats]) -> Floats:
        """Values of each group, folded one by one."""
        result = np.full(self.shape, start)
        for at, values, there in self.walk():
            result[at] = np.where(there, fold(result[at], values), result[at])
        return result


def key_of(node: Aggregate) -> Callable[[Labels], Labels]:
    """The labels by which series are grouped."""
    if node.without:
        without = {*node.names, NAME}
        return lambda labels: drop(labels, without)
    names = frozenset(node.names)
    return lambda labels: keep(labels, names)


def _total(groups: Groups) -> Floats:
    result = sums(groups.shape)
    for at, values, there in groups.walk():
        mask = _of(groups, at, there)
        result.add(mask, values[there])
    return result.result()


def _mean(groups: Groups) -> Floats:
    result = means(groups.shape)
    for at, values, there in groups.walk():
        result.add(_of(groups, at, there), values[there])
    return result.result()


def _of(groups: Groups, at: Ints, there: Mask) -> Mask:
    mask = np.zeros(groups.shape, bool)
    mask[at] = there
    return mask


def _variance(groups: Groups) -> Floats:
    count, middle, squares = (np.zeros(groups.shape) for _ in range(3))
    for at, values, there in groups.walk():
        number = count[at] + there
        delta = values - middle[at]
        new = np.where(count[at] == 0, values, middle[at] + delta / number)
        spoilt = np.isnan(values) | np.isinf(values)
        first = np.where(spoilt, np.nan, 0.0)
        more = np.where(count[at] == 0, first, squares[at] + delta * (values - new))
        middle[at], squares[at] = np.where(there, new, middle[at]), np.where(there, more, squares[at])
        count[at] = number
    return squares / count


def _greatest(groups: Groups) -> Floats:
    return groups.folded(np.nan, lambda best, values: np.where((best < values) | np.isnan(best), values, best))


def _least(groups: Groups) -> Floats:
    return groups.folded(np.nan, lambda best, values: np.where((best > values) | np.isnan(best), values, best))


PLAIN: Final[Mapping[str, Callable[[Groups], Floats]]] = {
    "sum": _total,
    "avg": _mean,
    "min": _least,
    "max": _greatest,
    "count": lambda groups: groups.counts().astype(np.float64),
    "group": lambda groups: np.ones(groups.shape),
    "stdvar": _variance,
    "stddev": lambda groups: np.sqrt(_variance(groups)),
}


def plain_aggregate(node: Aggregate, frame: Frame) -> Frame:
    """One of PLAIN."""
    groups = Groups(node, frame)
    return _answer(groups, PLAIN[node.op](groups))


def _answer(groups: Groups, values: Floats) -> Frame:
    unnamed = np.array([groups.frame.unnamed[rows].any() for rows in groups.members], bool)
    return Frame(groups.labels, values, groups.counts() > 0, unnamed).filled()


def quantile(node: Aggregate, frame: Frame, which: Floats, notes: Remarks) -> Frame:
    """The quantile ``which`` [T] of each group."""
    _note(node, which, notes)
    groups = Groups(node, frame)
    values = np.array([_quantile(frame.rows(rows), which) for rows in groups.members]).reshape(groups.shape)
    return _answer(groups, values)


def _quantile(frame: Frame, which: Floats) -> Floats:
    rows = np.where(frame.there, frame.values, np.nan).T
    strange = (np.isnan(frame.values) & frame.there).sum(axis=0)
    return of_sorted(np.sort(rows, axis=1), frame.there.sum(axis=0), strange, which)


def _note(node: Aggregate, which: Floats, notes: Remarks) -> None:
    start = node.parameter.start if node.parameter else None
    sound = which[~np.isnan(which)]
    worst = [np.nan] if len(sound) < len(which) else []
    worst += [value for value in (sound.max(initial=0.0), sound.min(initial=0.0)) if not 0 <= value <= 1]
    for value in worst:
        notes.add(bad_quantile(float(value), start))


def count_values(node: Aggregate, frame: Frame, label: str) -> Frame:
    """How often each value occurs in a group: a series for each value, which its label ``label`` names."""
    if not label:
        raise QueryError("execution", f'invalid label name "{label}"')
    key = key_of(node)
    rows = [_value_rows(frame, row, label) for row in range(frame.series)]
    flat = [(labels, at) for row in rows for labels, at in row]
    grouped = groups_of(_with_label(key(labels), labels, label, node) for labels, _ in flat)
    counts = [sum((flat[each][1].astype(np.float64) for each in members), np.zeros(1)) for members in grouped.values()]
    steps = frame.values.shape[1]
    values = np.array(counts).reshape(len(grouped), steps)
    return Frame(tuple(grouped), values, values > 0, np.zeros(len(grouped), bool))


def _value_rows(frame: Frame, row: int, label: str) -> Sequence[tuple[Labels, Mask]]:
    values, there = frame.values[row], frame.there[row]
    texts = np.array([plain(value) for value in values], object)
    distinct = sorted(set(texts[there]))
    return [(put(frame.labels[row], label, text), there & (texts == text)) for text in distinct]


def _with_label(key: Labels, labels: Labels, label: str, node: Aggregate) -> Labels:
    if node.without:
        return key
    return put(key, label, dict(labels)[label])
