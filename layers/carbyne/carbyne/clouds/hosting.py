"""A host for each resource of a cloud: that of the agent on it if there is one, else a new one."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from carbyne.clouds.ports import Cloud, CloudResource, Inventory
from carbyne.core import names
from carbyne.core.errors import RequestError
from carbyne.core.limits import CLOUD_RESOURCES_MAX, HOST_NAME_CHARACTERS_MAX
from carbyne.registry import hosts, integrations, tags
from carbyne.registry.hosts import HostForm
from carbyne.registry.integrations import Integration
from carbyne.registry.store import Registry

_log = logging.getLogger(__name__)
KEPT_MAX: Final = CLOUD_RESOURCES_MAX + 200
"""Resources whose hosts are remembered, those that are not chosen any more among them."""


class Hosting:
    """Hosts in our registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def hosts(
        self,
        tenant: str,
        settings: Integration,
        cloud: Cloud,
        inventory: Inventory,
        chosen: Sequence[CloudResource],
        *,
        is_new: bool,
    ) -> dict[str, str]:
        """Resource -> host id.  If the list is new, hosts are registered and those of deleted resources retired."""
        met = integrations.hosts(self._registry.store, tenant, settings.id)
        if not is_new and all(resource.id in met for resource in chosen):
            return {resource: host for resource, (_, host) in met.items()}
        fresh = {each.id: (each.service, self._host(tenant, settings, each)) for each in chosen}
        there = {each.id for each in inventory.resources}
        rest = {resource: known for resource, known in met.items() if resource not in fresh}
        deleted = cloud.gone([resource for resource in rest if resource not in there]) if rest else set()
        for resource in sorted(deleted):
            self._retire(tenant, settings, *rest.pop(resource))
        kept = {**dict(list(rest.items())[: KEPT_MAX - len(fresh)]), **fresh}
        integrations.keep_hosts(self._registry, tenant, settings.id, dict(sorted(kept.items())))
        return {resource: host for resource, (_, host) in kept.items() if host}

    def _host(self, tenant: str, settings: Integration, resource: CloudResource) -> str:
        """The id of its host, empty if the registry refuses it."""
        roles = _roles(settings, resource)
        try:
            host = hosts.by_custom_identifier(self._registry.store, tenant, resource.identifier, either_case=False)
        except RequestError:
            return self._registered(tenant, resource, roles)
        if any(role not in host.roles.get(service, []) for service, role in map(names.role_fullname, roles)):
            hosts.update(self._registry, tenant, host.id, HostForm(host.name or host.id, role_fullnames=roles))
        return host.id

    def _registered(self, tenant: str, resource: CloudResource, roles: list[str]) -> str:
        meta = {"cloud": Raw(msgspec.json.encode(_cloud_meta(resource)))}
        name = (resource.name or resource.id)[:HOST_NAME_CHARACTERS_MAX]
        form = HostForm(name, meta=meta, custom_identifier=resource.identifier, role_fullnames=roles)
        try:
            return hosts.register(self._registry, tenant, form)
        except RequestError as error:
            _log.warning("a resource of %s can't be a host: %s", tenant, error)
            return ""

    def _retire(self, tenant: str, settings: Integration, service: str, host: str) -> None:
        chosen = settings.services.get(service)
        if host and chosen and chosen.enable and chosen.retire_automatically:
            try:
                hosts.retire(self._registry, tenant, host)
            except RequestError:  # someone removed it
                return


def _roles(settings: Integration, resource: CloudResource) -> list[str]:
    """Those of its tag, else of its service, as Mackerel does; what is no name of a role is left out."""
    by_service = settings.services[resource.service].role
    given = list(tags.roles(resource.tags)) or ([by_service] if by_service else [])
    return [name for name in given if _is_role(name)]


def _is_role(name: str) -> bool:
    try:
        return bool(names.role_fullname(name))
    except RequestError:
        return False


def _cloud_meta(resource: CloudResource) -> Mapping[str, object]:
    return {"provider": resource.service.lower(), "metadata": {"id": resource.id}}
