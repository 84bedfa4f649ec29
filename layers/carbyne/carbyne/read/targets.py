"""Labelled series for PromQL: what Prometheus wrote, under the labels that it had there."""

from collections.abc import Sequence

from carbyne.core.errors import QueryError, RequestError
from carbyne.core.keys import SourceKey
from carbyne.core.labels import whole_of
from carbyne.promql.labels import made
from carbyne.promql.select import Selection, Selector, SeriesSamples, test_of
from carbyne.read.finder import FindSeries, FoundSeries
from carbyne.read.reader import Reader
from carbyne.read.rolled import SelectionRead
from carbyne.read.sources import bounded, threads
from carbyne.read.spent import Spent


class TargetSelector:
    """A Selector of one tenant's labelled series: the directory says which there are, the tiers what they hold.

    QueryError ``execution`` if more targets, series or samples match than a query may read; RetryableError if the
    directory or a tier can't be asked.
    """

    def __init__(self, reader: Reader, tenant: str, find: FindSeries, spent: Spent) -> None:
        self._reader, self._tenant, self._find, self._spent = reader, tenant, find, spent

    def select(self, selection: Selection) -> Sequence[SeriesSamples]:
        by_target: dict[str, list[FoundSeries]] = {}
        for series in self._found(selection):
            by_target.setdefault(whole_of(series.source.source), []).append(series)
        read = threads().map(lambda matched: self._of_target(matched, selection), by_target.values())
        return sorted(bounded(read), key=lambda series: series.labels)

    def _found(self, selection: Selection) -> Sequence[FoundSeries]:
        matchers = [(match.name, test_of(match)) for match in selection.matches]
        try:
            return self._find(self._tenant, [matchers], selection.after_ms + 1, selection.until_ms)
        except RequestError as error:
            raise QueryError("execution", str(error)) from None

    def _of_target(self, matched: Sequence[FoundSeries], selection: Selection) -> list[SeriesSamples]:
        """``matched``: in the order of their keys, some of them in several sources if the target is divided."""
        keys: dict[SourceKey, list[str]] = {}
        for series in matched:
            keys.setdefault(series.source, []).append(series.key)
        labels = {series.key: series.labels for series in matched}
        return SelectionRead(self._reader, keys, selection, self._spent).series(lambda key: made(labels[key]))


class AllOf:
    """A Selector of what both kinds select, none of whose series have the same labels."""

    def __init__(self, *selectors: Selector) -> None:
        self._selectors = selectors

    def select(self, selection: Selection) -> Sequence[SeriesSamples]:
        of_all = [series for selector in self._selectors for series in selector.select(selection)]
        return sorted(of_all, key=lambda series: series.labels)
