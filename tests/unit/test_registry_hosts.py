"""Hosts: registering twice, finding, roles, custom identifiers, retiring, and who is first when two change one."""

import hashlib
import itertools
import random
import re
from collections import Counter

import pytest
from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.limits import HOST_BYTES_MAX, HOSTS_PER_BULK_MAX, PAST_HOSTS_MAX, ROLES_PER_HOST_MAX
from carbyne.registry import hosts
from carbyne.registry.ids import new_host_id
from carbyne.stream.records import ALL_TIME_MS, DeleteRecord

from tests.support.registry_system import NOW_S, System

HOSTS = "/api/v0/hosts"


@pytest.fixture
def system():
    return System()


def get(system, host_id):
    return system.ok("GET", f"{HOSTS}/{host_id}")["host"]


def test_an_agent_that_registers_twice_gets_one_host(system):
    first = system.host(customIdentifier="i-1", roleFullnames=["shop:web"])
    again = system.host(customIdentifier="i-1", roleFullnames=["shop:db"], name="other")
    assert first == again
    assert (get(system, first)["name"], get(system, first)["roles"]) == ("other", {"shop": ["db", "web"]})
    assert system.host() != system.host(), "without a custom identifier they can't be known as one"


def test_an_update_changes_what_is_in_it_and_adds_roles(system):
    host = system.host(displayName="d", memo="m", customIdentifier="i", interfaces=[], roleFullnames=["shop:web"])
    system.ok("PUT", f"{HOSTS}/{host}", {"name": "n", "roleFullnames": ["shop:db", "blog:app"]})
    after = get(system, host)
    assert (after["name"], after["displayName"], after["memo"], after["customIdentifier"]) == ("n", "d", "m", "i")
    assert after["roles"] == {"blog": ["app"], "shop": ["db", "web"]}
    system.ok("PUT", f"{HOSTS}/{host}", {"name": "n", "customIdentifier": "", "displayName": None, "memo": ""})
    after = get(system, host)
    assert (after["displayName"], after["memo"], after["customIdentifier"]) == (None, "", None)
    assert system.host_ids("customIdentifier=i") == []


def test_an_update_that_changes_nothing_writes_nothing(system):
    host = system.host(meta={"cpu": [{"mhz": 1}]}, roleFullnames=["shop:web"])
    before = dict(system.store.table)
    system.ok("PUT", f"{HOSTS}/{host}", {"name": "web", "meta": {"cpu": [{"mhz": 1}]}, "roleFullnames": ["shop:web"]})
    assert system.store.table == before


def test_roles_are_replaced_and_made_when_they_are_new(system):
    host = system.host(roleFullnames=["shop:web"])
    system.ok("PUT", f"{HOSTS}/{host}/role-fullnames", {"roleFullnames": ["blog:app", "blog:app"]})
    assert get(system, host)["roles"] == {"blog": ["app"]}
    assert system.ok("GET", "/api/v0/services")["services"] == [
        {"name": "blog", "memo": "", "roles": ["app"]},
        {"name": "shop", "memo": "", "roles": ["web"]},
    ]


def test_find(system):
    web = system.host(roleFullnames=["shop:web"])
    db = system.host(roleFullnames=["shop:db"], name="db")
    both = system.host(roleFullnames=["shop:web", "shop:db", "blog:app"])
    plain = system.host(customIdentifier="i-1")
    everyone = [web, db, both, plain]
    assert system.host_ids() == everyone
    assert system.host_ids("service=shop") == [web, db, both]
    assert system.host_ids("service=shop&role=db") == [db, both]
    assert system.host_ids("service=shop&role=db&role=web") == [web, db, both]
    assert system.host_ids("role=db") == everyone, "a role without its service asks for nothing"
    assert system.host_ids("service=blog&role=web") == []
    assert system.host_ids("name=db") == [db]
    assert system.host_ids("customIdentifier=i-1") == [plain]
    assert system.host_ids("customIdentifier=i-1&service=shop") == []
    assert system.host_ids("customIdentifier=I-1") == []
    assert system.host_ids("name=&service=&customIdentifier=&status=") == everyone


def test_find_by_status(system):
    hosts = {status: system.host() for status in ("working", "standby", "maintenance", "poweroff")}
    for status, host in hosts.items():
        system.ok("POST", f"{HOSTS}/{host}/status", {"status": status})
        assert get(system, host)["status"] == status
    assert system.host_ids() == [hosts["working"], hosts["standby"]]
    assert system.host_ids("status=poweroff") == [hosts["poweroff"]]
    assert system.host_ids("status=poweroff&status=maintenance") == [hosts["maintenance"], hosts["poweroff"]]


def test_hosts_come_by_id_whatever_their_age(system):
    system.now_s += 10
    young = system.host()
    system.now_s -= 10
    old = system.host()
    assert system.host_ids() == [young, old] == sorted([young, old])


def test_custom_identifiers_in_either_case(system):
    path = "/api/v0/hosts-by-custom-identifier"
    young = system.host(customIdentifier="I/1?x")
    system.now_s -= 10
    old = system.host(customIdentifier="i/1?X")
    assert system.ok("GET", f"{path}/I%2F1%3Fx")["host"]["id"] == young
    assert system.ok("GET", f"{path}/I/1%3Fx?")["host"]["id"] == young, "where the gateway has decoded it"
    assert system.ok("GET", f"{path}/I%2F1%3FX?caseInsensitive=true")["host"]["id"] == old
    system.refused(404, "GET", f"{path}/I%2F1%3FX")
    system.refused(404, "GET", f"{path}/I%2F1?caseInsensitive=true")


def test_a_custom_identifier_belongs_to_one_host(system):
    first, second = system.host(customIdentifier="i"), system.host()
    assert first in system.refused(400, "PUT", f"{HOSTS}/{second}", {"name": "n", "customIdentifier": "i"})
    system.ok("PUT", f"{HOSTS}/{first}", {"name": "n", "customIdentifier": "j"})
    system.ok("PUT", f"{HOSTS}/{second}", {"name": "n", "customIdentifier": "i"})
    assert (system.host_ids("customIdentifier=i"), system.host_ids("customIdentifier=j")) == ([second], [first])


def test_a_retired_host_is_known_and_not_found(system):
    host, other = system.host(customIdentifier="i"), system.host()
    system.now_s += 60
    for body in ("null", None, "{}"):
        system.ok("POST", f"{HOSTS}/{host}/retire", body)
    after = get(system, host)
    assert (after["isRetired"], after["retiredAt"], after["createdAt"]) == (True, NOW_S + 60, NOW_S)
    assert system.host_ids() == [other]
    assert system.host_ids("customIdentifier=i") == []
    assert system.host(customIdentifier="i") != host, "its identifier is free"


def test_a_retired_host_does_not_change(system):
    host = system.host()
    system.ok("POST", f"{HOSTS}/{host}/retire", "null")
    before = get(system, host)
    for method, what, body in (
        ("PUT", "", {"name": "n"}),
        ("POST", "/status", {"status": "working"}),
        ("PUT", "/role-fullnames", {"roleFullnames": []}),
        ("PUT", "/metadata/env", {}),
    ):
        assert "retired" in system.refused(400, method, f"{HOSTS}/{host}{what}", body)
    assert get(system, host) == before


REMOVED = "/carbyne/v1/hosts"


def filled(system, **fields):
    """A host with all that can hang on one."""
    host = system.host(customIdentifier="i", roleFullnames=["shop:web"], checks=[{"name": "ping"}], **fields)
    system.ok("PUT", f"{HOSTS}/{host}/metadata/env", {"x": 1})
    source = {"type": "host", "hostId": host}
    report = {"source": source, "name": "ping", "status": "OK", "message": "", "occurredAt": system.now_s}
    system.ok("POST", "/api/v0/monitoring/checks/report", {"reports": [report]})
    return host


@pytest.mark.parametrize("retired", [False, True])
def test_a_removed_host_leaves_nothing(system, retired):
    """Its samples are deleted first: all of them, in the lane in which they are."""
    other = system.host(roleFullnames=["shop:web"])
    before = dict(system.store.table)
    host = filled(system)
    if retired:
        system.ok("POST", f"{HOSTS}/{host}/retire", "null")
    assert system.ok("DELETE", f"{REMOVED}/{host}") == {"success": True}
    [(lane, record)] = system.put
    assert record == DeleteRecord("a", f"host/{host}", "", *ALL_TIME_MS)
    assert lane == keys.lane_tag(keys.lane_of("a", f"host/{host}"))
    assert system.store.table == before and system.host_ids() == [other]
    system.refused(404, "GET", f"{HOSTS}/{host}")
    system.refused(404, "DELETE", f"{REMOVED}/{host}")
    assert len(system.put) == 1
    assert system.host(customIdentifier="i") != host, "its identifier is free"


def test_nothing_is_removed_if_the_stream_does_not_take_the_delete(system):
    host = filled(system)
    before = dict(system.store.table)
    system.stream_is_away = True
    system.refused(503, "DELETE", f"{REMOVED}/{host}")
    assert system.store.table == before
    system.stream_is_away = False
    system.ok("DELETE", f"{REMOVED}/{host}")
    system.refused(404, "GET", f"{HOSTS}/{host}")


def test_a_removal_that_failed_half_way_is_made_again(system):
    """Whichever write fails, the host is there until everything else is gone."""
    for fails in range(9):
        host = filled(system, name=f"n{fails}")
        writes = itertools.count()

        def fail(*changes, write=system.store.write, writes=writes, last=fails):
            if next(writes) == last:
                raise RetryableError("the registry table is away")
            return write(*changes)

        system.store.write, kept = fail, system.store.write
        status = system.call("DELETE", f"{REMOVED}/{host}").status
        system.store.write = kept
        if status == 200:
            break
        assert status == 503 and get(system, host)["id"] == host
        system.ok("DELETE", f"{REMOVED}/{host}")
        assert not [key for key in system.store.table if host in key.pk or host == key.sk]
    assert fails == 4, "of the check, of the document, of the listing of documents, of the host"


def test_a_host_that_is_retired_while_it_is_removed_is_gone(system):
    host = system.host(customIdentifier="i")
    system.store.before_write = lambda: system.ok("POST", f"{HOSTS}/{host}/retire", "null")
    system.ok("DELETE", f"{REMOVED}/{host}")
    system.refused(404, "GET", f"{HOSTS}/{host}")
    assert system.store.table == {}


@pytest.mark.parametrize("key", ["key-a-reads", "key-a-writes", "key-b"])
def test_a_host_is_removed_by_who_may(system, key):
    host = system.host()
    system.refused(404 if key == "key-b" else 403, "DELETE", f"{REMOVED}/{host}", key=key)
    assert get(system, host)["id"] == host and system.put == []


def test_an_unknown_host_is_404(system):
    for host in ("nope", "x" * 3000, "%C3%A9"):
        system.refused(404, "DELETE", f"{REMOVED}/{host}")
    for method, what, body in (
        ("GET", "", None),
        ("PUT", "", {"name": "n"}),
        ("POST", "/status", {"status": "working"}),
        ("PUT", "/role-fullnames", {"roleFullnames": ["shop:web"]}),
        ("POST", "/retire", "null"),
        ("GET", "/monitored-statuses", None),
        ("GET", "/metadata", None),
        ("GET", "/metadata/env", None),
        ("PUT", "/metadata/env", {}),
        ("DELETE", "/metadata/env", None),
    ):
        for host in ("nope", "x" * 3000, "%C3%A9"):
            system.refused(404, method, f"{HOSTS}/{host}{what}", body)
    assert system.store.table == {}


@pytest.mark.parametrize("what", ["bulk-update-statuses", "bulk-retire"])
def test_bulk_calls_do_all_or_nothing(system, what):
    ids = [system.host() for _ in range(3)]
    before = dict(system.store.table)
    system.refused(404, "POST", f"{HOSTS}/{what}", {"ids": [*ids, "nope"], "status": "poweroff"})
    too_many = [f"host{number}" for number in range(HOSTS_PER_BULK_MAX + 1)]
    system.refused(400, "POST", f"{HOSTS}/{what}", {"ids": too_many, "status": "poweroff"})
    assert system.store.table == before
    system.ok("POST", f"{HOSTS}/{what}", {"ids": [*ids[:2], ids[0]], "status": "poweroff"})
    assert system.host_ids() == ids[2:]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "truncated"),
        ("null", "null"),
        ("[]", "array"),
        ('{"meta":{}}', "name"),
        ('{"name":""}', "name"),
        ('{"name":5}', "name"),
        ({"name": "x" * 256}, "name"),
        ('{"name":"n","meta":[]}', "meta"),
        ('{"name":"n","meta":{"a":"\\q"}}', "escape"),
        (r'{"name":"n","meta":{"a":"\ud800"}}', "truncated|surrogate|escape"),
        ('{"name":"n","interfaces":{}}', "interfaces"),
        ('{"name":"n","memo":null}', "memo"),
        ('{"name":"n","roleFullnames":["shop"]}', "<service>:<role>"),
        ('{"name":"n","roleFullnames":["s:web"]}', "service"),
        ('{"name":"n","roleFullnames":["shop:-x"]}', "role"),
        ('{"name":"n","roleFullnames":["shop:a:b"]}', "role"),
        ({"name": "n", "roleFullnames": ["shop:web"] * (ROLES_PER_HOST_MAX + 1)}, "roles"),
        ({"name": "n", "customIdentifier": "x" * 2000}, "custom identifier"),
        ("[" * 100_000, "."),
    ],
)
def test_a_bad_host_is_refused_and_leaves_nothing(system, body, message):
    host = system.host()
    before = dict(system.store.table)
    for method, url in (("POST", HOSTS), ("PUT", f"{HOSTS}/{host}")):
        answer = system.call(method, url, body)
        assert answer.status == 400
        assert re.search(message, answer.body["error"]["message"], re.I)
    assert system.store.table == before


def stored(system, host):
    return hosts.live(system.store, "a", host)


def test_what_a_host_was_is_kept(system):
    host = system.host(roleFullnames=["shop:web"])
    system.ok("PUT", f"{HOSTS}/{host}", {"name": "web", "memo": "no change of who it is"})
    assert stored(system, host).past == []
    system.ok("POST", f"{HOSTS}/{host}/status", {"status": "standby"})
    system.ok("PUT", f"{HOSTS}/{host}/role-fullnames", {"roleFullnames": []})
    past = stored(system, host).past
    assert [(each.name, each.status, each.roles) for each in past] == [
        ("web", "working", {"shop": ["web"]}),
        ("web", "standby", {"shop": ["web"]}),
    ]
    assert "past" not in get(system, host)


def test_what_a_host_was_is_bounded_and_no_reason_to_refuse_it(system):
    host = system.host()
    for number in range(PAST_HOSTS_MAX + 2):
        system.ok("PUT", f"{HOSTS}/{host}", {"name": f"n{number}"})
    past = stored(system, host).past
    assert [each.name for each in past] == [f"n{number}" for number in range(1, PAST_HOSTS_MAX + 1)]
    system.ok("PUT", f"{HOSTS}/{host}", {"name": "full", "meta": {"x": "y" * (HOST_BYTES_MAX - 1_000)}})
    assert (stored(system, host).name, stored(system, host).past) == ("full", [])


def test_a_host_has_room(system):
    system.host(meta={"x": "y" * (HOST_BYTES_MAX - 1_000)})
    assert "bytes" in system.refused(413, "POST", HOSTS, {"name": "n", "meta": {"x": "y" * HOST_BYTES_MAX}})


def test_bytes_of_no_text_are_refused(system):
    event_body = '{"name":"n","meta":{"a":"\udcff"}}'
    system.refused(400, "POST", HOSTS, event_body)


def test_two_who_change_a_host_at_once_both_succeed(system):
    host = system.host()
    system.store.before_write = lambda: system.ok("POST", f"{HOSTS}/{host}/status", {"status": "maintenance"})
    system.ok("PUT", f"{HOSTS}/{host}", {"name": "new"})
    after = get(system, host)
    assert (after["name"], after["status"]) == ("new", "maintenance")


def test_two_agents_that_register_at_once_are_one_host(system):
    other = []
    system.store.before_write = lambda: other.append(system.host(customIdentifier="i"))
    assert [system.host(customIdentifier="i")] == other
    assert system.host_ids() == other


def test_a_host_that_is_retired_meanwhile_stays_retired(system):
    host = system.host(customIdentifier="i")
    system.store.before_write = lambda: system.ok("POST", f"{HOSTS}/{host}/retire", "null")
    assert "retired" in system.refused(400, "PUT", f"{HOSTS}/{host}", {"name": "new"})
    assert get(system, host)["name"] == "web"
    assert system.host_ids() == []


def test_a_table_that_is_away_is_503(system):
    host = system.host()
    system.store.away = True
    answer = system.call("GET", f"{HOSTS}/{host}")
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)


@pytest.mark.parametrize(
    ("key", "method", "url", "status"),
    [
        ("key-a-reads", "GET", HOSTS, 200),
        ("key-a-reads", "POST", HOSTS, 403),
        ("key-a-writes", "GET", HOSTS, 403),
        ("key-a-writes", "POST", HOSTS, 403),
        ("key-a-writes", "PUT", f"{HOSTS}/host1/role-fullnames", 200),
        ("key-a-reads", "PUT", f"{HOSTS}/host1/role-fullnames", 403),
        ("nobody", "GET", HOSTS, 403),
    ],
)
def test_permissions(system, key, method, url, status):
    system.host()
    body = {"name": "n", "roleFullnames": []} if method != "GET" else None
    assert system.call(method, url, body, key).status == status


def test_agents_of_the_ids_we_choose_post_evenly_over_the_minute():
    draw = random.Random(1).choice
    ids = [new_host_id(draw) for _ in range(6_000)]
    assert len(set(ids)) == len(ids)
    assert all(len(host_id) == 11 and host_id.isalnum() and host_id.isascii() for host_id in ids)
    seconds = Counter(hashlib.sha1(host_id.encode()).digest()[-1] % 60 for host_id in ids)
    early = sum(seconds[second] for second in range(16)) / len(ids)
    assert early == pytest.approx(16 / 60, abs=0.02), "unchosen ids give 0.3125"
