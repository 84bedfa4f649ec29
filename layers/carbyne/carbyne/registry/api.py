"""The HTTP side of the registry: Mackerel's calls on hosts, services, roles, metadata, graphs and checks."""

from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.http.message import Response, inflate, json_response, skipped_header
from carbyne.http.routes import Call, Route
from carbyne.registry import checks, graphs, hosts, metadata, roles, services
from carbyne.registry.hosts import StoredHost
from carbyne.registry.metadata import Owner
from carbyne.registry.services import Service
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, NO_KEY, Permission

Form = TypeVar("Form")

FOUND_STATUSES: Final = ("working", "standby")
"""Of the hosts that a search without ``status`` finds."""
OWNERS: Final = {"id": "host", "service": "service", "role": "role"}
"""Part of a path -> what it names; the last one in a path is what metadata hangs on."""


class StatusForm(msgspec.Struct, frozen=True):
    status: hosts.Status


class RolesForm(msgspec.Struct, frozen=True, rename="camel"):
    role_fullnames: list[str] | None


class IdsForm(msgspec.Struct, frozen=True):
    ids: list[str]


class StatusesForm(IdsForm, frozen=True):
    status: hosts.Status


class NamedForm(msgspec.Struct, frozen=True):
    name: str
    memo: str = ""


class NameForm(msgspec.Struct, frozen=True):
    name: str


class ReportsForm(msgspec.Struct, frozen=True):
    reports: list[checks.Report]


def description(_: Registry, __: Call) -> Response:
    """``GET /openapi.json``: the whole HTTP surface as OpenAPI; ``carbyne.http.openapi`` makes the file."""
    return Response(200, _description(), {"Cache-Control": "public, max-age=3600"})


@cache
def _description() -> str:
    return (Path(__file__).parents[1] / "http" / "openapi.json").read_text()


def org(_: Registry, call: Call) -> Response:
    """``GET /api/v0/org``: the tenant of the key."""
    return json_response(200, {"name": call.tenant, "displayName": None})


def post_host(registry: Registry, call: Call) -> Response:
    return json_response(200, {"id": hosts.register(registry, call.tenant, _form(call, hosts.HostForm))})


def get_host(registry: Registry, call: Call) -> Response:
    return json_response(200, {"host": _host(hosts.get(registry.store, call.tenant, call.parts["id"]))})


def put_host(registry: Registry, call: Call) -> Response:
    hosts.update(registry, call.tenant, call.parts["id"], _form(call, hosts.HostForm))
    return json_response(200, {"id": call.parts["id"]})


def get_hosts(registry: Registry, call: Call) -> Response:
    wanted = hosts.Filter(
        service=_last(call, "service"),
        roles=_given(call, "role"),
        name=_last(call, "name"),
        statuses=_given(call, "status") or FOUND_STATUSES,
        custom_identifier=_last(call, "customIdentifier"),
    )
    return json_response(200, {"hosts": [_host(host) for host in hosts.find(registry.store, call.tenant, wanted)]})


def get_host_by_custom_identifier(registry: Registry, call: Call) -> Response:
    either_case = _last(call, "caseInsensitive") == "true"
    identifier = call.parts["identifier"]
    found = hosts.by_custom_identifier(registry.store, call.tenant, identifier, either_case=either_case)
    return json_response(200, {"host": _host(found)})


def post_status(registry: Registry, call: Call) -> Response:
    hosts.set_status(registry, call.tenant, call.parts["id"], _form(call, StatusForm).status)
    return _success()


def put_roles(registry: Registry, call: Call) -> Response:
    hosts.set_roles(registry, call.tenant, call.parts["id"], _form(call, RolesForm).role_fullnames)
    return _success()


def post_retire(registry: Registry, call: Call) -> Response:
    """The body is ``null``, ``{}`` or nothing, by client; nobody needs it."""
    hosts.retire(registry, call.tenant, call.parts["id"])
    return _success()


def delete_host(registry: Registry, call: Call) -> Response:
    """``DELETE /carbyne/v1/hosts/{id}``: a host with its samples, checks and metadata.

    The samples first, then what hangs on it, the host last: so that a call that failed can be made again.
    """
    host_id = call.parts["id"]
    hosts.delete_samples(registry, call.tenant, host_id)
    metadata.delete_all(registry, call.tenant, ("host", host_id))
    hosts.remove(registry, call.tenant, host_id)
    return _success()


def post_statuses(registry: Registry, call: Call) -> Response:
    form = _form(call, StatusesForm)
    hosts.for_each(
        registry, call.tenant, form.ids, lambda one: hosts.set_status(registry, call.tenant, one, form.status)
    )
    return _success()


def post_retirements(registry: Registry, call: Call) -> Response:
    ids = _form(call, IdsForm).ids
    hosts.for_each(registry, call.tenant, ids, lambda one: hosts.retire(registry, call.tenant, one))
    return _success()


def get_states(registry: Registry, call: Call) -> Response:
    found = checks.states(registry, call.tenant, call.parts["id"])
    return json_response(200, {"monitoredStatuses": [_state(state, memo) for state, memo in found]})


def post_reports(registry: Registry, call: Call) -> Response:
    skipped = checks.report(registry, call.tenant, _form(call, ReportsForm).reports)
    return json_response(200, {"success": True}, skipped_header(skipped))


def post_graphs(registry: Registry, call: Call) -> Response:
    graphs.create(registry, call.tenant, _form(call, list[graphs.Graph]))
    return _success()


def get_graphs(registry: Registry, call: Call) -> Response:
    return json_response(200, {"graphDefs": graphs.find(registry.store, call.tenant)})


def delete_graph(registry: Registry, call: Call) -> Response:
    graphs.delete(registry, call.tenant, _form(call, NameForm).name)
    return _success()


def get_services(registry: Registry, call: Call) -> Response:
    return json_response(200, {"services": [_service(one) for one in services.find(registry.store, call.tenant)]})


def post_service(registry: Registry, call: Call) -> Response:
    form = _form(call, NamedForm)
    return json_response(200, _service(services.create(registry, call.tenant, form.name, form.memo)))


def delete_service(registry: Registry, call: Call) -> Response:
    return json_response(200, _service(services.delete(registry, call.tenant, call.parts["service"])))


def get_roles(registry: Registry, call: Call) -> Response:
    roles.memo_of(registry.store, call.tenant, call.parts["service"])
    found = roles.of_service(registry.store, call.tenant, call.parts["service"])
    return json_response(200, {"roles": [{"name": name, "memo": memo} for name, memo in found.items()]})


def post_role(registry: Registry, call: Call) -> Response:
    form = _form(call, NamedForm)
    services.create_role(registry, call.tenant, call.parts["service"], form.name, form.memo)
    return json_response(200, {"name": form.name, "memo": form.memo})


def delete_role(registry: Registry, call: Call) -> Response:
    memo = services.delete_role(registry, call.tenant, call.parts["service"], call.parts["role"])
    return json_response(200, {"name": call.parts["role"], "memo": memo})


def get_spaces(registry: Registry, call: Call) -> Response:
    found = metadata.spaces(registry, call.tenant, _owner(call))
    return json_response(200, {"metadata": [{"namespace": namespace} for namespace in found]})


def get_metadata(registry: Registry, call: Call) -> Response:
    found = metadata.get(registry, call.tenant, _owner(call), call.parts["namespace"])
    return json_response(200, found.data, {"Last-Modified": formatdate(found.modified_s, usegmt=True)})


def put_metadata(registry: Registry, call: Call) -> Response:
    data = inflate(call.request.body)
    _decode(data, Any)
    metadata.put(registry, call.tenant, _owner(call), call.parts["namespace"], data)
    return _success()


def delete_metadata(registry: Registry, call: Call) -> Response:
    metadata.delete(registry, call.tenant, _owner(call), call.parts["namespace"])
    return _success()


HOST: Final = "/api/v0/hosts/{id}"
SERVICE: Final = "/api/v0/services/{service}"
ROLE: Final = "/api/v0/services/{service}/roles/{role}"
ROUTES: Final = (
    Route("GET", "/openapi.json", NO_KEY, description),
    Route("GET", "/api/v0/org", Permission.READ, org),
    Route("POST", "/api/v0/hosts", BOTH, post_host),
    Route("GET", "/api/v0/hosts", Permission.READ, get_hosts),
    Route("GET", "/api/v0/hosts.json", Permission.READ, get_hosts),
    Route("GET", HOST, Permission.READ, get_host),
    Route("PUT", HOST, BOTH, put_host),
    Route("POST", f"{HOST}/status", BOTH, post_status),
    Route("PUT", f"{HOST}/role-fullnames", Permission.WRITE, put_roles),
    Route("POST", f"{HOST}/retire", BOTH, post_retire),
    Route("DELETE", "/carbyne/v1/hosts/{id}", BOTH, delete_host),
    Route("GET", f"{HOST}/monitored-statuses", Permission.READ, get_states),
    Route("POST", "/api/v0/hosts/bulk-update-statuses", BOTH, post_statuses),
    Route("POST", "/api/v0/hosts/bulk-retire", BOTH, post_retirements),
    Route("GET", "/api/v0/hosts-by-custom-identifier/{identifier+}", Permission.READ, get_host_by_custom_identifier),
    Route("POST", "/api/v0/monitoring/checks/report", BOTH, post_reports),
    Route("POST", "/api/v0/graph-defs/create", BOTH, post_graphs),
    Route("GET", "/api/v0/graph-defs", Permission.READ, get_graphs),
    Route("DELETE", "/api/v0/graph-defs", BOTH, delete_graph),
    Route("GET", "/api/v0/services", Permission.READ, get_services),
    Route("POST", "/api/v0/services", BOTH, post_service),
    Route("DELETE", SERVICE, BOTH, delete_service),
    Route("GET", f"{SERVICE}/roles", Permission.READ, get_roles),
    Route("POST", f"{SERVICE}/roles", BOTH, post_role),
    Route("DELETE", ROLE, BOTH, delete_role),
    *(
        route
        for owner in (HOST, SERVICE, ROLE)
        for route in (
            Route("GET", f"{owner}/metadata", Permission.READ, get_spaces),
            Route("GET", f"{owner}/metadata/{{namespace}}", Permission.READ, get_metadata),
            Route("PUT", f"{owner}/metadata/{{namespace}}", BOTH, put_metadata),
            Route("DELETE", f"{owner}/metadata/{{namespace}}", BOTH, delete_metadata),
        )
    ),
)


def _form(call: Call, kind: type[Form]) -> Form:
    body = inflate(call.request.body)
    _decode(body, Any)
    return _decode(body, kind)


def _decode(body: bytes, kind: type[Form]) -> Form:
    """A body as ``kind``.  As Any first, which looks at every byte of it: Raw parts are stored as they are."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not as it should be: {error}") from None


def _success() -> Response:
    return json_response(200, {"success": True})


def _given(call: Call, name: str) -> list[str]:
    """The values of a parameter of the query; one that is given empty asks for nothing."""
    return [value for value in call.request.query.get(name, []) if value]


def _last(call: Call, name: str) -> str | None:
    return _given(call, name)[-1] if _given(call, name) else None


def _owner(call: Call) -> Owner:
    named = [part for part in OWNERS if part in call.parts]
    return (OWNERS[named[-1]], *(call.parts[part] for part in named))


def _service(service: Service) -> dict[str, object]:
    return {"name": service.name, "memo": service.memo, "roles": service.roles}


def _state(state: checks.State, memo: str) -> dict[str, object]:
    detail = {"type": "check", "message": state.message, "memo": memo}
    return {"monitorId": keys.check_monitor(state.name), "status": state.status, "detail": detail}


def _host(host: StoredHost) -> dict[str, object]:
    return {
        "id": host.id,
        "name": host.name,
        "displayName": host.display_name,
        "customIdentifier": host.custom_identifier,
        "size": "standard",
        "status": host.status,
        "memo": host.memo,
        "roles": host.roles,
        "isRetired": host.retired_s is not None,
        **({} if host.retired_s is None else {"retiredAt": host.retired_s}),
        "createdAt": host.created_s,
        "meta": host.meta,
        "interfaces": host.interfaces,
    }
