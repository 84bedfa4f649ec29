"""Dashboards and graph annotations of the registry, as Mackerel's clients use them."""

import pytest
from carbyne.core import keys
from carbyne.core.limits import DASHBOARD_BYTES_MAX, WIDGETS_MAX
from carbyne.registry.annotations import MONTH_S

from tests.support.registry_system import NOW_S, System

LAYOUT = {"x": 0, "y": 0, "width": 24, "height": 6}
GRAPH = {"type": "host", "hostId": "22CXRB3pZmu", "name": "loadavg"}
WIDGETS = [
    {"type": "markdown", "title": "m", "markdown": "# x", "layout": LAYOUT},
    {
        "type": "graph",
        "title": "g",
        "graph": GRAPH,
        "range": {"type": "relative", "period": 3600, "offset": 0},
        "layout": LAYOUT,
    },
    {
        "type": "value",
        "title": "v",
        "metric": {"type": "expression", "expression": "max(x)"},
        "layout": LAYOUT,
        "fractionSize": 5,
    },
    {"type": "alertStatus", "title": "a", "roleFullname": "shop:web", "layout": LAYOUT},
]
BOARD = {"title": "Shop", "memo": "m", "urlPath": "2u4PP3TJqbu", "widgets": WIDGETS}


@pytest.fixture
def system():
    return System()


def test_a_dashboard_comes_back_as_it_was_sent(system):
    made = system.ok("POST", "/api/v0/dashboards?", BOARD)
    assert made == {**BOARD, "id": "host1", "createdAt": NOW_S, "updatedAt": NOW_S}
    assert system.ok("GET", "/api/v0/dashboards/host1?") == made
    head = {name: value for name, value in made.items() if name != "widgets"}
    assert system.ok("GET", "/api/v0/dashboards?") == {"dashboards": [head]}


def test_it_is_replaced_and_deleted(system):
    made = system.ok("POST", "/api/v0/dashboards", BOARD)
    system.now_s += 60
    changed = system.ok("PUT", f"/api/v0/dashboards/{made['id']}", {"title": "Other", "widgets": WIDGETS[:1]})
    assert changed == {
        **{"id": made["id"], "title": "Other", "memo": "", "urlPath": "", "widgets": WIDGETS[:1]},
        **{"createdAt": NOW_S, "updatedAt": NOW_S + 60},
    }
    assert system.ok("DELETE", f"/api/v0/dashboards/{made['id']}") == changed
    for method, body in (("GET", None), ("PUT", BOARD), ("DELETE", None)):
        assert "is unknown" in system.refused(404, method, f"/api/v0/dashboards/{made['id']}", body)
    assert system.ok("GET", "/api/v0/dashboards") == {"dashboards": []}


MKR_NULLS = {"metric": None, "graph": None, "range": None}
"""mkr sends a widget's other kinds of content as null."""


def test_what_mkr_pulled_by_id_and_pushes_replaces_the_dashboard(system):
    """`mkr dashboards pull --id` writes the answer to a file, with all fields of its structs; `push` sends the file."""
    made = system.ok("POST", "/api/v0/dashboards", BOARD)
    pulled = {**made, "title": "Other", "widgets": [{**MKR_NULLS, **widget} for widget in WIDGETS]}
    path = f"/api/v0/dashboards/{made['id']}"
    assert system.ok("PUT", path, pulled) == {**pulled, "updatedAt": NOW_S}
    assert system.ok("GET", path) == pulled


def test_what_mkr_pulled_out_of_the_list_and_pushes_leaves_the_widgets(system):
    """`mkr dashboards pull` writes what the list says, which has no widgets: null."""
    made = system.ok("POST", "/api/v0/dashboards", BOARD)
    pulled = {**system.ok("GET", "/api/v0/dashboards")["dashboards"][0], "title": "Other", "widgets": None}
    assert system.ok("PUT", f"/api/v0/dashboards/{made['id']}", pulled) == {**made, "title": "Other"}
    assert system.ok("GET", f"/api/v0/dashboards/{made['id']}") == {**made, "title": "Other"}
    assert system.ok("POST", "/api/v0/dashboards", {"title": "New", "widgets": None})["widgets"] == []


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"title": ""}, 400),
        ({"widgets": [{"type": "markdown"}]}, 400),
        ({"widgets": [{**WIDGETS[0], "type": "script"}]}, 400),
        ({"widgets": [{**WIDGETS[0], "layout": {**LAYOUT, "x": -1}}]}, 400),
        ({"widgets": WIDGETS[:1] * (WIDGETS_MAX + 1)}, 400),
        ({"widgets": [{**WIDGETS[0], "markdown": "x" * DASHBOARD_BYTES_MAX}]}, 413),
    ],
)
def test_a_malformed_dashboard_is_refused(system, changed, status):
    system.refused(status, "POST", "/api/v0/dashboards", {**BOARD, **changed})
    assert system.ok("GET", "/api/v0/dashboards") == {"dashboards": []}


def test_reading_keys_change_no_dashboard(system):
    system.refused(403, "POST", "/api/v0/dashboards", BOARD, key="key-a-reads")
    system.refused(403, "POST", "/api/v0/graph-annotations", note(0), key="key-a-reads")


def note(start_s, end_s=None, **more):
    to_s = NOW_S + (start_s if end_s is None else end_s)
    return {"service": "shop", "title": "deploy", "from": NOW_S + start_s, "to": to_s, **more}


def starts_s(system, from_s, to_s, service="shop"):
    url = f"/api/v0/graph-annotations?service={service}&from={NOW_S + from_s}&to={NOW_S + to_s}"
    return [annotation["from"] - NOW_S for annotation in system.ok("GET", url)["graphAnnotations"]]


def test_an_annotation_is_found_where_it_overlaps(system):
    for start_s, end_s in ((-100, -50), (0, 0), (-40 * 86_400, -20 * 86_400)):
        made = system.ok("POST", "/api/v0/graph-annotations", note(start_s, end_s, description="d", roles=["web"]))
        assert {**made, "id": ""} == {**note(start_s, end_s, description="d", roles=["web"]), "id": ""}
    assert starts_s(system, -60, -40) == [-100]
    assert starts_s(system, -10, 10) == [0]
    assert starts_s(system, -21 * 86_400, 1) == [-40 * 86_400, -100, 0]
    assert starts_s(system, -360 * 86_400, 1) == [-40 * 86_400, -100, 0]
    assert starts_s(system, -10, 10, service="other") == starts_s(system, 1, 5) == []


def test_an_annotation_moves_and_goes(system):
    made = system.ok("POST", "/api/v0/graph-annotations", note(0))
    url = f"/api/v0/graph-annotations/{made['id']}"
    for start_s, service in ((10, "shop"), (-3 * MONTH_S, "shop"), (-MONTH_S, "blog")):
        system.ok("PUT", url, note(start_s, service=service))
        assert starts_s(system, start_s, start_s, service=service) == [start_s]
    assert starts_s(system, -5 * MONTH_S, 100) == []
    assert system.ok("DELETE", url)["service"] == "blog"
    assert starts_s(system, -5 * MONTH_S, 100, service="blog") == []
    for method, body in (("PUT", note(0)), ("DELETE", None)):
        assert "is unknown" in system.refused(404, method, url, body)


@pytest.mark.parametrize(
    "bad",
    [{"service": "-"}, {"title": ""}, {"from": NOW_S, "to": NOW_S - 1}, {"to": NOW_S + 2 * MONTH_S}, {"roles": ["-"]}],
)
def test_a_malformed_annotation_is_refused(system, bad):
    system.refused(400, "POST", "/api/v0/graph-annotations", {**note(0), **bad})


def test_checks_of_many_hosts_at_once(system):
    hosts = [system.host(name=f"h{number}") for number in range(3)]
    reports = [
        {"source": {"type": "host", "hostId": host}, "name": "ping", "status": "OK", "occurredAt": NOW_S}
        for host in hosts[:2]
    ]
    system.ok("POST", "/api/v0/monitoring/checks/report", {"reports": reports})
    query = "&".join(f"hostId={host}" for host in [*hosts, "none"])
    answer = system.ok("GET", f"/carbyne/v1/checks?{query}")
    monitor = {"monitorId": keys.check_monitor("ping")}
    check = {**monitor, "name": "ping", "status": "OK", "message": "", "occurredAt": NOW_S}
    assert answer == {
        "hosts": [
            {"hostId": host_id, "checks": [check] if host_id in hosts[:2] else []} for host_id in [*hosts, "none"]
        ]
    }
    assert "at most 100" in system.refused(
        400, "GET", "/carbyne/v1/checks?" + "&".join(f"hostId=h{n}" for n in range(101))
    )
