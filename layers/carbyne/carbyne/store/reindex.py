"""Makes the directory again, of what it is derived from: the catalogue, and the series that Redis alone knows.

Which sources there are say the keys of blocks, day by day of their expiry, and the windows in Redis that are not sealed
yet.  Each source is restored by itself, and restoring it twice changes nothing: so the work may end anywhere, and go on
with the day at which it ended.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from carbyne.core import labels
from carbyne.core.errors import RetryableError
from carbyne.core.keys import BlockKey, SourceKey
from carbyne.core.limits import DAY_S, FOUND_AT_ONCE
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import SeriesSpan, Spans
from carbyne.store.directory import Directory


class HotSources(Protocol):
    """Redis; RetryableError if it can't be asked."""

    def sources(self) -> Iterable[SourceKey]: ...
    def series_each(self, sources: Sequence[SourceKey]) -> Mapping[SourceKey, Mapping[str, tuple[int, int]]]: ...


class Reindexed(NamedTuple):
    """How far the work is: ``day`` of expiry, since 1970; sources that were restored, and those of them without a known
    target."""

    day: int
    sources: int
    nameless: int


class Reindex:
    """``expiring``: the keys of blocks that expire on a day since 1970; ``hot``: None if Redis is not to be asked;
    ``now_s``: the clock."""

    def __init__(
        self,
        directory: Directory,
        catalogue: Catalogue,
        expiring: Callable[[int], Iterable[BlockKey]],
        hot: HotSources | None,
        now_s: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._catalogue = catalogue
        self._expiring = expiring
        self._hot = hot
        self._now_s = now_s
        self._done: set[SourceKey] = set()

    def run(self, days: range, progress: Callable[[Reindexed], None]) -> Reindexed:
        """Restore all sources with blocks that expire on these days, those in Redis first; how far it came.

        ``progress``: called after each day and each portion of sources.  RetryableError names the day to go on with.
        """
        state = Reindexed(days.start, 0, 0)
        try:
            if self._hot:
                state = self._some(self._hot.sources(), state, progress)
            for day in days:
                state = state._replace(day=day)
                state = self._some((key.source for key in self._expiring(day)), state, progress)
                progress(state)
        except RetryableError as error:
            raise RetryableError(f"{error}; go on with --from-day {state.day}") from error
        return state

    def _some(self, sources: Iterable[SourceKey], state: Reindexed, progress: Callable[[Reindexed], None]) -> Reindexed:
        new = self._new(sources)
        while portion := list(islice(new, FOUND_AT_ONCE)):
            nameless = self._restore(portion)
            state = Reindexed(state.day, state.sources + len(portion), state.nameless + nameless)
            progress(state)
        return state

    def _new(self, sources: Iterable[SourceKey]) -> Iterator[SourceKey]:
        """Labelled sources, each once."""
        for source in sources:
            if labels.is_labelled(source.source) and source not in self._done:
                self._done.add(source)
                yield source

    def _restore(self, sources: Sequence[SourceKey]) -> int:
        """How many of them have no target that is known."""
        hot = self._hot.series_each(sources) if self._hot else {}
        catalogue = self._catalogue.series_each(sources)
        nameless = 0
        for source in sources:
            spans = catalogue[source]
            for name, span in hot.get(source, {}).items():
                spans[name] = spans[name].joined(SeriesSpan(*span)) if name in spans else SeriesSpan(*span)
            if spans and not self._directory.restore(source, self._days(spans), spans.keys()):
                nameless += not labels.is_bucket(source.source)
        return nameless

    def _days(self, spans: Spans) -> tuple[int, int]:
        """The first and the last day of a source, the latter not after today: a window in Redis may end later."""
        first_ms, last_ms = min(span.first_ms for span in spans.values()), max(span.last_ms for span in spans.values())
        today = int(self._now_s()) // DAY_S
        return min(first_ms // 1000 // DAY_S, today), min(last_ms // 1000 // DAY_S, today)
