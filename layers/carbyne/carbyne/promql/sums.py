"""Sums that keep what rounding loses (Kahan's, with Neumaier's improvement), term by term as Prometheus adds."""

from dataclasses import dataclass

import numpy as np

from carbyne.promql.frames import Floats, Mask


def add(term: Floats, total: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """The new total, and what it lacks."""
    new = total + term
    rest = np.where(np.abs(total) >= np.abs(term), (total - new) + term, (term - new) + total)
    return new, np.where(np.isinf(new), 0.0, lost + rest)


@dataclass
class Sum:
    """Sums side by side."""

    total: Floats
    lost: Floats

    def add(self, at: slice | Mask, term: Floats) -> None:
        """One more term for some of them."""
        self.total[at], self.lost[at] = add(term, self.total[at], self.lost[at])

    def result(self) -> Floats:
        """The sums; an infinite one lacks nothing."""
        return np.where(np.isinf(self.total), self.total, self.total + self.lost)


def sums(size: int | tuple[int, ...]) -> Sum:
    """Sums of nothing yet."""
    return Sum(np.zeros(size), np.zeros(size))


@dataclass
class Mean:
    """Means side by side: a sum divided at the end, or, from where that would overflow, a mean that is corrected."""

    total: Floats
    lost: Floats
    count: Floats
    corrected: Mask

    def add(self, at: slice | Mask, term: Floats) -> None:
        """One more term for some of them."""
        count = self.count[at] + 1
        total, lost, corrected = self.total[at], self.lost[at], self.corrected[at]
        new, rest = add(term, total, lost)
        overflows = np.isinf(new) & ~corrected & (count > 1)
        self.count[at] = count
        if not (corrected.any() or overflows.any()):
            self.total[at], self.lost[at] = new, rest
            return
        total = np.where(overflows, total / (count - 1), total)
        lost = np.where(overflows, lost / (count - 1), lost)
        corrected = corrected | overflows
        share = (count - 1) / count
        mean, gap = add(term / count, share * total, share * lost)
        self.total[at] = np.where(corrected, mean, new)
        self.lost[at] = np.where(corrected, gap, rest)
        self.corrected[at] = corrected

    def result(self) -> Floats:
        """The means."""
        return np.where(self.corrected, self.total + self.lost, self.total / self.count + self.lost / self.count)


def means(size: int | tuple[int, ...]) -> Mean:
    """Means of nothing yet."""
    return Mean(np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size, bool))
