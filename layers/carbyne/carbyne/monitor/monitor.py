"""What the probe saw of Redis becomes samples of hosts of the operator's own tenant, one host for each node.

The probe is inside the network of Redis and can't reach the stream; this is outside and can't reach Redis.  Lambda
itself hands the probe's answer over, as its destination.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from carbyne.cluster.figures import FIGURES, PREFIX, Figure
from carbyne.cluster.probe import ProbeAnswer, Sighting
from carbyne.core.errors import InvariantError
from carbyne.core.names import OPERATOR
from carbyne.intake.packing import entries_of
from carbyne.registry import graphs, hosts, metadata
from carbyne.registry.store import Registry

ROLE = "redis:nodes"
SPACE = "redis"
"""Namespace of the metadata of a node's host: its role and the number of its shard."""
_IDENTIFIER = "redis/"


class Monitor:
    """``registry``: where hosts and graphs are kept, and its way to the stream; ``make_tenant``: makes the operator's
    tenant known, unless it is."""

    def __init__(self, registry: Registry, make_tenant: Callable[[], object]) -> None:
        self._registry = registry
        self._make_tenant = make_tenant
        self._is_prepared = False
        self._described: dict[str, tuple[str, int]] = {}

    def take(self, payload: object) -> int:
        """Store an answer of the probe, as JSON gave it; how many samples.  RetryableError if a store is away."""
        try:
            answer = msgspec.convert(payload, ProbeAnswer)
        except msgspec.ValidationError as error:
            raise InvariantError(f"BUG: not an answer of the probe: {error}") from None
        known = self._known_hosts()
        for node in answer.nodes:
            self._describe(node, known)
        self._retire_all_but({node.name for node in answer.nodes}, known)
        ts_ms = answer.at_s // 60 * 60_000
        rows = {(f"host/{known[node.name]}", ts_ms): row for node in answer.nodes if (row := _samples(answer, node))}
        self._registry.put(entries_of(OPERATOR, rows))
        return sum(map(len, rows.values()))

    def _known_hosts(self) -> dict[str, str]:
        """name -> host id of the nodes that have a live host; an operator may retire one at any time."""
        if not self._is_prepared:
            self._make_tenant()
            graphs.create(self._registry, OPERATOR, definitions())
            self._is_prepared = True
        return {
            host.custom_identifier.removeprefix(_IDENTIFIER): host.id
            for host in hosts.everyone(self._registry.store, OPERATOR)
            if host.custom_identifier and host.custom_identifier.startswith(_IDENTIFIER)
        }

    def _describe(self, node: Sighting, known: dict[str, str]) -> None:
        """Register a node that is new, and say what it is when that changed."""
        if node.name not in known:
            form = hosts.HostForm(node.name, custom_identifier=_IDENTIFIER + node.name, role_fullnames=[ROLE])
            known[node.name] = hosts.register(self._registry, OPERATOR, form)
        host_id = known[node.name]
        if self._described.get(host_id) != (node.role, node.shard):
            what = msgspec.json.encode({"role": node.role, "shard": node.shard})
            metadata.put(self._registry, OPERATOR, ("host", host_id), SPACE, what)
            self._described[host_id] = node.role, node.shard

    def _retire_all_but(self, names: set[str], known: dict[str, str]) -> None:
        """Nodes that left the cluster; one that is away is in it still."""
        for name in known.keys() - names:
            hosts.retire(self._registry, OPERATOR, known.pop(name))


def definitions() -> list[graphs.Graph]:
    """The graphs of all figures."""
    return [_definition(name, figure) for name, figure in FIGURES.items()]


def _definition(name: str, figure: Figure) -> graphs.Graph:
    graph: dict[str, Any] = {"name": f"{PREFIX}.{name}", "displayName": figure.label, "unit": figure.unit}
    if figure.each_replica:
        return msgspec.convert(graph, graphs.Graph)  # which lines it has, a node's replicas decide
    lines = [
        {"name": f"{PREFIX}.{name}.{line.metric}", "displayName": line.label, "isStacked": line.stacked}
        for line in figure.lines
    ]
    return msgspec.convert(graph | {"metrics": lines}, graphs.Graph)


def _samples(answer: ProbeAnswer, node: Sighting) -> dict[str, float]:
    return {name: value for name, value in zip(answer.names, node.values, strict=True) if value is not None}
