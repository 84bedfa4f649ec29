"""External monitors: what is kept, which checks are due, and what a worker makes of them."""

import itertools

import pytest
from carbyne.checks.asking import Asked
from carbyne.checks.scheduler import CheckJob, CheckTaken, check_scheduler
from carbyne.checks.verdicts import judge
from carbyne.checks.worker import METRIC, CheckWorker
from carbyne.core.errors import RetryableError
from carbyne.core.limits import CHECK_SPREAD_S, CHECK_WORKERS_MAX, CHECKS_PER_WORKER, EXTERNAL_MONITORS_PER_TENANT_MAX
from carbyne.registry import monitors
from carbyne.registry.monitor_types import ExternalMonitor
from carbyne.registry.monitors import ExternalState
from carbyne.stream import records

from tests.support.registry_system import NOW_S, System

FORM = {"type": "external", "name": "Shop", "url": "https://shop.example/"}
MINUTE = NOW_S // 60


@pytest.fixture
def system():
    return System()


class MemoryCheckQueue:
    """A CheckQueue that forgets leases only when told to: ``expire``."""

    def __init__(self):
        self.waiting, self.leased, self.keys = [], {}, set()
        self.numbers = itertools.count()

    def publish(self, jobs):
        assert len(jobs) <= 100
        for job, delay_s, key in jobs:
            assert 0 <= delay_s < CHECK_SPREAD_S
            if key not in self.keys:
                self.keys.add(key)
                self.waiting.append(job)

    def take(self, most, lease_s):
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        named = [CheckTaken(str(next(self.numbers)), job) for job in taken]
        self.leased |= {each.lease: each.body for each in named}
        return named

    def acknowledge(self, leases):
        for lease in leases:
            self.leased.pop(lease)

    def expire(self):
        self.waiting += self.leased.values()
        self.leased.clear()


class Asking:
    """Answers of ``found`` by URL, else 200 in 50 ms; ``asked``: what was asked."""

    def __init__(self):
        self.asked, self.found = [], {}

    def ask(self, monitor):
        self.asked.append(monitor.url)
        return self.found.get(monitor.url, Asked("", 200, b"hello", 0.05))


def work(system, queue, asking, turns=3):
    left = iter([60.0] * turns + [0.0])
    return CheckWorker(system.registry, queue, asking, lambda _: None).run(lambda: next(left))


def schedule(system, queue):
    """(checks that are due, workers that were called)."""
    workers = []
    due = check_scheduler(system.store, queue, lambda: workers.append(1), lambda: system.now_s).run()
    return due, len(workers)


def test_a_monitor_is_kept_as_it_was_sent(system):
    form = {
        **FORM,
        "memo": "m",
        "method": "POST",
        "service": "shop",
        "maxCheckAttempts": 3,
        "responseTimeDuration": 3,
        "responseTimeWarning": 500.0,
        "responseTimeCritical": 1000.5,
        "containsString": "Cart",
        "certificationExpirationWarning": 30,
        "certificationExpirationCritical": 15,
        "skipCertificateVerification": True,
        "followRedirect": True,
        "expectedStatusCode": 201,
        "requestBody": "{}",
        "headers": [{"name": "Cache-Control", "value": "no-cache"}],
        "isMute": True,
        "notificationInterval": 60,
    }
    made = system.ok("POST", "/api/v0/monitors", form)
    assert made == {**form, "id": "host1"}
    assert system.ok("GET", "/api/v0/monitors/host1") == {"monitor": made}
    changed = system.ok("PUT", "/api/v0/monitors/host1", {**FORM, "name": "Other"})
    assert system.ok("GET", "/api/v0/monitors") == {"monitors": [changed]}
    assert system.ok("DELETE", "/api/v0/monitors/host1") == changed
    assert system.ok("GET", "/api/v0/monitors") == {"monitors": []}
    assert list(monitors.jobs(system.store)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"type": "host"}, "`operator`"),
        ({"type": None}, "type"),
        ({"url": "ftp://shop.example/"}, "http:// or https://"),
        ({"url": "https:///x"}, "http:// or https://"),
        ({"url": "https://me:secret@shop.example/"}, "without user and password"),
        ({"url": "https://shop.example/\r\nX: y"}, "http:// or https://"),
        ({"url": "https://shop.example:99999/"}, "http:// or https://"),
        ({"method": "TRACE"}, "one of"),
        ({"maxCheckAttempts": 11}, "<= 10"),
        ({"headers": [{"name": "A:b", "value": ""}]}, "headers"),
        ({"headers": [{"name": "A", "value": "b\r\nC: d"}]}, "headers"),
        ({"service": "a b"}, "service"),
    ],
)
def test_what_can_not_be_checked_is_refused(system, change, told):
    assert told in system.refused(400, "POST", "/api/v0/monitors", {**FORM, **change})


def test_a_tenant_has_so_many(system):
    for _ in range(EXTERNAL_MONITORS_PER_TENANT_MAX):
        system.ok("POST", "/api/v0/monitors", FORM)
    assert "limit" in system.refused(400, "POST", "/api/v0/monitors", FORM)
    system.ok("POST", "/api/v0/monitors", FORM, key="key-b")


def test_every_monitor_of_every_tenant_is_due_once_a_minute(system):
    queue = MemoryCheckQueue()
    for key in ("key-a", "key-a", "key-b"):
        system.ok("POST", "/api/v0/monitors", FORM, key=key)
    assert schedule(system, queue) == (3, 1)
    assert schedule(system, queue) == (3, 1), "a run that is repeated publishes nothing"
    assert sorted((job.tenant, job.monitor) for job in queue.waiting) == [
        ("a", "host1"),
        ("a", "host2"),
        ("b", "host3"),
    ]
    system.now_s += 60
    schedule(system, queue)
    assert len(queue.waiting) == 6


def test_no_worker_is_called_for_nothing_and_never_too_many(system):
    assert schedule(system, MemoryCheckQueue()) == (0, 0)
    for number in range(CHECKS_PER_WORKER * CHECK_WORKERS_MAX + 1):
        monitors.create(system.registry._replace(new_id=lambda n=number: f"m{n}"), f"t{number // 90}", _form())
    assert schedule(system, MemoryCheckQueue()) == (961, CHECK_WORKERS_MAX)


def _form():
    return ExternalMonitor(name="n", url="https://shop.example/")


def test_a_check_leaves_its_state_and_its_response_time(system):
    queue, asking = MemoryCheckQueue(), Asking()
    system.ok("POST", "/api/v0/monitors", {**FORM, "service": "shop"})
    schedule(system, queue)
    assert work(system, queue, asking) == 1
    [state] = system.ok("GET", "/carbyne/v1/monitor-states")["monitors"]
    told = {"status": "OK", "alert": "OK", "message": "200 in 50 ms", "checkedAt": MINUTE * 60}
    assert state == {"id": "host1", "name": "Shop", **told}
    [(_, record)] = system.put
    [row] = record.rows
    assert (record.tenant, row.source, row.ts_ms) == ("a", "service/shop", MINUTE * 60_000)
    assert record.lists[0].decode() == f"{METRIC}host1"
    assert isinstance(record, records.SamplesRecord)
    assert (queue.leased, queue.waiting) == ({}, [])


def test_an_alert_opens_after_as_many_checks_as_the_monitor_says(system):
    queue, asking = MemoryCheckQueue(), Asking()
    asking.found[FORM["url"]] = Asked("the connection was refused")
    system.ok("POST", "/api/v0/monitors", {**FORM, "maxCheckAttempts": 2, "service": "shop"})
    alerts = []
    for _ in range(3):
        schedule(system, queue)
        work(system, queue, asking)
        [state] = system.ok("GET", "/carbyne/v1/monitor-states")["monitors"]
        alerts.append((state["status"], state["alert"]))
        system.now_s += 60
        if len(alerts) == 2:
            asking.found.clear()
    assert alerts == [("CRITICAL", "OK"), ("CRITICAL", "CRITICAL"), ("OK", "OK")]
    assert len(system.put) == 1, "no response time without an answer"


def test_a_check_that_a_worker_died_with_comes_again_and_is_not_made_twice(system):
    queue, asking = MemoryCheckQueue(), Asking()
    system.ok("POST", "/api/v0/monitors", FORM)
    schedule(system, queue)
    queue.take(8, 60)  # and it died
    assert work(system, queue, asking) == 0
    queue.expire()
    assert work(system, queue, asking) == 1
    queue.waiting.append(CheckJob("a", "host1", MINUTE))
    assert work(system, queue, asking) == 1 and len(asking.asked) == 1


def test_a_check_whose_result_could_not_be_kept_comes_again(system):
    queue, asking = MemoryCheckQueue(), Asking()
    system.ok("POST", "/api/v0/monitors", {**FORM, "service": "shop"})
    system.ok("POST", "/api/v0/monitors", {**FORM, "url": "https://other.example/"})
    schedule(system, queue)
    system.stream_is_away = True
    assert work(system, queue, asking) == 1
    assert [job.monitor for job in queue.leased.values()] == ["host1"]
    system.stream_is_away = False
    queue.expire()
    assert work(system, queue, asking) == 1


def test_a_monitor_that_was_deleted_is_not_asked(system):
    queue, asking = MemoryCheckQueue(), Asking()
    system.ok("POST", "/api/v0/monitors", FORM)
    schedule(system, queue)
    system.ok("DELETE", "/api/v0/monitors/host1")
    assert work(system, queue, asking) == 1
    assert asking.asked == [] and system.ok("GET", "/carbyne/v1/monitor-states") == {"monitors": []}


def test_a_check_that_waited_too_long_gives_way_to_newer_ones(system):
    queue, asking = MemoryCheckQueue(), Asking()
    system.ok("POST", "/api/v0/monitors", FORM)
    for _ in range(4):
        schedule(system, queue)
        system.now_s += 60
    system.now_s -= 60
    assert work(system, queue, asking) == 4
    [state] = system.ok("GET", "/carbyne/v1/monitor-states")["monitors"]
    assert 1 <= len(asking.asked) <= 3 and state["checkedAt"] >= (MINUTE + 1) * 60


def test_a_later_check_is_not_overwritten(system):
    assert monitors.keep_state(system.registry, "a", "m", ExternalState("OK", "new", MINUTE + 1))
    assert not monitors.keep_state(system.registry, "a", "m", ExternalState("CRITICAL", "old", MINUTE))
    assert monitors.state(system.store, "a", "m").message == "new"


def test_a_worker_whose_queue_is_away_says_so(system):
    queue = MemoryCheckQueue()

    def away(*_):
        raise RetryableError("the queue is away")

    queue.take = away
    with pytest.raises(RetryableError):
        work(system, queue, Asking())


@pytest.mark.parametrize(
    ("times_ms", "status"),
    [
        ([900.0], "OK"),
        ([100.0, 100.0, 901.0], "OK"),
        ([100.0, 1400.0, 60.0], "WARNING"),
        ([9e9, 900, 1100, 1300], "CRITICAL"),
    ],
)
def test_response_times_are_averaged_over_minutes(times_ms, status):
    bounds = {"response_time_warning": 500, "response_time_critical": 1000, "response_time_duration": 3}
    monitor = ExternalMonitor(id="m", name="n", url="https://shop.example/", **bounds)
    assert judge(monitor, Asked("", 200), times_ms, NOW_S).status == status
