"""Series of hosts and services for PromQL: ``{__name__="<metric>", source="host/<id>"}`` and the like.

Who a host is says another series, ``carbyne_host_info``, one for each of its roles, to be joined.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbyne.core.errors import QueryError
from carbyne.core.keys import SourceKey
from carbyne.core.labels import STALE_BITS
from carbyne.core.limits import BATCH_READERS, QUERY_SAMPLES_MAX, QUERY_SERIES_MAX, QUERY_SOURCES_MAX
from carbyne.promql.labels import NAME, Labels, made
from carbyne.promql.select import Selection, SeriesSamples, Test, test_of, tests_of
from carbyne.read.reader import Reader
from carbyne.read.registered import HOST_INFO, SOURCE, ListSources, RegisteredSource, info_times
from carbyne.read.rolled import SelectionRead
from carbyne.read.spent import Spent

STALE: Final = float(np.array([STALE_BITS], np.uint64).view(np.float64)[0])
INFO_STEP_MS: Final = 60_000
"""Between two samples of an info series, as between those of an agent."""


@cache
def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(BATCH_READERS)


def bounded(of_sources: Iterable[Sequence[SeriesSamples]]) -> Iterator[SeriesSamples]:
    """The series of all sources; QueryError ``execution`` once they are more than a query may read."""
    series, samples = 0, 0
    for read in of_sources:
        series, samples = series + len(read), samples + sum(len(each.ts_ms) for each in read)
        if series > QUERY_SERIES_MAX or samples > QUERY_SAMPLES_MAX:
            raise QueryError(
                "execution",
                f"a selector matches more than {min(series, QUERY_SERIES_MAX)} series or {QUERY_SAMPLES_MAX}"
                f" samples: name fewer, or ask for a shorter time (so far {series} series, {samples} samples)",
            )
        yield from read


class SourceSelector:
    """A Selector of one tenant's hosts and services.

    QueryError ``execution`` if more sources, series or samples match than a query may read; RetryableError if the
    registry or a tier can't be asked.
    """

    def __init__(self, reader: Reader, tenant: str, listed: ListSources, spent: Spent) -> None:
        self._reader, self._tenant, self._listed, self._spent = reader, tenant, listed, spent

    def select(self, selection: Selection) -> Sequence[SeriesSamples]:
        sources = self._listed(self._tenant)
        selected = [*_infos(sources, selection), *self._samples(sources, selection)]
        return sorted(selected, key=lambda series: series.labels)

    def _samples(self, sources: Sequence[RegisteredSource], selection: Selection) -> Iterator[SeriesSamples]:
        tests = _Tests(selection)
        chosen = self._chosen(sources, tests)
        yield from bounded(threads().map(lambda key: self._of_source(key, tests, selection), chosen))

    def _chosen(self, sources: Sequence[RegisteredSource], tests: "_Tests") -> list[SourceKey]:
        if not tests.others:
            return []
        chosen = [SourceKey(self._tenant, each.source) for each in sources if tests.source(each.source)]
        if len(chosen) > QUERY_SOURCES_MAX:
            raise QueryError(
                "execution",
                f'a selector matches {len(chosen)} sources, more than {QUERY_SOURCES_MAX}: name some by source=~"..."',
            )
        return chosen

    def _of_source(self, key: SourceKey, tests: "_Tests", selection: Selection) -> list[SeriesSamples]:
        if not (names := self._names(key, tests)):
            return []
        read = SelectionRead(self._reader, {key: sorted(names)}, selection, self._spent)
        return read.series(lambda name: made({NAME: name, SOURCE: key.source}))

    def _names(self, key: SourceKey, tests: "_Tests") -> list[str]:
        return tests.names or [name for name in self._reader.known(key, partial=False)[0] if tests.name(name)]


class _Tests:
    """The matchers of a selection.  ``names``: all metrics that can match, empty if that is not known; ``others``:
    whether a series may lack all further labels."""

    def __init__(self, selection: Selection) -> None:
        self.name = _all_of(selection, NAME)
        self.source = _all_of(selection, SOURCE)
        others = [match for match in selection.matches if match.name not in {NAME, SOURCE}]
        self.others = all(test_of(match)("") for match in others)
        exact = {match.value for match in selection.matches if match.name == NAME and match.op == "="}
        self.names = sorted(name for name in exact if self.name(name))
        self.others &= bool(self.names) or not exact


def _all_of(selection: Selection, label: str) -> Test:
    tests = [test_of(match) for match in selection.matches if match.name == label]
    return lambda value: all(test(value) for test in tests)


def _infos(sources: Sequence[RegisteredSource], selection: Selection) -> Iterator[SeriesSamples]:
    """The info series of hosts at the times at which they held: a sample each minute, and a stale marker behind, so
    that what a host is no more does not look back into what it is."""
    if not _Tests(selection).name(HOST_INFO):
        return
    first_ms = selection.after_ms // INFO_STEP_MS * INFO_STEP_MS + INFO_STEP_MS
    ts_ms = np.arange(first_ms, selection.until_ms + 1, INFO_STEP_MS, dtype=np.int64)
    holds: dict[Labels, NDArray[np.bool_]] = {}
    matches = tests_of(selection.matches)
    for source in sources:
        for given, since_ms, until_ms in info_times(source):
            inside, labels = (ts_ms >= since_ms) & (ts_ms < until_ms), made(given)
            if inside.any() and matches(labels):
                holds[labels] = holds.get(labels, inside) | inside
    for labels, holds_at in holds.items():
        ends = np.concatenate([[False], holds_at[:-1] & ~holds_at[1:]])
        shown = holds_at | ends
        yield SeriesSamples(labels, ts_ms[shown], np.where(holds_at, 1.0, STALE)[shown])
