"""The figures of a Redis node as metrics, under the names of mackerel-plugin-redis, and the graphs that show them.

Names and meanings are those of the plugin's source as of August 2026: a counter is shown as its change per minute.
What the plugin has not (full resyncs, forks, spread, CPU, latency, links) stands in graphs of other names.
"""

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Final, NamedTuple

PREFIX: Final = "custom.redis"
MINUTE_S: Final = 60
GAP_S_MAX: Final = 600
"""A change over a longer time than this is not shown, as the plugin does it."""
_REPLICA: Final = re.compile(r"slave\d+")
_DB: Final = re.compile(r"db\d+")
_PERCENTILES: Final = "latency_percentiles_usec_evalsha"


class Line(NamedTuple):
    """One line of a graph.  ``counts``: it is a counter, shown as its change per minute."""

    metric: str
    label: str
    counts: bool = False
    stacked: bool = False


class Figure(NamedTuple):
    """A graph: its lines share a unit.  ``each_replica``: lines as ``slave{n}_<metric>``, one for each replica."""

    label: str
    unit: str
    lines: tuple[Line, ...]
    each_replica: bool = False


class Figures(NamedTuple):
    """What a node says, as numbers by name.  ``at_s``: when."""

    at_s: float
    numbers: Mapping[str, float]


FIGURES: Final[Mapping[str, Figure]] = {
    "queries": Figure("Redis Queries", "integer", (Line("total_commands_processed", "Queries", counts=True),)),
    "connections": Figure(
        "Redis Connections",
        "integer",
        (
            Line("total_connections_received", "Connections", counts=True, stacked=True),
            Line("rejected_connections", "Rejected Connections", counts=True, stacked=True),
        ),
    ),
    "clients": Figure(
        "Redis Clients",
        "integer",
        (
            Line("connected_clients", "Connected Clients", stacked=True),
            Line("blocked_clients", "Blocked Clients", stacked=True),
            Line("connected_slaves", "Connected Slaves", stacked=True),
        ),
    ),
    "keys": Figure(
        "Redis Keys",
        "integer",
        (
            Line("keys", "Keys"),
            Line("expires", "Keys with expiration"),
            Line("expired", "Expired Keys", counts=True),
            Line("evicted_keys", "Evicted Keys", counts=True),
        ),
    ),
    "keyspace": Figure(
        "Redis Keyspace",
        "integer",
        (Line("keyspace_hits", "Keyspace Hits", counts=True), Line("keyspace_misses", "Keyspace Missed", counts=True)),
    ),
    "memory": Figure(
        "Redis Memory",
        "integer",
        (
            Line("used_memory", "Used Memory"),
            Line("used_memory_rss", "Used Memory RSS"),
            Line("used_memory_peak", "Used Memory Peak"),
            Line("used_memory_lua", "Used Memory Lua engine"),
        ),
    ),
    "capacity": Figure(
        "Redis Capacity",
        "percentage",
        (Line("percentage_of_memory", "Percentage of memory"), Line("percentage_of_clients", "Percentage of clients")),
    ),
    "uptime": Figure("Redis Uptime", "integer", (Line("uptime_in_seconds", "Uptime In Seconds"),)),
    "cluster": Figure(
        "Redis Cluster", "integer", (Line("cluster_known_nodes", "Known Nodes"), Line("cluster_size", "Size"))
    ),
    "cluster_state": Figure("Redis Cluster State", "integer", (Line("cluster_state", "State (1: ok, 0: fail)"),)),
    "cluster_slots": Figure(
        "Redis Cluster Slots",
        "integer",
        (
            Line("cluster_slots_assigned", "Slots Assigned"),
            Line("cluster_slots_ok", "Slots OK"),
            Line("cluster_slots_pfail", "Slots PFAIL"),
            Line("cluster_slots_fail", "Slots FAIL"),
        ),
    ),
    "cluster_stats": Figure(
        "Redis Cluster Stats",
        "integer",
        tuple(
            Line(
                f"cluster_stats_messages_{kind}{way}",
                f"Messages {kind.upper()[:-1]} {way.title()}".strip(),
                counts=True,
            )
            for way in ("sent", "received")
            for kind in ("ping_", "pong_", "fail_", "")
        ),
    ),
    "lag": Figure("Redis Slave Lag", "seconds", (Line("lag", "Replication lag"),), each_replica=True),
    "offset_delay": Figure(
        "Redis Slave Offset Delay", "integer", (Line("offset_delay", "Offset delay"),), each_replica=True
    ),
    "operations": Figure("Redis Operations", "iops", (Line("instantaneous_ops_per_sec", "Operations"),)),
    "sync": Figure(
        "Redis Resyncs",
        "integer",
        (
            Line("sync_full", "Full", counts=True),
            Line("sync_partial_ok", "Partial", counts=True),
            Line("sync_partial_err", "Partial refused", counts=True),
        ),
    ),
    "fork": Figure("Redis Fork Time", "milliseconds", (Line("latest_fork_ms", "Latest fork"),)),
    "spread": Figure("Redis Spread", "integer", (Line("slots", "Slots"), Line("lanes", "Lanes"))),
    "cpu": Figure("Redis CPU", "percentage", (Line("main_thread_percentage", "Main thread"),)),
    "latency": Figure(
        "Redis Script Latency",
        "milliseconds",
        (Line("evalsha_p50", "p50"), Line("evalsha_p99", "p99"), Line("evalsha_p99_9", "p99.9")),
    ),
    "latency_events": Figure("Redis Latency Events", "milliseconds", (Line("worst_ms", "Worst of the latest"),)),
    "link": Figure(
        "Redis Master Link",
        "integer",
        (Line("master_link_up", "Up (1, 0)"), Line("master_last_io_seconds_ago", "Seconds since it said something")),
    ),
}


def figures(
    at_s: float,
    info: Mapping[str, str],
    cluster: Mapping[str, str],
    events_ms: Mapping[str, float],
    slots: int,
    lanes: int,
) -> Figures:
    """INFO (with latencystats), CLUSTER INFO and LATENCY LATEST of a node, with what it serves, as numbers."""
    numbers = dict(_numbers(info)) | dict(_numbers(cluster))
    numbers |= {"keys": 0.0, "expires": 0.0, "expired": numbers.get("expired_keys", 0.0)}
    for name, value in info.items():
        if _DB.fullmatch(name):
            fields = _fields(value)
            numbers["keys"] += fields.get("keys", 0.0)
            numbers["expires"] += fields.get("expires", 0.0)
        elif _REPLICA.fullmatch(name):
            fields = _fields(value)
            if "offset" in fields and "master_repl_offset" in numbers:
                numbers[f"{name}_offset_delay"] = numbers["master_repl_offset"] - fields["offset"]
            if "lag" in fields:
                numbers[f"{name}_lag"] = fields["lag"]
    if "used_memory" in numbers:
        numbers["percentage_of_memory"] = _percentage(numbers["used_memory"], numbers.get("maxmemory", 0.0))
    if numbers.keys() >= {"connected_clients", "maxclients"}:
        numbers["percentage_of_clients"] = _percentage(numbers["connected_clients"], numbers["maxclients"])
    if "cluster_state" in cluster:
        numbers["cluster_state"] = float(cluster["cluster_state"] == "ok")
    if "latest_fork_usec" in numbers:
        numbers["latest_fork_ms"] = numbers["latest_fork_usec"] / 1000
    if numbers.keys() >= {"used_cpu_sys_main_thread", "used_cpu_user_main_thread"}:
        numbers["main_thread_s"] = numbers["used_cpu_sys_main_thread"] + numbers["used_cpu_user_main_thread"]
    if "master_link_status" in info:
        numbers["master_link_up"] = float(info["master_link_status"] == "up")
    numbers |= {f"evalsha_{name}": value for name, value in _percentiles(info.get(_PERCENTILES, ""))}
    return Figures(at_s, numbers | {"worst_ms": max(events_ms.values(), default=0.0), "slots": slots, "lanes": lanes})


def metrics(now: Figures, before: Figures | None) -> dict[str, float]:
    """name -> value of each line that the node can draw.  ``before``: its last figures, without which no counter has a
    change yet; one that went back, as after a restart, has none either."""
    span_s = now.at_s - before.at_s if before else 0.0
    known = before if before and 0 < span_s <= GAP_S_MAX else None
    values = {}
    for graph, metric, line in _lines(now.numbers):
        value = now.numbers.get(metric)
        if line.counts and value is not None:
            last = known.numbers.get(metric) if known else None
            value = None if last is None or last > value else (value - last) * MINUTE_S / span_s
        if value is not None:
            values[f"{PREFIX}.{graph}.{metric}"] = value
    if known and (busy_s := now.numbers.get("main_thread_s", 0.0) - known.numbers.get("main_thread_s", 0.0)) >= 0:
        values[f"{PREFIX}.cpu.main_thread_percentage"] = _percentage(busy_s, span_s)
    return values


def _lines(numbers: Mapping[str, float]) -> Iterator[tuple[str, str, Line]]:
    """(graph, metric, line) of everything that a node with these numbers may draw."""
    for graph, figure in FIGURES.items():
        for line in figure.lines:
            if figure.each_replica:
                yield from ((graph, name, line) for name in numbers if re.fullmatch(rf"slave\d+_{line.metric}", name))
            else:
                yield graph, line.metric, line


def _numbers(lines: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for name, value in lines.items():
        try:
            number = float(value)
        except ValueError:
            continue
        if isfinite(number):
            yield name, number


def _fields(text: str) -> dict[str, float]:
    """The numbers of ``name=value,name=value``."""
    return dict(_numbers(dict(part.split("=", 1) for part in text.split(",") if "=" in part)))


def _percentiles(text: str) -> Iterator[tuple[str, float]]:
    """(p50, ms), ... of INFO's latencystats, which has microseconds; p99.9 is called p99_9."""
    return ((name.replace(".", "_"), value / 1000) for name, value in _fields(text).items())


def _percentage(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole else 0.0
