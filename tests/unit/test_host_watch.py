"""Samples of hosts that are not registered: stored, counted, and named once an hour."""

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.limits import (
    HOSTS_LOOKED_UP_MAX,
    HOSTS_PAUSE_S,
    HOSTS_WATCHED_MAX,
    UNKNOWN_HOST_S,
    UNKNOWN_HOSTS_NAMED_MAX,
)
from carbyne.intake import host_watch
from carbyne.intake.host_watch import UNKNOWN_HOSTS_HEADER, HostWatch

from tests.support.memory_system import MemorySystem
from tests.support.registry_system import answer_of, event

NOW_S = 1_700_000_000


class Hosts:
    def __init__(self):
        self.live, self.asked, self.away = {("a", "web1")}, [], False

    def live_hosts(self, tenant, host_ids):
        self.asked.append(sorted(host_ids))
        if self.away:
            raise RetryableError("the registry table is away")
        return {host_id for host_id in host_ids if (tenant, host_id) in self.live}


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def hosts():
    return Hosts()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(hosts, clock):
    return HostWatch(hosts, clock)


def test_an_unknown_host_is_named_once_an_hour_and_counted_always(watch, hosts, clock, caplog):
    for _ in range(2):
        assert watch.unknown("a", ["web1", "gone"]) == ({"gone"}, ["gone"])
        assert watch.unknown("a", ["web1", "gone"]) == ({"gone"}, [])
        clock.now_s += UNKNOWN_HOST_S
    assert hosts.asked == [["gone", "web1"]] * 2
    assert [record.message for record in caplog.records] == [
        "tenant a posts for 1 hosts that are unknown or retired: gone"
    ] * 2


def test_a_host_of_another_tenant_is_unknown(watch):
    assert watch.unknown("b", ["web1"]).hosts == {"web1"}
    assert watch.unknown("a", ["web1"]).hosts == set()


def test_a_host_that_registers_is_known_within_the_hour(watch, hosts, clock):
    assert watch.unknown("a", ["new"]).hosts == {"new"}
    hosts.live.add(("a", "new"))
    clock.now_s += UNKNOWN_HOST_S
    assert watch.unknown("a", ["new"]).hosts == set()


def test_while_the_registry_is_away_every_host_counts_as_known_and_it_is_left_alone(watch, hosts, clock):
    hosts.away = True
    for _ in range(3):
        assert watch.unknown("a", ["gone"]) == (set(), [])
    assert len(hosts.asked) == 1
    hosts.away = False
    clock.now_s += HOSTS_PAUSE_S
    assert watch.unknown("a", ["gone"]) == ({"gone"}, ["gone"])


def test_a_post_looks_up_a_bounded_number_of_hosts(watch, hosts):
    ids = [f"h{number:04d}" for number in range(2 * HOSTS_LOOKED_UP_MAX + 1)]
    assert [len(watch.unknown("a", ids).hosts) for _ in range(4)] == [100, 200, 201, 201]
    assert list(map(len, hosts.asked)) == [100, 100, 1]


def test_a_bounded_number_of_hosts_is_remembered(watch, monkeypatch):
    monkeypatch.setattr(host_watch, "HOSTS_WATCHED_MAX", 3)
    for name in ("h1", "h2", "h3", "h4"):
        watch.unknown("a", [name])
    assert list(watch._hosts) == [("a", "h2"), ("a", "h3"), ("a", "h4")]
    assert HOSTS_WATCHED_MAX >= 20_000, "a large fleet"


def test_a_header_names_some_and_says_how_many_more(watch):
    ids = [f"h{number:02d}" for number in range(UNKNOWN_HOSTS_NAMED_MAX + 5)]
    header = watch.unknown("a", ids).header[UNKNOWN_HOSTS_HEADER]
    assert header == ", ".join(ids[:UNKNOWN_HOSTS_NAMED_MAX]) + " and 5 more"


def test_samples_of_unknown_and_retired_hosts_are_stored_and_the_answer_says_so():
    system = MemorySystem(lambda: NOW_S, lambda: 0.0)

    def call(method, url, body=None):
        answer = answer_of(system.handle(event(method, url, body)))
        assert answer.status == 200, answer.text
        return answer

    ids = [call("POST", "/api/v0/hosts", {"name": "web"}).body["id"] for _ in range(2)]
    call("POST", f"/api/v0/hosts/{ids[1]}/retire", {})
    sample = {"name": "m", "time": NOW_S, "value": 1}
    body = [{"hostId": host_id, **sample} for host_id in (*ids, "stranger")]
    assert call("POST", "/api/v0/tsdb", body).headers[UNKNOWN_HOSTS_HEADER] == ", ".join(sorted([ids[1], "stranger"]))
    assert UNKNOWN_HOSTS_HEADER not in call("POST", "/api/v0/tsdb", body).headers
    for host_id in (*ids, "stranger"):
        assert call("GET", f"/api/v0/hosts/{host_id}/metric-names").body == {"names": ["m"]}
    assert UNKNOWN_HOSTS_HEADER not in call("POST", "/api/v0/services/shop/tsdb", [sample]).headers


def test_names_of_what_is_neither_registered_nor_has_samples_are_unknown():
    system = MemorySystem(lambda: NOW_S, lambda: 0.0)

    def status(method, url, body=None):
        return answer_of(system.handle(event(method, url, body))).status

    host = answer_of(system.handle(event("POST", "/api/v0/hosts", {"name": "web"}))).body["id"]
    status("POST", "/api/v0/services", {"name": "shop"})
    for known in (f"hosts/{host}", "services/shop"):
        assert status("GET", f"/api/v0/{known}/metric-names") == 200
    status("POST", f"/api/v0/hosts/{host}/retire")
    assert status("GET", f"/api/v0/hosts/{host}/metric-names") == 200
    for unknown in ("hosts/stranger", "services/none-such"):
        assert status("GET", f"/api/v0/{unknown}/metric-names") == 404
