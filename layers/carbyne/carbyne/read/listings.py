"""Which series, labels and metrics a tenant has: of what Prometheus wrote, and of its hosts and services.

An answer is exact to the sample as long as its selectors leave no more sources than one call looks into.  Beyond that
names of labels and of metrics, and values of the labels of sources, are those of the directory, which never forgets a
name while its source lives and knows days alone; a warning says so.  Everything else is refused (422).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from carbyne.core.labels import INSTANCE, JOB, NAME
from carbyne.core.limits import LISTED_SOURCES_MAX
from carbyne.read.finder import Finder, FoundSeries, KnownSource, Matchers, TooMuchError
from carbyne.read.registered import SOURCE, ListSources, RegisteredSource, infos_of, no_sources
from carbyne.store.directory import ListedSource, MetricEntry

OF_SOURCES: Final = frozenset({NAME, JOB, INSTANCE, SOURCE})
"""LabelPairs about which the directory knows enough."""
BY_DAY: Final = f"more than {LISTED_SOURCES_MAX} targets match: what a target had on the days of the span is listed"
UNKNOWN: Final = "the metrics of some targets are not listed here: name one"

LabelPairs = tuple[tuple[str, str], ...]
"""The labels of a series, ascending; none is empty."""


class LabelTexts(NamedTuple):
    """Names or values of labels, ascending; ``warnings``: why some may be missing, or too many."""

    texts: list[str]
    warnings: list[str]


class _SeriesAsked(NamedTuple):
    """What series are asked for: of which tenant, selectors of which one must find them, and from when to when (ms,
    both ends included)."""

    tenant: str
    selectors: Sequence[Matchers]
    from_ms: int
    to_ms: int


class Listings:
    """``registered``: hosts and services; ``metrics``: what was said about a tenant's metrics."""

    def __init__(
        self,
        finder: Finder,
        registered: ListSources,
        metrics: Callable[[str], Mapping[str, MetricEntry]],
    ) -> None:
        self._finder = finder
        self._registered = registered
        self.metrics = metrics

    def series(self, tenant: str, selectors: Sequence[Matchers], from_ms: int, to_ms: int) -> list[LabelPairs]:
        """The series that a selector finds, ascending by their labels.  RequestError 422 for too many."""
        return sorted(self._found(_SeriesAsked(tenant, selectors, from_ms, to_ms), self._registered(tenant)))

    def stored(self, tenant: str, selectors: Sequence[Matchers], from_ms: int, to_ms: int) -> list[FoundSeries]:
        """The same but for info series, each as it is stored."""
        return self._finder.find(tenant, selectors, from_ms, to_ms, self._registered(tenant))

    def label_names(self, tenant: str, selectors: Sequence[Matchers], from_ms: int, to_ms: int) -> LabelTexts:
        """The names of all labels of the series that a selector finds.  RequestError 422 for too many."""
        asked, registered = _SeriesAsked(tenant, selectors, from_ms, to_ms), self._registered(tenant)
        try:
            series = self._found(asked, registered, LISTED_SOURCES_MAX)
        except TooMuchError:
            return self._names_by_day(asked, registered)
        return LabelTexts(sorted({name for labels in series for name, _ in labels}), [])

    def label_values(
        self, tenant: str, label: str, selectors: Sequence[Matchers], from_ms: int, to_ms: int
    ) -> LabelTexts:
        """The values that a label has in the series that a selector finds.  RequestError 422 for too many."""
        having = [[*matchers, (label, _is_there)] for matchers in selectors]
        asked, registered = _SeriesAsked(tenant, having, from_ms, to_ms), self._registered(tenant)
        try:
            series = self._found(asked, registered, LISTED_SOURCES_MAX if label in OF_SOURCES else 0)
        except TooMuchError:
            if label not in OF_SOURCES:
                raise
            return self._values_by_day(label, asked, registered)
        return LabelTexts(sorted({value for labels in series for name, value in labels if name == label}), [])

    def _found(
        self, asked: _SeriesAsked, registered: Sequence[RegisteredSource], sources_max: int = 0
    ) -> set[LabelPairs]:
        series = self._finder.find(*asked, registered, sources_max)
        return {_pairs(each.labels) for each in series} | _infos(asked.selectors, registered)

    def _names_by_day(self, asked: _SeriesAsked, registered: Sequence[RegisteredSource]) -> LabelTexts:
        """TooMuchError if the directory does not know."""
        targets = self._by_day(asked, registered)
        names = {NAME} | {name for labels in _infos(asked.selectors, registered) for name, _ in labels}
        for target in targets:
            if target.others is None:
                raise TooMuchError(f"{len(targets)} targets", LISTED_SOURCES_MAX)
        for labels, others in {(frozenset(target.labels), target.others) for target in targets}:
            names |= labels | (others or frozenset())
        return LabelTexts(sorted(names), [BY_DAY])

    def _values_by_day(self, label: str, asked: _SeriesAsked, registered: Sequence[RegisteredSource]) -> LabelTexts:
        """TooMuchError if the directory does not know."""
        targets = self._by_day(asked, registered)
        infos = {value for labels in _infos(asked.selectors, registered) for name, value in labels if name == label}
        if label != NAME:
            return LabelTexts(
                sorted(infos | {target.labels[label] for target in targets if label in target.labels}), [BY_DAY]
            )
        sets = {target.names for target in targets}
        names = {name for of_set in sets for name in of_set or () if _may_be_named(name, asked.selectors)}
        return LabelTexts(sorted(infos | names), [BY_DAY, *([UNKNOWN] if None in sets else [])])

    def _by_day(self, asked: _SeriesAsked, registered: Sequence[RegisteredSource]) -> list[KnownSource]:
        targets = self._finder.targets(*asked, registered)
        if any(label not in OF_SOURCES for matchers in asked.selectors for label, _ in matchers):
            raise TooMuchError(f"{len(targets)} targets", LISTED_SOURCES_MAX)
        return targets


def _pairs(labels: Mapping[str, str]) -> LabelPairs:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _is_there(value: str) -> bool:
    return value != ""


def _infos(selectors: Iterable[Matchers], registered: Sequence[RegisteredSource]) -> set[LabelPairs]:
    """The info series of hosts that a selector finds."""
    return {
        _pairs(labels)
        for labels in infos_of(registered)
        if any(all(test(labels.get(name, "")) for name, test in matchers) for matchers in selectors)
    }


def _may_be_named(name: str, selectors: Collection[Matchers]) -> bool:
    return any(all(test(name) for label, test in matchers if label == NAME) for matchers in selectors)


class _NoDirectory:
    def sources(self, tenant: str) -> Mapping[str, ListedSource]:
        return {}


NO_LISTINGS: Final = Listings(Finder(_NoDirectory(), lambda *_: iter(()), lambda: 0.0), no_sources, lambda _: {})
"""In the place of listings, where there is no directory."""
