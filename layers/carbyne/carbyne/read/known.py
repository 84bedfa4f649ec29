"""Which series sources have, and when: asked of the hot tier, of what waits to be merged, and of the catalogue.

In this order, in which series move: one on its way is met in the one or the other.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import BATCH_READERS, FOUND_AT_ONCE
from carbyne.read.reader import HotAnswer
from carbyne.samples.blocks import decode
from carbyne.samples.rows import HotQuery
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import SeriesSpan, Spans, spans_of


class HotSeries(Protocol):
    """The hot tier; RetryableError if it can't be asked.  ``read_each`` without series tells which lanes are whole."""

    def series_each(self, sources: Sequence[SourceKey]) -> Mapping[SourceKey, Mapping[str, tuple[int, int]]]: ...
    def read_each(
        self, sources: Sequence[SourceKey], query: HotQuery
    ) -> Mapping[SourceKey, HotAnswer | RetryableError]: ...


class LateSources(Protocol):
    """Those of some sources that may have late rows; RetryableError."""

    def listed(self, sources: Collection[SourceKey]) -> set[SourceKey]: ...


class KnownSeries:
    """``length_s``: of a raw window today; ``check``: raises RetryableError if an answer of the hot tier may lack
    something of a source until a time (ms)."""

    def __init__(
        self,
        hot: HotSeries,
        late: LateSources,
        catalogue: Catalogue,
        length_s: int,
        now_ms: Callable[[], int],
        check: Callable[[HotAnswer | RetryableError, SourceKey, int], object],
    ) -> None:
        self._hot = hot
        self._late = late
        self._catalogue = catalogue
        self._length_s = length_s
        self._now_ms = now_ms
        self._check = check

    def spans(
        self, sources: Sequence[SourceKey], to_ms: int, keep: Callable[[str], bool]
    ) -> Iterator[tuple[SourceKey, int, Spans]]:
        """How many series each source has, and those of the keys that ``keep`` takes, with the times between which they
        have samples: in Redis in all of a window.  RetryableError, also if series may be missing that have samples
        before ``to_ms``."""
        for first in range(0, len(sources), FOUND_AT_ONCE):
            yield from self._some(sources[first : first + FOUND_AT_ONCE], to_ms, keep)

    def _some(
        self, sources: Sequence[SourceKey], to_ms: int, keep: Callable[[str], bool]
    ) -> Iterator[tuple[SourceKey, int, Spans]]:
        now_ms = self._now_ms()
        hot = self._hot.series_each(sources)
        for source, answer in self._hot.read_each(sources, HotQuery(now_ms, now_ms, self._length_s, [])).items():
            self._check(answer, source, min(to_ms, now_ms))
        late = self._late_spans(sources)
        catalogue = self._catalogue.kept_each(sources, keep)
        for source in sources:
            number, spans = catalogue[source]
            _join(spans, {name: SeriesSpan(*span) for name, span in hot[source].items() if keep(name)})
            for more in late.get(source, ()):
                _join(spans, {name: span for name, span in more.items() if keep(name)})
            yield source, max(number, len(hot[source])), spans

    def _late_spans(self, sources: Sequence[SourceKey]) -> dict[SourceKey, list[Spans]]:
        listed = sorted(self._late.listed(sources))
        if not listed:
            return {}
        with ThreadPoolExecutor(BATCH_READERS) as readers:
            pending = readers.map(lambda source: self._catalogue.of(source).pending(), listed)
            return {
                source: [spans_of(decode(rows.data)) for rows in of_source.late]
                for source, of_source in zip(listed, pending, strict=True)
            }


def _join(spans: Spans, more: Mapping[str, SeriesSpan]) -> None:
    for name, span in more.items():
        spans[name] = spans[name].joined(span) if name in spans else span
