"""The whole HTTP surface: the route tables of all functions, by function."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from carbyne import queries, writer
from carbyne.registry import api
from carbyne.routes import Route

TABLES: Final[Mapping[str, Sequence[Route[Any]]]] = {
    "writer": writer.ROUTES,
    "reader": queries.ROUTES,
    "registry": api.ROUTES,
}
