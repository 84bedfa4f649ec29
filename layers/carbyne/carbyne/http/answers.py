"""The bodies of all answers as types: what the description of the API is made of.  Tests hold real answers to them."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from carbyne.registry.graphs import Graph
from carbyne.registry.hosts import Status


class _Answer(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Nothing but what is named."""


Int32 = Annotated[int, Meta(ge=0, lt=2**31)]
"""Mackerel's Go client reads these times as int32."""


class Message(_Answer, frozen=True):
    """What to change."""

    message: str


class Error(_Answer, frozen=True):
    """Every answer but 200."""

    error: Message


class Success(_Answer, frozen=True):
    """It is done."""

    success: bool


class Id(_Answer, frozen=True):
    """The id of a host."""

    id: str


class Org(_Answer, frozen=True):
    """The tenant of the API key."""

    name: str
    display_name: str | None


class Host(_Answer, frozen=True):
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


class OneHost(_Answer, frozen=True):
    """A host."""

    host: Host


class Hosts(_Answer, frozen=True):
    """Hosts, oldest first."""

    hosts: list[Host]


class CheckDetail(_Answer, frozen=True):
    """The latest report of a check, and what the host's agent says about it."""

    type: str
    message: str
    memo: str


class CheckState(_Answer, frozen=True):
    """A check of a host."""

    monitor_id: str
    status: str
    detail: CheckDetail


class CheckStates(_Answer, frozen=True):
    """The checks of a host."""

    monitored_statuses: list[CheckState]


class Graphs(_Answer, frozen=True):
    """Graph definitions, by name."""

    graph_defs: list[Graph]


class Service(_Answer, frozen=True):
    """A service with the names of its roles."""

    name: str
    memo: str
    roles: list[str]


class Services(_Answer, frozen=True):
    """Services, by name."""

    services: list[Service]


class Role(_Answer, frozen=True):
    """A role of a service."""

    name: str
    memo: str


class Roles(_Answer, frozen=True):
    """The roles of a service, by name."""

    roles: list[Role]


class Namespace(_Answer, frozen=True):
    """Where metadata is."""

    namespace: str


class Namespaces(_Answer, frozen=True):
    """Where metadata is, by name."""

    metadata: list[Namespace]


class Point(_Answer, frozen=True):
    """A sample, or the aggregate of a bucket; ``time`` in seconds, ``value`` null if it is no number."""

    time: int
    value: float | None


class Points(_Answer, frozen=True):
    """Samples, oldest first."""

    metrics: list[Point]


class Names(_Answer, frozen=True):
    """Names of metrics, sorted."""

    names: list[str]


class Latest(_Answer, frozen=True):
    """Host -> metric -> its newest sample."""

    tsdb_latest: dict[str, dict[str, Point]]


class StoredWindow(_Answer, frozen=True):
    """A span of time, in seconds."""

    start: int
    length: int


class Stored(_Answer, frozen=True):
    """What one tier holds of a window."""

    resolution: str
    window: StoredWindow
    tier: str
    samples: int
    bytes: int
