"""Finds series by their labels: the directory first, then the series of the sources that are left.

A selector is a list of (label, test); a series is found if it passes all tests of one selector, where a label that it
lacks is empty.  What a selector says of a source's own labels and of metrics' names is tested on the directory alone;
the series of a source are read only if these tests pass.  How many sources and series one call looks into is bounded.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, Protocol

from carbyne.core import labels
from carbyne.core.errors import RequestError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import (
    DAY_S,
    DIRECTORY_CACHE_S,
    DIRECTORY_CACHED_SOURCES_MAX,
    FOUND_SERIES_MAX,
    FOUND_SOURCES_MAX,
    LOOKED_AT_SERIES_MAX,
    RAW_DAYS_MAX,
)
from carbyne.read.registered import SOURCE, RegisteredSource
from carbyne.store.catalogue_items import Spans
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
SpansOf = Callable[[Sequence[SourceKey], int, Callable[[str], bool]], Iterator[tuple[SourceKey, int, Spans]]]
"""As ``KnownSeries.spans``."""
_HOST: Final = frozenset({SOURCE})
_TARGET: Final = frozenset({labels.JOB, labels.INSTANCE})


class TooMuchError(RequestError):
    """422: the selectors leave more sources or series than one call looks into."""

    def __init__(self, what: str, most: int) -> None:
        message = f"the selectors leave {what} to look into, at most {most}; name a job, instance or metric"
        super().__init__(422, message)


class KnownSource(NamedTuple):
    """A source as the directory or the registry knows it.

    ``labels``: that all of its series have; ``names``: of its metrics, None if they may be any; ``others``: names of
    the labels that its series may have besides, None if any.
    """

    source: SourceKey
    labels: Mapping[str, str]
    names: frozenset[str] | None
    others: frozenset[str] | None

    @property
    def decided(self) -> frozenset[str]:
        """The labels that no key of a series of such a source has."""
        if not labels.is_labelled(self.source.source):
            return _HOST
        return _TARGET if self.labels else frozenset()

    def says(self, label: str) -> bool:
        """Whether the value of a label, which may be none, is known without the series."""
        if label in self.decided:
            return True
        return self.others is not None and label not in self.others and label != labels.NAME


def no_series(tenant: str, selectors: Sequence[Matchers], from_ms: int, to_ms: int) -> Sequence[FoundSeries]:
    """In the place of a finder, where there is none."""
    return ()


class _Listed(NamedTuple):
    """A source of the directory, as it is kept and as it is searched."""

    entry: ListedSource
    target: KnownSource


class Finder:
    """``spans``: of all series of sources; ``clock``: seconds, by which the directory is read again."""

    def __init__(self, directory: SourceList, spans: SpansOf, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._spans = spans
        self._clock = clock
        self._cached: dict[str, tuple[dict[str, _Listed], float]] = {}

    def find(
        self,
        tenant: str,
        selectors: Sequence[Matchers],
        from_ms: int,
        to_ms: int,
        registered: Sequence[RegisteredSource] = (),
        sources_max: int = 0,
    ) -> list[FoundSeries]:
        """The series with samples in the span, both ends included, that a selector finds; in the order of their keys.

        Each is found once; of hosts and services those of ``registered``.  TooMuchError for more than one call looks
        into, or for more sources than ``sources_max``, by default FOUND_SOURCES_MAX.
        """
        targets = {target.source: target for target in self.targets(tenant, selectors, from_ms, to_ms, registered)}
        if len(targets) > (sources_max or FOUND_SOURCES_MAX):
            raise TooMuchError(f"{len(targets)} targets", sources_max or FOUND_SOURCES_MAX)
        fitting = self._of_targets(targets, [_Sought(matchers) for matchers in selectors], from_ms, to_ms)
        series = list(islice(fitting, FOUND_SERIES_MAX + 1))
        if len(series) > FOUND_SERIES_MAX:
            raise TooMuchError(f"more than {FOUND_SERIES_MAX} series", FOUND_SERIES_MAX)
        return sorted(series, key=lambda each: (each.key, each.source))

    def targets(
        self,
        tenant: str,
        selectors: Sequence[Matchers],
        from_ms: int,
        to_ms: int,
        registered: Sequence[RegisteredSource] = (),
    ) -> list[KnownSource]:
        """The sources whose series a selector may find in the span, by the directory alone and to the day."""
        sought = [_Sought(matchers) for matchers in selectors]
        hosts = (_of_registry(tenant, source) for source in registered)
        candidates = [*self._in_span(tenant, from_ms, to_ms), *hosts]
        return [target for target in candidates if any(each.may_be_of(target) for each in sought)]

    def _of_targets(
        self, targets: Mapping[SourceKey, KnownSource], sought: Sequence["_Sought"], from_ms: int, to_ms: int
    ) -> Iterator[FoundSeries]:
        inside = _Inside({target.decided for target in targets.values()}, sought)
        looked_at = 0
        for source, number, spans in self._spans(list(targets), to_ms, inside.may_be_found):
            looked_at += number
            if looked_at > LOOKED_AT_SERIES_MAX:
                raise TooMuchError(f"more than {LOOKED_AT_SERIES_MAX} series", LOOKED_AT_SERIES_MAX)
            target = targets[source]
            fitting = [each for each in sought if each.may_be_of(target)]
            for key, span in spans.items():
                if span.first_ms <= to_ms and span.last_ms >= from_ms and inside.finds(fitting, target, key):
                    yield FoundSeries(source, key, {**target.labels, **inside.labels_of(target.decided, key)})

    def _in_span(self, tenant: str, from_ms: int, to_ms: int) -> Iterator[KnownSource]:
        """Days are those of arrival: a sample may be a day early or some days late."""
        first_day, last_day = from_ms // 1000 // DAY_S, to_ms // 1000 // DAY_S
        for listed in self._listed(tenant):
            entry = listed.entry
            if entry.last_day + 1 >= first_day and entry.first_day - RAW_DAYS_MAX <= last_day:
                yield listed.target

    def _listed(self, tenant: str) -> Iterable[_Listed]:
        known, until_s = self._cached.get(tenant, ({}, 0.0))
        if until_s > self._clock():
            return known.values()
        listed = {}
        for source, entry in self._directory.sources(tenant).items():
            before = known.get(source)
            listed[source] = before if before and before.entry == entry else _of_directory(tenant, source, entry)
        others = sum(len(cached) for other, (cached, _) in self._cached.items() if other != tenant)
        if others + len(listed) > DIRECTORY_CACHED_SOURCES_MAX:
            self._cached.clear()
        self._cached[tenant] = listed, self._clock() + DIRECTORY_CACHE_S
        return listed.values()


class _Sought:
    """A selector taken apart: tests of metrics' names, and of other labels."""

    def __init__(self, matchers: Matchers) -> None:
        self._matchers = matchers
        self._of_name = [test for label, test in matchers if label == labels.NAME]
        self._of_labels = [(label, test) for label, test in matchers if label != labels.NAME]
        self._known: dict[frozenset[str] | None, bool] = {None: True}

    def may_be_of(self, target: KnownSource) -> bool:
        """Whether a series of the source may pass, as far as can be told without its series."""
        for label, test in self._of_labels:
            if target.says(label) and not test(target.labels.get(label, "")):
                return False
        return not self._of_name or self._may_be_named(target.names)

    def finds_inside(self, decided: frozenset[str], inner: Mapping[str, str]) -> bool:
        """Whether the labels in a key pass, where those of the source do."""
        return all(test(inner.get(label, "")) for label, test in self._matchers if label not in decided)

    def _may_be_named(self, names: frozenset[str] | None) -> bool:
        """Targets of a job share their set of names, which is tested once."""
        if names not in self._known:
            self._known[names] = any(all(test(name) for test in self._of_name) for name in names or ())
        return self._known[names]


class _Inside:
    """Tests each key once, since the keys of the targets of a job are alike.  ``kinds``: of the sources that are looked
    into, as ``KnownSource.decided``."""

    def __init__(self, kinds: Collection[frozenset[str]], sought: Sequence[_Sought]) -> None:
        self._kinds = kinds
        self._sought = sought
        self._labels: dict[tuple[bool, str], Mapping[str, str]] = {}
        self._found: dict[tuple[frozenset[str], str], list[_Sought]] = {}
        self._may: dict[str, bool] = {}

    def may_be_found(self, key: str) -> bool:
        """Whether some source may have a series with this key that a selector finds."""
        may = self._may.get(key)
        if may is None:
            may = self._may[key] = any(self._passed(decided, key) for decided in self._kinds)
        return may

    def finds(self, fitting: Sequence[_Sought], target: KnownSource, key: str) -> bool:
        """Whether one of the selectors that fit a source finds its series with this key."""
        passed = self._passed(target.decided, key)
        return any(each in passed for each in fitting)

    def labels_of(self, decided: frozenset[str], key: str) -> Mapping[str, str]:
        """The labels in a key; of a host's it is the metric's name."""
        place = decided is _HOST, key
        if place not in self._labels:
            self._labels[place] = {labels.NAME: key} if decided is _HOST else labels.parse(key)
        return self._labels[place]

    def _passed(self, decided: frozenset[str], key: str) -> list[_Sought]:
        place = decided, key
        if place not in self._found:
            inner = self.labels_of(decided, key)
            self._found[place] = [each for each in self._sought if each.finds_inside(decided, inner)]
        return self._found[place]


def _of_directory(tenant: str, source: str, entry: ListedSource) -> _Listed:
    target = labels.parse(entry.target) if entry.target else {}
    return _Listed(entry, KnownSource(SourceKey(tenant, source), target, entry.names.metrics, entry.names.labels))


def _of_registry(tenant: str, registered: RegisteredSource) -> KnownSource:
    return KnownSource(SourceKey(tenant, registered.source), {SOURCE: registered.source}, None, frozenset())
