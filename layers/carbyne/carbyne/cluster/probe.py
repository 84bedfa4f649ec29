"""The look at every Redis node, each minute: metrics of each for the store, and the worst of all for the alarms.

A counter needs the figures of the minute before, which the instance remembers: after a new one starts, counters are
missing for a minute.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from carbyne.cluster.figures import PREFIX, Figures, metrics
from carbyne.core.limits import PROBE_NODES_MAX
from carbyne.core.meter import Meter

MASTER: Final = "master"
REPLICA: Final = "replica"


class Reading(NamedTuple):
    """A node and what it says.  ``shard``: its number, from 1 by slots, 0 if it is in none; ``figures``: None if it
    does not answer."""

    name: str
    role: str
    shard: int
    figures: Figures | None


class ProbedNodes(Protocol):
    """``readings``: of every node that the cluster knows; RetryableError if none answers."""

    def readings(self) -> Sequence[Reading]: ...


class Sighting(msgspec.Struct, frozen=True, array_like=True):
    """A node that answered or not.  ``values``: one for each of the answer's names, None for what it can't tell."""

    name: str
    role: str
    shard: int
    away: bool
    values: list[float | None]


class ProbeAnswer(msgspec.Struct, frozen=True):
    """What the probe hands over.  ``at_s``: seconds since 1970; ``names``: of metrics, once for all nodes."""

    at_s: int
    names: list[str]
    nodes: list[Sighting]


class Probe:
    """``nodes``: the cluster; ``meter``: of the worst figures."""

    def __init__(self, nodes: ProbedNodes, meter: Meter) -> None:
        self._nodes = nodes
        self._meter = meter
        self._before: dict[str, Figures] = {}

    def run(self, now_s: int) -> dict[str, Any]:
        """The answer as JSON has it; RetryableError if no node answers."""
        readings = sorted(self._nodes.readings(), key=lambda reading: (reading.shard, reading.role, reading.name))
        known = {
            reading.name: metrics(reading.figures, self._before.get(reading.name)) if reading.figures else {}
            for reading in readings[:PROBE_NODES_MAX]
        }
        self._before |= {reading.name: reading.figures for reading in readings if reading.figures}
        self._count(readings, known)
        names = sorted({name for values in known.values() for name in values})
        nodes = [
            Sighting(node.name, node.role, node.shard, node.figures is None, list(map(known[node.name].get, names)))
            for node in readings
            if node.name in known
        ]
        answer: dict[str, Any] = msgspec.to_builtins(ProbeAnswer(now_s, names, nodes))
        return answer

    def _count(self, readings: Sequence[Reading], known: Mapping[str, Mapping[str, float]]) -> None:
        """The worst of all nodes.  Zeros as well: an alarm must tell "all is well" from "the probe does not run"."""
        self._meter.peak("RedisNodesAway", sum(reading.figures is None for reading in readings))
        self._meter.peak(
            "RedisDelaySeconds", max((_delay_s(reading.figures) for reading in readings if reading.figures), default=0)
        )
        self._meter.peak("RedisBusyPercent", _worst(known, "cpu.main_thread_percentage"))
        self._meter.peak("RedisMemoryPercent", _worst(known, "capacity.percentage_of_memory"))
        if unwatched := len(readings) - len(known):
            self._meter.peak("RedisNodesUnwatched", unwatched)
        self._meter.flush_due()


def _worst(known: Mapping[str, Mapping[str, float]], name: str) -> float:
    return max((values.get(f"{PREFIX}.{name}", 0.0) for values in known.values()), default=0.0)


def _delay_s(figures: Figures) -> float:
    """How long a replica of this node has not acknowledged, or how long this node has lost its master."""
    lags = [value for name, value in figures.numbers.items() if name.endswith("_lag")]
    return max([*lags, figures.numbers.get("master_link_down_since_seconds", 0.0)])
