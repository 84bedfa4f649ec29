"""What queries ask of the registry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

SOURCE: Final = "source"
"""The label that says whose a metric of a host or service is."""
HOST_INFO: Final = "carbyne_host_info"
"""The metric of the series that say who a host is."""


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


def infos_of(sources: Sequence[RegisteredSource]) -> Iterator[Mapping[str, str]]:
    """The labels of the info series of hosts as they are now: one for each role; a label may be empty."""
    for each in sources:
        roles = [(service, role) for service, names in each.roles.items() for role in names or [""]] or [("", "")]
        for service, role in roles if each.host else ():
            about = {"host": each.host, "status": each.status, "service": service, "role": role}
            yield {"__name__": HOST_INFO, SOURCE: each.source, **about}
