"""The whole HTTP surface: the route tables of all functions, by function."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from carbyne.http.routes import Route
from carbyne.intake import writer
from carbyne.read import mackerel
from carbyne.registry import api

TABLES: Final[Mapping[str, Sequence[Route[Any]]]] = {
    "writer": writer.ROUTES,
    "reader": mackerel.ROUTES,
    "registry": api.ROUTES,
}
