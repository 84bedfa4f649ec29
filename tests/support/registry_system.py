"""The registry function with its table in a dict: requests in, status and decoded body out."""

import base64
import importlib.util
import itertools
import json
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from carbyne.core.errors import RetryableError
from carbyne.core.keys import api_key_item
from carbyne.core.names import OPERATOR
from carbyne.registry.store import Registry
from carbyne.stream import records
from carbyne.tenants.accounts import BOTH, Accounts, Grant, Permission
from carbyne.tenants.usage import Standing

from harness.pipeline import http_event
from tests.support import pictures
from tests.support.clouds import MemorySecrets
from tests.support.page_system import SECRET
from tests.support.registry_store import MemoryStore
from tests.support.remote_write import V2

ROOT = Path(__file__).resolve().parents[2]
NOW_S = 1_700_000_000
GRANTS = {
    "key-a": Grant("a", BOTH),
    "key-b": Grant("b", BOTH),
    "key-operator": Grant(OPERATOR, BOTH),
    "key-a-reads": Grant("a", Permission.READ),
    "key-a-writes": Grant("a", Permission.WRITE),
}


def load_app(function):
    spec = importlib.util.spec_from_file_location(f"{function}_app", ROOT / f"functions/{function}/app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Keys:
    """An AccountStore with the keys of GRANTS."""

    def grant_of(self, api_key):
        return self.grant_at(api_key_item(api_key))

    def grant_at(self, item):
        return {api_key_item(key): grant for key, grant in GRANTS.items()}.get(item)

    def token_secret(self):
        return SECRET

    def has_tenant(self, tenant):
        return tenant in ("a", "b")

    def standing_of(self, tenant):
        return Standing() if self.has_tenant(tenant) else None

    def spend(self, tenant, limit, minute, number):
        return number


class Answer(NamedTuple):
    """``body``: decoded, bytes of what is no JSON; ``text``: as it is sent."""

    status: int
    body: object
    text: str
    headers: dict


def event(method, url, body=None, key="key-a"):
    """``url`` with its query, as a client sends it; ``body``: text as it is, bytes as remote write 2.0 sends them,
    anything else as JSON."""
    path, _, query = url.partition("?")
    path = unquote(path)
    if isinstance(body, bytes):
        headers = {"x-api-key": key, "content-type": V2, "content-encoding": "snappy"}
        return http_event(method, path, headers=headers, body=body)
    return {
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"x-api-key": key, "content-type": "application/json"},
        "requestContext": {"http": {"method": method, "path": path}},
        "body": body if body is None or isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
    }


def answer_of(payload):
    assert payload["body"] or payload["statusCode"] == 204, "Mackerel's client takes an empty body for a failure"
    if payload["headers"].get("Content-Type") == "image/png":
        body = base64.b64decode(payload["body"])
    else:
        body = json.loads(payload["body"]) if payload["body"] else {}
    return Answer(payload["statusCode"], body, payload["body"], payload["headers"])


class System:
    """``now_s`` may be set; ids of hosts are host1, host2, ...; ``put``: records that the stream took, all of them
    refused while ``stream_is_away``."""

    def __init__(self):
        self.store = MemoryStore()
        self.now_s = NOW_S
        ids = itertools.count(1)
        self.put, self.stream_is_away = [], False
        self.secrets = MemorySecrets()
        self.registry = Registry(
            self.store,
            lambda: self.now_s,
            lambda: f"host{next(ids)}",
            self._put,
            secrets=self.secrets,
            picture_secret=lambda: pictures.SECRET,
        )
        self.accounts = Accounts(Keys(), lambda: 0.0)
        self.app = load_app("registry")

    def call(self, method, url, body=None, key="key-a"):
        return answer_of(self.app.handle(event(method, url, body, key), lambda: (self.accounts, self.registry)))

    def _put(self, entries):
        if self.stream_is_away:
            raise RetryableError("the stream is away")
        self.put += [(key, records.decode(data)) for key, data in entries]

    def ok(self, method, url, body=None, key="key-a"):
        answer = self.call(method, url, body, key)
        assert answer.status == 200, answer.text
        return answer.body

    def refused(self, status, method, url, body=None, key="key-a"):
        """The message of a refusal."""
        answer = self.call(method, url, body, key)
        assert answer.status == status, answer.text
        return answer.body["error"]["message"]

    def host(self, **fields):
        """The id of a new host."""
        return self.ok("POST", "/api/v0/hosts?", {"name": "web", "meta": {}, **fields})["id"]

    def host_ids(self, query=""):
        return [host["id"] for host in self.ok("GET", f"/api/v0/hosts?{query}")["hosts"]]
