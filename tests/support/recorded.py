"""Requests as they are recorded of clients, one or more for every route; ``tests.support.mutations`` changes them.

They are sent in this order once, so that what later ones name is there: the registry calls what is created `host3` and
on, in the order of these requests.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from carbyne.read.prometheus import FORM_TYPE

from tests.support.clouds import AWS_FORM, AZURE_FORM
from tests.support.pictures import PICTURE_PATH, PICTURE_QUERY
from tests.support.remote_write import V2, Body2, body_1, packed, series_1

NOW_S = 1_700_000_000


class Recorded(NamedTuple):
    method: str
    path: str
    body: bytes = b""
    query: str = ""
    headers: Mapping = MappingProxyType({})


SAMPLE = b'{"hostId":"host1","name":"loadavg5","time":1700000000,"value":0.25}'
HOST = (
    b'{"name":"web1","displayName":"web 1","meta":{"memory":{"total":"16000kB"},"n":1.5e+22},"interfaces":[{"name":'
    b'"eth0","ipv4Addresses":["10.0.0.7"]}],"roleFullnames":["Shop:web"],"checks":[{"name":"ping","memo":"m"}],'
    b'"customIdentifier":"i/1"}\n'
)
REPORTS = (
    b'{"reports":[{"source":{"type":"host","hostId":"host1"},"name":"ping","status":"CRITICAL","message":"no answer",'
    b'"occurredAt":1700000000,"notificationInterval":10,"maxCheckAttempts":1}]}\n'
)
GRAPHS = (
    b'[{"name":"custom.a.#","displayName":"A","unit":"integer","metrics":[{"name":"custom.a.#.b","displayName":"B",'
    b'"isStacked":false}]}]\n'
)
RULE_FILE = b"""groups:
- name: web
  interval: 1m
  rules:
  - record: job:requests:rate5m
    expr: sum by (job) (rate(http_requests_total[5m]))
  - alert: Down
    expr: up == 0
    for: 5m
    labels: {severity: page}
    annotations: {summary: '{{ $labels.instance }} is down since {{ $value | humanize }}'}
"""
STATUSES = b'{"ids":["host1","host2"],"status":"standby"}'
HOSTS = [
    *[Recorded("POST", "/api/v0/tsdb", b"[" + b",".join([SAMPLE] * number) + b"]\n") for number in (1, 2, 3, 5)],
    Recorded("POST", "/api/v0/services/Shop/tsdb", b'[{"name":"orders","time":1700000000,"value":7},{"name":"x"}]'),
    Recorded("DELETE", "/carbyne/v1/samples", query="source=host/host1"),
    Recorded("POST", "/api/v0/hosts", HOST),
    Recorded("PUT", "/api/v0/hosts/host1", HOST),
    Recorded(
        "PUT", "/api/v0/hosts/host2", b'{"name":"web2","meta":{},"interfaces":null,"roleFullnames":null,"checks":null}'
    ),
    Recorded("POST", "/api/v0/monitoring/checks/report", REPORTS),
    Recorded("GET", "/carbyne/v1/checks"),
    Recorded("GET", "/api/v0/hosts"),
    Recorded("GET", "/api/v0/hosts.json"),
    Recorded("GET", "/api/v0/hosts/host1"),
    Recorded("GET", "/api/v0/hosts/host1/metrics", query="name=loadavg5&from=1699999000&to=1700000000"),
    Recorded("GET", "/api/v0/hosts/host1/metric-names"),
    Recorded("GET", "/api/v0/services/Shop/metrics", query="name=orders&from=1699999000&to=1700000000"),
    Recorded("GET", "/api/v0/services/Shop/metric-names"),
    Recorded("GET", "/api/v0/tsdb/latest", query="hostId=host1&name=loadavg5"),
    Recorded("GET", "/carbyne/v1/storage", query="source=host/host1&from=1&to=2"),
    Recorded("GET", "/carbyne/v1/usage"),
    Recorded(
        "GET", "/carbyne/v1/expression", query="expression=avg(host(host1,loadavg5))&from=1699999000&to=1700000000"
    ),
    Recorded("GET", "/carbyne/v1/batch", query="source=host/host1&name=loadavg5&from=1699999000&to=1700000000"),
    Recorded("GET", "/api/v0/hosts-by-custom-identifier/i/1"),
    Recorded("POST", "/api/v0/hosts/host1/status", b'{"status":"maintenance"}'),
    Recorded("PUT", "/api/v0/hosts/host1/role-fullnames", b'{"roleFullnames":["Shop:db"]}'),
    Recorded("POST", "/api/v0/hosts/host2/retire", b"null\n"),
    Recorded("DELETE", "/carbyne/v1/hosts/host2"),
    Recorded("GET", "/api/v0/hosts/host1/monitored-statuses"),
    Recorded("POST", "/api/v0/hosts/bulk-update-statuses", STATUSES),
    Recorded("POST", "/api/v0/hosts/bulk-retire", b'{"ids":["host2"]}'),
    Recorded("POST", "/api/v0/graph-defs/create", GRAPHS),
    Recorded("GET", "/api/v0/graph-defs"),
    Recorded("DELETE", "/api/v0/graph-defs", b'{"name":"custom.a.#"}'),
    Recorded("GET", "/api/v0/services"),
    Recorded("POST", "/api/v0/services", b'{"name":"Blog","memo":"words"}'),
    Recorded("DELETE", "/api/v0/services/Blog"),
    Recorded("GET", "/api/v0/services/Shop/roles"),
    Recorded("POST", "/api/v0/services/Shop/roles", b'{"name":"app","memo":""}'),
    Recorded("DELETE", "/api/v0/services/Shop/roles/app"),
    *[
        Recorded(method, f"/api/v0/{owner}/metadata{tail}", body)
        for owner in ("hosts/host1", "services/Shop", "services/Shop/roles/web")
        for method, tail, body in [
            ("GET", "", b""),
            ("PUT", "/env", b'{"stage":"production","n":[1.5e+22,null]}'),
            ("GET", "/env", b""),
            ("DELETE", "/env", b""),
        ]
    ],
    Recorded("GET", "/api/v0/org"),
    Recorded("GET", "/openapi.json"),
    Recorded("GET", "/api/v0/users"),
    Recorded("GET", PICTURE_PATH, query=PICTURE_QUERY),
]

THINGS = {
    "monitors": b'{"type":"host","name":"load","metric":"loadavg5","operator":">","warning":2,"critical":4.5,'
    b'"duration":3,"maxCheckAttempts":2,"notificationInterval":60,"scopes":["Shop","Shop:web"],"excludeScopes":[],"memo":"m"}',
    "dashboards": b'{"title":"Shop","memo":"m","urlPath":"shop","widgets":[{"type":"graph","title":"load","layout":'
    b'{"x":0,"y":0,"width":8,"height":6},"graph":{"type":"host","hostId":"host1","name":"loadavg"}},{"type":"markdown",'
    b'"title":"","markdown":"# a","layout":{"x":8,"y":0,"width":4,"height":6}}]}',
    "downtimes": b'{"name":"deploy","memo":"m","start":1700000000,"duration":60,"recurrence":{"type":"weekly",'
    b'"interval":1,"weekdays":["Monday"],"until":1800000000},"serviceScopes":["Shop"],"roleExcludeScopes":["Shop:web"]}',
    "channels": b'{"type":"webhook","name":"hook","url":"https://example.com/a","events":["alert"]}',
    "notification-groups": b'{"name":"all","notificationLevel":"critical","childNotificationGroupIds":[],'
    b'"childChannelIds":["host6"],"monitors":[{"id":"host3","skipDefault":false}],"services":[{"name":"Shop"}]}',
    "alert-group-settings": b'{"name":"together","memo":"","serviceScopes":["Shop"],"roleScopes":[],"monitorScopes":[],'
    b'"notificationInterval":60}',
    "graph-annotations": b'{"service":"Shop","title":"deploy","description":"v1","from":1699999000,"to":1700000000,'
    b'"roles":["web"]}',
}
IDS = {kind: f"host{number}" for number, kind in enumerate(THINGS, 3)}
AWS, AZURE, EXTERNAL = (
    "/api/v0/aws-integrations",
    "/carbyne/v1/azure-integrations",
    "/api/v0/aws-integrations-external-id",
)
INTEGRATIONS = {AWS: msgspec.json.encode(AWS_FORM), AZURE: msgspec.json.encode(AZURE_FORM)}
INTEGRATION_IDS = {url: f"host{number}" for number, url in enumerate(INTEGRATIONS, 3 + len(THINGS))}
ALERT = "y8wyL90123456789abcdef"
MONITORING = [
    *[Recorded("POST", f"/api/v0/{kind}", body) for kind, body in THINGS.items()],
    *[Recorded("GET", f"/api/v0/{kind}", query="service=Shop&from=1699999000&to=1700000000") for kind in THINGS],
    *[Recorded("GET", f"/api/v0/{kind}/{IDS[kind]}") for kind in ("monitors", "dashboards", "alert-group-settings")],
    *[Recorded("PUT", f"/api/v0/{kind}/{IDS[kind]}", body) for kind, body in THINGS.items()],
    *[Recorded("DELETE", f"/api/v0/{kind}/{IDS[kind]}") for kind in THINGS],
    Recorded("GET", "/carbyne/v1/monitor-states"),
    Recorded("PUT", "/carbyne/v1/rules/web.yml", RULE_FILE),
    Recorded("GET", "/carbyne/v1/rules"),
    Recorded("GET", "/carbyne/v1/rules/web.yml"),
    Recorded("DELETE", "/carbyne/v1/rules/web.yml"),
    Recorded("POST", f"/carbyne/v1/channels/{IDS['channels']}/test"),
    Recorded("GET", "/api/v0/alerts", query="withClosed=true&limit=3"),
    Recorded("GET", f"/api/v0/alerts/{ALERT}"),
    Recorded("GET", f"/api/v0/alerts/{ALERT}/logs"),
    Recorded("PUT", f"/api/v0/alerts/{ALERT}", b'{"memo":"words"}'),
    Recorded("POST", f"/api/v0/alerts/{ALERT}/close", b'{"reason":"done"}'),
    Recorded("POST", EXTERNAL),
    *[Recorded("POST", url, body) for url, body in INTEGRATIONS.items()],
    *[Recorded("GET", url) for url in INTEGRATIONS],
    *[Recorded("GET", f"{url}/{INTEGRATION_IDS[url]}") for url in INTEGRATIONS],
    *[Recorded("PUT", f"{url}/{INTEGRATION_IDS[url]}", body) for url, body in INTEGRATIONS.items()],
    *[Recorded("DELETE", f"{url}/{INTEGRATION_IDS[url]}") for url in INTEGRATIONS],
    Recorded("GET", "/api/v0/aws-integrations-excludable-metrics"),
    Recorded("GET", "/carbyne/v1/integrations"),
]

LABELS = {"__name__": "http_requests_total", "job": "web", "instance": "a:80", "code": "200"}
WRITES = [
    (V2, packed(Body2().add(LABELS, (1.0, NOW_S * 1000), about=(1, "help", "")).bytes())),
    ("application/x-protobuf", packed(body_1(series_1(LABELS, (2.0, NOW_S * 1000 + 1), (3.0, NOW_S * 1000 + 15_000))))),
]
QUERY = 'sum by (job) (rate(http_requests_total{code=~"2.."}[5m])) / 2 > bool 0'
SPAN = "&start=1699999000&end=1700000000&step=60"
FORM = {"content-type": FORM_TYPE}
LOADS = '{__name__=~"load.*"}'
ASKED = {
    "query": f"query={quote(QUERY)}&time=1700000000",
    "query_range": f"query={quote('max_over_time(loadavg5[10m:1m] offset 1m)')}{SPAN}",
    "format_query": "query=a%2Bb",
    "parse_query": f"query={quote(QUERY)}",
    "query_exemplars": f"query=m{SPAN}",
    "labels": "match[]=loadavg5",
    "series": f"match[]={quote(LOADS)}&start=1699999000&end=1700000000",
    "admin/tsdb/matched_series": f"match[]={quote(LOADS)}&start=1699999000&end=1700000000",
}
PROMETHEUS = [
    *[
        Recorded("POST", path, body, headers={"content-type": media, "content-encoding": "snappy"})
        for path in ("/api/v1/write", "/api/v1/push")
        for media, body in WRITES
    ],
    *[Recorded("GET", f"/api/v1/{name}", query=query) for name, query in ASKED.items()],
    *[Recorded("POST", f"/api/v1/{name}", query.encode(), headers=FORM) for name, query in ASKED.items()],
    Recorded("POST", "/api/v1/admin/tsdb/delete_series", query="match[]=m&start=1699999000"),
    Recorded("GET", "/api/v1/label/job/values", query="limit=2"),
    *[Recorded("GET", f"/api/v1/{name}") for name in ("metadata", "status/tsdb", "rules", "alerts")],
    *[Recorded("GET", f"/api/v1/status/{name}") for name in ("buildinfo", "config", "flags", "runtimeinfo")],
]

QUEUE = "/carbyne/v1/queues/jobs"
LEASES = b'{"leases":["0000000000000001-18bcfe56800-00000001.0000000000000003"]}'
QUEUES = [
    Recorded(
        "POST", f"{QUEUE}/messages", b'{"messages":[{"body":{"n":[1.5e+22,null]},"key":"a"},{"body":1,"delay_s":5}]}'
    ),
    Recorded("POST", f"{QUEUE}/take", b'{"max":2,"lease_s":30}'),
    Recorded("POST", f"{QUEUE}/ack", LEASES),
    Recorded("POST", f"{QUEUE}/release", LEASES),
    Recorded("POST", f"{QUEUE}/extend", b'{"lease_s":60,' + LEASES[1:]),
    Recorded("GET", "/carbyne/v1/queues"),
    Recorded("GET", QUEUE),
    Recorded("GET", f"{QUEUE}/dead", query="limit=10"),
    Recorded("POST", f"{QUEUE}/dead/put-back", b'{"ids":["0000000000000001-00000000001-00000001"]}'),
    Recorded("DELETE", f"{QUEUE}/dead"),
    Recorded("DELETE", f"{QUEUE}/messages"),
    Recorded("DELETE", QUEUE),
]
SESSIONS = [
    Recorded("GET", "/carbyne/v1/sessions"),
    Recorded("DELETE", "/carbyne/v1/sessions/known"),
    Recorded("GET", "/carbyne/v1/system", headers={"x-api-key": "key-operator"}),
]
RECORDED = [*HOSTS, *MONITORING, *PROMETHEUS, *QUEUES, *SESSIONS]
