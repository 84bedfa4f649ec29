"""Details of Mackerel's API that its clients rely on, with the bodies that these were recorded to send."""

import json
import re

import pytest
from carbyne.http.message import SKIPPED_HEADER
from carbyne.registry import roles, services

from tests.support.memory_system import MemorySystem
from tests.support.registry_system import NOW_S, System, answer_of, event

REPORT = "/api/v0/monitoring/checks/report"
MKR_WRAP = (
    '{"reports":[{"source":{"type":"host","hostId":"host1"},"name":"backup","status":"%s","message":"%s",'
    '"occurredAt":%d}]}\n'
)
"""``mkr wrap``: a CRITICAL and, when the job runs again within the second, an OK."""
AGENT_REPORT = (
    '{"reports":[{"source":{"type":"host","hostId":"host1"},"name":"ping","status":"%s","message":"m%d",'
    '"occurredAt":%d,"notificationInterval":10,"maxCheckAttempts":3}]}\n'
)
UPDATE = (
    '{"name":"web1","meta":{"memory":{"total":"16000kB"}},"interfaces":%s,"roleFullnames":null,"checks":%s,'
    '"displayName":"web 1"}\n'
)
CONTAINER_REPORT = (
    '{"source":{"type":"host","hostId":"host1"},"name":"ping","status":"%s","message":"%s","occurredAt":%d}'
)
"""mackerel-container-agent: it joins what up to three runs left, in one body, and says nothing of attempts."""
RUBY_REPORT = (
    '{"reports":[{"name":"ping","status":"%s","message":"%s","occurredAt":%d,"source":{"type":"host",'
    '"hostId":"host1"}}]}'
)
WIDGET = (
    '{"title":"x","urlPath":"x","widgets":[{"type":"%s","title":"","layout":{"x":0,"y":0,"width":1,"height":1},'
    '"graph":{"type":"%s"}}]}\n'
)
ETH0 = (
    '{"name":"eth0","ipv4Addresses":["10.0.0.7","10.0.0.8"],"ipv6Addresses":["fe80::1"],'
    '"macAddress":"02:00:00:00:00:01"}'
)


@pytest.fixture
def system():
    made = System()
    made.host(checks=[{"name": "ping"}, {"name": "backup"}])
    return made


def states(system):
    """Message -> status of the alert."""
    answered = system.ok("GET", "/api/v0/hosts/host1/monitored-statuses?")["monitoredStatuses"]
    return {state["detail"]["message"]: state["status"] for state in answered}


@pytest.mark.parametrize(("first", "second"), [("CRITICAL", "OK"), ("OK", "CRITICAL"), ("WARNING", "UNKNOWN")])
def test_of_two_reports_within_a_second_the_later_arrival_wins(system, first, second):
    system.ok("POST", REPORT, MKR_WRAP % (first, "first", NOW_S))
    system.ok("POST", REPORT, MKR_WRAP % (second, "second", NOW_S))
    assert states(system) == {"second": second}


def test_of_two_reports_within_a_second_and_a_body_the_last_one_wins(system):
    bodies = [json.loads(MKR_WRAP % each) for each in (("CRITICAL", "first", NOW_S), ("OK", "second", NOW_S))]
    system.ok("POST", REPORT, {"reports": [body["reports"][0] for body in bodies]})
    assert states(system) == {"second": "OK"}


def test_reports_that_a_container_agent_saved_up_end_in_the_last_one(system):
    """Sent again after an answer that was lost, too."""
    runs = [CONTAINER_REPORT % each for each in (("CRITICAL", "a", NOW_S), ("WARNING", "b", NOW_S), ("OK", "c", NOW_S))]
    for _ in range(2):
        system.ok("POST", REPORT, f'{{"reports":[{",".join(runs)}]}}\n')
        assert states(system) == {"c": "OK"}
    system.ok("POST", REPORT, '{"reports":[%s]}\n' % (CONTAINER_REPORT % ("CRITICAL", "d", NOW_S + 60)))
    assert states(system) == {"d": "CRITICAL"}


def test_a_report_of_the_ruby_client(system):
    for status, message in (("CRITICAL", "first"), ("OK", "second")):
        system.ok("POST", REPORT, RUBY_REPORT % (status, message, NOW_S))
    assert states(system) == {"second": "OK"}


def test_a_report_from_the_future_blocks_no_other(system):
    system.ok("POST", REPORT, MKR_WRAP % ("CRITICAL", "from a fast clock", NOW_S + 3 * 3600))
    system.now_s += 60
    system.ok("POST", REPORT, MKR_WRAP % ("OK", "well", NOW_S + 60))
    assert states(system) == {"well": "OK"}
    system.ok("POST", REPORT, MKR_WRAP % ("CRITICAL", "older", NOW_S + 59))
    assert states(system) == {"well": "OK"}


def test_an_alert_opens_after_as_many_attempts_as_the_agent_says(system):
    for number, alert in enumerate(["OK", "OK", "CRITICAL", "CRITICAL"]):
        body = AGENT_REPORT % ("CRITICAL", number, NOW_S + number)
        system.ok("POST", REPORT, body)
        system.ok("POST", REPORT, body)  # agents repeat a report whose answer was lost: that is one attempt
        assert states(system) == {f"m{number}": alert}
    system.ok("POST", REPORT, AGENT_REPORT % ("OK", 9, NOW_S + 9))
    assert states(system) == {"m9": "OK"}
    system.ok("POST", REPORT, AGENT_REPORT % ("WARNING", 10, NOW_S + 10))
    assert states(system) == {"m10": "OK"}


@pytest.mark.parametrize(
    ("attempts", "alert"), [("0", "CRITICAL"), ("-1", "CRITICAL"), ("null", "CRITICAL"), ("99", "OK")]
)
def test_attempts_are_one_to_ten(system, attempts, alert):
    body = AGENT_REPORT.replace('"maxCheckAttempts":3', f'"maxCheckAttempts":{attempts}')
    for number in range(9):
        system.ok("POST", REPORT, body % ("CRITICAL", number, NOW_S + number))
    assert states(system) == {"m8": alert}
    system.ok("POST", REPORT, body % ("CRITICAL", 9, NOW_S + 9))
    assert states(system) == {"m9": "CRITICAL"}


def test_checks_that_an_update_no_longer_lists_go_unless_an_alert_is_open(system):
    system.ok("POST", REPORT, MKR_WRAP % ("OK", "backup is well", NOW_S))
    system.ok("POST", REPORT, AGENT_REPORT % ("OK", 1, NOW_S))
    system.ok("PUT", "/api/v0/hosts/host1?", UPDATE % ("null", "null"))  # by a tool that knows no checks
    assert states(system) == {"backup is well": "OK", "m1": "OK"}
    system.ok("PUT", "/api/v0/hosts/host1?", UPDATE % ("null", '[{"name":"ping","memo":""}]'))
    assert states(system) == {"m1": "OK"}
    for number in range(3):
        system.ok("POST", REPORT, AGENT_REPORT % ("CRITICAL", number, NOW_S + number))
    system.ok("PUT", "/api/v0/hosts/host1?", UPDATE % ("null", "[]"))
    assert states(system) == {"m2": "CRITICAL"}
    system.ok("POST", REPORT, AGENT_REPORT % ("OK", 5, NOW_S + 5))
    system.ok("PUT", "/api/v0/hosts/host1?", UPDATE % ("null", "[]"))
    assert states(system) == {}


def test_an_update_without_checks_keeps_the_memos(system):
    system.ok("PUT", "/api/v0/hosts/host1?", UPDATE % ("null", '[{"name":"ping","memo":"is it there?"}]'))
    system.ok("PUT", "/api/v0/hosts/host1?", UPDATE % ("null", "null"))
    system.ok("POST", REPORT, AGENT_REPORT % ("OK", 1, NOW_S))
    [state] = system.ok("GET", "/api/v0/hosts/host1/monitored-statuses?")["monitoredStatuses"]
    assert state["detail"]["memo"] == "is it there?"


def test_a_report_between_reading_and_forgetting_a_check_stays(system):
    system.ok("POST", REPORT, MKR_WRAP % ("OK", "old", NOW_S))
    body = UPDATE % ("null", "[]")

    def alert():
        system.store.before_write = lambda: system.ok("POST", REPORT, MKR_WRAP % ("CRITICAL", "new", NOW_S + 1))

    system.store.before_write = alert  # the first write is the host's, the next one the check's removal
    system.ok("PUT", "/api/v0/hosts/host1?", body)
    assert states(system) == {"new": "CRITICAL"}


@pytest.mark.parametrize(
    ("interface", "address"),
    [
        (ETH0, "10.0.0.7"),
        ('{"name":"eth0","ipAddress":"10.0.0.1","ipv4Addresses":["10.0.0.7"]}', "10.0.0.7"),
        ('{"name":"eth0","ipAddress":"10.0.0.1","ipv4Addresses":[]}', "10.0.0.1"),
        ('{"name":"eth0","ipAddress":"10.0.0.1","ipv4Addresses":null}', "10.0.0.1"),
        ('{"name":"eth0","ipAddress":"10.0.0.1"}', "10.0.0.1"),
        ('{"name":"eth0"}', None),
        ('{"name":"eth0","ipv4Addresses":[7]}', None),
    ],
)
def test_the_address_of_an_interface_is_its_first_ipv4_address(system, interface, address):
    system.ok("PUT", "/api/v0/hosts/host1?", UPDATE % (f"[{interface}]", "null"))
    [answered] = system.ok("GET", "/api/v0/hosts/host1?")["host"]["interfaces"]
    assert answered.get("ipAddress") == address
    assert {name: value for name, value in answered.items() if name != "ipAddress"} == {
        name: value for name, value in json.loads(interface).items() if name != "ipAddress"
    }
    assert system.host_ids("") == ["host1"]


def test_the_ruby_client_finds_the_address_of_a_container_agents_host(system):
    """The agent sends addresses as a list alone; the client takes `ipAddress` of the first interface eth0 to eth9."""
    interfaces = '[{"name":"eth0","ipv4Addresses":["172.17.0.2"],"macAddress":"02:42:ac:11:00:02"}]'
    system.ok("PUT", "/api/v0/hosts/host1?", UPDATE % (interfaces, '[{"name":"ping"}]'))
    [host] = system.ok("GET", "/api/v0/hosts.json?name=web1")["hosts"]
    assert next(each["ipAddress"] for each in host["interfaces"] if re.match(r"eth\d", each["name"])) == "172.17.0.2"


@pytest.mark.parametrize("time", [f"{NOW_S}", f"{NOW_S}.0", f"{NOW_S // 1000}e3"])
@pytest.mark.parametrize("value", ["-0.0", "-0"])
def test_a_time_that_is_a_whole_float_and_a_zero_with_a_sign_come_back(time, value):
    """Ruby's `Time.now.to_f.floor(0)` and Python's `time.time() // 1` are floats."""
    system = MemorySystem(lambda: NOW_S, lambda: 0.0)
    body = f'[{{"hostId":"host1","time":{time},"name":"custom.a","value":{value}}}]'
    assert answer_of(system.handle(event("POST", "/api/v0/tsdb", body))).headers.get(SKIPPED_HEADER) is None
    url = f"/api/v0/hosts/host1/metrics?from={NOW_S - 60}&name=custom.a&to={NOW_S}"
    points = f'[{{"time":{NOW_S // 60 * 60},"value":-0.0}}]'
    assert answer_of(system.handle(event("GET", url))).text == f'{{"metrics":{points}}}'


def test_a_service_or_role_posted_twice_is_refused(system):
    """Also with the same memo: the documents give an organisation one service of a name, and a service one role."""
    for url, body in (
        ("/api/v0/services?", '{"name":"Blog","memo":"m"}\n'),
        ("/api/v0/services/Blog/roles?", '{"name":"app","memo":""}\n'),
    ):
        system.ok("POST", url, body)
        assert "exists" in system.refused(400, "POST", url, body)


def test_a_role_that_comes_while_its_service_is_deleted_leaves_no_orphan(system):
    system.ok("POST", "/api/v0/services", {"name": "Blog", "memo": "words"})

    def make_role():
        system.ok("POST", "/api/v0/services/Blog/roles", {"name": "late"})

    system.store.before_write = make_role
    assert system.ok("DELETE", "/api/v0/services/Blog")["name"] == "Blog"
    assert system.ok("GET", "/api/v0/services")["services"] == []
    assert not [key for key in system.store.table if key.sk.startswith("Blog")]


def test_a_service_that_is_deleted_while_a_role_is_made_leaves_no_orphan(system):
    system.ok("POST", "/api/v0/services", {"name": "Blog", "memo": "words"})
    system.store.before_write = lambda: system.ok("DELETE", "/api/v0/services/Blog")
    system.refused(404, "POST", "/api/v0/services/Blog/roles", {"name": "late"})
    assert system.ok("GET", "/api/v0/services")["services"] == []
    system.ok("POST", "/api/v0/services", {"name": "Blog", "memo": "words"})
    system.store.before_write = lambda: system.ok("DELETE", "/api/v0/services/Blog")
    system.host(roleFullnames=["Blog:late"])
    assert system.ok("GET", "/api/v0/services")["services"] == [{"name": "Blog", "memo": "", "roles": ["late"]}]


def test_an_orphan_of_an_older_version_is_passed_over_and_adopted(system):
    key = roles.key_of("a", "Blog", "app")
    assert system.store.write(services.RegistryChange(key, b'{"memo":"old"}', 0))
    assert system.ok("GET", "/api/v0/services")["services"] == []
    system.host(roleFullnames=["Blog:app"])
    assert system.ok("GET", "/api/v0/services")["services"] == [{"name": "Blog", "memo": "", "roles": ["app"]}]


@pytest.mark.parametrize(
    ("method", "url", "body", "allowed"),
    [
        ("POST", "/api/v0/hosts/host1/status?", '{"status":"online"}\n', "maintenance, poweroff, standby, working"),
        ("POST", "/api/v0/hosts/bulk-update-statuses?", '{"ids":[],"status":"x"}\n', "maintenance, poweroff"),
        ("POST", REPORT, MKR_WRAP % ("FINE", "m", NOW_S), "CRITICAL, OK, UNKNOWN, WARNING"),
        ("POST", "/api/v0/graph-defs/create?", '[{"name":"custom.x","unit":"furlongs"}]\n', "bits/sec, bytes"),
        ("POST", "/api/v0/monitors?", '{"type":"hosts","name":"x"}\n', "connectivity, host, service, external"),
        ("POST", "/api/v0/dashboards?", WIDGET % ("graf", "role"), "alertStatus, graph, markdown, value"),
    ],
)
def test_a_wrong_choice_is_told_what_is_allowed(system, method, url, body, allowed):
    assert allowed in system.refused(400, method, url, body)


def test_a_wrong_path_is_told_where_the_right_ones_are(system):
    message = system.refused(404, "GET", "/api/v0/invitations?")
    assert message == "no such call: GET /api/v0/invitations; GET /openapi.json lists all calls"


def test_a_path_is_decoded_once(system):
    """API Gateway has decoded it before: a second time would make host a%41 the host aA."""
    system.registry = system.registry._replace(new_id=lambda: "aA")
    assert system.host() == "aA"
    system.refused(404, "GET", "/api/v0/hosts/a%2541?")
    system.ok("GET", "/api/v0/hosts/a%41?")
