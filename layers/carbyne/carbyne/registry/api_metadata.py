"""Mackerel's calls on metadata of hosts, services and roles."""

from collections.abc import Iterator
from email.utils import formatdate
from typing import Any, Final

from carbyne.http.answers import DONE, Success
from carbyne.http.forms import json_of
from carbyne.http.message import Response, json_response
from carbyne.http.routes import Call, Route
from carbyne.registry import metadata
from carbyne.registry.answers import Namespace, Namespaces
from carbyne.registry.api_hosts import HOST
from carbyne.registry.api_services import ROLE, SERVICE
from carbyne.registry.metadata import Owner
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, Permission

OWNERS: Final = {"id": "host", "service": "service", "role": "role"}
"""Part of a path -> what it names; metadata hangs on the last one in a path."""


def get_namespaces(registry: Registry, call: Call) -> Namespaces:
    return Namespaces([Namespace(name) for name in metadata.spaces(registry, call.tenant, _owner(call))])


def get_metadata(registry: Registry, call: Call) -> Response:
    document = metadata.get(registry, call.tenant, _owner(call), call.parts["namespace"])
    return json_response(200, document.data, {"Last-Modified": formatdate(document.modified_s, usegmt=True)})


def put_metadata(registry: Registry, call: Call) -> Success:
    metadata.put(registry, call.tenant, _owner(call), call.parts["namespace"], json_of(call))
    return DONE


def delete_metadata(registry: Registry, call: Call) -> Success:
    metadata.delete(registry, call.tenant, _owner(call), call.parts["namespace"])
    return DONE


def _owner(call: Call) -> Owner:
    named = [part for part in OWNERS if part in call.parts]
    return (OWNERS[named[-1]], *(call.parts[part] for part in named))


UNKNOWN: Final = "The host, service, role or namespace is unknown"
MODIFIED: Final = {"Last-Modified": "When the document was put"}


def _routes(owner: str) -> Iterator[Route[Registry]]:
    namespace = f"{owner}/metadata/{{namespace}}"
    yield Route(
        "GET",
        f"{owner}/metadata",
        Permission.READ,
        "Namespaces of metadata",
        Namespaces,
        get_namespaces,
        not_found=UNKNOWN,
    )
    yield Route(
        "GET",
        namespace,
        Permission.READ,
        "A metadata document, as it was put",
        Any,
        get_metadata,
        headers=MODIFIED,
        not_found=UNKNOWN,
    )
    yield Route(
        "PUT",
        namespace,
        BOTH,
        "Put a metadata document: any JSON",
        Success,
        put_metadata,
        body=Any,
        not_found=UNKNOWN,
    )
    yield Route("DELETE", namespace, BOTH, "Forget a metadata document", Success, delete_metadata, not_found=UNKNOWN)


ROUTES: Final = tuple(route for owner in (HOST, SERVICE, ROLE) for route in _routes(owner))
