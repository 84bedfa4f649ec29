"""Mackerel's own client: its requests, byte for byte as Go sends them, and that its types decode our answers.

The types below are those of mackerel-client-go: what Go's decoder refuses, msgspec's strict one refuses here.
"""

import re
from typing import Annotated, Any

import msgspec
import pytest
from carbyne.http.message import SKIPPED_HEADER
from msgspec import Meta

from tests.support.registry_system import System

Int32 = Annotated[int, Meta(ge=-(2**31), lt=2**31)]


class GoMeta(msgspec.Struct, rename="kebab"):
    """``hosts.go`` HostMeta; null leaves Go's zero value."""

    agent_revision: str | None = None
    agent_version: str | None = None
    agent_name: str | None = None
    block_device: dict[str, dict[str, Any]] | None = msgspec.field(default=None, name="block_device")
    cpu: list[dict[str, Any]] | None = None
    filesystem: dict[str, Any] | None = None
    kernel: dict[str, str] | None = None
    memory: dict[str, str] | None = None
    cloud: dict[str, Any] | None = None


class GoInterface(msgspec.Struct, rename="camel"):
    name: str = ""
    ip_address: str = ""
    ipv4_addresses: list[str] | None = msgspec.field(default=None, name="ipv4Addresses")
    ipv6_addresses: list[str] | None = msgspec.field(default=None, name="ipv6Addresses")
    mac_address: str = ""


class GoHost(msgspec.Struct, rename="camel"):
    id: str
    name: str
    size: str
    status: str
    memo: str
    roles: dict[str, list[str]]
    is_retired: bool
    created_at: Int32
    meta: GoMeta
    interfaces: list[GoInterface] | None
    display_name: str | None = None
    custom_identifier: str | None = None


class OfHost(msgspec.Struct):
    host: GoHost


class OfHosts(msgspec.Struct):
    hosts: list[GoHost]


class OfId(msgspec.Struct):
    id: str


class GoService(msgspec.Struct):
    name: str
    memo: str
    roles: list[str] | None


class OfServices(msgspec.Struct):
    services: list[GoService]


class GoRole(msgspec.Struct):
    name: str
    memo: str


class OfRoles(msgspec.Struct):
    roles: list[GoRole]


class GoDetail(msgspec.Struct):
    type: str
    message: str = ""
    memo: str = ""


class GoState(msgspec.Struct, rename="camel"):
    monitor_id: str
    status: str
    detail: GoDetail


class OfStates(msgspec.Struct, rename="camel"):
    monitored_statuses: list[GoState]


class GoSpace(msgspec.Struct):
    namespace: str


class OfSpaces(msgspec.Struct):
    metadata: list[GoSpace]


class GoOrg(msgspec.Struct, rename="camel"):
    name: str
    display_name: str | None = None


META = (
    '{"agent-revision":"dfbccea","agent-version":"0.87.0","agent-name":"mackerel-agent/0.87.0 (Revision dfbccea)",'
    '"block_device":{"sda":{"model":"QEMU HARDDISK","removable":"0","size":"41943040"}},'
    '"cpu":[{"cores":"2","mhz":"2893.202","model_name":"Intel(R) Xeon(R)"}],'
    '"filesystem":{"/dev/sda1":{"kb_available":18446744073709551615,"kb_used":1.5e+22,"mount":"/"}},'
    '"kernel":{"machine":"x86_64","name":"Linux","os":"GNU/Linux","release":"5.15.0"},'
    '"memory":{"free":"8220kB","total":"16000kB"}}'
)
HOST = (
    '{"name":"web1.example.com","displayName":"web 1","meta":' + META + ',"interfaces":[{"name":"eth0","ipAddress":'
    '"10.0.0.1","ipv4Addresses":["10.0.0.1"],"macAddress":"02:00:00:00:00:01"}],"roleFullnames":["Shop:web"],'
    '"checks":[{"name":"ping","memo":"is it there?"}],"customIdentifier":"i-0abc.ec2.amazonaws.com"}\n'
)
BARE = '{"name":"web1.example.com","meta":{},"interfaces":null,"roleFullnames":null,"checks":null}\n'
REPORT = (
    '{"reports":[{"source":{"type":"host","hostId":"host1"},"name":"ping","status":"CRITICAL","message":"no answer",'
    '"occurredAt":1700000000,"notificationInterval":10,"maxCheckAttempts":3}]}\n'
)
GRAPHS = (
    '[{"name":"custom.redis.clients","displayName":"Redis Clients","unit":"integer","metrics":[{"name":'
    '"custom.redis.clients.connected_clients","displayName":"Connected Clients","isStacked":false}]},'
    '{"name":"custom.docker.cpu.#","metrics":[{"name":"custom.docker.cpu.#.user","isStacked":true}]}]\n'
)
SUCCESS = '{"success":true}'

# method, URL, body as Go sends it; the type that Go decodes the answer into, or the answer itself
CALLS = [
    ("GET", "/api/v0/org?", None, GoOrg),
    ("GET", "/api/v0/hosts?customIdentifier=i-0abc.ec2.amazonaws.com&status=working&status=standby", None, OfHosts),
    ("POST", "/api/v0/hosts?", HOST, '{"id":"host1"}'),
    ("POST", "/api/v0/hosts?", BARE, '{"id":"host2"}'),
    ("GET", "/api/v0/hosts/host1?", None, OfHost),
    ("GET", "/api/v0/hosts/host2?", None, OfHost),
    ("POST", "/api/v0/hosts/host1/status?", '{"status":"working"}\n', SUCCESS),
    ("GET", "/api/v0/hosts?customIdentifier=i-0abc.ec2.amazonaws.com&status=working&status=standby", None, OfHosts),
    ("GET", "/api/v0/hosts-by-custom-identifier/i-0abc.ec2.amazonaws.com?", None, OfHost),
    ("GET", "/api/v0/hosts-by-custom-identifier/I-0ABC.ec2.amazonaws.com?caseInsensitive=true", None, OfHost),
    ("PUT", "/api/v0/hosts/host1?", HOST, '{"id":"host1"}'),
    ("PUT", "/api/v0/hosts/host2?", BARE, '{"id":"host2"}'),
    ("GET", "/api/v0/hosts?", None, OfHosts),
    ("GET", "/api/v0/hosts?name=web1.example.com&role=web&service=Shop&status=working", None, OfHosts),
    ("GET", "/api/v0/hosts.json?", None, OfHosts),
    ("POST", "/api/v0/graph-defs/create?", GRAPHS, SUCCESS),
    ("POST", "/api/v0/graph-defs/create?", "[]\n", SUCCESS),
    ("DELETE", "/api/v0/graph-defs?", '{"name":"custom.docker.cpu.#"}\n', SUCCESS),
    ("POST", "/api/v0/monitoring/checks/report?", REPORT, SUCCESS),
    ("GET", "/api/v0/hosts/host1/monitored-statuses?", None, OfStates),
    ("PUT", "/api/v0/hosts/host1/metadata/env?", '{"stage":"production","n":1.5e+22}\n', SUCCESS),
    ("PUT", "/api/v0/hosts/host1/metadata/nothing?", "null\n", SUCCESS),
    ("GET", "/api/v0/hosts/host1/metadata/env?", None, '{"stage":"production","n":1.5e+22}'),
    ("GET", "/api/v0/hosts/host1/metadata/nothing?", None, "null"),
    ("GET", "/api/v0/hosts/host1/metadata?", None, OfSpaces),
    ("DELETE", "/api/v0/hosts/host1/metadata/env?", None, SUCCESS),
    ("PUT", "/api/v0/hosts/host1/role-fullnames?", '{"roleFullnames":["Shop:db","Shop:web"]}\n', SUCCESS),
    ("PUT", "/api/v0/hosts/host2/role-fullnames?", '{"roleFullnames":null}\n', SUCCESS),
    ("POST", "/api/v0/services?", '{"name":"Blog","memo":"words"}\n', GoService),
    ("GET", "/api/v0/services?", None, OfServices),
    ("POST", "/api/v0/services/Blog/roles?", '{"name":"app","memo":""}\n', GoRole),
    ("GET", "/api/v0/services/Blog/roles?", None, OfRoles),
    ("PUT", "/api/v0/services/Blog/metadata/env?", '["a"]\n', SUCCESS),
    ("GET", "/api/v0/services/Blog/metadata/env?", None, '["a"]'),
    ("GET", "/api/v0/services/Blog/metadata?", None, OfSpaces),
    ("DELETE", "/api/v0/services/Blog/metadata/env?", None, SUCCESS),
    ("PUT", "/api/v0/services/Blog/roles/app/metadata/env?", "true\n", SUCCESS),
    ("GET", "/api/v0/services/Blog/roles/app/metadata/env?", None, "true"),
    ("GET", "/api/v0/services/Blog/roles/app/metadata?", None, OfSpaces),
    ("DELETE", "/api/v0/services/Blog/roles/app/metadata/env?", None, SUCCESS),
    ("DELETE", "/api/v0/services/Blog/roles/app?", None, GoRole),
    ("DELETE", "/api/v0/services/Blog?", None, GoService),
    ("POST", "/api/v0/hosts/bulk-update-statuses?", '{"ids":["host1","host2"],"status":"maintenance"}\n', SUCCESS),
    ("POST", "/api/v0/hosts/host1/retire?", "null\n", SUCCESS),
    ("POST", "/api/v0/hosts/bulk-retire?", '{"ids":["host1","host2"]}\n', SUCCESS),
    ("GET", "/api/v0/hosts/host1?", None, OfHost),
]


@pytest.fixture(scope="module")
def answers():
    """The answers to CALLS, in their order, from one system."""
    system = System()
    return [system.call(method, url, body) for method, url, body, _ in CALLS]


@pytest.mark.parametrize("number", range(len(CALLS)), ids=lambda number: " ".join(CALLS[number][:2]))
def test_the_client_decodes_what_it_gets(answers, number):
    expected, answer = CALLS[number][3], answers[number]
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert SKIPPED_HEADER not in answer.headers
    if isinstance(expected, str):
        assert answer.text == expected
    else:
        msgspec.json.decode(answer.text, type=expected)


def answer_to(answers, url, nth=0):
    return [answer for call, answer in zip(CALLS, answers, strict=True) if call[:2] == ("GET", url)][nth]


def test_what_an_agent_sent_is_echoed_byte_by_byte(answers):
    answer = answer_to(answers, "/api/v0/hosts/host1?")
    assert f'"meta":{META}' in answer.text
    interface = {"name": "eth0", "ipAddress": "10.0.0.1", "ipv4Addresses": ["10.0.0.1"]}
    assert answer.body["host"] | {"meta": {}} == {
        "id": "host1",
        "name": "web1.example.com",
        "displayName": "web 1",
        "customIdentifier": "i-0abc.ec2.amazonaws.com",
        "size": "standard",
        "status": "working",
        "memo": "",
        "roles": {"Shop": ["web"]},
        "isRetired": False,
        "createdAt": 1_700_000_000,
        "meta": {},
        "interfaces": [interface | {"macAddress": "02:00:00:00:00:01"}],
    }


def test_a_host_that_sent_nothing_but_its_name(answers):
    host = answer_to(answers, "/api/v0/hosts/host2?").body["host"]
    assert (host["meta"], host["interfaces"], host["roles"]) == ({}, None, {})
    assert (host["displayName"], host["customIdentifier"]) == (None, None)


def test_the_state_of_a_check(answers):
    """The recorded report asks for three attempts before an alert, and this is the first."""
    [state] = answer_to(answers, "/api/v0/hosts/host1/monitored-statuses?").body["monitoredStatuses"]
    assert re.fullmatch("[0-9a-f]{11}", state.pop("monitorId"))
    detail = {"type": "check", "message": "no answer", "memo": "is it there?"}
    assert state == {"status": "OK", "detail": detail}


def test_the_time_of_metadata(answers):
    last_modified = answer_to(answers, "/api/v0/hosts/host1/metadata/env?").headers["Last-Modified"]
    assert last_modified == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_a_retired_host_says_so(answers):
    host = answer_to(answers, "/api/v0/hosts/host1?", 1).body["host"]
    assert (host["isRetired"], host["retiredAt"], host["status"]) == (True, 1_700_000_000, "maintenance")


def test_errors_have_the_message_where_the_client_looks():
    system = System()
    for call in (("GET", "/api/v0/hosts/nope?"), ("GET", "/nope?"), ("POST", "/api/v0/hosts?", "{}")):
        answer = system.call(*call)
        assert answer.status >= 400
        assert set(answer.body) == {"error"}
        assert isinstance(answer.body["error"]["message"], str)
