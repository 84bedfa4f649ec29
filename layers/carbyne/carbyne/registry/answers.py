"""The bodies of the registry's answers."""

from typing import Annotated

from msgspec import UNSET, Meta, Raw, UnsetType

from carbyne.http.answers import Answer
from carbyne.registry.annotations import Annotation
from carbyne.registry.dashboards import Head
from carbyne.registry.graphs import Graph
from carbyne.registry.hosts import Status
from carbyne.registry.services import Service

Int32 = Annotated[int, Meta(ge=0, lt=2**31)]
"""Mackerel's Go client reads these times as int32."""


class Id(Answer, frozen=True):
    """The id of a host."""

    id: str


class Org(Answer, frozen=True):
    """The tenant of the API key."""

    name: str
    display_name: str | None


class Host(Answer, frozen=True):
    """A host.  ``meta`` and ``interfaces`` are as they were sent; times in seconds."""

    id: str
    name: str
    display_name: str | None
    custom_identifier: str | None
    size: str
    status: Status
    memo: str
    roles: dict[str, list[str]]
    is_retired: bool
    created_at: Int32
    meta: dict[str, Raw]
    interfaces: list[dict[str, Raw]] | None
    retired_at: Int32 | UnsetType = UNSET


class OneHost(Answer, frozen=True):
    """A host."""

    host: Host


class Hosts(Answer, frozen=True):
    """Hosts, by id."""

    hosts: list[Host]
    next: str | UnsetType = UNSET


class CheckDetail(Answer, frozen=True):
    """The latest report of a check, and what the host's agent says about it."""

    type: str
    message: str
    memo: str


class CheckState(Answer, frozen=True):
    """A check of a host."""

    monitor_id: str
    status: str
    detail: CheckDetail


class CheckStates(Answer, frozen=True):
    """The checks of a host."""

    monitored_statuses: list[CheckState]


class Graphs(Answer, frozen=True):
    """Graph definitions, by name."""

    graph_defs: list[Graph]
    next: str | UnsetType = UNSET


class Services(Answer, frozen=True):
    """Services, by name."""

    services: list[Service]
    next: str | UnsetType = UNSET


class Role(Answer, frozen=True):
    """A role of a service."""

    name: str
    memo: str


class Roles(Answer, frozen=True):
    """The roles of a service, by name."""

    roles: list[Role]
    next: str | UnsetType = UNSET


class Namespace(Answer, frozen=True):
    """Where metadata is."""

    namespace: str


class Namespaces(Answer, frozen=True):
    """Where metadata is, by name."""

    metadata: list[Namespace]


class CheckReport(Answer, frozen=True):
    """The latest report of a check; ``monitor_id``: that of its alerts; ``occurred_at`` in seconds."""

    monitor_id: str
    name: str
    status: str
    message: str
    occurred_at: int


class HostReports(Answer, frozen=True):
    """The checks of one host."""

    host_id: str
    checks: list[CheckReport]


class HostsReports(Answer, frozen=True):
    """The checks of several hosts."""

    hosts: list[HostReports]


class Annotations(Answer, frozen=True):
    """Graph annotations, by their beginning."""

    graph_annotations: list[Annotation]


class Dashboards(Answer, frozen=True):
    """Dashboards without their widgets, the oldest first."""

    dashboards: list[Head]
