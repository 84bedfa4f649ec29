"""Batch reads: many series of many sources over one span at one resolution, as columns, for a page of graphs."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from carbyne.core.errors import RequestError
from carbyne.core.keys import RAW, SourceKey
from carbyne.core.limits import BATCH_POINTS_MAX, BATCH_READERS, BATCH_SERIES_MAX
from carbyne.read.reader import How, Many, Reader
from carbyne.samples.columns import Columns
from carbyne.samples.rollups import BY_NAME, aggregate, buckets_of, choose, rolled_names

RAW_STEP_S: Final = 60
"""Between two samples of most series: what the size of an answer is estimated by."""
WILDCARD: Final = "*"
Values = NDArray[np.float64]


class SeriesColumns(msgspec.Struct, frozen=True, omit_defaults=True):
    """One series: an entry for each of its source's times, null where it has none.  ``values``: samples, or means of
    buckets; ``min`` and ``max``: of buckets."""

    name: str
    values: list[float | None]
    min: list[float | None] | None = None
    max: list[float | None] | None = None


class SourceColumns(msgspec.Struct, frozen=True):
    """Series of one source that have something in the span; ``times``: seconds, ascending."""

    source: str
    times: list[float]
    series: list[SeriesColumns]


class BatchAnswer(msgspec.Struct, frozen=True):
    """``step``: length of a bucket in seconds, 0 of samples."""

    resolution: str
    step: int
    sources: list[SourceColumns]


class ReadSpan(NamedTuple):
    """Both ends included, in ms."""

    from_ms: int
    to_ms: int


DrawExpression = Callable[[str, str, ReadSpan], BatchAnswer]
"""The lines of a tenant's expression over a span, as a batch of one source; RequestError for what is no expression, or
takes too much."""


def no_expressions(_: str, __: str, ___: ReadSpan) -> BatchAnswer:
    """In the place of functions, where there are none."""
    raise RequestError(400, "expressions are not computed here")


class Batch:
    """Reads some sources at a time."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._threads = ThreadPoolExecutor(BATCH_READERS)

    def read(
        self, sources: Sequence[SourceKey], names: Sequence[str], span: ReadSpan, how: How
    ) -> tuple[BatchAnswer, list[str]]:
        """The answer, and what is missing in it.  ``names``: exact, or beginnings with ``*`` behind; none means all.

        RequestError 400 for too many series or points, counted before anything is read.
        """
        resolution = how.resolution or choose(*span)
        chosen = list(self._threads.map(lambda source: self._names(source, names, how), sources))
        _check_size(sum(len(series) for series, _ in chosen), resolution, span)
        at = how._replace(resolution=resolution)
        parts = list(self._threads.map(partial(self._read, span, at), sources, [series for series, _ in chosen]))
        columns = [_source(source.source, many) for source, many in zip(sources, parts, strict=True)]
        said = [*(many.warnings for many in parts), *(warnings for _, warnings in chosen)]
        warnings = list(dict.fromkeys(warning for each in said for warning in each))
        step = 0 if resolution == RAW else BY_NAME[resolution].bucket_s
        return BatchAnswer(resolution, step, columns), warnings

    def sealed(self, sources: Sequence[SourceKey], span: ReadSpan, how: How) -> bytes:
        """See ``Reader.sealed``, of all sources; empty if it is so of one."""
        at = how._replace(resolution=how.resolution or choose(*span))
        tags = list(self._threads.map(lambda source: self._reader.sealed(source, *span, at), sources))
        return b"\n".join(tags) if all(tags) else b""

    def _read(self, span: ReadSpan, how: How, source: SourceKey, series: Sequence[str]) -> Many:
        return self._reader.read_many(source, series, span.from_ms, span.to_ms, how)

    def _names(self, source: SourceKey, names: Sequence[str], how: How) -> tuple[list[str], list[str]]:
        """Exact names as they are and the series that wildcards mean, with what is missing in it."""
        exact = {name for name in names if not name.endswith(WILDCARD)}
        if names and len(exact) == len(names):
            return sorted(exact), []
        beginnings = tuple(name[:-1] for name in names if name.endswith(WILDCARD)) or ("",)
        known, warnings = self._reader.known(source, partial=how.partial)
        return sorted(exact | {name for name in known if name.startswith(beginnings)}), warnings


def _check_size(series: int, resolution: str, span: ReadSpan) -> None:
    step_s, columns = (RAW_STEP_S, 1) if resolution == RAW else (BY_NAME[resolution].bucket_s, 3)
    points = series * columns * ((span.to_ms - span.from_ms) // 1000 // step_s + 1)
    if series > BATCH_SERIES_MAX or points > BATCH_POINTS_MAX:
        raise RequestError(
            400,
            f"{series} series are about {points} points; ask for at most {BATCH_SERIES_MAX} series and"
            f" {BATCH_POINTS_MAX} points at once: for fewer names, a shorter span or a coarser resolution",
        )


def _source(source: str, many: Many) -> SourceColumns:
    groups = many.columns.groups
    axis = np.unique(np.concatenate([group.ts_ms for group in groups])) if groups else np.empty(0, np.int64)
    made = _raw(many.columns, axis) if many.resolution == RAW else _rolled(many.columns, axis)
    return SourceColumns(source, (axis / 1000).tolist(), sorted(made, key=lambda part: part.name))


def _raw(columns: Columns, axis: NDArray[np.int64]) -> Iterable[SeriesColumns]:
    for group in columns.groups:
        for name, bits in zip(group.series, group.values, strict=True):
            yield SeriesColumns(name, _on(axis, group.ts_ms, bits.view(np.float64)))


def _rolled(columns: Columns, axis: NDArray[np.int64]) -> Iterable[SeriesColumns]:
    for name in rolled_names(columns):
        buckets = buckets_of(columns, name)
        parts = (_on(axis, buckets.start_ms, aggregate(buckets, part)[0]) for part in ("avg", "min", "max"))
        yield SeriesColumns(name, *parts)


def _on(axis: NDArray[np.int64], ts_ms: NDArray[np.int64], values: Values) -> list[float | None]:
    """The values at their times of ``axis``; NaN elsewhere, which is null in JSON."""
    column = np.full(len(axis), np.nan)
    column[np.searchsorted(axis, ts_ms)] = values
    points: list[float | None] = column.tolist()
    return points
