"""The queue of notifications behind the queues' function."""

from collections.abc import Sequence

import msgspec

from carbyne.adapters.invoke import InvokedMessages
from carbyne.notify.deliveries import Delivery, TakenDelivery


class InvokedDeliveries(InvokedMessages):
    """A DeliveryQueue."""

    def publish(self, deliveries: Sequence[tuple[Delivery, str]], delay_s: int = 0) -> None:
        messages = [{"body": delivery, "key": key, "delay_s": delay_s} for delivery, key in deliveries]
        self.call("messages", {"messages": messages})

    def take(self, most: int, lease_s: int) -> list[TakenDelivery]:
        return msgspec.convert(self.leased(most, lease_s), list[TakenDelivery])

    def extend(self, lease: str, lease_s: int) -> None:
        self.call("extend", {"leases": [lease], "lease_s": lease_s})
