"""The queues of notifications behind the queues' function."""

from collections.abc import Sequence
from typing import Final

import msgspec

from carbyne.adapters.invoke import InvokedMessages, InvokedQueues
from carbyne.notify.deliveries import Delivery, TakenDelivery

PREFIX: Final = "notifications."
"""Of the names of these queues, before the tenant's."""


class InvokedDeliveries:
    """Deliveries: a queue for each tenant."""

    def __init__(self, queues: InvokedQueues) -> None:
        self._queues = queues

    def ready(self) -> list[str]:
        return [name.removeprefix(PREFIX) for name in self._queues.ready() if name.startswith(PREFIX)]

    def of(self, tenant: str) -> "InvokedDeliveryQueue":
        return InvokedDeliveryQueue(self._queues, f"{PREFIX}{tenant}")


class InvokedDeliveryQueue(InvokedMessages):
    """A DeliveryQueue."""

    def publish(self, deliveries: Sequence[tuple[Delivery, str]], delay_s: int = 0) -> None:
        messages = [{"body": delivery, "key": key, "delay_s": delay_s} for delivery, key in deliveries]
        self.call("messages", {"messages": messages})

    def take(self, most: int, lease_s: int) -> list[TakenDelivery]:
        return msgspec.convert(self.leased(most, lease_s), list[TakenDelivery])

    def extend(self, lease: str, lease_s: int) -> None:
        self.call("extend", {"leases": [lease], "lease_s": lease_s})
