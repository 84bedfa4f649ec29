"""Labels of a series: pairs of name and value, ascending by name; a label without a value does not exist."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Final

Labels = tuple[tuple[str, str], ...]

NONE: Final[Labels] = ()
NAME: Final = "__name__"
BUCKET: Final = "le"
TYPE: Final = "__type__"
RESERVED: Final = frozenset({NAME, TYPE, "__unit__"})
"""What describes a metric: an operation that makes another metric of it drops these."""


def made(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels:
    """Labels of pairs in any order."""
    return tuple(sorted((name, value) for name, value in dict(pairs).items() if value))


def get(labels: Labels, name: str) -> str:
    """The value of a label, empty if there is none."""
    return next((value for other, value in labels if other == name), "")


def keep(labels: Labels, names: Collection[str]) -> Labels:
    """Only the labels of these names."""
    return tuple(pair for pair in labels if pair[0] in names)


def drop(labels: Labels, names: Collection[str]) -> Labels:
    """Without the labels of these names."""
    return tuple(pair for pair in labels if pair[0] not in names)


def put(labels: Labels, name: str, value: str) -> Labels:
    """With another value of one label."""
    return made({**dict(labels), name: value})


def text(labels: Labels) -> str:
    """As Prometheus writes labels in its messages: ``{a="b", c="d"}``."""
    return "{" + ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels) + "}"
