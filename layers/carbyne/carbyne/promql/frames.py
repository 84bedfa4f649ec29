"""Values of series at the steps of a query."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from carbyne.core.errors import QueryError
from carbyne.promql import labels as of
from carbyne.promql.labels import Labels

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
SAME_LABELS = "vector cannot contain metrics with the same labelset"


@dataclass(frozen=True, eq=False)
class Frame:
    """``labels`` [S]; ``values`` float64 [S, T] and ``there`` bool [S, T]: a value counts only where it is there, and
    NaN is a value like others.  ``unnamed`` bool [S]: series that lose their name when the query ends."""

    labels: tuple[Labels, ...]
    values: Floats
    there: Mask
    unnamed: Mask

    @property
    def series(self) -> int:
        """How many series."""
        return len(self.labels)

    def rows(self, chosen: Sequence[int] | Ints | Mask) -> "Frame":
        """Only some series, by index or mask."""
        at = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else np.asarray(chosen, np.int64)
        labels = tuple(self.labels[each] for each in at)
        return Frame(labels, self.values[at], self.there[at], self.unnamed[at])

    def but(self, values: Floats | None = None, there: Mask | None = None) -> "Frame":
        """The same series with other values."""
        return replace(
            self,
            values=self.values if values is None else values,
            there=self.there if there is None else there,
        )

    def relabelled(self, change: Callable[[Labels], Labels]) -> "Frame":
        """The same values under other labels; series that become one are joined."""
        return joined(replace(self, labels=tuple(map(change, self.labels))))

    def filled(self) -> "Frame":
        """Without series that have no value."""
        has = anywhere(self.there, 1)
        return self if has.all() else self.rows(has)


def anywhere(mask: Mask, axis: int) -> Mask:
    """Whether there is one along an axis."""
    return np.asarray(mask.any(axis=axis))


def empty(steps: int) -> Frame:
    """No series."""
    return Frame((), np.empty((0, steps)), np.empty((0, steps), bool), np.empty(0, bool))


def single(labels: Labels, values: Floats, there: Mask | None = None) -> Frame:
    """One series."""
    has = np.ones(len(values), bool) if there is None else there
    return Frame((labels,), values[None, :], has[None, :], np.zeros(1, bool))


def stacked(frames: Iterable[Frame], steps: int) -> Frame:
    """The series of all frames, one behind the other."""
    parts = [frame for frame in frames if frame.series]
    if len(parts) < 2:
        return parts[0] if parts else empty(steps)
    return Frame(
        tuple(labels for part in parts for labels in part.labels),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.there for part in parts]),
        np.concatenate([part.unnamed for part in parts]),
    )


def groups_of(keys: Iterable[Labels]) -> dict[Labels, list[int]]:
    """Key -> the indices that have it, in the order in which keys come."""
    groups: dict[Labels, list[int]] = {}
    for at, key in enumerate(keys):
        groups.setdefault(key, []).append(at)
    return groups


def joined(frame: Frame) -> Frame:
    """Series of equal labels become one.  QueryError ``execution`` if two of them have a value at one step."""
    groups = groups_of(frame.labels)
    if len(groups) == frame.series:
        return frame
    rows = [_joined(frame, at) for at in groups.values()]
    return stacked(rows, frame.values.shape[1])


def _joined(frame: Frame, at: list[int]) -> Frame:
    if len(at) == 1:
        return frame.rows(at)
    there = frame.there[at]
    if (there.sum(axis=0) > 1).any():
        raise QueryError("execution", SAME_LABELS)
    first = there.argmax(axis=0)
    values = frame.values[at][first, np.arange(there.shape[1])]
    union = single(frame.labels[at[0]], values, anywhere(there, 0))
    return replace(union, unnamed=anywhere(frame.unnamed[at][None, :], 1))


def without_name(labels: Labels) -> Labels:
    """Labels of what is another metric now."""
    return of.drop(labels, of.RESERVED)


def cleaned(frame: Frame) -> Frame:
    """The end of a query: series that lose their name lose it now."""
    if not frame.unnamed.any():
        return joined(frame)
    named = zip(frame.labels, frame.unnamed, strict=True)
    labels = tuple(without_name(each) if loses else each for each, loses in named)
    return joined(replace(frame, labels=labels, unnamed=np.zeros(len(labels), bool)))


def in_order(frame: Frame) -> Frame:
    """Ordered by labels."""
    return frame.rows(sorted(range(frame.series), key=frame.labels.__getitem__))
