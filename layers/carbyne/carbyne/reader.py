"""Reads: one answer over all tiers, settled by arrival stamp."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from carbyne.columns import Columns, column
from carbyne.errors import RequestError, RetryableError
from carbyne.keys import SourceKey, Window
from carbyne.limits import AHEAD_MS_MAX, LATEST_BACK_MS

_log = logging.getLogger(__name__)

REBUILDING = "hot tier is being rebuilt: recent samples may be missing"


class HotAnswer(Protocol):
    """``whole``: the lane holds everything that it should; ``known``: for each series, whether it was ever seen."""

    @property
    def whole(self) -> bool: ...
    @property
    def known(self) -> Sequence[bool]: ...
    @property
    def columns(self) -> Columns: ...
    @property
    def windows(self) -> Sequence[Window]: ...


class Hot(Protocol):
    """The hot tier; both methods raise RetryableError if it can't be asked."""

    def read(
        self, source: SourceKey, from_ms: int, to_ms: int, length_s: int, series: Sequence[str], *, newest: bool = False
    ) -> HotAnswer: ...
    def series(self, source: SourceKey) -> set[str]: ...


class Answer(NamedTuple):
    """``ts_ms`` ascending and ``values``, one each; ``warnings``: what could not be read, empty for a whole answer."""

    ts_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    warnings: list[str]


class Latest(NamedTuple):
    """The newest sample of each series that has one: name -> (ts_ms, value)."""

    samples: dict[str, tuple[int, float]]
    warnings: list[str]


class Reader:
    """``length_s``: of a raw window today; ``retention_s``: how far back raw samples are kept."""

    def __init__(self, hot: Hot, length_s: int, retention_s: int, now_ms: Callable[[], int]) -> None:
        self._hot = hot
        self._length_s = length_s
        self._retention_s = retention_s
        self._now_ms = now_ms

    def read(self, source: SourceKey, series: str, from_ms: int, to_ms: int, *, partial: bool = False) -> Answer:
        """The samples of one series from ``from_ms`` to ``to_ms``, both included, cut to what retention can hold.

        Raises RequestError 404 for a series that the source never had, RetryableError if a tier can't be asked or is
        not whole; ``partial`` makes a warning of the latter, and then nobody can say that a series is unknown.
        """
        now_ms = self._now_ms()
        from_ms, to_ms = max(from_ms, now_ms - self._retention_s * 1000), min(to_ms, now_ms + AHEAD_MS_MAX)
        hot = self._hot.read(source, from_ms, max(from_ms, to_ms), self._length_s, [series])
        warnings = _warnings(hot.whole, partial)
        if not (warnings or hot.known[0] or series in self._hot.series(source)):
            raise RequestError(404, f"metric {series!r} of {source.source} is unknown")
        ts_ms, values = column(hot.columns, series)
        wanted = ts_ms <= to_ms  # a span that ends before retention begins has none
        return Answer(ts_ms[wanted], values[wanted].view(np.float64), warnings)

    def series(self, source: SourceKey) -> set[str]:
        """Every series that the source is known to have; RetryableError if a tier can't be asked."""
        return self._hot.series(source)

    def latest(self, source: SourceKey, series: Sequence[str], *, partial: bool = False) -> Latest:
        """The newest sample of each series, none older than LATEST_BACK_MS; errors as of ``read``, but no 404."""
        now_ms = self._now_ms()
        hot = self._hot.read(
            source, now_ms - LATEST_BACK_MS, now_ms + AHEAD_MS_MAX, self._length_s, series, newest=True
        )
        newest = {}
        for name in series:
            ts_ms, values = column(hot.columns, name)
            if ts_ms.size:
                newest[name] = (int(ts_ms[-1]), float(values.view(np.float64)[-1]))
        return Latest(newest, _warnings(hot.whole, partial))


def _warnings(whole: bool, partial: bool) -> list[str]:
    if whole:
        return []
    if not partial:
        raise RetryableError(REBUILDING)
    return [REBUILDING]
