"""What rows don't say of labelled series: the labels of a target, and what a metric is.

They go onto the stream in records of their own: those of a target in the lane of its rows, and acknowledged before the
first of these are put; all again when they change, and once in FACTS_S, so that what the ingester keeps of them can be
made again from a day of the stream.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from carbyne.core import keys
from carbyne.core.limits import FACTS_BYTES_MAX, FACTS_REMEMBERED_MAX, FACTS_S, METRICS_PER_BODY_MAX
from carbyne.stream import records
from carbyne.stream.putter import Entry

Fact = TypeVar("Fact", bound="str | records.Metric")
_Name = tuple[str, str, str]
"""Tenant, kind of fact, source or metric."""


class Untold(NamedTuple):
    """Facts of a body that this instance has not put on the stream lately: labels by source, and by metric what it is;
    of METRICS_PER_BODY_MAX metrics at most, since senders repeat those.  ``again``: sources that it told of before."""

    targets: Mapping[str, str]
    metrics: Mapping[str, records.Metric]
    again: Set[str] = frozenset()


class FactEntries(NamedTuple):
    """``before``: of targets that may be new, to be acknowledged before their rows are put; ``beside``: the others."""

    before: Sequence[Entry]
    beside: Sequence[Entry]


NO_FACTS: Final = FactEntries((), ())


class Facts:
    """Remembers what this instance put on the stream."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: dict[_Name, tuple[str | records.Metric, float]] = {}

    def untold(self, tenant: str, targets: Mapping[str, str], metrics: Mapping[str, records.Metric]) -> Untold:
        """What was not told lately; call ``told`` when it is on the stream."""
        new = islice(self._untold(tenant, "metric", metrics).items(), METRICS_PER_BODY_MAX)
        untold = self.untold_targets(tenant, targets)
        again = {source for source in untold if (tenant, "target", source) in self._told}
        return Untold(untold, dict(new), again)

    def untold_targets(self, tenant: str, targets: Mapping[str, str]) -> dict[str, str]:
        """Those that were not told lately."""
        return self._untold(tenant, "target", targets)

    def told(self, tenant: str, untold: Untold) -> None:
        """Note that facts are on the stream."""
        now_s = self._clock()
        if len(self._told) >= FACTS_REMEMBERED_MAX:
            self._told.clear()
        self._told |= {(tenant, "target", source): (target, now_s) for source, target in untold.targets.items()}
        self._told |= {(tenant, "metric", name): (metric, now_s) for name, metric in untold.metrics.items()}

    def _untold(self, tenant: str, kind: str, facts: Mapping[str, Fact]) -> dict[str, Fact]:
        since_s = self._clock() - FACTS_S
        return {name: fact for name, fact in facts.items() if not self._is_told((tenant, kind, name), fact, since_s)}

    def _is_told(self, name: _Name, fact: str | records.Metric, since_s: float) -> bool:
        told = self._told.get(name)
        return told is not None and told[0] == fact and told[1] > since_s


def entries_of(tenant: str, untold: Untold) -> FactEntries:
    """Records of facts: those of a target in its lane."""
    first = {source: target for source, target in untold.targets.items() if source not in untold.again}
    again = {source: target for source, target in untold.targets.items() if source in untold.again}
    lane_tag = keys.lane_tag(keys.lane_of(tenant, keys.METADATA))
    metrics = [(lane_tag, records.encode(records.FactsRecord(tenant, {}, group))) for group in _groups(untold.metrics)]
    return FactEntries(_of_targets(tenant, first), [*_of_targets(tenant, again), *metrics])


def _of_targets(tenant: str, targets: Mapping[str, str]) -> list[Entry]:
    lanes: dict[int, dict[str, str]] = {}
    for source, target in targets.items():
        lanes.setdefault(keys.lane_of(tenant, source), {})[source] = target
    return [
        (keys.lane_tag(lane), records.encode(records.FactsRecord(tenant, group, {})))
        for lane, of_lane in lanes.items()
        for group in _groups(of_lane)
    ]


def _groups(facts: Mapping[str, Fact]) -> Iterator[dict[str, Fact]]:
    """The facts in groups that fit a record."""
    group: dict[str, Fact] = {}
    size = 0
    for name, fact in facts.items():
        cost = sum(len(text.encode()) for text in (name, *_texts(fact)))
        if group and size + cost > FACTS_BYTES_MAX:
            yield group
            group, size = {}, 0
        group[name] = fact
        size += cost
    if group:
        yield group


def _texts(fact: str | records.Metric) -> Iterable[str]:
    return (fact,) if isinstance(fact, str) else fact
