"""Finds labelled series: the directory first, then the series of the sources that are left.

A selector is a list of (label, test); a series is found if it passes all tests of one selector, where a label that it
lacks is empty.  What a selector says of job, instance and the metric's name is tested on the directory alone; the
series of a source are read only if these tests pass.  How many sources and series one call looks into is bounded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from carbyne.core import labels
from carbyne.core.errors import RequestError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import BATCH_READERS, DAY_S, DIRECTORY_CACHE_S, FOUND_SERIES_MAX, FOUND_SOURCES_MAX
from carbyne.store.catalogue import Spans
from carbyne.store.directory import ListedSource

Matchers = Sequence[tuple[str, Callable[[str], bool]]]


class SourceList(Protocol):
    """The directory; RetryableError if it can't be read."""

    def sources(self, tenant: str) -> Mapping[str, ListedSource]: ...


class FoundSeries(NamedTuple):
    """A series: where it is stored, and all its labels."""

    source: SourceKey
    key: str
    labels: Mapping[str, str]


FindSeries = Callable[[str, Sequence[Matchers], int, int], Sequence[FoundSeries]]
"""As ``Finder.find``."""


def no_series(tenant: str, selectors: Sequence[Matchers], from_ms: int, to_ms: int) -> Sequence[FoundSeries]:
    """In the place of a finder, where there is none."""
    return ()


class Finder:
    """``spans``: of all series of a source; ``clock``: seconds, by which the directory is read again."""

    def __init__(self, directory: SourceList, spans: Callable[[SourceKey], Spans], clock: Callable[[], float]) -> None:
        self._directory = directory
        self._spans = spans
        self._clock = clock
        self._listed: dict[str, tuple[Mapping[str, ListedSource], float]] = {}

    def find(self, tenant: str, selectors: Sequence[Matchers], from_ms: int, to_ms: int) -> list[FoundSeries]:
        """The series with samples in the span, both ends included, that a selector finds; in the order of their keys.

        Each is found once.  RequestError 422 for more sources or series than one call looks into.
        """
        targets = {
            SourceKey(tenant, source): _labels_of(listed)
            for source, listed in self._in_span(tenant, from_ms, to_ms)
            if any(_may_have(listed, matchers) for matchers in selectors)
        }
        if len(targets) > FOUND_SOURCES_MAX:
            raise _too_many(f"{len(targets)} targets", FOUND_SOURCES_MAX)
        with ThreadPoolExecutor(BATCH_READERS) as readers:
            spans = dict(zip(targets, readers.map(self._spans, targets), strict=True))
        if (looked_at := sum(map(len, spans.values()))) > FOUND_SERIES_MAX:
            raise _too_many(f"{looked_at} series", FOUND_SERIES_MAX)
        found = (
            FoundSeries(source, key, {**targets[source], **labels.parse(key)})
            for source, of_source in spans.items()
            for key, span in of_source.items()
            if span.first_ms <= to_ms and span.last_ms >= from_ms
        )
        return sorted(
            (series for series in found if any(_has(series.labels, matchers) for matchers in selectors)),
            key=lambda series: (series.key, series.source),
        )

    def names(self, tenant: str, from_ms: int, to_ms: int) -> set[str] | None:
        """All names of metrics of the sources in the span, by the directory alone; None if it does not know them."""
        sets = [listed.names for _, listed in self._in_span(tenant, from_ms, to_ms)]
        return None if None in sets else {name for names in sets if names for name in names}

    def _in_span(self, tenant: str, from_ms: int, to_ms: int) -> Iterator[tuple[str, ListedSource]]:
        """Days are those of arrival: a sample may be a day early or some days late."""
        first_day, last_day = from_ms // 1000 // DAY_S, to_ms // 1000 // DAY_S
        for source, listed in self._sources(tenant).items():
            if listed.last_day + 1 >= first_day and listed.first_day - _LATE_DAYS <= last_day:
                yield source, listed

    def _sources(self, tenant: str) -> Mapping[str, ListedSource]:
        known = self._listed.get(tenant)
        if known and known[1] > self._clock():
            return known[0]
        if len(self._listed) >= _TENANTS_MAX:
            self._listed.clear()
        sources = self._directory.sources(tenant)
        self._listed[tenant] = sources, self._clock() + DIRECTORY_CACHE_S
        return sources


_LATE_DAYS = 460
"""A sample may be as old as raw retention when its source is first heard of."""
_TENANTS_MAX = 100


def _labels_of(listed: ListedSource) -> Mapping[str, str]:
    return labels.parse(listed.target) if listed.target else {}


def _may_have(listed: ListedSource, matchers: Matchers) -> bool:
    """Whether a series of the source may pass, by what the directory says of it."""
    target = _labels_of(listed)
    of_target = [(name, test) for name, test in matchers if name in (labels.JOB, labels.INSTANCE)]
    of_name = [test for name, test in matchers if name == labels.NAME]
    if target and not _has(target, of_target):
        return False
    return listed.names is None or not of_name or any(all(test(name) for test in of_name) for name in listed.names)


def _has(found: Mapping[str, str], matchers: Iterable[tuple[str, Callable[[str], bool]]]) -> bool:
    return all(test(found.get(name, "")) for name, test in matchers)


def _too_many(what: str, most: int) -> RequestError:
    return RequestError(422, f"the selectors leave {what} to look into, at most {most}; name a job, instance or metric")
