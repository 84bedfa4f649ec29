"""Settings of integrations, secrets in memory, and a stub of Azure's API."""

import json
import struct
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

from carbyne.clouds.azure import HttpAnswer
from carbyne.core.keys import split_series

EXTERNAL_ID = "0123456789abcdef" * 2
"""What a registry gives out whose marks are ``0123456789abcdef``."""
AWS_FORM = {
    "name": "shop",
    "memo": "",
    "roleArn": "arn:aws:iam::123456789012:role/CarbyneIntegration",
    "externalId": EXTERNAL_ID,
    "region": "us-east-1",
    "includedTags": "",
    "excludedTags": "",
    "services": {"SQS": {"enable": True, "role": None, "excludedMetrics": []}},
}
UUIDS = [f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}" for digit in "123"]
AZURE_FORM = {
    "name": "shop",
    "tenantId": UUIDS[0],
    "clientId": UUIDS[1],
    "subscriptionId": UUIDS[2],
    "clientSecret": "s+cr3t/~",
    "services": {
        "VirtualMachine": {"enable": True, "role": "shop:vm"},
        "SQLDatabase": {"enable": True, "role": None},
    },
}


def samples_of(system):
    """(source, ts_ms, metric) -> value, of all that a System put on the stream."""
    stored = {}
    for _, record in system.put:
        for row in record.rows:
            names, values = split_series(record.lists[row.series]), struct.iter_unpack("<d", row.values)
            stored |= {(row.source, row.ts_ms, name): value for name, (value,) in zip(names, values, strict=True)}
    return stored


class MemorySecrets:
    """A SecretStore."""

    def __init__(self):
        self.texts = {}

    def put(self, name, text):
        self.texts[name] = text

    def get(self, name):
        return self.texts.get(name)

    def delete(self, name):
        self.texts.pop(name, None)


class AzureStub:
    """Azure's two hosts, as Microsoft documents them: a request is answered if every byte of it is as documented.

    ``fetch`` takes the place of the network; ``requests``: what was asked, as text; ``status``: of every answer of the
    management API, ``next_link``: of its first list.
    """

    def __init__(self, subscription, now_s):
        self.requests, self.status, self.next_link, self.log_in = [], 200, "", 200
        self.machine = (
            f"/subscriptions/{subscription}/resourceGroups/shop/providers/Microsoft.Compute/virtualMachines/web 1"
        )
        self.database = (
            f"/subscriptions/{subscription}/resourceGroups/shop/providers/Microsoft.Sql/servers/s/databases/orders"
        )
        self.now_s = now_s

    def fetch(self, call):
        head = f"{call.method} {call.url}\n" + "".join(f"{name}: {text}\n" for name, text in call.headers.items())
        self.requests.append(head + "\n" + (call.body or b"").decode())
        assert urlsplit(call.url).scheme == "https"
        if urlsplit(call.url).hostname == "login.microsoftonline.com":
            return self._token(dict(parse_qsl((call.body or b"").decode(), strict_parsing=True)))
        assert call.headers["Authorization"] == "Bearer t0ken" and call.body is None
        if self.status != 200:
            error = {"error": {"code": "AuthorizationFailed", "message": "The client does not have authorization"}}
            return HttpAnswer(self.status, json.dumps(error).encode())
        path, query = unquote(urlsplit(call.url).path), dict(parse_qsl(urlsplit(call.url).query, strict_parsing=True))
        return HttpAnswer(200, json.dumps(self._managed(path, query)).encode())

    def _token(self, form):
        if self.log_in != 200:
            told = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret.\r\nTrace: 1"}
            return HttpAnswer(self.log_in, json.dumps(told).encode())
        assert form["grant_type"] == "client_credentials", form
        token = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "t0ken"}
        return HttpAnswer(200, json.dumps(token).encode())

    def _managed(self, path, query):
        if path.endswith("/providers/Microsoft.Compute/virtualMachines"):
            machine = {"id": self.machine, "name": "web 1", "location": "japaneast", "tags": {"env": "live"}}
            link = {"nextLink": self.next_link} if self.next_link else {}
            return {"value": [{**machine, "properties": {"vmId": "5f3b"}}], **link}
        if path.endswith("/resources"):
            master = {"id": self.database.replace("orders", "master"), "name": "s/master"}
            return {"value": [{"id": self.database, "name": "s/orders"}, master]}
        if path.endswith("/metricDefinitions"):
            names = ["Percentage CPU", "Network In Total"] if self.machine in path else ["cpu_percent", "storage"]
            return {"value": [{"name": {"value": name, "localizedValue": name}} for name in [*names, "Other"]]}
        assert path.endswith("/providers/Microsoft.Insights/metrics"), path
        return {
            "cost": 1,
            "interval": "PT1M",
            "value": [self._metric(name) for name in query["metricnames"].split(",")],
        }

    def _metric(self, name):
        stamps = [_stamp(self.now_s // 60 * 60 - 60 * back) for back in (5, 4, 3)]
        points = [
            {"timeStamp": stamps[0], "average": 12.5, "total": 100.0, "maximum": 7.0},
            {"timeStamp": stamps[1], "average": 13, "total": 101, "maximum": 8},
            {"timeStamp": stamps[2]},
        ]
        return {"name": {"value": name}, "unit": "Percent", "timeseries": [{"metadatavalues": [], "data": points}]}


def _stamp(time_s):
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
