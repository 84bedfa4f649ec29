"""Samples of one source in one window as columns, and the one function that merges them.

Sealer, archiver and reader share ``merge``.  Of two samples of one series and time the greater arrival stamp wins;
equal stamps come from the same stream record, and the first one stays.  Values are the bits of float64 as uint64 and
never pass through arithmetic, so NaN payloads and -0.0 survive.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import lt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbyne.core.errors import InvariantError
from carbyne.core.stamps import STAMP_BYTES

SERIES_PER_STEP: Final = 1_024
"""Series per step: bounds the memory that merging and encoding need beside their result."""


@dataclass(frozen=True, eq=False)
class Group:
    """Series that share their times and stamps.

    ``series`` [S] ascending; ``ts_ms`` int64 [T] ascending; ``stamps`` uint32 [T], indexes into the table of the
    Columns; ``values`` uint64 [S, T], the bits of float64.
    """

    series: tuple[str, ...]
    ts_ms: NDArray[np.int64]
    stamps: NDArray[np.uint32]
    values: NDArray[np.uint64]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Group)
            and self.series == other.series
            and np.array_equal(self.ts_ms, other.ts_ms)
            and np.array_equal(self.stamps, other.stamps)
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash


@dataclass(frozen=True)
class Columns:
    """All samples of one source in one window.  Equal sets of samples are equal Columns.

    ``stamps``: the table, 26 bytes each, ascending, only those in use.  ``groups``: each series is in exactly one; all
    series with the same times and stamps are in the same one.  Groups are ordered by their first series.
    """

    stamps: tuple[bytes, ...]
    groups: tuple[Group, ...]

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return sum(group.values.size for group in self.groups)

    @property
    def series(self) -> list[str]:
        """Every series key, ascending."""
        return sorted(series for group in self.groups for series in group.series)


EMPTY: Final = Columns((), ())


@dataclass(frozen=True)
class Rows:
    """Rows that share a series list: ``series`` [S] ascending, ``ts_ms`` int64 [R] and ``stamps`` [R] in any order,
    ``values`` uint64 [R, S], the bits of float64."""

    series: tuple[str, ...]
    ts_ms: NDArray[np.int64]
    stamps: Sequence[bytes]
    values: NDArray[np.uint64]


def from_rows(batches: Iterable[Rows]) -> Columns:
    """The samples of rows, transposed.  Where lists overlap or rows repeat, samples are merged by stamp.

    Raises InvariantError if a series list is not ascending or the shapes differ.
    """
    return merge([_transposed(rows) for rows in batches])


def merge(parts: Sequence[Columns]) -> Columns:
    """All samples of ``parts``: per sample the greater stamp wins; of equal stamps the first.

    The order of ``parts`` does not matter as long as equal stamps mean equal samples.
    """
    filled = [part for part in parts if part.groups]
    if len(filled) <= 1:
        return filled[0] if filled else EMPTY
    table = sorted(set().union(*(part.stamps for part in filled)))
    groups = _recoded(filled, table)
    return assemble(table, [_settled([groups[at] for at in sources], rows) for sources, rows in _plans(groups)])


def assemble(table: Sequence[bytes], groups: Iterable[Group]) -> Columns:
    """Columns of ``groups`` in any order, each series in one of them.  Joins groups with equal times and stamps; leaves
    out empty groups and unused stamps of ``table``."""
    alike: dict[tuple[bytes, bytes], list[Group]] = {}
    for group in groups:
        if group.values.size:
            alike.setdefault(_vectors(group), []).append(group)
    used = _used([same[0] for same in alike.values()], len(table))
    codes = (np.cumsum(used) - 1).astype(np.uint32)
    joined = sorted((_joined(same, codes) for same in alike.values()), key=lambda group: group.series[0])
    return Columns(tuple(compress(table, used)), tuple(joined))


def restrict(columns: Columns, holds: Callable[[str], bool]) -> Columns:
    """The series for which ``holds`` is true."""
    return assemble(columns.stamps, [_rows_of(group, holds) for group in columns.groups])


def between(columns: Columns, start_ms: int, end_ms: int) -> Columns:
    """The samples with ``start_ms <= ts_ms < end_ms``."""
    return assemble(columns.stamps, [_times_of(group, start_ms, end_ms) for group in columns.groups])


def restamped(columns: Columns, stamp: bytes) -> Columns:
    """The same samples, all with one stamp: for what is computed, not received."""
    groups = [Group(g.series, g.ts_ms, np.zeros(len(g.ts_ms), np.uint32), g.values) for g in columns.groups]
    return assemble((stamp,), groups)


def column(columns: Columns, series: str) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """(ts_ms [T], values [T]) of one series; empty arrays if there is none."""
    for group in columns.groups:
        if series in group.series:
            return group.ts_ms, group.values[group.series.index(series)]
    return np.empty(0, np.int64), np.empty(0, np.uint64)


def flaw(columns: Columns) -> str | None:
    """The first broken rule of ``Columns`` in words; None if all hold.  Reads no values."""
    if any(len(stamp) != STAMP_BYTES for stamp in columns.stamps) or not ascending(columns.stamps):
        return "stamps are not ascending or not 26 bytes each"
    for group in columns.groups:
        if broken := _group_flaw(group, len(columns.stamps)):
            return f"group of {group.series[:1]}: {broken}"
    return _table_flaw(columns)


def ascending(items: Sequence[bytes] | Sequence[str]) -> bool:
    """Whether each item is greater than the one before it."""
    return all(map(lt, items, items[1:]))


def _group_flaw(group: Group, stamps: int) -> str | None:
    times = len(group.ts_ms)
    if not group.series or not ascending(group.series):
        return "series are not ascending"
    if not times or not bool((group.ts_ms[:-1] < group.ts_ms[1:]).all()):
        return "times are not ascending"
    if group.stamps.shape != (times,) or int(group.stamps.max()) >= stamps:
        return f"stamp indexes do not fit {times} times, {stamps} stamps"
    if group.values.shape != (len(group.series), times):
        return f"values {group.values.shape} do not fit {len(group.series)} series, {times} times"
    return None


def _table_flaw(columns: Columns) -> str | None:
    series = [series for group in columns.groups for series in group.series]
    if len(set(series)) != len(series):
        return "a series is in two groups"
    if not ascending([group.series[0] for group in columns.groups]):
        return "groups are not ordered by their first series"
    if len({_vectors(group) for group in columns.groups}) != len(columns.groups):
        return "two groups share times and stamps"
    return None if _used(columns.groups, len(columns.stamps)).all() else "a stamp is used by no sample"


def _transposed(rows: Rows) -> Columns:
    """The rows of one series list as one group.  Of rows with one time the greatest stamp wins; of equal ones the
    first."""
    times, series = len(rows.ts_ms), len(rows.series)
    if len(rows.stamps) != times or rows.values.shape != (times, series) or not ascending(rows.series):
        raise InvariantError(
            f"BUG: rows need an ascending series list and one stamp and value row per time; "
            f"got {series} series, {times} times, {len(rows.stamps)} stamps, values {rows.values.shape}"
        )
    table = sorted(set(rows.stamps))
    ranks = _lookup(rows.stamps, {stamp: rank for rank, stamp in enumerate(table)})
    keep = _winners(rows.ts_ms, ranks)
    values = np.ascontiguousarray(rows.values[keep].T)
    return assemble(table, [Group(rows.series, rows.ts_ms[keep], ranks[keep], values)])


def _lookup(stamps: Sequence[bytes], ranks: dict[bytes, int]) -> NDArray[np.uint32]:
    return np.fromiter((ranks[stamp] for stamp in stamps), np.uint32, len(stamps))


def _winners(ts_ms: NDArray[np.int64], ranks: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Indexes of one sample per time, in time order: the highest rank, of equal ranks the first (lexsort is stable)."""
    order = np.lexsort((-ranks.astype(np.int64), ts_ms))
    first = np.ones(len(order), bool)
    np.not_equal(ts_ms[order[1:]], ts_ms[order[:-1]], out=first[1:])
    return order[first]


def _recoded(parts: Sequence[Columns], table: Sequence[bytes]) -> list[Group]:
    """The groups of all parts, in order, their stamps as indexes into ``table``."""
    ranks = {stamp: rank for rank, stamp in enumerate(table)}
    codes = [_lookup(part.stamps, ranks) for part in parts]
    return [
        Group(group.series, group.ts_ms, code[group.stamps], group.values)
        for part, code in zip(parts, codes, strict=True)
        for group in part.groups
    ]


def _plans(groups: Sequence[Group]) -> list[tuple[tuple[int, ...], list[list[int]]]]:
    """Series by the groups that contain them: (indexes of those groups, for each of them the rows of the series).

    All series of one plan have the same times and stamps everywhere, so one sort serves all of them.
    """
    homes: dict[str, list[tuple[int, int]]] = {}
    for at, group in enumerate(groups):
        for row, series in enumerate(group.series):
            homes.setdefault(series, []).append((at, row))
    plans: dict[tuple[int, ...], list[list[int]]] = {}
    for home in homes.values():
        rows = plans.setdefault(tuple(at for at, _ in home), [[] for _ in home])
        for mine, (_, row) in zip(rows, home, strict=True):
            mine.append(row)
    return list(plans.items())


def _settled(groups: Sequence[Group], rows: Sequence[Sequence[int]]) -> Group:
    """One group from the ``rows`` [groups][S] of several; each time comes from the group whose stamp wins."""
    series = tuple(groups[0].series[row] for row in rows[0])
    if len(groups) == 1:
        whole = len(series) == len(groups[0].series)
        values = groups[0].values if whole else groups[0].values[list(rows[0])]
        return Group(series, groups[0].ts_ms, groups[0].stamps, values)
    ts_ms = np.concatenate([group.ts_ms for group in groups])
    ranks = np.concatenate([group.stamps for group in groups])
    keep = _winners(ts_ms, ranks)
    values = np.empty((len(series), len(keep)), np.uint64)
    start = 0
    for group, mine in zip(groups, rows, strict=True):
        _take(values, group.values, np.asarray(mine), keep - start)
        start += len(group.ts_ms)
    return Group(series, ts_ms[keep], ranks[keep], values)


def _take(
    target: NDArray[np.uint64], values: NDArray[np.uint64], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> None:
    """Fill the columns of ``target`` whose index in ``columns`` lies within ``values``."""
    mine = np.flatnonzero((columns >= 0) & (columns < values.shape[1]))
    for low in range(0, len(rows), SERIES_PER_STEP):
        step = slice(low, low + SERIES_PER_STEP)
        target[step, mine] = values[np.ix_(rows[step], columns[mine])]


def _rows_of(group: Group, holds: Callable[[str], bool]) -> Group:
    rows = [row for row, series in enumerate(group.series) if holds(series)]
    if len(rows) == len(group.series):
        return group
    return Group(tuple(group.series[row] for row in rows), group.ts_ms, group.stamps, group.values[rows])


def _times_of(group: Group, start_ms: int, end_ms: int) -> Group:
    low, high = np.searchsorted(group.ts_ms, (start_ms, end_ms))
    return Group(group.series, group.ts_ms[low:high], group.stamps[low:high], group.values[:, low:high])


def _vectors(group: Group) -> tuple[bytes, bytes]:
    return group.ts_ms.tobytes(), group.stamps.tobytes()


def _used(groups: Iterable[Group], stamps: int) -> NDArray[np.bool_]:
    used = np.zeros(stamps, bool)
    for group in groups:
        used[group.stamps] = True
    return used


def _joined(same: Sequence[Group], codes: NDArray[np.uint32]) -> Group:
    """Groups with the same times and stamps as one, its series ascending."""
    series = [series for group in same for series in group.series]
    values = same[0].values if len(same) == 1 else np.concatenate([group.values for group in same])
    if not ascending(series):
        order = sorted(range(len(series)), key=series.__getitem__)
        series, values = [series[row] for row in order], values[order]
    return Group(tuple(series), same[0].ts_ms, codes[same[0].stamps], values)
