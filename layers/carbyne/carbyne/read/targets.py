"""Labelled series for PromQL: what Prometheus wrote, under the labels that it had there."""

from collections.abc import Sequence
from typing import Final

from carbyne.core.errors import QueryError, RequestError
from carbyne.core.keys import RAW, SourceKey
from carbyne.promql.labels import Labels, made
from carbyne.promql.select import Selection, Selector, SeriesSamples, test_of
from carbyne.read.finder import FindSeries
from carbyne.read.reader import How, Reader
from carbyne.read.sources import bounded, series_of, threads

_RAW: Final = How(RAW)


class TargetSelector:
    """A Selector of one tenant's labelled series: the directory says which there are, the tiers what they hold.

    QueryError ``execution`` if more targets, series or samples match than a query may read; RetryableError if the
    directory or a tier can't be asked.
    """

    def __init__(self, reader: Reader, tenant: str, find: FindSeries) -> None:
        self._reader, self._tenant, self._find = reader, tenant, find

    def select(self, selection: Selection) -> Sequence[SeriesSamples]:
        by_source: dict[SourceKey, dict[str, Labels]] = {}
        matchers = [(match.name, test_of(match)) for match in selection.matches]
        try:
            found = self._find(self._tenant, [matchers], selection.after_ms + 1, selection.until_ms)
        except RequestError as error:
            raise QueryError("execution", str(error)) from None
        for series in found:
            by_source.setdefault(series.source, {})[series.key] = made(series.labels)
        read = threads().map(lambda source: self._of_target(source, by_source[source], selection), by_source)
        return sorted(bounded(read), key=lambda series: series.labels)

    def _of_target(self, source: SourceKey, keys: dict[str, Labels], selection: Selection) -> list[SeriesSamples]:
        many = self._reader.read_many(source, sorted(keys), selection.after_ms + 1, selection.until_ms, _RAW)
        return series_of(many, keys.__getitem__)


class AllOf:
    """A Selector of what several select, none of whose series have the same labels."""

    def __init__(self, *selectors: Selector) -> None:
        self._selectors = selectors

    def select(self, selection: Selection) -> Sequence[SeriesSamples]:
        found = [series for selector in self._selectors for series in selector.select(selection)]
        return sorted(found, key=lambda series: series.labels)
