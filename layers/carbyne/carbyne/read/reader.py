"""Reads: one answer over all tiers; the greatest arrival stamp wins.

The tiers are asked one after the other in the direction in which samples move, so that a sample on its way is met in
the one or the other.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.keys import RAW, SourceKey, Window
from carbyne.core.limits import (
    AHEAD_MS_MAX,
    HOT_SERIES_MAX,
    LATEST_BACK_MS,
    LATEST_READERS,
    POINTS_MAX,
)
from carbyne.read.views import HotPart, Views, late_columns, pending_of, span_of
from carbyne.samples.blocks import decode
from carbyne.samples.columns import EMPTY, Columns, between, column, merge
from carbyne.samples.rollups import Span, aggregate, buckets_of, choose
from carbyne.samples.rows import HotQuery
from carbyne.store.catalogue import Catalogue
from carbyne.store.tiers import BlockQuery, BlockTiers, Gaps, Taken

REBUILDING = "hot tier is being rebuilt: recent samples may be missing"


class HotAnswer(Protocol):
    """``whole``: the lane holds everything that it should; ``known``: for each series, whether a window lists it;
    ``windows``: all windows of the source that have rows; ``complete``: those of the span that have every row."""

    @property
    def whole(self) -> bool: ...
    @property
    def known(self) -> Sequence[bool]: ...
    @property
    def columns(self) -> Columns: ...
    @property
    def windows(self) -> Sequence[Window]: ...
    @property
    def complete(self) -> Collection[Window]: ...


class _Unasked(NamedTuple):
    """The answer of a hot tier that could not be asked."""

    whole: bool = False
    known: Sequence[bool] = ()
    columns: Columns = EMPTY
    windows: Sequence[Window] = ()
    complete: Collection[Window] = ()


class HotReader(Protocol):
    """The hot tier.  ``read_each`` has a RetryableError for a source that can't be asked, ``series`` raises it."""

    def read_each(
        self, sources: Iterable[SourceKey], query: HotQuery
    ) -> Mapping[SourceKey, HotAnswer | RetryableError]: ...
    def series(self, source: SourceKey) -> set[str]: ...


class ReadAnswer(NamedTuple):
    """``ts_ms`` (of buckets: their starts) ascending and ``values``, one each; ``warnings``: what could not be read,
    empty for a whole answer; ``resolution``: of the answer."""

    ts_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    warnings: list[str]
    resolution: str


class How(NamedTuple):
    """``resolution``: None for the one that suits the span; ``aggregate``: of a bucket; ``partial``: rather a warning
    than an error where a tier can't be asked."""

    resolution: str | None = None
    aggregate: str = "avg"
    partial: bool = False


HOW: Final = How()


class Many(NamedTuple):
    """Several series of a source: raw samples, or buckets as a rollup block holds them; the rest as in ReadAnswer.
    ``taken``: what each call of a store gave."""

    columns: Columns
    resolution: str
    warnings: list[str]
    taken: Sequence[Taken] = ()


class _Asked(NamedTuple):
    """A span in ms, both ends included, at one resolution; ``is_over``: all of it is past retention."""

    resolution: str
    from_ms: int
    to_ms: int
    now_ms: int

    @property
    def is_over(self) -> bool:
        return self.from_ms > self.to_ms


class Newest(NamedTuple):
    """The newest sample of each series that has one: name -> (ts_ms, value)."""

    samples: dict[str, tuple[int, float]]
    warnings: list[str]


class ReadTimes(NamedTuple):
    """``length_s``: of a raw window today; ``retention_s``: how far back each resolution is kept; ``sealed_s``: until
    when the windows of a lane are sealed, seconds, or RetryableError; ``now_ms``: the clock."""

    length_s: int
    retention_s: Mapping[str, int]
    sealed_s: Callable[[int], int]
    now_ms: Callable[[], int]


class Reader:
    """Answers for one source, or for many at once, out of all tiers."""

    def __init__(self, hot: HotReader, tiers: BlockTiers, views: Views, catalogue: Catalogue, times: ReadTimes) -> None:
        self._hot = hot
        self._tiers = tiers
        self._views = views
        self._catalogue = catalogue
        self._length_s, self._retention_s, self._sealed_s, self._now_ms = times
        self._threads = ThreadPoolExecutor(LATEST_READERS)

    def read(self, source: SourceKey, series: str, from_ms: int, to_ms: int, how: How = HOW) -> ReadAnswer:
        """One series from ``from_ms`` to ``to_ms``, both included, cut to what retention can hold: its samples, or an
        aggregate of every bucket that overlaps the span.

        Raises RequestError 404 for a series that the source never had, 400 for more than POINTS_MAX points,
        RetryableError if a tier can't be asked or is not whole; ``partial`` makes warnings of the latter, and then
        an unknown series is no error.
        """
        asked, gaps = self._asked(from_ms, to_ms, how), Gaps(partial=how.partial)
        if asked.is_over:
            self._hot_part(source, asked.now_ms, asked.now_ms, [series], gaps)  # Redis may have lost the name
            if not gaps.warnings and series not in self.series(source):
                raise _unknown(source, series)
            return ReadAnswer(np.empty(0, np.int64), np.empty(0), gaps.warnings, asked.resolution)
        columns, known, whole = self._columns(source, [series], asked, gaps)
        if not (gaps.warnings or columns.groups or known or series in self.series(source)):
            if whole:
                raise _unknown(source, series)
            gaps.note(REBUILDING)  # Redis may have lost the name
        ts_ms, values = _points(columns, series, asked.resolution, how.aggregate)
        if len(ts_ms) > POINTS_MAX:
            raise RequestError(400, f"{len(ts_ms)} points; ask for a shorter span or a coarser resolution")
        return ReadAnswer(ts_ms, values, gaps.warnings, asked.resolution)

    def read_many(self, source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int, how: How = HOW) -> Many:
        """As ``read``, of several series of a source at once; one that it never had is left out.

        Of no series as well: the caller may know of none because Redis lost them, which is a gap like any other.
        """
        asked, gaps = self._asked(from_ms, to_ms, how), Gaps(partial=how.partial)
        columns = EMPTY if asked.is_over else self._columns(source, series, asked, gaps)[0]
        return Many(columns, asked.resolution, gaps.warnings, gaps.taken)

    def sealed(self, source: SourceKey, from_ms: int, to_ms: int, how: How = HOW) -> bytes:
        """What names the samples of a span until one of them changes; to be asked before they are read.

        Empty while rows of the span are in Redis or late, a delete is not cleaned yet, or a tier can't be asked: then
        only an answer itself says whether it is another one.
        """
        asked, gaps = self._asked(from_ms, to_ms, how), Gaps(partial=False)
        start, end = span_of(asked.resolution, asked.from_ms, asked.to_ms)
        open_ms = asked.now_ms - asked.now_ms % (self._length_s * 1000)
        if asked.from_ms > from_ms or asked.is_over or end > open_ms:  # of an open window Redis need not be asked
            return b""
        try:
            hot = self._hot_part(source, start, end - 1, [], gaps).windows
            pending = pending_of(self._catalogue, source, gaps)
            note, markers = self._catalogue.of(source).version()
        except RetryableError:
            return b""
        is_open = any(window.overlaps(start, end - 1) for window in [*hot, *(late.window for late in pending.late)])
        return b"" if is_open or pending.deletes or not note else note + repr(sorted(markers)).encode()

    def _asked(self, from_ms: int, to_ms: int, how: How) -> _Asked:
        """What of a span retention can hold."""
        now_ms = self._now_ms()
        to_ms = min(to_ms, now_ms + AHEAD_MS_MAX)
        resolution = how.resolution or choose(from_ms, to_ms)
        return _Asked(resolution, max(from_ms, now_ms - self._retention_s[resolution] * 1000), to_ms, now_ms)

    def _columns(
        self, source: SourceKey, series: Sequence[str], asked: _Asked, gaps: Gaps
    ) -> tuple[Columns, bool, bool]:
        """The samples or buckets of the series in the span, whether Redis knows one of them, and is whole."""
        span = span_of(asked.resolution, asked.from_ms, asked.to_ms)
        chunks = [series[first : first + HOT_SERIES_MAX] for first in range(0, len(series) or 1, HOT_SERIES_MAX)]
        parts = [self._hot_part(source, span[0], span[1] - 1, chunk, gaps) for chunk in chunks]
        hot = merge([part.columns for part in parts])
        complete = set.intersection(*(set(part.complete) for part in parts))
        known, whole = any(any(part.known) for part in parts), all(part.whole for part in parts)
        if not series:
            return EMPTY, False, whole
        if asked.resolution == RAW and _covers(complete, asked.from_ms, min(asked.to_ms, asked.now_ms)):
            return between(hot, *span), known, whole
        windows = sorted({window for part in parts for window in part.windows}, reverse=True)
        view = self._views.view(source, series, asked.resolution, span, HotPart(hot, windows), gaps)
        return view, known, whole

    def latest(
        self, sources: Sequence[SourceKey], series: Sequence[str], *, partial: bool = False
    ) -> dict[SourceKey, Newest]:
        """The newest sample of each series of each source, none older than LATEST_BACK_MS; errors as of ``read``, but
        no 404.

        Redis is asked for all sources at once, and has the newest samples of most; the others take a thread each.
        """
        now_ms = self._now_ms()
        span = now_ms - LATEST_BACK_MS, now_ms + AHEAD_MS_MAX
        hot = self._hot.read_each(sources, HotQuery(*span, self._length_s, series, newest=True))
        latest, older = {}, {}
        for source, answer in hot.items():
            gaps = Gaps(partial=partial)
            part = self._checked(answer, source, span[1], gaps)
            newest = _newest(part.columns, series)
            latest[source] = Newest(newest, gaps.warnings)
            names = [name for name in series if not _is_newest(newest.get(name), part, now_ms)]
            if names:  # a block may hold a newer sample than Redis, where late ones may be all that is left
                older[source] = names, part, gaps
        of_all = self._threads.map(lambda source: self._older(source, *older[source], span), older)
        for source, samples in zip(older, of_all, strict=True):
            names, _, gaps = older[source]
            kept = {name: sample for name, sample in latest[source].samples.items() if name not in names}
            latest[source] = Newest(kept | samples, gaps.warnings)
        return latest

    def _older(
        self, source: SourceKey, series: Sequence[str], hot: HotAnswer, gaps: Gaps, span: Span
    ) -> dict[str, tuple[int, float]]:
        """The newest sample of series of which Redis may not have it."""
        newest = _newest(hot.columns, series)
        of_all = self._newest_of_all(source, series, span, gaps, hot.columns)
        if any(name in newest and of_all.get(name, (-1, 0.0))[0] < newest[name][0] for name in series):
            hot = self._hot_part(source, *span, series, gaps)  # that was deleted: of all that Redis has
            of_all = self._newest_of_all(source, series, span, gaps, hot.columns)
        return of_all

    def _newest_of_all(
        self, source: SourceKey, series: Sequence[str], span: Span, gaps: Gaps, hot: Columns
    ) -> dict[str, tuple[int, float]]:
        """The newest sample of each series in the span, both ends included, over all tiers."""
        from_ms, to_ms = span
        pending = pending_of(self._catalogue, source, gaps)
        hot = merge([hot, late_columns(pending, series, (from_ms, to_ms + 1))])
        columns = self._tiers.read(BlockQuery(source, RAW, from_ms, to_ms, series), gaps, hot)
        return _newest(between(columns, from_ms, to_ms + 1), series)

    def series(self, source: SourceKey) -> set[str]:
        """Every series that the source ever had; empty for an unknown source."""
        late = {name for rows in self._catalogue.of(source).pending().late for name in decode(rows.data).series}
        return self._hot.series(source) | late | self._catalogue.of(source).series().keys()

    def known(self, source: SourceKey, *, partial: bool) -> tuple[set[str], list[str]]:
        """As ``series``, with what is missing in it where that need not be an error."""
        gaps, series = Gaps(partial=partial), set[str]()
        try:
            series |= self._hot.series(source)
        except RetryableError as error:
            gaps.note("the hot tier could not be read: metrics may be missing", error)
        try:
            series |= self._catalogue.of(source).series().keys()
        except RetryableError as error:
            gaps.note("the catalogue could not be read: metrics may be missing", error)
        return series, gaps.warnings

    def _hot_part(self, source: SourceKey, from_ms: int, to_ms: int, series: Sequence[str], gaps: Gaps) -> HotAnswer:
        answer = self._hot.read_each([source], HotQuery(from_ms, to_ms, self._length_s, series))[source]
        checked = self._checked(answer, source, to_ms, gaps)
        gaps.taken.append(Taken("hot", sum(group.values.nbytes for group in checked.columns.groups)))
        return checked

    def check(self, answer: HotAnswer | RetryableError, source: SourceKey, to_ms: int) -> None:
        """RetryableError if Redis may lack something of the source until then."""
        self._checked(answer, source, to_ms, Gaps(partial=False))

    def _checked(self, answer: HotAnswer | RetryableError, source: SourceKey, to_ms: int, gaps: Gaps) -> HotAnswer:
        """What Redis gave; a gap if that is nothing or not all, unless blocks have all of the span."""
        if isinstance(answer, RetryableError):
            if not self._is_sealed(source, to_ms):
                gaps.note("the hot tier could not be read: recent samples may be missing", answer)
            return _Unasked()
        if not answer.whole and not self._is_sealed(source, to_ms):
            gaps.note(REBUILDING)
        return answer

    def _is_sealed(self, source: SourceKey, to_ms: int) -> bool:
        """Whether all windows until ``to_ms`` are in blocks, so that Redis can lack nothing of them."""
        end_s = Window.holding(to_ms, self._length_s).end_s
        try:
            return end_s * 1000 <= self._now_ms() and end_s <= self._sealed_s(source.lane)  # an open one needs no look
        except RetryableError:
            return False


def _unknown(source: SourceKey, series: str) -> RequestError:
    return RequestError(404, f"metric {series!r} of {source.source} is unknown")


def _points(
    columns: Columns, series: str, resolution: str, aggregated: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if resolution == RAW:
        ts_ms, values = column(columns, series)
        return ts_ms, values.view(np.float64)
    try:
        buckets = buckets_of(columns, series)
    except KeyError:
        return np.empty(0, np.int64), np.empty(0)
    return buckets.start_ms, aggregate(buckets, aggregated)[0]


def _covers(windows: Collection[Window], from_ms: int, to_ms: int) -> bool:
    """Whether every time from ``from_ms`` to ``to_ms``, both included, lies in one of the windows."""
    for window in sorted(windows):
        if window.overlaps(from_ms, from_ms):
            from_ms = window.end_s * 1000
    return from_ms > to_ms


def _is_newest(sample: tuple[int, float] | None, hot: HotAnswer, now_ms: int) -> bool:
    """Whether Redis alone says that it is the newest until now, or until itself if it lies ahead."""
    if sample is None:
        return False
    ts_ms, _ = sample
    first_ms, last_ms = (ts_ms, ts_ms) if ts_ms > now_ms else (min(ts_ms + 1, now_ms), now_ms)
    return _covers(hot.complete, first_ms, last_ms)


def _newest(columns: Columns, series: Sequence[str]) -> dict[str, tuple[int, float]]:
    samples = {name: column(columns, name) for name in series}
    return {
        name: (int(ts_ms[-1]), float(values.view(np.float64)[-1]))
        for name, (ts_ms, values) in samples.items()
        if ts_ms.size
    }
