"""Channels that hang: other tenants are told in time, and nothing of their own tenant is lost."""

import logging
import threading
import time
from itertools import islice

import pytest
from carbyne.core.errors import CarbyneError, RestingError, RetryableError
from carbyne.core.limits import (
    CHANNEL_REST_S,
    CHANNEL_TIMEOUTS,
    DELIVERY_KEPT_S,
    HOST_REST_S,
    HOST_SILENT_TENANTS,
    SEND_RESERVE_S,
    SENT_AT_ONCE,
    SENT_PER_TENANT,
    SENT_TOGETHER,
)
from carbyne.notify import hosts, sending
from carbyne.notify.deliveries import Delivery, TakenDelivery
from carbyne.notify.failures import TenantFailures
from carbyne.notify.hosts import SharedHosts, host_of
from carbyne.notify.sending import Sender, Turns
from carbyne.registry.alerts import AlertRecord, Notice, Subject

NOW_S = 1_700_000_000
HANG_S = 0.3
"""Stands for the 15 s of a try; the bounds below are as much shorter."""


class Queue:
    """Deliveries in order; a take counts as a try; after the fifth a delivery is ``dead``."""

    def __init__(self, clock):
        self.clock, self.messages, self.number, self.dead, self.tries = clock, {}, 0, [], {}
        self.lock = threading.RLock()

    def publish(self, deliveries, delay_s=0):
        with self.lock:
            for delivery, _ in deliveries:
                self.number += 1
                self.messages[f"{self.number:06d}"] = (delivery, self.clock() + delay_s)

    def take(self, most, lease_s):
        with self.lock:
            return self._taken(most, lease_s)

    def _taken(self, most, lease_s):
        ready = islice((lease for lease, (_, due_s) in self.messages.items() if due_s <= self.clock()), most)
        taken = []
        for lease in list(ready):
            delivery = self.messages[lease][0]
            self.tries[lease] = self.tries.get(lease, 0) + 1
            if self.tries[lease] > 5:
                self.dead.append(self.messages.pop(lease)[0])
                continue
            self.extend(lease, lease_s)
            taken.append(TakenDelivery(lease, delivery, self.tries[lease]))
        return taken

    def is_ready(self):
        return any(due_s <= self.clock() for _, due_s in self.messages.values())

    def acknowledge(self, leases):
        with self.lock:
            for lease in leases:
                self.messages.pop(lease, None)

    def extend(self, lease, lease_s):
        with self.lock:
            self.messages[lease] = (self.messages[lease][0], self.clock() + lease_s)


class Queues:
    """Deliveries: a Queue for each tenant."""

    def __init__(self, clock):
        self.clock, self.queues = clock, {}

    def ready(self):
        return [tenant for tenant, queue in sorted(self.queues.items()) if queue.is_ready()]

    def of(self, tenant):
        return self.queues.setdefault(tenant, Queue(self.clock))

    @property
    def messages(self):
        return [message for queue in self.queues.values() for message in queue.messages.values()]

    @property
    def dead(self):
        return [delivery for queue in self.queues.values() for delivery in queue.dead]


class Run:
    """``hanging``: channels that don't answer within HANG_S; ``told``: (channel, alert)."""

    def __init__(self, monkeypatch):
        for module in (sending, hosts):
            monkeypatch.setattr(module, "SEND_SLOW_S", 0.1)
        self.now_s, self.seconds = NOW_S, 1.0
        self.hanging, self.told, self.tried = set(), [], []
        self.queues = Queues(lambda: self.now_s)
        self.sender = self.sending(self.deliver)
        self.lock = threading.Lock()

    def sending(self, deliver):
        return Sender(self.queues, deliver, lambda: self.now_s, time.monotonic)

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
        self.queues.of(tenant).publish([(Delivery(f"{tenant}-{channel}", self.now_s, notice), "")])

    def run(self):
        """One run of a notifier, then a minute passes; how many were sent."""
        end_s, failures = time.monotonic() + self.seconds, TenantFailures()
        sent = self.sender.run(lambda: SEND_RESERVE_S + end_s - time.monotonic(), failures)
        self.now_s += 60
        failures.raise_last()
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
    sends.seconds = 2.0
    sends.run()
    assert sorted((channel, int(alert)) for channel, alert in sends.told) == [("b-hook", each) for each in range(20)]
    tries = len(sends.tried) - sends.tried[::-1].index("b-hook")
    assert tries <= 20 + 3 * SENT_PER_TENANT, "three times HANG_S at most, however much waits"


def test_nothing_of_a_tenant_whose_channels_hung_is_lost(sends):
    for number in range(80):
        sends.publish("a", f"c{number % 25}", number)
        sends.hanging.add(f"a-c{number % 25}")
    for _ in range(3):
        sends.run()
    sends.hanging.clear()
    for _ in range(3 + CHANNEL_REST_S // 60):
        sends.run()
    assert {int(alert) for _, alert in sends.told} == set(range(80))
    assert sends.queues.messages == [] and sends.queues.dead == []


def test_a_channel_that_does_not_answer_rests_and_its_deliveries_count_no_try(sends):
    sends.hanging.add("a-c")
    for number in range(4):
        sends.publish("a", "c", number)
    sends.run()
    tried = len(sends.tried)
    assert tried == CHANNEL_TIMEOUTS
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
    assert len(sends.queues.dead) == 3 and sends.queues.messages == []


def test_a_refusal_is_no_silence(sends):
    """A channel that answers at once, whatever it says, is tried at each time of its deliveries."""
    refused = []
    sends.sender = sends.sending(lambda each: refused.append(each) or "the status is 500")
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

    sends.sender = sends.sending(deliver)
    sends.publish("a", "c", 0)
    sends.publish("b", "c", 1)
    assert sends.run() == 1 and told == ["b-c"]
    assert "BUG: KeyError" in caplog.text and "secret" not in caplog.text


def test_what_a_run_has_no_time_for_counts_no_try(sends):
    sends.seconds = HANG_S / 2
    for number in range(40):
        sends.publish("a", f"c{number}", number)
        sends.hanging.add(f"a-c{number}")
    sends.run()
    tries = [sends.queues.of("a").tries.get(lease, 0) for lease in sends.queues.of("a").messages]
    assert len(tries) == 40 and tries.count(0) == 40 - len(sends.tried)


def test_a_tenant_whose_channels_are_slow_delays_no_other(sends):
    """Ten thousand deliveries a minute, each of which takes as long as no time-out does."""
    sends.seconds = 0.5

    def deliver(delivery):
        time.sleep(0.03 if delivery.tenant == "a" else 0)
        return sends.deliver(delivery)

    sends.sender = sends.sending(deliver)
    for minute in range(3):
        for number in range(10_000):
            sends.publish("a", f"c{number % 20}", number)
        sends.publish("b", "hook", minute)
        sends.run()
        assert [alert for channel, alert in sends.told if channel == "b-hook"] == [
            f"{each}" for each in range(minute + 1)
        ]
    assert len(sends.told) > 3 * SENT_PER_TENANT, "the slow one is told as well"


def test_after_a_silent_channel_a_thread_gives_back_what_it_took(sends):
    """Mails behind a webhook that hangs are sent by other threads, in the same run."""
    sends.hanging.add("a-hook")
    for number in range(SENT_TOGETHER - 1):
        sends.publish("a", "hook" if number == 0 else "mail", number)
    assert sends.run() == SENT_TOGETHER - 2


def test_a_queue_that_is_away_holds_up_its_tenant_alone(sends, monkeypatch):
    for tenant in ("a", "b", "c"):
        sends.publish(tenant, "hook", 1)

    def away(*_):
        raise RetryableError("away")

    def broken(*_):
        raise KeyError("secret")

    monkeypatch.setattr(sends.queues.of("a"), "take", away)
    monkeypatch.setattr(sends.queues.of("c"), "take", broken)
    with pytest.raises(CarbyneError):
        sends.run()
    assert [channel for channel, _ in sends.told] == ["b-hook"]


def test_a_channel_that_was_deleted_is_forgotten(sends):
    sends.hanging.add("a-c")
    sends.publish("a", "c", 1)
    sends.run()
    assert sends.sender._silent
    sends.queues.queues.clear()
    sends.now_s += DELIVERY_KEPT_S
    sends.run()
    assert sends.sender._silent == {}


def test_what_rests_is_no_dead_letter_untried_while_its_queue_is_full(sends, monkeypatch):
    sends.hanging.add("a-c")
    for number in range(4):
        sends.publish("a", "c", number)
    sends.run()

    def full(*_):
        raise RetryableError("over the limit queue-length")

    monkeypatch.setattr(sends.queues.of("a"), "publish", full)
    sends.hanging.clear()
    for _ in range(20):
        sends.sender._silent = {"a:a-c": sending._Silence(CHANNEL_TIMEOUTS, sends.now_s)}  # it rests all the time
        sends.run()
    assert sends.queues.dead == []


def test_a_take_that_gives_few_ends_no_turns(sends, monkeypatch):
    """As where the table must note first what may be taken: each 257th message comes alone."""
    queue = sends.queues.of("a")
    take = queue.take
    monkeypatch.setattr(queue, "take", lambda most, lease_s: take(min(most, 1), lease_s))
    for number in range(40):
        sends.publish("a", "hook", number)
    assert sends.run() == 40


@pytest.fixture
def shared(sends):
    """Channels named slack go through one host."""
    known = SharedHosts(lambda: sends.now_s, time.monotonic)

    def deliver(delivery):
        _, name = delivery.channel.split("-")
        return known.ask(name, delivery.tenant, lambda: Run.deliver(sends, delivery))

    sends.sender = sends.sending(deliver)
    return sends


def hang_for(shared, tenants):
    for number in range(tenants):
        shared.publish(f"t{number}", "slack", number)
        shared.hanging.add(f"t{number}-slack")


def test_a_host_that_hangs_for_all_its_tenants_delays_no_other(shared):
    """Of a try for each they would be 19 times HANG_S."""
    hang_for(shared, 300)
    shared.seconds = 2.0
    shared.publish("healthy", "hook", 0)
    shared.run()
    assert shared.told == [("healthy-hook", "0")] and len(shared.tried) <= 1 + SENT_AT_ONCE + HOST_SILENT_TENANTS
    for _ in range(4):
        shared.run()
    assert len(shared.tried) <= 1 + 5 * (SENT_AT_ONCE + HOST_SILENT_TENANTS), "it is asked again all the time"
    shared.hanging.clear()
    for _ in range(2 + CHANNEL_REST_S // 60):
        shared.run()
    assert len(shared.told) == 301 and shared.queues.messages == [] and shared.queues.dead == []


def test_what_waited_too_long_for_its_host_ends(shared):
    hang_for(shared, 40)
    shared.now_s += DELIVERY_KEPT_S
    for _ in range(2 * DELIVERY_KEPT_S // 60):
        shared.run()
    assert len(shared.queues.dead) == 40 and shared.queues.messages == []
    assert len(shared.tried) <= 5 * (SENT_AT_ONCE + HOST_SILENT_TENANTS), "of 200 tries"


def test_two_tenants_make_no_host_rest(shared):
    hang_for(shared, HOST_SILENT_TENANTS - 1)
    for number in range(3):
        shared.publish("t0", "slack", number)
    shared.run()
    shared.publish("b", "slack", 0)
    shared.run()
    assert ("b-slack", "0") in shared.told


class HostClock:
    """SharedHosts whose time passes by tries."""

    def __init__(self):
        self.seconds = 0.0
        self.hosts = SharedHosts(lambda: int(self.seconds), lambda: self.seconds)

    def ask(self, tenant, problem="", took_s=0.0, host="slack"):
        def send():
            self.seconds += took_s
            return problem

        return self.hosts.ask(host, tenant, send)

    def hang(self, *tenants):
        for tenant in tenants:
            assert self.ask(tenant, "no answer", 5.0) == "no answer"


def test_a_host_rests_until_it_had_a_minute():
    clock = HostClock()
    clock.hang("a", "b", "a", "a")
    clock.ask("c", "the status is 500")
    clock.hang("a", "b")
    assert clock.ask("c") == "", "an answer in between"
    clock.hang("a", "b", "c")
    with pytest.raises(RestingError) as resting:
        clock.ask("d")
    assert resting.value.rest_s == HOST_REST_S and clock.ask("d", host="other") == ""
    clock.seconds += HOST_REST_S
    clock.hang("a", "a", "a")
    assert clock.ask("d") == "", "one tenant alone makes no host rest again"
    clock.hang("a")
    clock.seconds += HOST_REST_S
    clock.ask("d", host="other")
    assert clock.hosts._silent == {}, "it is forgotten"


def test_the_host_of_a_url():
    urls = ("https://Hooks.example/a", "https://u:p@hooks.example:8443/b?c", "http://hooks.example#d")
    assert {host_of(url) for url in urls} == {"hooks.example"} and host_of("https://[2001:db8::1]/") == "2001:db8::1"


def test_turns_are_fair():
    turns = Turns(["a", "b", "c"])
    first = [turns.begin(0) for _ in range(3)]
    assert sorted(first) == ["a", "b", "c"]
    turns.end("b", is_over=False)
    assert turns.begin(0) == "b"
    turns.end("a", is_over=True)
    turns.end("b", is_over=True)
    assert [turns.begin(0) for _ in range(SENT_PER_TENANT)] == ["c"] * (SENT_PER_TENANT - 1) + [""]
    turns.end("c", is_over=False)
    assert turns.begin(0) == "c" and turns.begin(0) == ""
    turns = Turns(["a"])
    assert [turns.begin(0), turns.begin(0)] == ["a", "a"]
    turns.end("a", is_over=True)
    assert turns.begin(0) == ""
    turns.end("a", is_over=False)
    assert turns.begin(0) == "a", "the other thread gave back what it took"


def waiting(turns):
    """A thread that waits for a turn, and a list for its tenant."""
    tenants = []
    thread = threading.Thread(target=lambda: tenants.append(turns.begin(5.0)))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    return thread, tenants


@pytest.mark.parametrize(("is_over", "tenant"), [(False, "a"), (True, "")])
def test_a_thread_waits_while_another_may_give_something_back(is_over, tenant):
    turns = Turns(["a"])
    assert [turns.begin(0), turns.begin(0)] == ["a", "a"]
    turns.end("a", is_over=True)
    thread, tenants = waiting(turns)
    turns.end("a", is_over=is_over)
    thread.join(2.0)
    assert tenants == [tenant]
