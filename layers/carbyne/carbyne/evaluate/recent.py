"""Samples of the last hours, as the judge takes them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from carbyne.alerts.judging import SamplePairs
from carbyne.core.keys import SourceKey
from carbyne.samples.columns import Columns, column
from carbyne.samples.rollups import aggregate, buckets_of


class ReadColumns(Protocol):
    """``columns``: raw samples, or buckets as a rollup block has them."""

    @property
    def columns(self) -> Columns: ...


class ManyReader(Protocol):
    """See ``reader.Reader``; RetryableError if a tier can't be asked or is not whole."""

    def read_many(self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int) -> ReadColumns: ...
    def series(self, source: SourceKey) -> Collection[str]: ...


class RolledReader(Protocol):
    """Buckets of a resolution, as ``ManyReader`` has samples."""

    def __call__(
        self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int, resolution: str
    ) -> ReadColumns: ...


class RecentSamples(Protocol):
    """Samples over all tiers; RetryableError if they can't be read whole."""

    def read(self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int) -> Mapping[str, SamplePairs]: ...
    def means(
        self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int, resolution: str
    ) -> Mapping[str, SamplePairs]: ...
    def names(self, source: SourceKey) -> Collection[str]: ...


class Recent:
    """What a reader says of a few hours, which it answers with raw samples; ``rolled``: of longer times."""

    def __init__(self, reader: ManyReader, rolled: RolledReader) -> None:
        self._reader = reader
        self._rolled = rolled

    def read(self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int) -> dict[str, SamplePairs]:
        """By series, ascending; a series without samples has none."""
        columns = self._reader.read_many(source, series, from_ms, to_ms).columns
        return {name: _pairs(columns, name) for name in series}

    def means(
        self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int, resolution: str
    ) -> dict[str, SamplePairs]:
        """As ``read``, of the buckets that begin in a span: their starts and means."""
        columns = self._rolled(source, series, from_ms, to_ms, resolution).columns
        return {name: [pair for pair in _means(columns, name) if from_ms <= pair[0] <= to_ms] for name in series}

    def names(self, source: SourceKey) -> Collection[str]:
        """Every series that a source ever had."""
        return self._reader.series(source)


def _pairs(columns: Columns, series: str) -> SamplePairs:
    ts_ms, values = column(columns, series)
    return list(zip(ts_ms.tolist(), values.view(np.float64).tolist(), strict=True))


def _means(columns: Columns, series: str) -> SamplePairs:
    try:
        buckets = buckets_of(columns, series)
    except KeyError:
        return []
    return list(zip(buckets.start_ms.tolist(), aggregate(buckets, "avg")[0].tolist(), strict=True))
