"""Channels that hang: other tenants are told in time, and nothing of their own tenant is lost."""

import logging
import threading
import time

import pytest
from carbyne.core.limits import CHANNEL_REST_S, DELIVERY_KEPT_S, SEND_RESERVE_S, SENT_PER_TENANT
from carbyne.notify import sending
from carbyne.notify.deliveries import Delivery, TakenDelivery
from carbyne.notify.sending import Sender
from carbyne.registry.alerts import AlertRecord, Notice, Subject

NOW_S = 1_700_000_000
HANG_S = 0.3
"""Stands for the 15 s of a try; the bounds below are as much shorter."""


class Queue:
    """Deliveries in order; a take counts as a try; after the fifth a delivery is ``dead``."""

    def __init__(self, clock):
        self.clock, self.messages, self.number, self.dead, self.tries = clock, {}, 0, [], {}

    def publish(self, deliveries, delay_s=0):
        for delivery, _ in deliveries:
            self.number += 1
            self.messages[f"{self.number:06d}"] = (delivery, self.clock() + delay_s)

    def take(self, most, lease_s):
        ready = [lease for lease, (_, due_s) in sorted(self.messages.items()) if due_s <= self.clock()]
        taken = []
        for lease in ready[:most]:
            delivery = self.messages[lease][0]
            self.tries[lease] = self.tries.get(lease, 0) + 1
            if self.tries[lease] > 5:
                self.dead.append(self.messages.pop(lease)[0])
                continue
            self.extend(lease, lease_s)
            taken.append(TakenDelivery(lease, delivery, self.tries[lease]))
        return taken

    def acknowledge(self, leases):
        for lease in leases:
            self.messages.pop(lease, None)

    def extend(self, lease, lease_s):
        self.messages[lease] = (self.messages[lease][0], self.clock() + lease_s)


class Run:
    """``hanging``: channels that don't answer within HANG_S; ``told``: (channel, alert)."""

    def __init__(self, monkeypatch):
        for name, seconds in (("SEND_HANGS_S", 0.04), ("SEND_SLOW_S", 0.1)):
            monkeypatch.setattr(sending, name, seconds)
        self.now_s, self.seconds = NOW_S, 1.0
        self.hanging, self.told, self.tried = set(), [], []
        self.queue = Queue(lambda: self.now_s)
        self.sender = Sender(self.queue, self.deliver, lambda: self.now_s, time.monotonic)
        self.lock = threading.Lock()

    def deliver(self, delivery):
        with self.lock:
            self.tried.append(delivery.channel)
        if delivery.channel in self.hanging:
            time.sleep(HANG_S)
            return "no answer"
        with self.lock:
            self.told.append((delivery.channel, delivery.notice.alert.id))
        return ""

    def publish(self, tenant, channel, number):
        alert = AlertRecord(id=f"{number}", status="OK", monitor_id="", type="check", opened_at=NOW_S)
        notice = Notice(tenant, alert, Subject("", "", "check"), "opened", "OK", 1, self.now_s)
        self.queue.publish([(Delivery(f"{tenant}-{channel}", self.now_s, notice), "")])

    def run(self):
        """One run of a notifier, then a minute passes; how many were sent."""
        end_s = time.monotonic() + self.seconds
        sent = self.sender.run(lambda: SEND_RESERVE_S + end_s - time.monotonic())
        self.now_s += 60
        return sent


@pytest.fixture
def sends(monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL + 1)
    return Run(monkeypatch)


def test_another_tenant_is_told_within_a_run_while_fifty_channels_hang(sends):
    """Of first come, first served they would be told after 150 tries."""
    for number in range(150):
        sends.publish("a", f"c{number % 50}", number)
        sends.hanging.add(f"a-c{number % 50}")
    for number in range(20):
        sends.publish("b", "hook", number)
    sends.seconds = 5.0
    sends.run()
    assert sorted((channel, int(alert)) for channel, alert in sends.told) == [("b-hook", each) for each in range(20)]
    tries = len(sends.tried) - sends.tried[::-1].index("b-hook")
    assert tries <= 20 + 3 * SENT_PER_TENANT, "three times HANG_S at most, however much waits"


def test_nothing_of_a_tenant_whose_channels_hung_is_lost(sends):
    for number in range(150):
        sends.publish("a", f"c{number % 50}", number)
        sends.hanging.add(f"a-c{number % 50}")
    for _ in range(3):
        sends.run()
    sends.hanging.clear()
    for _ in range(3 + CHANNEL_REST_S // 60):
        sends.run()
    assert {int(alert) for _, alert in sends.told} == set(range(150))
    assert sends.queue.messages == {} and sends.queue.dead == []


def test_a_channel_that_does_not_answer_rests_and_its_deliveries_count_no_try(sends):
    sends.hanging.add("a-c")
    for number in range(4):
        sends.publish("a", "c", number)
    sends.run()
    tried = len(sends.tried)
    assert tried == 4, "all at once"
    for _ in range(CHANNEL_REST_S // 60 - 1):
        sends.run()
    assert len(sends.tried) == tried
    sends.hanging.clear()
    sends.run()
    sends.run()
    assert sorted(alert for _, alert in sends.told) == ["0", "1", "2", "3"]


def test_a_channel_that_never_answers_ends_in_dead_letters(sends):
    sends.hanging.add("a-c")
    for number in range(3):
        sends.publish("a", "c", number)
    for _ in range(3 * DELIVERY_KEPT_S // 60):
        sends.run()
    assert len(sends.queue.dead) == 3 and sends.queue.messages == {}


def test_a_refusal_is_no_silence(sends):
    """A channel that answers at once, whatever it says, is tried at each time of its deliveries."""
    refused = []
    sends.sender = Sender(
        sends.queue, lambda each: refused.append(each) or "the status is 500", lambda: sends.now_s, time.monotonic
    )
    sends.publish("a", "c", 0)
    for _ in range(6):
        sends.run()
    assert len(refused) == 3, "at once, after one minute and after four more"


def test_a_bug_that_one_delivery_meets_holds_up_no_other(sends, caplog):
    caplog.set_level(logging.ERROR)
    told = []

    def deliver(delivery):
        if delivery.channel == "a-c":
            raise KeyError("secret")
        told.append(delivery.channel)
        return ""

    sends.sender = Sender(sends.queue, deliver, lambda: sends.now_s, time.monotonic)
    sends.publish("a", "c", 0)
    sends.publish("b", "c", 1)
    assert sends.run() == 1 and told == ["b-c"]
    assert "BUG: KeyError" in caplog.text and "secret" not in caplog.text


def test_what_a_run_has_no_time_for_is_put_away_without_a_try(sends):
    sends.seconds = HANG_S / 2
    for number in range(40):
        sends.publish("a", f"c{number}", number)
        sends.hanging.add(f"a-c{number}")
    sends.run()
    left = [sends.queue.tries.get(lease, 0) for lease in sends.queue.messages]
    assert len(left) == 40 and left.count(0) == 40 - len(sends.tried)
