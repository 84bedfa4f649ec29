"""Services, roles, metadata, graph definitions and check states."""

import pytest
from carbyne.core.limits import (
    CHECK_MESSAGE_CHARACTERS_MAX,
    CHECKS_PER_HOST_MAX,
    GRAPHS_PER_TENANT_MAX,
    METADATA_BYTES_MAX,
    METADATA_READABLE_S,
    METADATA_SPACES_MAX,
    REPORTS_PER_BODY_MAX,
)

from tests.support.registry_system import NOW_S, System

SERVICES = "/api/v0/services"
GRAPHS = "/api/v0/graph-defs"
REPORT = "/api/v0/monitoring/checks/report"


@pytest.fixture
def system():
    return System()


def names(system):
    return [service["name"] for service in system.ok("GET", SERVICES)["services"]]


def test_services_and_roles_by_name(system):
    for name in ("shop2", "shop", "Shop"):
        assert system.ok("POST", SERVICES, {"name": name, "memo": "m"}) == {"name": name, "memo": "m", "roles": []}
    for role in ("web", "db"):
        assert system.ok("POST", f"{SERVICES}/shop/roles", {"name": role}) == {"name": role, "memo": ""}
    assert system.ok("GET", SERVICES)["services"] == [
        {"name": "Shop", "memo": "m", "roles": []},
        {"name": "shop", "memo": "m", "roles": ["db", "web"]},
        {"name": "shop2", "memo": "m", "roles": []},
    ]
    assert [role["name"] for role in system.ok("GET", f"{SERVICES}/shop/roles")["roles"]] == ["db", "web"]
    assert system.ok("GET", f"{SERVICES}/shop2/roles") == {"roles": []}


def test_a_name_is_given_once(system):
    system.ok("POST", SERVICES, {"name": "shop", "memo": "first"})
    system.refused(400, "POST", SERVICES, {"name": "shop", "memo": "second"})
    system.ok("POST", f"{SERVICES}/shop/roles", {"name": "web", "memo": "first"})
    system.refused(400, "POST", f"{SERVICES}/shop/roles", {"name": "web", "memo": "second"})


@pytest.mark.parametrize("name", ["", "x", "-xx", "_xx", "a b", "a:b", "a.b", "é" * 5, "x" * 64, None, 5])
def test_malformed_names(system, name):
    system.refused(400, "POST", SERVICES, {"name": name})
    system.ok("POST", SERVICES, {"name": "shop"})
    system.refused(400, "POST", f"{SERVICES}/shop/roles", {"name": name})


def test_a_deleted_role_leaves_its_hosts(system):
    host = system.host(roleFullnames=["shop:web", "shop:db"])
    system.ok("PUT", f"{SERVICES}/shop/roles/web/metadata/env", {})
    assert system.ok("DELETE", f"{SERVICES}/shop/roles/web") == {"name": "web", "memo": ""}
    assert system.ok("GET", f"/api/v0/hosts/{host}")["host"]["roles"] == {"shop": ["db"]}
    system.ok("POST", f"{SERVICES}/shop/roles", {"name": "web"})
    assert system.ok("GET", f"{SERVICES}/shop/roles/web/metadata") == {"metadata": []}


def test_a_deleted_service_takes_everything_along(system):
    host = system.host(roleFullnames=["shop:web", "shop2:web"])
    for owner in ("shop", "shop/roles/web", "shop2"):
        system.ok("PUT", f"{SERVICES}/{owner}/metadata/env", {})
    assert system.ok("DELETE", f"{SERVICES}/shop") == {"name": "shop", "memo": "", "roles": ["web"]}
    assert names(system) == ["shop2"]
    assert system.ok("GET", f"/api/v0/hosts/{host}")["host"]["roles"] == {"shop2": ["web"]}
    system.refused(404, "DELETE", f"{SERVICES}/shop")
    system.host(roleFullnames=["shop:web"])
    for owner in ("shop", "shop/roles/web"):
        assert system.ok("GET", f"{SERVICES}/{owner}/metadata") == {"metadata": []}
    assert system.ok("GET", f"{SERVICES}/shop2/metadata") == {"metadata": [{"namespace": "env"}]}


def test_what_is_unknown_is_404(system):
    system.ok("POST", SERVICES, {"name": "shop"})
    system.ok("POST", f"{SERVICES}/shop/roles", {"name": "web"})
    for method, url in (
        ("DELETE", f"{SERVICES}/nope"),
        ("DELETE", f"{SERVICES}/shop%3Aweb"),
        ("GET", f"{SERVICES}/nope/roles"),
        ("POST", f"{SERVICES}/nope/roles"),
        ("DELETE", f"{SERVICES}/shop/roles/nope"),
        ("DELETE", f"{SERVICES}/nope/roles/web"),
        ("GET", f"{SERVICES}/nope/metadata"),
        ("PUT", f"{SERVICES}/nope/metadata/env"),
        ("GET", f"{SERVICES}/shop/metadata/env"),
        ("DELETE", f"{SERVICES}/shop/metadata/env"),
        ("GET", f"{SERVICES}/shop/roles/nope/metadata"),
        ("PUT", f"{SERVICES}/shop/roles/nope/metadata/env"),
    ):
        system.refused(404, method, url, {"name": "web"} if method in ("POST", "PUT") else None)


def test_metadata_is_kept_as_it_was_sent(system):
    url = f"/api/v0/hosts/{system.host()}/metadata"
    for text in ('{"b":1,"a":1.50}', "null", '"x"', "[1e22]", "0"):
        system.ok("PUT", f"{url}/env", text)
        assert system.call("GET", f"{url}/env").text == text
    system.now_s += 60
    system.ok("PUT", f"{url}/env", "1")
    assert system.call("GET", f"{url}/env").headers["Last-Modified"] == "Tue, 14 Nov 2023 22:14:20 GMT"
    assert system.ok("GET", url) == {"metadata": [{"namespace": "env"}]}
    system.ok("DELETE", f"{url}/env")
    system.refused(404, "DELETE", f"{url}/env")
    system.refused(404, "GET", f"{url}/env")
    assert system.ok("GET", url) == {"metadata": []}


@pytest.mark.parametrize(
    ("status", "namespace", "body"),
    [
        (400, "env", ""),
        (400, "env", "{"),
        (400, "env", "NaN"),
        (400, "e.nv", "1"),
        (400, "e%20nv", "1"),
        (400, "e" * 129, "1"),
        (413, "env", '"' + "x" * (METADATA_BYTES_MAX - 1) + '"'),
    ],
)
def test_metadata_that_is_refused(system, status, namespace, body):
    url = f"/api/v0/hosts/{system.host()}/metadata"
    system.refused(status, "PUT", f"{url}/{namespace}", body)
    assert system.ok("GET", url) == {"metadata": []}


def test_metadata_up_to_its_limits(system):
    url = f"/api/v0/hosts/{system.host()}/metadata"
    largest = '"' + "x" * (METADATA_BYTES_MAX - 2) + '"'
    for number in range(METADATA_SPACES_MAX):
        system.ok("PUT", f"{url}/n{number}", largest)
    system.refused(400, "PUT", f"{url}/more", "1")
    system.ok("PUT", f"{url}/n0", "1")
    system.ok("DELETE", f"{url}/n1")
    system.ok("PUT", f"{url}/more", "1")


def test_two_namespaces_at_once_are_both_listed(system):
    url = f"/api/v0/hosts/{system.host()}/metadata"
    system.store.before_write = lambda: system.ok("PUT", f"{url}/one", "1")
    system.ok("PUT", f"{url}/two", "2")
    assert system.ok("GET", url) == {"metadata": [{"namespace": "one"}, {"namespace": "two"}]}


def test_metadata_of_a_retired_host_can_be_read_for_a_week(system):
    host = system.host()
    url = f"/api/v0/hosts/{host}/metadata"
    system.ok("PUT", f"{url}/env", "1")
    system.ok("POST", f"/api/v0/hosts/{host}/retire", "null")
    system.now_s += METADATA_READABLE_S
    assert system.ok("GET", f"{url}/env") == 1
    system.refused(400, "DELETE", f"{url}/env")
    system.now_s += 1
    system.refused(400, "GET", f"{url}/env")
    system.refused(400, "GET", url)


def graph(name="custom.x", **fields):
    return {"name": name, "metrics": [{"name": f"{name}.m", "displayName": "M", "isStacked": True}], **fields}


def test_graphs_are_defined_and_defined_again(system):
    system.ok("POST", f"{GRAPHS}/create", [graph(displayName="X", unit="bytes/sec"), graph("custom.a.#.*")])
    before = dict(system.store.table)
    system.ok("POST", f"{GRAPHS}/create", [graph("custom.a.#.*")])
    assert system.store.table == before, "nothing new, nothing written"
    system.ok("POST", f"{GRAPHS}/create", [graph(unit="iops")])
    line = {"displayName": "M", "isStacked": True}
    assert system.ok("GET", GRAPHS) == {
        "graphDefs": [
            {
                "name": "custom.a.#.*",
                "displayName": "",
                "unit": "float",
                "metrics": [{"name": "custom.a.#.*.m", **line}],
            },
            {"name": "custom.x", "displayName": "", "unit": "iops", "metrics": [{"name": "custom.x.m", **line}]},
        ]
    }
    system.ok("DELETE", GRAPHS, {"name": "custom.x"})
    system.refused(400, "DELETE", GRAPHS, {"name": "custom.x"})
    for name in ("", "x" * 3000):
        system.refused(400, "DELETE", GRAPHS, {"name": name})


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "cpu"},
        graph("custom"),
        graph("custom."),
        graph("custom.a..b"),
        graph("custom.a b"),
        graph("custom.#.#"),
        graph("custom.a*"),
        graph("custom.x", unit="parsecs"),
        graph("custom." + "x" * 255),
        {"name": "custom.x", "metrics": [{"name": "custom.y.m"}]},
        {"name": "custom.x", "metrics": [{"name": "custom.x"}]},
        {"name": "custom.x", "metrics": [{"name": "custom.x.y.z"}]},
        {"metrics": []},
        5,
    ],
)
def test_a_bad_graph_is_refused_with_its_body(system, bad):
    system.refused(400, "POST", f"{GRAPHS}/create", [graph(), bad])
    assert system.ok("GET", GRAPHS) == {"graphDefs": []}


def test_graphs_up_to_their_limit(system):
    system.ok("POST", f"{GRAPHS}/create", [graph(f"custom.g{number}") for number in range(GRAPHS_PER_TENANT_MAX)])
    system.refused(400, "POST", f"{GRAPHS}/create", [graph("custom.more")])
    system.ok("POST", f"{GRAPHS}/create", [graph("custom.g0", unit="iops")])


def report(host, name="ping", status="OK", at_s=NOW_S, **fields):
    source = {"type": "host", "hostId": host}
    return {"source": source, "name": name, "status": status, "message": "", "occurredAt": at_s, **fields}


def states(system, host):
    statuses = system.ok("GET", f"/api/v0/hosts/{host}/monitored-statuses")["monitoredStatuses"]
    return sorted((state["status"], state["detail"]["message"]) for state in statuses)


def post(system, *reports):
    """What was skipped."""
    answer = system.call("POST", REPORT, {"reports": reports})
    assert (answer.status, answer.body) == (200, {"success": True})
    return answer.headers.get("Carbyne-Skipped")


def test_only_what_happened_later_changes_a_state(system):
    host = system.host()
    assert post(system, report(host, status="WARNING", at_s=NOW_S - 60, message="old")) is None
    assert post(system, report(host, status="CRITICAL", message="new"), report(host, at_s=NOW_S - 30)) is None
    assert states(system, host) == [("CRITICAL", "new")]
    before = dict(system.store.table)
    assert post(system, report(host, status="CRITICAL", message="new"), report(host, at_s=NOW_S - 90)) is None
    assert system.store.table == before, "a report that comes twice or late"
    assert post(system, report(host, at_s=NOW_S + 1, message="x" * 2000), report(host, name="é :/" * 30)) is None
    assert states(system, host) == [("OK", ""), ("OK", "x" * CHECK_MESSAGE_CHARACTERS_MAX)]


def test_reports_that_are_skipped_alone(system):
    host, retired = system.host(), system.host()
    system.ok("POST", f"/api/v0/hosts/{retired}/retire", "null")
    six_hours_s = 6 * 60 * 60
    skipped = post(
        system,
        report(host),
        report("nope"),
        report(retired),
        report(host, "late", at_s=NOW_S - six_hours_s),
        report(host, "early", at_s=NOW_S + six_hours_s),
        report(host, "in-time", at_s=NOW_S - six_hours_s + 1),
    )
    assert skipped == "bad-time=2, unknown-host=2"
    assert len(states(system, host)) == 2


@pytest.mark.parametrize(
    "body",
    [
        "null",
        {"reports": None},
        {"reports": [report("host1", status="BAD")]},
        {"reports": [report("host1", name="")]},
        {"reports": [report("host1", at_s="now")]},
        {"reports": [{**report("host1"), "source": {"type": "service", "hostId": "host1"}}]},
        {"reports": [report("host1")] * (REPORTS_PER_BODY_MAX + 1)},
    ],
)
def test_reports_that_are_refused(system, body):
    host = system.host()
    system.refused(400, "POST", REPORT, body)
    assert states(system, host) == []


def test_checks_up_to_their_limit(system):
    host = system.host()
    for first in range(0, CHECKS_PER_HOST_MAX, REPORTS_PER_BODY_MAX):
        assert post(system, *(report(host, f"c{first + number}") for number in range(REPORTS_PER_BODY_MAX))) is None
    more = post(system, report(host, "more"), report(host, "c0", status="WARNING", at_s=NOW_S + 1))
    assert more == "too-many-checks=1"
    assert len(states(system, host)) == CHECKS_PER_HOST_MAX
    assert ("WARNING", "") in states(system, host)


def test_the_organisation_is_the_tenant_of_the_key(system):
    assert system.ok("GET", "/api/v0/org") == {"name": "a", "displayName": None}
    assert system.ok("GET", "/api/v0/org", key="key-b") == {"name": "b", "displayName": None}
