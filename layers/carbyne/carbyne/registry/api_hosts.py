"""Mackerel's calls on hosts, and the removal of one, which Mackerel does not have."""

from typing import Any, Final, Literal

import msgspec
from msgspec import Raw

from carbyne.core import keys
from carbyne.http.answers import DONE, Success
from carbyne.http.forms import form
from carbyne.http.listing import Listing, page_of
from carbyne.http.message import Response
from carbyne.http.routes import PAGE, Call, Parameter, Route
from carbyne.registry import checks, hosts, metadata
from carbyne.registry.answers import CheckDetail, CheckState, CheckStates, Host, Hosts, Id, OneHost
from carbyne.registry.hosts import HostForm, Status, StoredHost
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, Permission

DEFAULT_STATUSES: Final = ("working", "standby")
"""Of the hosts that a search without ``status`` finds."""


class StatusForm(msgspec.Struct, frozen=True):
    status: Status


class RolesForm(msgspec.Struct, frozen=True, rename="camel"):
    role_fullnames: list[str] | None


class IdsForm(msgspec.Struct, frozen=True):
    ids: list[str]


class StatusesForm(IdsForm, frozen=True):
    status: Status


def post_host(registry: Registry, call: Call) -> Id:
    body = form(call, HostForm)
    host_id = hosts.register(registry, call.tenant, body)
    _keep_listed(registry, call.tenant, host_id, body)
    return Id(host_id)


def get_host(registry: Registry, call: Call) -> OneHost:
    return OneHost(_answer(hosts.get(registry.store, call.tenant, call.parts["id"])))


def put_host(registry: Registry, call: Call) -> Id:
    body = form(call, HostForm)
    hosts.update(registry, call.tenant, call.parts["id"], body)
    _keep_listed(registry, call.tenant, call.parts["id"], body)
    return Id(call.parts["id"])


def _keep_listed(registry: Registry, tenant: str, host_id: str, body: HostForm) -> None:
    if isinstance(body.checks, list):
        checks.keep_listed(registry, tenant, host_id, body.checks)


def get_hosts(registry: Registry, call: Call) -> Response:
    page = page_of(call.request.query)
    query = hosts.Filter(
        service=_last(call, "service"),
        roles=_given(call, "role"),
        name=_last(call, "name"),
        statuses=_given(call, "status") or DEFAULT_STATUSES,
        custom_identifier=_last(call, "customIdentifier"),
    )
    matching = hosts.find(registry.store, call.tenant, query, page.after)
    return Response(200, Listing("hosts", ((host.id, _answer(host)) for host in matching), page))


def get_host_by_custom_identifier(registry: Registry, call: Call) -> OneHost:
    either_case = _last(call, "caseInsensitive") == "true"
    identifier = call.parts["identifier"]
    return OneHost(
        _answer(hosts.by_custom_identifier(registry.store, call.tenant, identifier, either_case=either_case))
    )


def post_status(registry: Registry, call: Call) -> Success:
    hosts.set_status(registry, call.tenant, call.parts["id"], form(call, StatusForm).status)
    return DONE


def put_roles(registry: Registry, call: Call) -> Success:
    hosts.set_roles(registry, call.tenant, call.parts["id"], form(call, RolesForm).role_fullnames)
    return DONE


def post_retire(registry: Registry, call: Call) -> Success:
    """The body is ``null``, ``{}`` or nothing, by client, and is not read."""
    hosts.retire(registry, call.tenant, call.parts["id"])
    return DONE


def delete_host(registry: Registry, call: Call) -> Success:
    """The samples first, then what hangs on the host, the host last: so that a call that failed can be repeated."""
    host_id = call.parts["id"]
    hosts.delete_samples(registry, call.tenant, host_id)
    metadata.delete_all(registry, call.tenant, ("host", host_id))
    hosts.remove(registry, call.tenant, host_id)
    return DONE


def post_statuses(registry: Registry, call: Call) -> Success:
    body = form(call, StatusesForm)
    hosts.for_each(
        registry, call.tenant, body.ids, lambda host_id: hosts.set_status(registry, call.tenant, host_id, body.status)
    )
    return DONE


def post_retirements(registry: Registry, call: Call) -> Success:
    ids = form(call, IdsForm).ids
    hosts.for_each(registry, call.tenant, ids, lambda host_id: hosts.retire(registry, call.tenant, host_id))
    return DONE


def get_states(registry: Registry, call: Call) -> CheckStates:
    states = checks.states(registry, call.tenant, call.parts["id"])
    return CheckStates([_check_answer(state, memo) for state, memo in states])


def _given(call: Call, name: str) -> list[str]:
    """The values of a parameter of the query; an empty one asks for nothing."""
    return [value for value in call.request.query.get(name, []) if value]


def _last(call: Call, name: str) -> str | None:
    return _given(call, name)[-1] if _given(call, name) else None


def _check_answer(state: checks.State, memo: str) -> CheckState:
    return CheckState(keys.check_monitor(state.name), state.alert, CheckDetail("check", state.message, memo))


def _with_address(interface: dict[str, Raw]) -> dict[str, Raw]:
    """With ``ipAddress``, the first of ``ipv4Addresses``: agents send the list alone, some clients read the other."""
    try:
        addresses = msgspec.json.decode(interface.get("ipv4Addresses", b"[]"), type=list[str])
    except msgspec.ValidationError:
        return interface
    return {**interface, "ipAddress": Raw(msgspec.json.encode(addresses[0]))} if addresses else interface


def _answer(host: StoredHost) -> Host:
    return Host(
        id=host.id,
        name=host.name,
        display_name=host.display_name,
        custom_identifier=host.custom_identifier,
        size="standard",
        status=host.status,
        memo=host.memo,
        roles=host.roles,
        is_retired=host.retired_s is not None,
        created_at=host.created_s,
        meta=host.meta,
        interfaces=None if host.interfaces is None else [_with_address(each) for each in host.interfaces],
        retired_at=msgspec.UNSET if host.retired_s is None else host.retired_s,
    )


HOST: Final = "/api/v0/hosts/{id}"
UNKNOWN: Final = "The host is unknown"
ONE_UNKNOWN: Final = "One of the hosts is unknown"
SEARCH: Final = (
    Parameter("service", str, "Hosts of this service"),
    Parameter("role", list[str], "Hosts of any of these roles of the service"),
    Parameter("name", str, "Hosts of this name"),
    Parameter("status", list[Status], "Of any of these; without it working and standby"),
    Parameter("customIdentifier", str, "The host of this identifier"),
    *PAGE,
)
EITHER_CASE: Final = (Parameter("caseInsensitive", Literal["true", "false"], "Whether either case will do"),)
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("POST", "/api/v0/hosts", BOTH, "Register a host", Id, post_host, body=HostForm),
    Route("GET", "/api/v0/hosts", Permission.READ, "Find hosts", Hosts, get_hosts, parameters=SEARCH),
    Route("GET", "/api/v0/hosts.json", Permission.READ, "Find hosts", Hosts, get_hosts, parameters=SEARCH),
    Route("GET", HOST, Permission.READ, "A host, live or retired", OneHost, get_host, not_found=UNKNOWN),
    Route("PUT", HOST, BOTH, "Change a host", Id, put_host, body=HostForm, not_found=UNKNOWN),
    Route(
        "POST",
        f"{HOST}/status",
        BOTH,
        "Set the status of a host",
        Success,
        post_status,
        body=StatusForm,
        not_found=UNKNOWN,
    ),
    Route(
        "PUT",
        f"{HOST}/role-fullnames",
        Permission.WRITE,
        "Give a host these roles and no others",
        Success,
        put_roles,
        body=RolesForm,
        not_found=UNKNOWN,
    ),
    Route(
        "POST",
        f"{HOST}/retire",
        BOTH,
        "Retire a host; the body is not looked at",
        Success,
        post_retire,
        body=Any,
        not_found=UNKNOWN,
    ),
    Route(
        "DELETE",
        "/carbyne/v1/hosts/{id}",
        BOTH,
        "Remove a host, live or retired, with all of its samples, checks and metadata",
        Success,
        delete_host,
        not_found=UNKNOWN,
    ),
    Route(
        "GET",
        f"{HOST}/monitored-statuses",
        Permission.READ,
        "The latest states of a host's checks",
        CheckStates,
        get_states,
        not_found=UNKNOWN,
    ),
    Route(
        "POST",
        "/api/v0/hosts/bulk-update-statuses",
        BOTH,
        "Set the status of several hosts",
        Success,
        post_statuses,
        body=StatusesForm,
        not_found=ONE_UNKNOWN,
    ),
    Route(
        "POST",
        "/api/v0/hosts/bulk-retire",
        BOTH,
        "Retire several hosts",
        Success,
        post_retirements,
        body=IdsForm,
        not_found=ONE_UNKNOWN,
    ),
    Route(
        "GET",
        "/api/v0/hosts-by-custom-identifier/{identifier+}",
        Permission.READ,
        "The live host of a custom identifier, which may hold slashes",
        OneHost,
        get_host_by_custom_identifier,
        parameters=EITHER_CASE,
        not_found="No live host has this identifier",
    ),
)
