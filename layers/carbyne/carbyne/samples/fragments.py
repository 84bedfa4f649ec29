"""Columns from many rows with different lists of series: a scrape that was cut at arbitrary places.

``columns.from_rows`` merges one group after the other for each list of series that occurs.  Here all samples are sorted
once, by series and time.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbyne.samples.columns import Columns, Group, Rows, assemble, from_rows

LISTS_MERGED_MAX: Final = 16
"""Lists of series up to which to merge them is faster than to sort their samples."""


class Fragment(NamedTuple):
    """Rows that have the same series.

    ``series``: int64 [S], indexes into the names that they share, each once; ``ts_ms`` int64 [R]; ``stamps`` [R];
    ``values`` uint64 [R, S], the bits of float64.
    """

    series: NDArray[np.int64]
    ts_ms: NDArray[np.int64]
    stamps: Sequence[bytes]
    values: NDArray[np.uint64]


class _Samples(NamedTuple):
    """Samples as parallel arrays: the index of each one's series, of its time and of its stamp, and its value."""

    series: NDArray[np.int64]
    times: NDArray[np.int64]
    stamps: NDArray[np.uint32]
    values: NDArray[np.uint64]


def from_lists(batches: Sequence[Rows]) -> Columns:
    """What ``columns.from_rows`` gives, however many lists of series there are."""
    if len(batches) <= LISTS_MERGED_MAX:
        return from_rows(batches)
    names = sorted({name for rows in batches for name in rows.series})
    number = {name: index for index, name in enumerate(names)}
    indexes = [np.array([number[name] for name in rows.series], np.int64) for rows in batches]
    return from_fragments(
        names, [Fragment(own, rows.ts_ms, rows.stamps, rows.values) for own, rows in zip(indexes, batches, strict=True)]
    )


def from_fragments(names: Sequence[str], fragments: Sequence[Fragment]) -> Columns:
    """The samples of ``fragments``, whose series are indexes into ``names``, which ascend.

    Of samples of one series and time the greatest stamp wins, and of equal ones the first.
    """
    if len(fragments) <= LISTS_MERGED_MAX:
        return from_rows(_as_rows(names, fragment) for fragment in fragments)
    table = sorted({stamp for fragment in fragments for stamp in fragment.stamps})
    ranks = {stamp: rank for rank, stamp in enumerate(table)}
    times, time_of = np.unique(np.concatenate([fragment.ts_ms for fragment in fragments]), return_inverse=True)
    rank_of = np.fromiter((ranks[stamp] for fragment in fragments for stamp in fragment.stamps), np.uint32)
    samples = _newest(_flat(fragments, time_of, rank_of), len(times))
    return assemble(table, _groups(names, times, samples))


def _as_rows(names: Sequence[str], fragment: Fragment) -> Rows:
    order = np.argsort(fragment.series)
    series = tuple(names[index] for index in fragment.series[order].tolist())
    return Rows(series, fragment.ts_ms, fragment.stamps, fragment.values[:, order])


def _flat(fragments: Sequence[Fragment], time_of: NDArray[np.intp], rank_of: NDArray[np.uint32]) -> _Samples:
    """Every sample, in the order of the rows, whose times and ranks of stamps are given."""
    sizes = np.repeat([len(fragment.series) for fragment in fragments], [len(fragment.ts_ms) for fragment in fragments])
    series = np.concatenate([fragment.series for fragment in fragments for _ in fragment.stamps])
    values = np.concatenate([fragment.values.reshape(-1) for fragment in fragments])
    return _Samples(series, np.repeat(time_of, sizes).astype(np.int64), np.repeat(rank_of, sizes), values)


def _newest(samples: _Samples, times: int) -> _Samples:
    """One sample for each series and time, ordered by both."""
    cells = samples.series * times + samples.times
    order = np.argsort(cells, kind="stable")
    if bool((cells[order[1:]] == cells[order[:-1]]).any()):
        order = np.lexsort((-samples.stamps.astype(np.int64), cells))  # stable as well
        first = np.ones(len(order), bool)
        np.not_equal(cells[order[1:]], cells[order[:-1]], out=first[1:])
        order = order[first]
    return _Samples(samples.series[order], samples.times[order], samples.stamps[order], samples.values[order])


def _groups(names: Sequence[str], times: NDArray[np.int64], samples: _Samples) -> Iterator[Group]:
    """A group for each series, out of ordered samples."""
    edges = [0, *(np.flatnonzero(np.diff(samples.series)) + 1).tolist(), len(samples.series)]
    ts_ms = times[samples.times]
    for low, high in pairwise(edges):
        name = names[int(samples.series[low])]
        yield Group((name,), ts_ms[low:high], samples.stamps[low:high], samples.values[None, low:high])
