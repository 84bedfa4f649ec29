"""What is in the queue of notifications: a message for each channel."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from carbyne.core.limits import MESSAGES_PER_CALL_MAX, PUBLISH_BYTES_MAX
from carbyne.notify.grouping import GroupMessage
from carbyne.registry.alerts import Notice
from carbyne.registry.rule_states import GroupName


class FiringGroup(msgspec.Struct, frozen=True):
    """A group of rules with alerts of which an Alertmanager hears."""

    tenant: str
    name: GroupName


class Delivery(msgspec.Struct, frozen=True):
    """A notice, a group of rules or a group of alerts, for one channel; ``since_s``: when it was first published."""

    channel: str
    since_s: int = 0
    notice: Notice | None = None
    firing: FiringGroup | None = None
    group: GroupMessage | None = None

    @property
    def tenant(self) -> str:
        what = self.notice or self.firing or self.group
        return what.tenant if what else ""


class TakenDelivery(msgspec.Struct, frozen=True):
    """``tries``: how often it was taken, this time included."""

    lease: str
    body: Delivery
    tries: int


def in_calls(told: Iterable[tuple[Delivery, str]]) -> Iterator[list[tuple[Delivery, str]]]:
    """Deliveries with their keys in parts that one publish takes."""
    part: list[tuple[Delivery, str]] = []
    part_bytes = 0
    for delivery, key in told:
        more_bytes = len(msgspec.json.encode((delivery, key)))
        if part and (len(part) == MESSAGES_PER_CALL_MAX or part_bytes + more_bytes > PUBLISH_BYTES_MAX):
            yield part
            part, part_bytes = [], 0
        part.append((delivery, key))
        part_bytes += more_bytes
    if part:
        yield part


class DeliveryQueue(Protocol):
    """The deliveries of a tenant.  All methods raise RetryableError."""

    def publish(self, deliveries: Sequence[tuple[Delivery, str]], delay_s: int = 0) -> None:
        """Deliveries with their keys.  OverLimitError if the queue is full."""

    def take(self, most: int, lease_s: int) -> list[TakenDelivery]:
        """Also none if nothing was ever published."""

    def acknowledge(self, leases: Sequence[str]) -> None: ...
    def extend(self, lease: str, lease_s: int) -> None: ...


class Deliveries(Protocol):
    """A queue for each tenant: what one has too much of delays no other."""

    def ready(self) -> list[str]:
        """Tenants that may have a delivery to take; RetryableError."""

    def of(self, tenant: str) -> DeliveryQueue: ...
