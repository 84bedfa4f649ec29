"""The queue of notifications behind the queues' function."""

from collections.abc import Sequence

import msgspec

from carbyne.adapters.invoke import InvokedMessages
from carbyne.notify.notifier import Delivery, TakenDelivery


class InvokedDeliveries(InvokedMessages):
    """A DeliveryQueue."""

    def publish(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        self.call("messages", {"messages": [{"body": delivery, "key": key} for delivery, key in deliveries]})

    def take(self, most: int, lease_s: int) -> list[TakenDelivery]:
        return msgspec.convert(self.leased(most, lease_s), list[TakenDelivery])

    def extend(self, lease: str, lease_s: int) -> None:
        self.call("extend", {"leases": [lease], "lease_s": lease_s})
