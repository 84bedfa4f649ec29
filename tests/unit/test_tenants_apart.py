"""No key of one tenant reads, lists, overwrites or deletes anything of another, whatever the route.

The cases are made of the route tables: each route is asked with one tenant's key for the other's things by name, in
path, query and body.  Whatever it touches must be its own.  A new route is covered by being in a table; if no request
here gets an answer from it even with the right key, the test says so.
"""

import itertools
import json
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from carbyne.core.keys import (
    CLOUD_ITEM,
    EXTERNAL_ITEM,
    JUDGED_ITEM,
    NOTIFICATIONS_ITEM,
    QueueKey,
    SourceKey,
    api_key_item,
)
from carbyne.intake.writer import RawWindows, Writer
from carbyne.page.sessions import Session
from carbyne.queue.api import QueueDeps
from carbyne.queue.ports import QueueTable
from carbyne.queue.queues import NewMessage
from carbyne.read.batch import BatchAnswer
from carbyne.read.cardinality import no_report
from carbyne.read.finder import FoundSeries
from carbyne.read.listings import LabelTexts
from carbyne.read.mackerel import ServerAbout
from carbyne.read.prometheus import QuerySuccess
from carbyne.read.reader import Many, Newest, ReadAnswer
from carbyne.read.registered import RegisteredSource
from carbyne.registry import integrations
from carbyne.registry.alerts import alert_id
from carbyne.registry.integrations import CloudJob, CloudState
from carbyne.registry.monitors import ExternalState, keep_state
from carbyne.registry.store import Key, Registry
from carbyne.samples.columns import EMPTY
from carbyne.store.directory import MetricEntry
from carbyne.stream import records
from carbyne.stream.putter import Time
from carbyne.tenants.accounts import NO_KEY, Accounts
from carbyne.tenants.months import MonthCounts
from carbyne.tenants.usage import Standing
from carbyne.wiring.openapi import TABLES
from carbyne.wiring.reader import ReaderDeps

from tests.support.clouds import AWS_FORM, AZURE_FORM, EXTERNAL_ID, MemorySecrets
from tests.support.fakes import NoDeletes
from tests.support.page_system import MemorySessions, page_deps
from tests.support.pictures import PICTURE_QUERY, SECRET
from tests.support.queue_stores import MemoryQueueTable, MemoryQueueWorld, stored
from tests.support.registry_store import MemoryStore
from tests.support.registry_system import NOW_S, Keys, answer_of, event, load_app
from tests.support.remote_write import Body2, packed

APPS = {name: load_app(name) for name in TABLES}
ROUTES = [(function, route) for function, table in TABLES.items() for route in table]
MARK = "secret-of-b"
SERVER = ServerAbout(14_400, {}, 0)
OF_ALL = (EXTERNAL_ITEM, JUDGED_ITEM, NOTIFICATIONS_ITEM, CLOUD_ITEM)
ALERT = alert_id(NOW_S, EXTERNAL_ID[:16])
"""Of each tenant's alert: they have the same time and mark."""
EVERYTHING = {
    "name": "onlyb",
    "memo": "m",
    "meta": {},
    "status": "poweroff",
    "ids": ["host-b"],
    "roleFullnames": ["shop:web", "onlyb:web"],
    "customIdentifier": "i-b",
    "service": "shop",
    "title": "t",
    "type": "external",
    "url": "https://shop.example/",
    "from": NOW_S,
    "to": NOW_S,
    "start": NOW_S,
    "duration": 60,
    "reports": [
        {
            "source": {"type": "host", "hostId": "host-b"},
            "name": "ping",
            "status": "OK",
            "message": "",
            "occurredAt": NOW_S + 1,
        }
    ],
}
SAMPLES = [{"hostId": "host-b", "name": "custom.onlyb", "time": NOW_S, "value": 2, "metrics": []}]
DOCUMENTS = {
    "downtimes": {"start": 0, "duration": 1},
    "channels": {"type": "webhook", "url": "https://shop.example/", "addToDefaultNotificationGroup": False},
    "notification-groups": {},
    "alert-group-settings": {},
}
WRITE = packed(Body2().add({"__name__": "onlyb", "host": "host-b", "tenant": "b"}, (2.0, NOW_S * 1000)).bytes())
BODIES = [
    EVERYTHING,
    {**EVERYTHING, "type": "webhook"},
    {**EVERYTHING, "type": "group"},
    {**EVERYTHING, "name": "fresh"},
    {**EVERYTHING, "name": "custom.onlyb"},
    {"groups": [{"name": "fresh", "rules": [{"record": "a", "expr": "1"}]}]},
    SAMPLES,
    None,
    WRITE,
]
QUERIES = [
    "",
    "?hostId=host-b&name=m&source=host%2Fhost-b&from=0&to=2000000000",
    "?source=host%2Fhost-b",
    "?expression=host(host-b,m)&from=0&to=1000",
    "?service=shop&customIdentifier=i-b&caseInsensitive=true",
    "?service=shop&from=1699999000&to=1700001000",
    f"?{PICTURE_QUERY}",
    f"?query=%7B__name__=~%22.%2B%22%7D&time={NOW_S}&start={NOW_S}&end={NOW_S}&step=60&match[]=up",
]
OF_NONE = {
    *(f"/api/v1/{name}" for name in ("format_query", "parse_query", "query_exemplars", "rules", "alerts")),
    *(f"/api/v1/status/{name}" for name in ("buildinfo", "config", "flags", "runtimeinfo")),
    "/api/v0/users",
    "/api/v0/aws-integrations-excludable-metrics",
}
"""What answers alike whoever asks."""
PARTS = [
    {
        "id": "host-b",
        "name": "jobs",
        "service": service,
        "role": "web",
        "namespace": "env",
        "identifier": "i-b",
        "file": "known.yml",
    }
    for service in ("shop", "onlyb")
]


class WatchedStore(MemoryStore):
    """Notes the tenants of the keys that it is asked for."""

    def __init__(self, touched):
        super().__init__()
        self.touched = touched

    def get(self, key):
        self._note(key)
        return super().get(key)

    def items(self, pk, prefix=""):
        self._note(Key(pk, prefix))
        return super().items(pk, prefix)

    def scan(self, pk, after=""):
        assert pk not in OF_ALL
        self._note(Key(pk, ""))
        return super().scan(pk, after)

    def write(self, *changes):
        for change in changes:
            self._note(change.key)
        return super().write(*changes)

    def _note(self, key):
        """Lists of all tenants' things have the tenant in the sort key."""
        if key.sk or key.pk not in OF_ALL:
            self.touched.add((key.sk if key.pk in OF_ALL else key.pk).partition(":")[0])


class WatchedTiers:
    """Stands for whatever a function reads samples with: notes the tenants of the sources; b has the series MARK."""

    def __init__(self, touched, name=""):
        self.touched = touched
        self.name = name

    def __getattr__(self, name):
        return SERVER if name == "server" else WatchedTiers(self.touched, name)

    def __call__(self, *arguments, **named):
        if self.name == "sources":
            self.touched.add(arguments[0])
            return [RegisteredSource(f"host/host-{arguments[0]}", MARK if arguments[0] == "b" else "plain")]
        if arguments and isinstance(arguments[0], str):  # listings of a tenant
            self.touched.add(arguments[0])
            return self._listed(MARK if arguments[0] == "b" else "plain", arguments[0])
        if self.name == "read" and isinstance(arguments[0], list):  # a batch
            self.touched.update(source.tenant for source in arguments[0])
            return BatchAnswer("raw", 0, []), []
        given = [
            *arguments,
            *named.values(),
            *(value for each in arguments if isinstance(each, list) for value in each),
        ]
        sources = [value for value in given if isinstance(value, SourceKey)]
        self.touched.update(source.tenant for source in sources)
        return self._answer(self.name, sources, arguments)

    def _listed(self, mark, tenant):
        if self.name == "standing":
            return Standing(months={202_311: MonthCounts(samples=len(mark))})
        if self.name == "metrics":
            return {mark: MetricEntry("gauge", mark, "")}
        if self.name in {"find", "rules"}:
            return []
        if self.name == "draw":
            return BatchAnswer(mark, 60, [])
        if self.name == "stored":
            return [FoundSeries(SourceKey(tenant, f"host/host-{tenant}"), mark, {})]
        if self.name == "report":
            return no_report("")._replace(of_metrics=Counter({mark: 1}))
        return [(("__name__", mark),)] if self.name == "series" else LabelTexts([mark], [])

    def _answer(self, name, sources, arguments):
        known = any(source.tenant == "b" for source in sources)
        if name == "latest":
            samples = dict.fromkeys(arguments[1], (NOW_S * 1000, 1.0)) if known else {}
            return dict.fromkeys(sources, Newest(samples, []))
        if name == "known":
            return ({MARK} if known else set()), []
        if name == "now_ms":
            return NOW_S * 1000
        if name == "read_many":
            return Many(EMPTY, "raw", [])
        if name == "series":
            return {MARK} if known else set()
        if name == "read":
            return ReadAnswer(np.array([NOW_S * 1000] * known), np.ones(int(known)), [], "raw")
        return []


class WatchedSessions(MemorySessions):
    """Notes the tenants of the sessions that it is asked for."""

    def __init__(self, touched):
        super().__init__(lambda: NOW_S)
        self.touched = touched

    def of_key(self, key_item):
        sessions = super().of_key(key_item)
        self.touched.update(session.tenant for session in sessions.values())
        return sessions


DEAD = stored(9).id
LEASE = {"b": f"{stored(1).id}.{3:016x}", "a": f"{1:016d}-{NOW_S * 1000:011x}-{4:08x}.{6:016x}"}
"""Of the message of each tenant that was taken."""


class WatchedQueues(MemoryQueueTable):
    """Notes the tenants of the queues that it is asked for things of; whether there is one is no secret of its own."""

    def __init__(self, touched):
        super().__init__()
        self.touched = touched

    def __getattribute__(self, name):
        attribute = super().__getattribute__(name)
        if name not in PORT or name == "queues":
            return attribute

        def noting(queue, *arguments, **options):
            self.touched.add(queue.tenant)
            return attribute(queue, *arguments, **options)

        return noting

    def queues(self, tenant=""):
        self.touched.add(tenant)
        return super().queues(tenant)


PORT = {name for name in dir(QueueTable) if not name.startswith("_")}


class Stream:
    """Notes the tenants of the records."""

    def __init__(self, touched):
        self.touched = touched

    def put(self, entries):
        self.touched.update(records.decode(data).tenant for _, data in entries)
        return []


class Meter:
    def add(self, name, amount=1): ...
    def flush_due(self): ...


class Request(NamedTuple):
    method: str
    url: str
    body: object


class World:
    """All functions over the same stores; tenants a and b have a service of the same name."""

    filled = None
    """What filling the first world left in its stores, and how many ids that took: the others begin with a copy."""

    def __init__(self, function=""):
        self.touched, self.queue_table = set(), None
        self.store = WatchedStore(self.touched)
        accounts = Accounts(Keys(), lambda: 0.0)
        self.ids, self.secrets = _ids(), MemorySecrets()
        clock = Time(now_ms=lambda: NOW_S * 1000, clock=lambda: 0.0, sleep=lambda _: None, random=lambda: 0.5)
        tiers = WatchedTiers(self.touched)
        self.deps = {
            "writer": Writer(
                *(accounts, Stream(self.touched), NoDeletes(), RawWindows(14_400, 86_400 * 460), Meter(), clock),
                ask_reader=lambda asked: APPS["reader"].handle(asked, lambda: self.deps["reader"]),
            ),
            "reader": ReaderDeps(*(accounts if field == "accounts" else tiers for field in ReaderDeps._fields)),
            "registry": (
                accounts,
                Registry(
                    self.store,
                    lambda: NOW_S,
                    self._new_id,
                    Stream(self.touched).put,
                    lambda: EXTERNAL_ID[:16],
                    self.secrets,
                    lambda: SECRET,
                ),
            ),
        }
        sessions = WatchedSessions(self.touched)
        for tenant in ("a", "b"):
            session = Session(tenant, api_key_item(f"key-{tenant}"), NOW_S, NOW_S, MARK if tenant == "b" else "")
            sessions.put(f"host-{tenant}", session)
        if function == "queue":  # it takes a while to make
            self.deps["queue"] = QueueDeps(accounts, self._queues(), None)
        self.deps["page"] = page_deps(accounts, Keys(), sessions, lambda: NOW_S)
        self.issued = 0
        self._begin()
        self.touched.clear()

    def call(self, function, request, key):
        """(answer, tenants whose things were touched)."""
        self.touched.clear()
        payload = APPS[function].handle(event(*request, key), lambda: self.deps[function])
        return answer_of(payload), set(self.touched)

    def of(self, tenant):
        """Everything in the registry that is the tenant's."""
        registered = {key: item for key, item in self.store.table.items() if key.pk.startswith(f"{tenant}:")}
        tables = (self.queue_table.messages, self.queue_table.letters) if self.queue_table else ()
        return registered, [{key: item for key, item in table.items() if key[0].tenant == tenant} for table in tables]

    def _queues(self):
        """Both tenants have a queue of the same name, with a message, one that was taken, and a dead letter."""
        world = MemoryQueueWorld(NOW_S * 1000)
        self.queue_table = world.table = WatchedQueues(self.touched)
        queues = world.instance()
        for tenant in ("b", "a"):
            mark = json.dumps(MARK if tenant == "b" else "plain").encode()
            queue = QueueKey(tenant, "jobs")
            queues.publish(queue, [NewMessage(mark)] * 2)
            [taken] = queues.take(queue, 1, 0, 900)
            assert taken.lease == LEASE[tenant]
            world.table.letters[queue, DEAD] = stored(9, mark)
        return world.instance()

    def _new_id(self):
        self.issued += 1
        return next(self.ids)

    def _begin(self):
        if World.filled is None:
            self._fill("key-b", "i-b", "onlyb")
            self._fill("key-a", "i-a", "onlya")
            World.filled = dict(self.store.table), dict(self.secrets.texts), self.issued
        table, texts, issued = World.filled
        self.store.table.update(table)
        self.secrets.texts.update(texts)
        while self.issued < issued:
            self._new_id()

    def _fill(self, key, identifier, service):
        mark = MARK if key == "key-b" else "plain"
        body = {
            "name": mark,
            "displayName": mark,
            "customIdentifier": identifier,
            "roleFullnames": ["shop:web", f"{service}:web"],
            "meta": {"x": mark},
        }
        host = self._done("POST", "/api/v0/hosts", body, key)["id"]
        note = {"service": "shop", "title": mark, "from": NOW_S, "to": NOW_S}
        self._done("POST", "/api/v0/graph-annotations", note, key)
        self._done("POST", "/api/v0/dashboards", {"title": mark}, key)
        monitor = {"type": "external", "name": mark, "url": "https://shop.example/"}
        monitor_id = self._done("POST", "/api/v0/monitors", monitor, key)["id"]
        state = ExternalState("OK", mark, NOW_S // 60)
        assert keep_state(self.deps["registry"][1], key[-1], monitor_id, state)
        issued = self._done("POST", "/api/v0/aws-integrations-external-id", None, key)
        integration = self._done("POST", "/api/v0/aws-integrations", {**AWS_FORM, **issued, "name": mark}, key)["id"]
        self._done("POST", "/carbyne/v1/azure-integrations", {**AZURE_FORM, "name": mark}, key)
        job = CloudJob(key[-1], "aws", integration, 1)
        assert integrations.begin(self.deps["registry"][1], key[-1], job, CloudState(minute=1, message=mark))
        for owner in (f"hosts/{host}", "services/shop", f"services/{service}/roles/web", "services/shop/roles/web"):
            self._done("PUT", f"/api/v0/{owner}/metadata/env", {"x": mark}, key)
        graph = {"name": f"custom.{service}", "displayName": mark, "metrics": []}
        self._done("POST", "/api/v0/graph-defs/create", [graph], key)
        source = {"type": "host", "hostId": host}
        report = {"source": source, "name": "ping", "status": "CRITICAL", "message": mark, "occurredAt": NOW_S}
        for path, document in DOCUMENTS.items():
            self._done("POST", f"/api/v0/{path}", {**document, "name": mark}, key)
        self._done("POST", "/api/v0/monitoring/checks/report", {"reports": [report]}, key)
        rules = {"groups": [{"name": mark, "rules": [{"record": "a", "expr": "1"}]}]}
        self._done("PUT", "/carbyne/v1/rules/known.yml", rules, key)

    def _done(self, method, url, body, key):
        answer, _ = self.call("registry", Request(method, url, body), key)
        assert answer.status == 200, answer.text
        return answer.body


def _ids():
    """Of a host, an annotation, a dashboard, a monitor, two integrations and others of each tenant, then more."""
    yield from ["host-b"] * (6 + len(DOCUMENTS)) + ["host-a"] * (6 + len(DOCUMENTS))
    for number in itertools.count():
        yield f"new{number}"


def requests(route):
    """Everything that we know to ask of a route, naming b's things."""
    bodies = [None] if route.method == "GET" or route.answer is QuerySuccess else BODIES
    if route.path.startswith("/carbyne/v1/queues"):
        bodies = [{"messages": [{"body": 1}], "ids": [DEAD], "leases": [LEASE["b"]]}]
    queries = QUERIES
    if any(f"/{kind}" in route.path for kind in (*DOCUMENTS, "alerts", "monitors")):  # which ask for nothing by a query
        bodies, queries = [*bodies[:1], {**EVERYTHING, "type": "webhook"}, {"name": "fresh"}], ["", "?withClosed=true"]
    if "-integrations" in route.path and route.method != "GET":
        bodies = [{**(AWS_FORM if "aws" in route.path else AZURE_FORM), "name": "fresh"}]
    for parts, query, body in itertools.product(PARTS, queries, bodies):
        known = parts | {"id": ALERT} if "/alerts/" in route.path else parts
        yield Request(route.method, route.path.replace("+}", "}").format_map(known) + query, body)


def name(case):
    function, route = case
    return f"{function} {route.method} {route.path}"


@pytest.mark.parametrize("case", ROUTES, ids=name)
def test_a_key_reaches_the_things_of_its_tenant_alone(case):
    function, route = case
    for request in requests(route):
        world = World(function)
        before = world.of("b")
        answer, touched = world.call(function, request, "key-a")
        assert touched <= {"a"}, request
        assert MARK not in answer.text + json.dumps(answer.headers), request
        assert world.of("b") == before, request
        assert answer.status != 503, request


@pytest.mark.parametrize("case", ROUTES, ids=name)
def test_the_same_requests_reach_something_with_the_right_key(case):
    """Else the test above would show nothing."""
    function, route = case
    reached = False
    for request in requests(route):
        answer, touched = World(function).call(function, request, "key-b")
        assert touched <= {"b"}
        of_none = route.path in OF_NONE and not touched
        own = of_none or touched == {"b"} or route.permission == NO_KEY or answer.body.get("name") == "b"
        reached = reached or (answer.status in (200, 204) and own)
    if route.path == "/carbyne/v1/system":  # of the operator's tenant alone
        operators, touched = World().call(function, Request("GET", route.path, None), "key-operator")
        reached = operators.status == 200 and not touched
    assert reached, f"none of the requests of this test gets an answer from {name(case)}: add what it takes"


@pytest.mark.parametrize("case", ROUTES, ids=name)
@pytest.mark.parametrize("key", ["", "nobody"])
def test_without_a_known_key_there_is_nothing(case, key):
    function, route = case
    world = World(function)
    for request in requests(route):
        answer, touched = world.call(function, request, key)
        assert touched == set()
        if route.permission or route.path == "/openapi.json":
            assert answer.status == (403 if route.permission else 200)
        else:
            assert (answer.status == 200) == (PICTURE_QUERY in request.url), "the URL is the permission"


def test_only_the_description_of_the_api_and_pictures_need_no_key():
    assert [route.path for _, route in ROUTES if not route.permission] == ["/openapi.json", "/carbyne/v1/picture.png"]


def test_a_listing_of_the_owner_holds_what_the_others_must_not_see():
    texts = [
        World().call("registry", Request("GET", f"/api/v0/{what}", None), "key-b")[0].text
        for what in (
            "hosts",
            "hosts/host-b",
            "hosts/host-b/monitored-statuses",
            "hosts/host-b/metadata/env",
            "graph-defs",
            "services/onlyb/roles/web/metadata/env",
            "hosts-by-custom-identifier/i-b",
        )
    ]
    assert all(MARK in text for text in texts)
