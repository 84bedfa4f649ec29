"""What rows don't say of labelled series: the labels of a target, and what a metric is.

They go onto the stream in records of their own: those of a target before its rows and in the same lane, again when they
change, and once in FACTS_S, so that what the ingester keeps of them can be made again from a day of the stream.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from carbyne.core import keys
from carbyne.core.limits import FACTS_BYTES_MAX, FACTS_REMEMBERED_MAX, FACTS_S
from carbyne.intake.labelled import Taking
from carbyne.stream import records
from carbyne.stream.putter import Entry

Fact = TypeVar("Fact", bound="str | records.Metric")
_Name = tuple[str, str, str]
"""Tenant, kind of fact, source or metric."""


class Facts:
    """Remembers what this instance put on the stream."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: dict[_Name, tuple[str | records.Metric, float]] = {}

    def entries(self, tenant: str, taking: Taking) -> list[Entry]:
        """Records of what was not told lately; call ``told`` when they are on the stream."""
        lanes: dict[int, dict[str, str]] = {}
        for source, target in self._untold(tenant, "target", taking.targets).items():
            lanes.setdefault(keys.lane_of(tenant, source), {})[source] = target
        of_targets = [
            (keys.lane_tag(lane), records.encode(records.FactsRecord(tenant, group, {})))
            for lane, targets in lanes.items()
            for group in _groups(targets)
        ]
        lane_tag = keys.lane_tag(keys.lane_of(tenant, keys.METADATA))
        return of_targets + [
            (lane_tag, records.encode(records.FactsRecord(tenant, {}, group)))
            for group in _groups(self._untold(tenant, "metric", taking.metadata))
        ]

    def told(self, tenant: str, taking: Taking) -> None:
        """Note that the facts of a body are on the stream."""
        now_s = self._clock()
        if len(self._told) >= FACTS_REMEMBERED_MAX:
            self._told.clear()
        for kind, facts in (("target", taking.targets), ("metric", taking.metadata)):
            for name in self._untold(tenant, kind, facts):
                self._told[tenant, kind, name] = facts[name], now_s

    def _untold(self, tenant: str, kind: str, facts: Mapping[str, Fact]) -> dict[str, Fact]:
        since_s = self._clock() - FACTS_S
        return {name: fact for name, fact in facts.items() if not self._is_told((tenant, kind, name), fact, since_s)}

    def _is_told(self, name: _Name, fact: str | records.Metric, since_s: float) -> bool:
        told = self._told.get(name)
        return told is not None and told[0] == fact and told[1] > since_s


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
