"""The metrics of clouds under Mackerel's names: ``cloud_metrics.txt`` as typed rows.

No function imports this at its start: it is read when settings name metrics, or when metrics are collected.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

AWS: Final = ("ALB", "DynamoDB", "EC2", "ElastiCache", "Lambda", "RDS", "S3", "SQS")
AZURE: Final = ("SQLDatabase", "VirtualMachine")
"""Services as Mackerel's API calls them, and as we call those of Azure."""
_ENGINES: Final = ("redis", "valkey")


class NamedMetric(NamedTuple):
    """``name``: Mackerel's, see the file; ``metric``, ``statistic``, ``namespace`` and ``dimensions``: the cloud's."""

    service: str
    namespace: str
    dimensions: tuple[str, ...]
    name: str
    metric: str
    statistic: str


@cache
def rows() -> tuple[NamedMetric, ...]:
    """All of them."""
    return tuple(_rows(Path(__file__).with_suffix(".txt").read_text().splitlines()))


@cache
def names_of(service: str) -> tuple[str, ...]:
    """The names that settings may exclude or include, sorted."""
    return tuple(sorted({name for row in rows() if row.service == service for name in _spelt(row.name)}))


def _spelt(name: str) -> list[str]:
    return [name.replace("*", engine) for engine in _ENGINES] if "*" in name else [name]


def _rows(lines: list[str]) -> Iterator[NamedMetric]:
    service, namespace, dimensions = "", "", tuple[str, ...]()
    for line in lines:
        if line.startswith("["):
            service, namespace, *rest = line.strip("[]").split(", ")
            dimensions = tuple(rest)
        elif line and not line.startswith("#"):
            name, metric, statistic = line.split(" | ")
            yield NamedMetric(service, namespace, dimensions, name, metric, statistic)
