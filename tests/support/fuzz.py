"""Made up requests: schemathesis makes them of the API's description, and holds the answers to it.

Half of the cases are as described, half are not.  In half of each, what a path names is there, so that a request gets
past the first look-up.
"""

import itertools
import json
import uuid
from collections import Counter
from pathlib import Path

import schemathesis
from carbyne.alerts.pictures import PARAMETER
from carbyne.core.keys import api_key_item
from carbyne.core.limits import QUEUE_DELETION_S
from carbyne.http import openapi
from carbyne.intake.remote_write import MEDIA_TYPE
from carbyne.page.sessions import Session
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.clouds import AWS_FORM, AZURE_FORM
from tests.support.memory_system import MemorySystem
from tests.support.pictures import PICTURE_QUERY
from tests.support.registry_system import answer_of, event
from tests.support.remote_write import Body2, packed

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
DOCUMENT = json.loads(Path(openapi.__file__).with_name("openapi.json").read_text())
KNOWN_THINGS = {
    "monitors": {"type": "external", "name": "known", "url": "https://example.com/"},
    "dashboards": {"title": "known"},
    "downtimes": {"name": "known", "start": 0, "duration": 1},
    "channels": {"type": "webhook", "name": "known", "url": "https://example.com/"},
    "notification-groups": {"name": "known"},
    "alert-group-settings": {"name": "known"},
    "graph-annotations": {"service": "shop", "title": "known", "from": 0, "to": 60},
}
INTEGRATIONS = {
    "/api/v0/aws-integrations": AWS_FORM,
    "/carbyne/v1/azure-integrations": AZURE_FORM,
}
SPAN = {"start": "0", "end": "600", "step": "60"}
RULE_FILE = {"groups": [{"name": "known", "rules": [{"alert": "Down", "expr": "up == 0"}]}]}
KNOWN_BODIES = {
    "PUT /api/v0/hosts/{id}": {"name": "web", "meta": {}},
    **{f"POST /api/v0/{kind}": body for kind, body in KNOWN_THINGS.items()},
    **{f"PUT /api/v0/{kind}/{{id}}": body for kind, body in KNOWN_THINGS.items()},
    "PUT /carbyne/v1/rules/{file}": RULE_FILE,
    "PUT /api/v0/alerts/{id}": {"memo": "known"},
    "POST /api/v0/alerts/{id}/close": {"reason": "known"},
    "DELETE /api/v0/graph-defs": {"name": "custom.known"},
    "POST /api/v0/services": {"name": "known-service", "memo": ""},
    "POST /api/v0/services/{service}/roles": {"name": "batch", "memo": ""},
    "POST /carbyne/v1/queues/{name}/dead/put-back": {"ids": ["0000000000000001-00000000001-00000001"]},
}
WRITE = packed(Body2().add({"__name__": "m"}, (1.0, 1_700_000_000_000)).bytes())


@schemathesis.serializer(MEDIA_TYPE)
def remote_write(context, value):
    """Half of all bodies are sound, the others as they were made up."""
    made_up = value if isinstance(value, bytes) else str(value).encode()
    return made_up if len(made_up) % 2 else WRITE


MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


class Fuzz:
    """One system for all cases, the ``same`` ones each time; ``statuses``: (operation, status) -> number of answers."""

    def __init__(self, *, same):
        self.same = same
        self.system = MemorySystem()
        self.schema = schemathesis.openapi.from_dict(DOCUMENT)
        self.schema.app = self.system.application
        self.operations = [operation.ok() for operation in self.schema.get_all_operations()]
        self.statuses = Counter()

    def run(self, label, cases):
        """At least ``cases`` cases of the operation ``label``, half of each mode.

        What has neither parameters nor a body nor a key can't be asked wrongly, and is asked once.
        """
        operation = next(methods for methods in self.operations if methods.label == label)
        if operation.definition.raw.get("security") == [] and not operation.definition.raw.get("parameters"):
            return self._run(operation, GenerationMode.POSITIVE, 1)
        for mode in MODES:
            self._run(operation, mode, -(-cases // 2))
        return None

    def _run(self, operation, mode, cases):
        turns = itertools.count()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            derandomize=self.same,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case):
            if next(turns) % 2 == 0:  # not by chance: each route is asked for what is there
                self._use_known(operation.label, case)
            response = case.call(
                headers={"X-Api-Key": "key-operator" if operation.label.endswith("/system") else "key-a"}
            )
            self.statuses[operation.label, response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

        check()

    def _use_known(self, label, case):
        """Ask for things that are there; what the cases delete or retire is made again."""
        host = {"name": "web", "customIdentifier": "known", "roleFullnames": ["shop:web"], "meta": {}}
        known = {
            "service": "shop",
            "role": "web",
            "namespace": "env",
            "identifier": "known",
            "name": "jobs",
            "file": "known.yml",
        }
        known["id"] = self._call("POST", "/api/v0/hosts", host)["id"]
        for owner in (f"hosts/{known['id']}", "services/shop", "services/shop/roles/web"):
            self._call("PUT", f"/api/v0/{owner}/metadata/env", {"a": 1})
        sample = {"name": "m", "time": int(self.system.now_s()), "value": 1}
        self._call("POST", "/api/v0/tsdb", [{"hostId": known["id"], **sample}])
        self._call("POST", "/api/v0/services/shop/tsdb", [sample])
        self._call("POST", "/api/v0/graph-defs/create", [{"name": "custom.known"}])
        if "/queues/" in label:
            self.system.queue_world.sleep(QUEUE_DELETION_S)  # what a case before deleted is gone
            self.system.queue_world.sweep()
            self._call("POST", "/carbyne/v1/queues/jobs/messages", {"messages": [{"body": 1}]})
        for kind, body in KNOWN_THINGS.items():
            if f"/{kind}/" in label:
                known["id"] = self._call("POST", f"/api/v0/{kind}", body)["id"]
        if "/rules/" in label:
            self._call("PUT", "/carbyne/v1/rules/known.yml", RULE_FILE)
        if "/alerts/" in label:
            source = {"type": "host", "hostId": known["id"]}
            report = {"source": source, "name": "ping", "status": "CRITICAL", "occurredAt": int(self.system.now_s())}
            self._call("POST", "/api/v0/monitoring/checks/report", {"reports": [report]})
            known["id"] = self._call("GET", "/api/v0/alerts?withClosed=true", None)["alerts"][0]["id"]
        if "-integrations" in label and "-id" not in label and "-metrics" not in label:
            case.body = self._integration(label, known)
        if "/sessions/" in label:
            session = Session("a", api_key_item("key-a"), int(self.system.now_s()), int(self.system.now_s()), "")
            self.system.sessions.put(known["id"], session)
        if label.endswith("/expression") and case.query:
            case.query = {"expression": f"host({known['id']}, m)", "from": 0, "to": 600}
        if label.endswith(("/batch", "/storage")) and case.query:
            case.query |= {"source": f"host/{known['id']}", "from": 0, "to": 600}
        if case.path_parameters:
            case.path_parameters = {name: known[name] for name in case.path_parameters}
        if label.endswith("/metrics") and case.query and isinstance(case.query.get("name"), str):
            case.query["name"] = "m"
        if label.startswith("DELETE /carbyne") and case.query and isinstance(case.query.get("source"), str):
            case.query = {"source": f"host/{known['id']}"}
        asked = _asked(label)
        if asked and label.startswith("GET"):
            case.query = asked
        elif asked:
            case.query, case.body, case.media_type = {}, asked, "application/x-www-form-urlencoded"
        if label.endswith("/picture.png"):
            case.query = {PARAMETER: PICTURE_QUERY.partition("=")[2]}
        if label == "GET /carbyne/v1/queues/{name}/dead":
            case.query = {"limit": 10}
        case.body = KNOWN_BODIES.get(label, case.body)
        if label.endswith(("/ack", "/extend", "/release")):
            taken = self._call("POST", "/carbyne/v1/queues/jobs/take", {"max": 1, "lease_s": 30})["messages"]
            case.body = {"leases": [message["lease"] for message in taken]}

    def _integration(self, label, known):
        """The body of a request about an integration, of which one is made if its path names one."""
        url = label.split()[1].partition("/{")[0]
        body = {**INTEGRATIONS[url], "name": uuid.uuid4().hex}
        if "externalId" in body:
            body["externalId"] = self._call("POST", "/api/v0/aws-integrations-external-id", None)["externalId"]
        for each in self._call("GET", url, None).popitem()[1]:
            self._call("DELETE", f"{url}/{each['id']}", None)  # a tenant may have only some
        if "/{id}" in label:
            known["id"] = self._call("POST", url, body)["id"]
        return None if label.startswith(("GET", "DELETE")) else body

    def _call(self, method, url, body):
        answer = answer_of(self.system.handle(event(method, url, body)))
        assert answer.status == 200, answer.text
        return answer.body


def _asked(label):
    """What to ask Prometheus' API for; None of other operations."""
    if label.endswith(("/query", "/query_range", "/format_query", "/parse_query")):
        return {"query": "loadavg5"} | (SPAN if label.endswith("_range") else {})
    return {"match[]": "m"} if label.endswith(("/series", "/labels", "_series")) else None


LABELS = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]
