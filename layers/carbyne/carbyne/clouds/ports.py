"""What reading a cloud asks of it.  A further cloud is a module beside ``aws`` and ``azure`` with this protocol."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from carbyne.core.errors import CarbyneError
from carbyne.core.minutely import JobQueue
from carbyne.registry.integrations import CloudJob


class CloudRefusedError(CarbyneError):
    """The cloud refuses: credentials, permissions, an answer of no known form.  The message is for the integration's
    owner, and has no secret; trying again at once can't help."""


class CloudMetric(NamedTuple):
    """``name``: Mackerel's; the others as the cloud calls it.  ``period_s``: between points; ``delay_s``: how long its
    last points are incomplete."""

    name: str
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str
    period_s: int = 60
    delay_s: int = 0


class CloudResource(NamedTuple):
    """``id``: the cloud's; ``service``: as settings call it; ``identifier``: custom identifier of its host, that of an
    agent on it if there may be one; ``name``: of its host."""

    id: str
    service: str
    identifier: str
    name: str
    tags: Mapping[str, str]
    metrics: tuple[CloudMetric, ...]


CloudQuery = tuple[CloudResource, CloudMetric]
CloudCall = Sequence[CloudQuery]
"""What is read together."""


class CloudPoint(NamedTuple):
    """``at``: place in the list of what was read."""

    at: int
    ts_ms: int
    value: float


class Inventory(NamedTuple):
    """``notes``: what people should know of it, such as a list that was too long."""

    resources: tuple[CloudResource, ...]
    notes: tuple[str, ...] = ()


class Cloud(Protocol):
    """One account, by the credentials of one integration.

    All methods raise RetryableError if the cloud is away or throttles, CloudRefusedError if it refuses.
    """

    def find(self) -> Inventory:
        """The resources of the services that are enabled, with their tags and metrics."""

    def gone(self, resources: Sequence[str]) -> set[str]:
        """Those of these resources, by id, that are deleted."""

    def calls(self, resources: Sequence[CloudResource]) -> Iterator[CloudCall]:
        """What is read together: one call of the cloud, in a stable order."""

    def dollars(self, metrics: CloudCall) -> float:
        """The list price of one call."""

    def read(self, metrics: CloudCall, now_s: int) -> Iterator[CloudPoint]:
        """The points of the last CLOUD_BACK_S, less the delay of each; those of one name and time are added up."""


class CloudTaken(msgspec.Struct, frozen=True):
    """A job that a worker has under a lease."""

    lease: str
    body: CloudJob


CloudQueue = JobQueue[CloudJob, CloudTaken]
