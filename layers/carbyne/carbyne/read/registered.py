"""What queries ask of the registry."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class RegisteredSource(NamedTuple):
    """A host or service that the registry knows.  ``host``: its name, empty of a service; ``roles``: by service."""

    source: str
    host: str = ""
    status: str = ""
    roles: Mapping[str, Sequence[str]] = {}


ListSources = Callable[[str], Sequence[RegisteredSource]]
"""A tenant's hosts and services; RetryableError if the registry is away."""


def no_sources(_: str) -> Sequence[RegisteredSource]:
    """In the place of a registry, where there is none."""
    return ()
