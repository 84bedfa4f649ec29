"""Graph definitions of custom metrics, as plugins print them and agents post them at each start."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import GRAPH_METRICS_MAX, GRAPHS_PER_TENANT_MAX, NAME_BYTES_MAX
from carbyne.registry.store import Key, Registry, RegistryChange, Store, body_of, settle

Unit = Literal["float", "integer", "percentage", "seconds", "milliseconds", "bytes", "bytes/sec", "bits/sec", "iops"]
Name = Annotated[str, Meta(max_length=NAME_BYTES_MAX)]
_NAME: Final = re.compile(r"custom(\.([-a-zA-Z0-9_]+|[*#]))+")


class GraphMetric(msgspec.Struct, frozen=True, rename="camel"):
    """One line of a graph."""

    name: Name
    display_name: Name = ""
    is_stacked: bool = False


class Graph(msgspec.Struct, frozen=True, rename="camel"):
    """``name``: of its metrics, what stands before the last dot; ``*`` and one ``#`` stand for any part."""

    name: Name
    display_name: Name = ""
    unit: Unit = "float"
    metrics: Annotated[list[GraphMetric], Meta(max_length=GRAPH_METRICS_MAX)] = []


def create(registry: Registry, tenant: str, graphs: Sequence[Graph]) -> None:
    """Define graphs, or define them again; those that did not change cost no write.

    RequestError 400 for a malformed one, and then nothing is defined, or if there would be too many.
    """
    for graph in graphs:
        _check(graph)
    bodies = {_key(tenant, graph.name): body_of(graph) for graph in graphs}
    settle(lambda: _create_once(registry.store, tenant, bodies))


def delete(registry: Registry, tenant: str, name: str) -> None:
    """RequestError 400 if there is no such graph, as Mackerel documents."""

    def attempt() -> bool | None:
        item = registry.store.get(_key(tenant, name))
        if item is None:
            raise RequestError(400, f"graph {name[:NAME_BYTES_MAX]!r} is not defined")
        return registry.store.write(RegistryChange(item.key, None, item.version)) or None

    settle(attempt)


def find(store: Store, tenant: str, after: str = "") -> Iterator[Graph]:
    """The graphs of a tenant with names greater than ``after``, by name, read while they are taken."""
    return (msgspec.json.decode(item.body, type=Graph) for item in store.scan(_key(tenant, "").pk, after))


def _key(tenant: str, name: str) -> Key:
    return Key(keys.registry_partition(tenant, "graphs"), name)


def _create_once(store: Store, tenant: str, bodies: dict[Key, bytes]) -> bool | None:
    known, others = {}, 0
    for item in store.scan(_key(tenant, "").pk):
        if item.key in bodies:
            known[item.key] = item
        else:
            others += 1
    if others + len(bodies) > GRAPHS_PER_TENANT_MAX:
        raise RequestError(400, f"there would be more than {GRAPHS_PER_TENANT_MAX} graphs; delete some first")
    changes = [RegistryChange(key, body, known[key].version if key in known else 0) for key, body in bodies.items()]
    return (
        all(
            store.write(change)
            for change in changes
            if change.key not in known or known[change.key].body != change.body
        )
        or None
    )


def _check(graph: Graph) -> None:
    _check_name(graph.name)
    for metric in graph.metrics:
        _check_name(metric.name)
        if metric.name.rpartition(".")[0] != graph.name:
            raise RequestError(400, f"metric {metric.name!r} is not of graph {graph.name!r}: one more part must follow")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or Counter(name)["#"] > 1:
        rule = "begins with custom. and has parts of a-z A-Z 0-9 _ - between dots, or * or (once) # in place of a part"
        raise RequestError(400, f"the name of a graph or its metric {rule}; got {name!r}")
