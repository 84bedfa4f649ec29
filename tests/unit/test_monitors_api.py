"""What mkr pushes and pulls: monitors, downtimes, channels, groups and settings, decoded by Go's rules."""

import itertools
import json
import re
from pathlib import Path

import msgspec
import pytest
from carbyne.core.errors import RequestError
from carbyne.core.limits import DOWNTIMES_PER_TENANT_MAX, SCOPES_MAX
from carbyne.registry import documents
from carbyne.registry.documents import Documents
from carbyne.registry.downtimes import DOWNTIMES, Downtime

from tests.support import go_forms
from tests.support.go_forms import GoChannel, GoDowntime, GoGroup, GoSetting, decoded, monitor_of, pulled
from tests.support.registry_system import NOW_S, System

CONNECTIVITY = {
    "name": "gone",
    "memo": "call them",
    "alertStatusOnGone": "WARNING",
    "type": "connectivity",
    "isMute": True,
    "notificationInterval": 60,
    "scopes": ["shop"],
    "excludeScopes": ["shop: batch"],
}
HOST = {
    "name": "disk.aa-00.writes.delta",
    "type": "host",
    "notificationInterval": 60,
    "metric": "disk.aa-00.writes.delta",
    "operator": ">",
    "warning": 20000,
    "critical": 400000.5,
    "duration": 3,
    "maxCheckAttempts": 1,
    "scopes": ["shop"],
    "excludeScopes": ["shop: db-slave-backup"],
}
SERVICE = {
    "name": "shop - 4xx",
    "type": "service",
    "service": "shop",
    "metric": "custom.access_num.4xx_count",
    "operator": ">",
    "warning": 50,
    "critical": None,
    "duration": 1,
    "maxCheckAttempts": 5,
    "missingDurationWarning": 360,
    "missingDurationCritical": 720,
}
EXTERNAL = {
    "name": "example.com",
    "type": "external",
    "method": "GET",
    "url": "https://example.com/?a=1&b=<2>",
    "maxCheckAttempts": 1,
    "service": "shop",
    "responseTimeCritical": 10000,
    "responseTimeWarning": 5000,
    "responseTimeDuration": 5,
    "requestBody": "Request Body",
    "containsString": "Example",
    "certificationExpirationCritical": 15,
    "certificationExpirationWarning": 30,
    "skipCertificateVerification": True,
    "followRedirect": True,
    "expectedStatusCode": 200,
    "headers": [{"name": "Cache-Control", "value": "no-cache"}],
}
BARE = {"name": "bare", "type": "external", "method": "GET", "url": "https://example.com", "maxCheckAttempts": 1}
EXPRESSION = {
    "name": "role average",
    "type": "expression",
    "expression": "avg(roleSlots('service:role','loadavg5'))",
    "operator": "<",
    "warning": None,
    "critical": 30,
    "evaluateBackwardMinutes": 2,
}
ANOMALY = {
    "name": "My first anomaly detection",
    "type": "anomalyDetection",
    "warningSensitivity": "insensitive",
    "trainingPeriodFrom": 1561429260,
    "maxCheckAttempts": 3,
    "scopes": ["shop: web"],
}
QUERY = {
    "name": "access",
    "type": "query",
    "query": 'sum by (host) (access_counter{service="shop"})',
    "operator": ">",
    "warning": 30,
    "critical": 300.25,
    "legend": "{{host}}",
}
ALL = [
    CONNECTIVITY,
    {"type": "connectivity"},
    HOST,
    SERVICE,
    EXTERNAL,
    {**BARE, "headers": []},
    EXPRESSION,
    ANOMALY,
    {**ANOMALY, "scopes": []},
    QUERY,
]
ODD = [
    {**HOST, "name": '負荷 <b>&\u2028 "x" 😀', "memo": "a\tb\nc", "warning": 1e21, "critical": 1.5e-7, "scopes": []},
    {**HOST, "name": "zero", "warning": 0, "critical": None, "duration": 10, "maxCheckAttempts": 10},
    {**EXPRESSION, "name": "now", "expression": "host('h', load<1>)", "evaluateBackwardMinutes": 0, "warning": -0.5},
    {**QUERY, "name": "now", "query": "up > 0.1 and up < 3", "evaluateBackwardMinutes": 0, "legend": ""},
    {**EXTERNAL, "name": "later", "memo": "m" * 2_048, "responseTimeCritical": 0.1, "followRedirect": False},
]
PULLED = [*(body for body in ALL if body.get("scopes") != []), *ODD]
"""What mkr pushes; it refuses an anomaly detection without scopes itself."""
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def system():
    return System()


def with_places(text):
    """Ids are each time others: in their places stands which one it is."""
    number = itertools.count(1)
    return re.sub(r'(?m)^( {12}"id": )".*"', lambda match: f'{match[1]}"id-{next(number):02d}"', text)


def push(system, body):
    """What mkr writes of its file's object, and the monitor that Go decodes of the answer."""
    sent = json.dumps(monitor_of(json.dumps(body)).written())
    answer = system.call("POST", "/api/v0/monitors?", sent)
    assert answer.status == 200, answer.text
    return monitor_of(answer.text)


@pytest.mark.parametrize("body", ALL, ids=lambda body: f"{body['type']}-{len(body)}")
def test_a_monitor_comes_back_as_mkr_pushed_it(system, body):
    made = push(system, body)
    assert made.id
    assert made.written() == {"id": made.id, **body}
    assert list(made.written()) == [name for name in made.__struct_encode_fields__ if name in {"id", *body}]
    monitor = json.dumps(system.ok("GET", f"/api/v0/monitors/{made.id}?")["monitor"])
    assert monitor_of(monitor) == made
    changed = {**made.written(), "memo": "changed"}
    answer = system.call("PUT", f"/api/v0/monitors/{made.id}?", changed)
    assert (answer.status, monitor_of(answer.text).written()) == (200, {**made.written(), "memo": "changed"})
    assert monitor_of(system.call("DELETE", f"/api/v0/monitors/{made.id}?").text).memo == "changed"
    assert system.ok("GET", "/api/v0/monitors?") == {"monitors": []}


def test_a_pull_is_byte_for_byte_what_was_pushed(system):
    """In the order of types and names, in which mkr's file is written."""
    order = [*go_forms.MONITORS]
    key = lambda monitor: (order.index(monitor.type), monitor.name, monitor.id)  # noqa: E731 - of this line alone
    made = sorted((push(system, body) for body in ALL), key=key)
    answer = system.ok("GET", "/api/v0/monitors?")["monitors"]
    assert pulled("monitors", [monitor_of(json.dumps(each)) for each in answer]) == pulled("monitors", made)


def test_a_pull_is_byte_for_byte_what_mkr_wrote(system):
    """``mkr-monitors.json`` was written by mkr 0.65, which had pushed the same monitors; nightly tests repeat it."""
    for body in PULLED:
        push(system, body)
    answer = system.ok("GET", "/api/v0/monitors?")["monitors"]
    written = with_places(pulled("monitors", [monitor_of(json.dumps(each)) for each in answer]))
    assert written == (GOLDEN / "mkr-monitors.json").read_text()


def test_channels_are_pulled_as_mkr_wrote_them(system):
    for body in (SLACK, MAIL, HOOK):
        system.ok("POST", "/api/v0/channels", body)
    answer = system.ok("GET", "/api/v0/channels?")["channels"]
    written = with_places(pulled("channels", [decoded(json.dumps(each), GoChannel) for each in answer]))
    assert written == (GOLDEN / "mkr-channels.json").read_text()


def test_monitors_are_listed_by_type_and_name(system):
    for body in (QUERY, ANOMALY, EXPRESSION, BARE, SERVICE, HOST, {**HOST, "name": "a"}, CONNECTIVITY):
        push(system, body)
    listed = [(each["type"], each["name"]) for each in system.ok("GET", "/api/v0/monitors")["monitors"]]
    assert listed == [
        ("connectivity", "gone"),
        ("host", "a"),
        ("host", HOST["name"]),
        ("service", "shop - 4xx"),
        ("external", "bare"),
        ("expression", "role average"),
        ("anomalyDetection", "My first anomaly detection"),
        ("query", "access"),
    ]


def test_a_put_without_the_status_of_gone_hosts_leaves_it(system):
    made = push(system, CONNECTIVITY)
    without = {name: value for name, value in CONNECTIVITY.items() if name != "alertStatusOnGone"}
    assert system.ok("PUT", f"/api/v0/monitors/{made.id}", without)["alertStatusOnGone"] == "WARNING"
    changed = system.ok("PUT", f"/api/v0/monitors/{made.id}", {**CONNECTIVITY, "alertStatusOnGone": "CRITICAL"})
    assert changed["alertStatusOnGone"] == "CRITICAL"


def test_null_headers_leave_those_that_are_there(system):
    made = push(system, EXTERNAL)
    kept = system.ok("PUT", f"/api/v0/monitors/{made.id}", {**EXTERNAL, "headers": None})
    assert kept["headers"] == EXTERNAL["headers"]
    assert system.ok("PUT", f"/api/v0/monitors/{made.id}", {**EXTERNAL, "headers": []})["headers"] == []
    assert push(system, {**BARE, "headers": None}).headers == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({**HOST, "type": "hosts"}, "$.type"),
        ({**HOST, "operator": "="}, "one of <, >"),
        ({**HOST, "operator": None}, "$.operator"),
        ({**HOST, "metric": ""}, "$.metric"),
        ({**HOST, "warning": "20"}, "$.warning"),
        ({**HOST, "duration": 11}, "$.duration"),
        ({**HOST, "duration": 0}, "$.duration"),
        ({**HOST, "duration": 2.5}, "$.duration"),
        ({**HOST, "duration": 11.0}, "$.duration"),
        ({**HOST, "metric": None}, "$.metric"),
        ({**HOST, "maxCheckAttempts": 11}, "$.maxCheckAttempts"),
        ({**HOST, "name": ""}, "$.name"),
        ({**HOST, "memo": "m" * 2_049}, "$.memo"),
        ({**HOST, "notificationInterval": -1}, "$.notificationInterval"),
        ({name: value for name, value in HOST.items() if name != "name"}, "`name`"),
        ({**HOST, "scopes": ["shop", "shop: a/b"]}, "scopes[1]"),
        ({**HOST, "excludeScopes": [":"]}, "excludeScopes[0]"),
        ({**HOST, "scopes": ["shop"] * (SCOPES_MAX + 1)}, "$.scopes"),
        ({**CONNECTIVITY, "alertStatusOnGone": "OK"}, "CRITICAL"),
        ({**SERVICE, "service": "a b"}, "service: "),
        ({**SERVICE, "missingDurationWarning": 0}, "$.missingDurationWarning"),
        ({**EXTERNAL, "service": "a b"}, "service: "),
        ({**EXTERNAL, "url": "ftp://x"}, "url is"),
        ({**EXTERNAL, "headers": [{"name": "a"}]}, "`value`"),
        ({**EXPRESSION, "expression": ""}, "$.expression"),
        ({**ANOMALY, "warningSensitivity": "high"}, "insensitive, normal, sensitive"),
        ({**ANOMALY, "scopes": ["shop: web", ""]}, "$.scopes[1]"),
        ({**QUERY, "evaluateBackwardMinutes": 61}, "$.evaluateBackwardMinutes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_names_the_field(system, body, told):
    assert told in system.refused(400, "POST", "/api/v0/monitors", body)


@pytest.mark.parametrize(
    "body",
    [
        {**HOST, "memo": None, "isMute": None, "notificationInterval": None, "scopes": None, "duration": 3.0},
        {"type": "connectivity", "name": None, "alertStatusOnGone": None},
        {**EXTERNAL, "service": None, "requestBody": None, "followRedirect": None, "expectedStatusCode": 200.0},
    ],
    ids=["host", "connectivity", "external"],
)
def test_null_is_left_out_and_a_whole_number_may_have_a_point(system, body):
    made = system.ok("POST", "/api/v0/monitors", body)
    again = system.ok("PUT", f"/api/v0/monitors/{made['id']}", body)
    kept = {name: value for name, value in body.items() if value is not None}
    assert made == again and {name: made[name] for name in kept} == kept
    assert not {"memo", "isMute", "followRedirect"} & made.keys()


def test_nulls_and_points_of_other_documents_and_reports(system):
    made = system.ok("POST", "/api/v0/downtimes", {**DOWNTIME, "memo": None, "start": 1e9, "duration": 60.0})
    assert (made["start"], made["duration"], made.get("memo")) == (10**9, 60, None)
    assert system.ok("POST", "/api/v0/channels", {**SLACK, "mentions": {"ok": None}})["mentions"] == {}
    report = {"source": {"type": "host", "hostId": system.host()}, "name": "http", "status": "CRITICAL"}
    system.ok("POST", "/api/v0/monitoring/checks/report", {"reports": [{**report, "occurredAt": float(NOW_S)}]})
    [alert] = system.ok("GET", "/api/v0/alerts")["alerts"]
    assert system.ok("PUT", f"/api/v0/alerts/{alert['id']}", {"memo": None})["memo"] == ""


def test_a_monitor_keeps_its_type(system):
    made = push(system, HOST)
    assert "type" in system.refused(400, "PUT", f"/api/v0/monitors/{made.id}", SERVICE)


DOWNTIME = {
    "name": "Maintenance",
    "memo": "each Sunday",
    "start": NOW_S,
    "duration": 120,
    "recurrence": {"type": "weekly", "interval": 2, "weekdays": ["Sunday", "Monday"], "until": NOW_S + 10**7},
    "serviceScopes": ["shop"],
    "serviceExcludeScopes": ["blog"],
    "roleScopes": ["shop: web"],
    "roleExcludeScopes": ["shop: batch"],
    "monitorScopes": ["host1"],
    "monitorExcludeScopes": ["host2"],
}
SLACK = {
    "name": "slack",
    "type": "slack",
    "mentions": {"ok": "fine", "warning": "hm", "critical": "<!here>"},
    "enabledGraphImage": False,
    "url": "https://hooks.slack.example/services/TAAAA/BBBB/XXXXX",
    "events": ["alert"],
}
MAIL = {"name": "mail", "type": "email", "emails": ["a@example.com"], "userIds": [], "events": ["alert"]}
HOOK = {"name": "hook", "type": "webhook", "url": "http://example.com/webhook", "events": ["alertGroup", "hostStatus"]}
GROUP = {
    "name": "night shift",
    "notificationLevel": "critical",
    "childNotificationGroupIds": ["default"],
    "childChannelIds": [],
    "monitors": [{"id": "m1", "skipDefault": True}, {"id": "m2", "skipDefault": False}],
    "services": [{"name": "shop"}],
}
SETTING = {
    "name": "as one",
    "memo": "m",
    "serviceScopes": ["shop"],
    "roleScopes": ["shop: web"],
    "monitorScopes": ["m1"],
    "notificationInterval": 60,
}
DOCUMENTS = [
    ("downtimes", "downtimes", GoDowntime, DOWNTIME),
    ("downtimes", "downtimes", GoDowntime, {"name": "once", "start": 0, "duration": 1}),
    ("channels", "channels", GoChannel, SLACK),
    ("channels", "channels", GoChannel, MAIL),
    ("channels", "channels", GoChannel, HOOK),
    ("notification-groups", "notificationGroups", GoGroup, GROUP),
    ("alert-group-settings", "alertGroupSettings", GoSetting, SETTING),
    ("alert-group-settings", "alertGroupSettings", GoSetting, {"name": "all"}),
]


@pytest.mark.parametrize(
    ("path", "listed", "kind", "body"), DOCUMENTS, ids=[f"{path}-{body['name']}" for path, _, _, body in DOCUMENTS]
)
def test_a_document_comes_back_as_it_was_sent(system, path, listed, kind, body):
    added = {"type": "group"} if kind is GoGroup else {}
    answer = system.call("POST", f"/api/v0/{path}?", body)
    assert answer.status == 200, answer.text
    made = decoded(answer.text, kind)
    as_go_keeps_it = decoded(json.dumps({"id": made.id, **added, **body}), kind)
    assert made.written() == as_go_keeps_it.written()
    documents = [decoded(json.dumps(each), kind) for each in system.ok("GET", f"/api/v0/{path}?")[listed]]
    assert made in documents
    changed = system.call("PUT", f"/api/v0/{path}/{made.id}?", {**made.written(), "name": "changed"})
    assert decoded(changed.text, kind).written() == {**made.written(), "name": "changed"}
    assert decoded(system.call("DELETE", f"/api/v0/{path}/{made.id}?").text, kind).name == "changed"
    assert "unknown" in system.refused(404, "DELETE", f"/api/v0/{path}/{made.id}?")
    assert "unknown" in system.refused(404, "PUT", f"/api/v0/{path}/{made.id}?", body)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("downtimes", {**DOWNTIME, "duration": 0}, "$.duration"),
        ("downtimes", {**DOWNTIME, "roleScopes": ["a/b"]}, "roleScopes[0]"),
        ("downtimes", {**DOWNTIME, "serviceExcludeScopes": ["shop", "!"]}, "serviceExcludeScopes[1]"),
        ("downtimes", {**DOWNTIME, "recurrence": {"type": "often", "interval": 1}}, "daily, hourly"),
        ("downtimes", {**DOWNTIME, "recurrence": {**DOWNTIME["recurrence"], "type": "daily"}}, "recurrence.weekdays"),
        ("channels", {**SLACK, "url": ""}, "url is"),
        ("channels", {**HOOK, "url": "https://me:secret@/a"}, "url is"),
        ("channels", {**MAIL, "url": "https://x.example"}, "url: "),
        ("channels", {**MAIL, "emails": ["a@b, c@d"]}, "$.emails"),
        ("channels", {**MAIL, "userIds": ["u1"]}, "userIds: 'u1' is unknown"),
        ("channels", {**MAIL, "emails": []}, "emails: give at least one"),
        ("channels", {**MAIL, "type": "fax"}, "email, slack, webhook"),
        ("notification-groups", {**GROUP, "childChannelIds": ["x"]}, "childChannelIds[0]"),
        ("notification-groups", {**GROUP, "childNotificationGroupIds": ["x"]}, "childNotificationGroupIds[0]"),
        ("notification-groups", {**GROUP, "notificationLevel": "some"}, "all, critical"),
        ("alert-group-settings", {**SETTING, "roleScopes": ["-"]}, "roleScopes[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_of_a_document_names_the_field(system, path, body, told):
    assert told in system.refused(400, "POST", f"/api/v0/{path}", body)


def test_a_channel_joins_the_default_group_unless_it_says_otherwise(system):
    first = system.ok("POST", "/api/v0/channels", SLACK)["id"]
    system.ok("POST", "/api/v0/channels", {**MAIL, "addToDefaultNotificationGroup": False})
    [default] = system.ok("GET", "/api/v0/notification-groups")["notificationGroups"]
    assert (default["type"], default["childChannelIds"]) == ("group-default", [first])
    changed = system.ok(
        "PUT", "/api/v0/notification-groups/default", {**GROUP, "name": "Default", "childNotificationGroupIds": []}
    )
    assert (changed["id"], changed["type"]) == ("default", "group-default")
    system.ok("DELETE", f"/api/v0/channels/{first}")
    assert "default" in system.refused(400, "DELETE", "/api/v0/notification-groups/default")
    renamed = {**GROUP, "childNotificationGroupIds": []}
    assert "name: " in system.refused(400, "PUT", "/api/v0/notification-groups/default", renamed)


def test_a_secret_is_kept_and_never_answered(system):
    made = system.call("POST", "/api/v0/channels", {**HOOK, "secret": "s3cret"})
    channel_id = made.body["id"]
    told = [made.text, system.call("PUT", f"/api/v0/channels/{channel_id}", HOOK).text]
    told.append(system.call("GET", "/api/v0/channels").text)
    assert b"s3cret" in b"".join(item.body for item in system.store.table.values())
    told.append(system.call("DELETE", f"/api/v0/channels/{channel_id}").text)
    assert not any("s3cret" in text for text in told)


def test_a_tenant_has_so_many_documents_and_room_again_after_a_delete(system):
    few = Documents("downtimes", "downtime", Downtime, 2)
    form = Downtime(name="n", start=0, duration=1)
    made = [few.create(system.registry, "a", form) for _ in range(2)]
    with pytest.raises(Exception, match="there are 2 downtimes, which is the limit"):
        few.create(system.registry, "a", form)
    few.create(system.registry, "b", form)
    DOWNTIMES.delete(system.registry, "a", made[0].id)
    few.create(system.registry, "a", form)
    assert DOWNTIMES_PER_TENANT_MAX > 2


def test_documents_of_a_tenant_have_so_many_bytes_together(system, monkeypatch):
    monkeypatch.setattr(documents, "DOCUMENTS_BYTES_MAX", 1_000)
    short = Downtime(name="n", start=0, duration=1)
    long = msgspec.structs.replace(short, memo="m" * 700)
    too_long = "all downtimes would have 1,[0-9]+ bytes, 1,000 is the limit; delete or shorten some"
    first, second = (DOWNTIMES.create(system.registry, "a", form).id for form in (long, short))
    for change in (
        lambda: DOWNTIMES.create(system.registry, "a", long),
        lambda: DOWNTIMES.replace(system.registry, "a", second, long),
    ):
        with pytest.raises(RequestError, match=too_long):
            change()
    DOWNTIMES.create(system.registry, "b", long)
    DOWNTIMES.replace(system.registry, "a", first, short)
    DOWNTIMES.replace(system.registry, "a", second, long)
    DOWNTIMES.delete(system.registry, "a", second)
    last = DOWNTIMES.create(system.registry, "a", long).id
    monkeypatch.setattr(documents, "DOCUMENTS_BYTES_MAX", 100)
    DOWNTIMES.replace(system.registry, "a", last, short)  # what makes it smaller is taken
    assert {each.memo for each in DOWNTIMES.find(system.store, "a")} == {""}


def test_two_that_make_documents_at_once_are_both_counted(system):
    form = Downtime(name="n", start=0, duration=1)
    system.store.before_write = lambda: DOWNTIMES.create(system.registry, "a", form)
    DOWNTIMES.create(system.registry, "a", form)
    few = Documents("downtimes", "downtime", Downtime, 2)
    with pytest.raises(Exception, match="there are 2 downtimes"):
        few.create(system.registry, "a", form)


def test_there_are_no_users(system):
    assert system.ok("GET", "/api/v0/users?") == {"users": []}


def test_a_channel_keeps_its_type(system):
    made = system.ok("POST", "/api/v0/channels", HOOK)
    said = system.refused(400, "PUT", f"/api/v0/channels/{made['id']}", SLACK)
    assert said == "type: the channel is of the type webhook, which can't be changed"
    assert system.ok("GET", "/api/v0/channels")["channels"] == [made]


def test_every_type_of_monitor_has_a_form_of_go():
    assert go_forms.MONITORS.keys() == {body["type"] for body in ALL}
