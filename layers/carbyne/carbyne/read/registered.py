"""What queries ask of the registry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

SOURCE: Final = "source"
"""The label that says whose a metric of a host or service is."""
HOST_INFO: Final = "carbyne_host_info"
"""The metric of the series that say who a host is."""
FOREVER_MS: Final = 2**62


class PastInfo(NamedTuple):
    """What a host was until ``until_ms``."""

    until_ms: int
    host: str
    status: str
    roles: Mapping[str, Sequence[str]]


class RegisteredSource(NamedTuple):
    """A host or service that the registry knows.  ``host``: its name, empty of a service; ``roles``: by service;
    ``since_ms``: when it was created; ``past``: what it was since then, in the order of time."""

    source: str
    host: str = ""
    status: str = ""
    roles: Mapping[str, Sequence[str]] = {}
    since_ms: int = 0
    past: Sequence[PastInfo] = ()


ListSources = Callable[[str], Sequence[RegisteredSource]]
"""A tenant's hosts and services; RetryableError if the registry is away."""


def no_sources(_: str) -> Sequence[RegisteredSource]:
    """In the place of a registry, where there is none."""
    return ()


def infos_of(sources: Sequence[RegisteredSource]) -> Iterator[Mapping[str, str]]:
    """The labels of the info series of hosts as they are now: one for each role; a label may be empty."""
    for each in sources:
        yield from _labels(each.source, each)


def info_times(source: RegisteredSource) -> Iterator[tuple[Mapping[str, str], int, int]]:
    """(labels, from, to) of the info series of a host, in ms, the end not included."""
    since_ms = source.since_ms
    for past in source.past:
        yield from ((labels, since_ms, past.until_ms) for labels in _labels(source.source, past))
        since_ms = past.until_ms
    yield from ((labels, since_ms, FOREVER_MS) for labels in _labels(source.source, source))


def _labels(source: str, info: RegisteredSource | PastInfo) -> Iterator[Mapping[str, str]]:
    roles = [(service, role) for service, names in info.roles.items() for role in names or [""]] or [("", "")]
    for service, role in roles if info.host else ():
        about = {"host": info.host, "status": info.status, "service": service, "role": role}
        yield {"__name__": HOST_INFO, SOURCE: source, **about}
