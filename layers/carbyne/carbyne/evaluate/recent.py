"""Samples of the last hours, as the judge takes them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from carbyne.alerts.judging import SamplePairs
from carbyne.core.keys import SourceKey
from carbyne.samples.columns import Columns, column


class ReadColumns(Protocol):
    """``columns``: raw samples."""

    @property
    def columns(self) -> Columns: ...


class ManyReader(Protocol):
    """See ``reader.Reader``; RetryableError if a tier can't be asked or is not whole."""

    def read_many(self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int) -> ReadColumns: ...


class Recent:
    """What a reader says of a few hours, which it answers with raw samples."""

    def __init__(self, reader: ManyReader) -> None:
        self._reader = reader

    def read(self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int) -> dict[str, SamplePairs]:
        """By series, ascending; a series without samples has none."""
        columns = self._reader.read_many(source, series, from_ms, to_ms).columns
        return {name: _pairs(columns, name) for name in series}


def _pairs(columns: Columns, series: str) -> SamplePairs:
    ts_ms, values = column(columns, series)
    return list(zip(ts_ms.tolist(), values.view(np.float64).tolist(), strict=True))
