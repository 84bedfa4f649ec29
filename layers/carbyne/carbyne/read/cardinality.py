"""Which targets, metrics and labels make the most series: so that an explosion is found in a minute.

Redis says how many series each source has in its open windows, in a command each.  Then the series of the largest
sources are looked into, so many as one call may: what explodes is among them, in one target or in all alike.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, Protocol

from carbyne.core import labels
from carbyne.core.keys import SourceKey
from carbyne.core.labels import NAME
from carbyne.core.limits import COUNTED_SOURCES_MAX, FOUND_SERIES_MAX, LISTED_SOURCES_MAX
from carbyne.read.finder import Finder, KnownSource, SpansOf
from carbyne.read.registered import ListSources

HOUR_MS: Final = 3_600_000


class HotCounts(Protocol):
    """How many series each of some sources has in the window in Redis, of those since a time, that has most;
    RetryableError."""

    def counts_each(self, sources: Sequence[SourceKey], since_ms: int) -> Mapping[SourceKey, int]: ...


class CardinalityReport(NamedTuple):
    """``series``: of all sources; ``since_ms``: from when on they had a sample.  The counters are of the sources that
    were looked into: series by metric, by source, and by label and value; values, and bytes of values, by label.
    ``warnings``: what was not counted."""

    series: int
    since_ms: int
    of_sources: Counter[str]
    of_metrics: Counter[str]
    of_pairs: Counter[tuple[str, str]]
    values: Counter[str]
    value_bytes: Counter[str]
    warnings: list[str]


def no_report(_: str) -> CardinalityReport:
    """In the place of a report, where nothing is counted."""
    return CardinalityReport(0, 0, Counter(), Counter(), Counter(), Counter(), Counter(), [])


class Cardinality:
    """``spans``: the series of sources."""

    def __init__(
        self,
        finder: Finder,
        registered: ListSources,
        hot: HotCounts,
        spans: SpansOf,
        now_ms: Callable[[], int],
    ) -> None:
        self._finder = finder
        self._registered = registered
        self._hot = hot
        self._spans = spans
        self._now_ms = now_ms

    def report(self, tenant: str) -> CardinalityReport:
        """Of the series with samples in windows since an hour; RetryableError."""
        now_ms = self._now_ms()
        since_ms = now_ms - HOUR_MS
        known = self._finder.targets(tenant, ((),), since_ms, now_ms, self._registered(tenant))
        counted = {source.source: source for source in known[:COUNTED_SOURCES_MAX]}
        counts = self._hot.counts_each(list(counted), since_ms)
        largest = _largest(counts)
        series = (
            (counted[source], key)
            for source, _, spans in self._spans(largest, now_ms, lambda _: True)
            for key, span in spans.items()
            if span.last_ms >= since_ms
        )
        of_wholes = _of_wholes(counts)
        warnings = [
            *_missing("targets are counted", len(counted), len(known)),
            *_missing("targets are looked into, the largest ones", len(largest), sum(map(bool, counts.values()))),
        ]
        shown = {labels.whole_of(source.source): _shown(counted[source]) for source in counts}
        of_sources = Counter({shown[whole]: number for whole, number in of_wholes.items() if number})
        return _counted(_once(series), sum(of_wholes.values()), since_ms, of_sources, warnings)


def _of_wholes(counts: Mapping[SourceKey, int]) -> dict[str, int]:
    """How many series each target has.  For an hour after it was divided its series are in two sources each, of two
    divisions, of which the one with more counts."""
    of_divisions: dict[str, Counter[int]] = {}
    for (_, source), number in counts.items():
        whole = labels.whole_of(source)
        of_divisions.setdefault(whole, Counter())[len(source) - len(whole)] += number
    return {whole: max(numbers.values()) for whole, numbers in of_divisions.items()}


def _once(series: Iterable[tuple[KnownSource, str]]) -> Iterator[tuple[KnownSource, str]]:
    """Each series of a target once, whichever of its sources have it."""
    met: dict[str, set[str]] = {}
    for source, key in series:
        of_target = met.setdefault(labels.whole_of(source.source.source), set())
        if key not in of_target:
            of_target.add(key)
            yield source, key


def _largest(counts: Mapping[SourceKey, int]) -> list[SourceKey]:
    """The sources with the most series, as many as one call looks into; one at least."""
    ordered = sorted((source for source, number in counts.items() if number), key=lambda source: -counts[source])
    totals = accumulate(counts[source] for source in ordered)
    fitting = sum(1 for total in totals if total <= FOUND_SERIES_MAX)
    return ordered[: min(max(fitting, 1), LISTED_SOURCES_MAX)]


def _counted(
    series: Iterable[tuple[KnownSource, str]],
    number: int,
    since_ms: int,
    of_sources: Counter[str],
    warnings: list[str],
) -> CardinalityReport:
    """Keys are taken apart once, since those of the targets of a job are alike."""
    of_keys, of_targets = Counter[tuple[bool, str]](), Counter[tuple[str, str]]()
    for source, key in series:
        of_keys[labels.is_labelled(source.source.source), key] += 1
        of_targets.update(source.labels.items())
    pairs = of_targets
    for (is_labelled, key), times in of_keys.items():
        inner = labels.parse(key) if is_labelled else {NAME: key}
        pairs.update(dict.fromkeys(inner.items(), times))
    values, value_bytes, metrics = Counter[str](), Counter[str](), Counter[str]()
    for (label, value), of_pair in pairs.items():
        values[label] += 1
        value_bytes[label] += len(value.encode()) * of_pair
        if label == NAME:
            metrics[value] = of_pair
    return CardinalityReport(number, since_ms, of_sources, metrics, pairs, values, value_bytes, warnings)


def _missing(what: str, some: int, of_all: int) -> list[str]:
    return [f"{some} of {of_all} {what}"] if some < of_all else []


def _shown(source: KnownSource) -> str:
    """A source as its labels, or by its name if it has none."""
    text = ",".join(f"{label}={value}" for label, value in source.labels.items())
    return text or labels.whole_of(source.source.source)
