"""Integrations: which account of a cloud is read, with whose credentials, and what of it.

Settings of AWS are those of Mackerel's API; those of Azure are ours.  Beside an integration there is an item in one
list of all tenants' integrations, which the scheduler reads.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Meta, UnsetType

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    CLOUD_BUDGET_DOLLARS,
    CLOUD_BUDGET_DOLLARS_MAX,
    CLOUD_INTEGRATIONS_PER_TENANT_MAX,
    CLOUD_METRIC_NAMES_MAX,
    CLOUD_TAGS_CHARACTERS_MAX,
    EXTERNAL_IDS_PER_TENANT_MAX,
    MEMO_CHARACTERS_MAX,
    TITLE_CHARACTERS_MAX,
)
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle

CloudName = Literal["aws", "azure"]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$(?!\n)")]
MetricNames = Annotated[list[str], Meta(max_length=CLOUD_METRIC_NAMES_MAX)]
ROLE_PATTERN: Final = r"^arn:aws[a-z-]*:iam::\d{12}:role/CarbyneIntegration[\w+=,.@-]{0,46}$"
"""The template lets workers assume roles of this name alone, so that no tenant can name another one."""


class ServiceForm(msgspec.Struct, frozen=True, rename="camel"):
    """What is collected of one service.  ``role``: of its hosts, ``<service>:<role>``; of a whole integration either
    ``included_metrics`` or ``excluded_metrics`` are there."""

    enable: bool
    role: str | None = None
    included_metrics: MetricNames | UnsetType | None = UNSET
    excluded_metrics: MetricNames | UnsetType | None = UNSET
    retire_automatically: bool = False


class IntegrationForm(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What every cloud's settings have.  Tags as ``key:value, key:value``, quoted where they have such characters."""

    name: Annotated[str, Meta(min_length=1, max_length=TITLE_CHARACTERS_MAX)]
    memo: Annotated[str, Meta(max_length=MEMO_CHARACTERS_MAX)] = ""
    included_tags: Annotated[str, Meta(max_length=CLOUD_TAGS_CHARACTERS_MAX)] = ""
    excluded_tags: Annotated[str, Meta(max_length=CLOUD_TAGS_CHARACTERS_MAX)] = ""
    services: Annotated[dict[str, ServiceForm], Meta(max_length=64)]


class Integration(IntegrationForm, frozen=True, kw_only=True, rename="camel"):
    """One as it is kept; ``budget_dollars``: what its calls may cost a month."""

    id: str
    budget_dollars: Annotated[float, Meta(ge=0, le=CLOUD_BUDGET_DOLLARS_MAX)] = CLOUD_BUDGET_DOLLARS


class AwsIntegration(Integration, frozen=True, kw_only=True, rename="camel"):
    """One region of an account, read by a role of it."""

    role_arn: Annotated[str, Meta(pattern=ROLE_PATTERN)]
    external_id: str
    region: Annotated[str, Meta(pattern=r"^[a-z]{2}(-[a-z]+)+-\d{1,2}$(?!\n)")]


class AzureIntegration(Integration, frozen=True, kw_only=True, rename="camel"):
    """A subscription, read by a service principal, whose secret is not in here."""

    tenant_id: Uuid
    client_id: Uuid
    subscription_id: Uuid


class CloudJob(msgspec.Struct, frozen=True):
    """One integration to be read; ``minute``: since 1970, 0 in the list of all."""

    tenant: str
    cloud: CloudName
    integration: str
    minute: int = 0


class CloudState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the last run did.  ``minute``: of its job; ``metrics``: read in a run, ``not_called``: not read, for the
    reasons in ``message``; ``dollars_a_month``: projected of what is read; ``spent_dollars``: of ``month``, counted
    before each call."""

    minute: int = 0
    message: str = ""
    hosts: int = 0
    metrics: int = 0
    not_called: int = 0
    dollars_a_month: float = 0.0
    month: str = ""
    spent_dollars: float = 0.0


SomeIntegration = TypeVar("SomeIntegration", bound=Integration)


def find(store: Store, tenant: str, kind: type[SomeIntegration]) -> list[SomeIntegration]:
    """All of a tenant and a cloud, by name."""
    kept = [msgspec.json.decode(item.body, type=kind) for item in store.items(_key(tenant, kind, "").pk)]
    return sorted(kept, key=lambda integration: (integration.name, integration.id))


def get(store: Store, tenant: str, kind: type[SomeIntegration], integration_id: str) -> SomeIntegration:
    """RequestError 404 for an unknown id."""
    return msgspec.json.decode(_item(store, tenant, kind, integration_id).body, type=kind)


def create(registry: Registry, tenant: str, made: Integration) -> None:
    """Keep a new one, checked; RequestError 400 if its name is taken, or for one integration too many."""
    known = find(registry.store, tenant, type(made))
    if len(known) >= CLOUD_INTEGRATIONS_PER_TENANT_MAX:
        raise RequestError(400, f"there are {len(known)} integrations, which is the limit; delete one first")
    _check_name(known, made)
    job = body_of(CloudJob(tenant, cloud_of(type(made)), made.id))
    changes = [
        RegistryChange(_key(tenant, type(made), made.id), body_of(made), 0),
        RegistryChange(_job_key(tenant, type(made), made.id), job, 0),
    ]
    settle(lambda: registry.store.write(*changes) or None)


def replace(registry: Registry, tenant: str, made: Integration) -> None:
    """RequestError 404 for an unknown id, 400 if its name is taken."""
    _check_name(find(registry.store, tenant, type(made)), made)

    def attempt() -> bool | None:
        item = _item(registry.store, tenant, type(made), made.id)
        return registry.store.write(RegistryChange(item.key, body_of(made), item.version)) or None

    settle(attempt)


def delete(registry: Registry, tenant: str, kind: type[SomeIntegration], integration_id: str) -> SomeIntegration:
    """One as it was; its hosts and their samples stay.  RequestError 404 for an unknown id."""

    def attempt() -> RegistryItem | None:
        item = _item(registry.store, tenant, kind, integration_id)
        places = (_job_key(tenant, kind, integration_id), *(_beside(tenant, part, integration_id) for part in _PARTS))
        items = [item, *filter(None, map(registry.store.get, places))]
        changes = [RegistryChange(each.key, None, each.version) for each in items]
        return item if registry.store.write(*changes) else None

    return msgspec.json.decode(settle(attempt).body, type=kind)


def jobs(store: Store) -> Iterator[CloudJob]:
    """Every integration of every tenant."""
    return (msgspec.json.decode(item.body, type=CloudJob) for item in store.scan(keys.CLOUD_ITEM))


def cloud_of(kind: type[Integration]) -> CloudName:
    """The name of the cloud whose settings are of this kind."""
    return "aws" if kind is AwsIntegration else "azure"


def state(store: Store, tenant: str, integration_id: str) -> CloudState:
    """What the last run did; an empty one before the first."""
    item = store.get(_beside(tenant, _STATES, integration_id))
    return msgspec.json.decode(item.body, type=CloudState) if item else CloudState()


def states(store: Store, tenant: str) -> dict[str, CloudState]:
    """Of all integrations that ran, by id."""
    items = store.items(_beside(tenant, _STATES, "").pk)
    return {unquote(item.key.sk): msgspec.json.decode(item.body, type=CloudState) for item in items}


def begin(registry: Registry, tenant: str, job: CloudJob, changed: CloudState) -> bool:
    """Keep the state of a run that begins, unless a run of this minute, or of a later one, has begun."""
    return _keep(registry, tenant, job.integration, changed, lambda before: before.minute < changed.minute)


def end(registry: Registry, tenant: str, job: CloudJob, changed: CloudState) -> bool:
    """Keep the state of a run that ends, unless a later one has begun."""
    return _keep(registry, tenant, job.integration, changed, lambda before: before.minute == changed.minute)


def hosts(store: Store, tenant: str, integration_id: str) -> dict[str, tuple[str, str]]:
    """Resource of the cloud -> its service and its host, of all that an integration met and did not retire."""
    item = store.get(_beside(tenant, _HOSTS, integration_id))
    return msgspec.json.decode(item.body, type=dict[str, tuple[str, str]]) if item else {}


def keep_hosts(registry: Registry, tenant: str, integration_id: str, met: dict[str, tuple[str, str]]) -> None:
    """Write them if they changed."""
    key = _beside(tenant, _HOSTS, integration_id)

    def attempt() -> bool | None:
        item = registry.store.get(key)
        body = body_of(met)
        if item and item.body == body:
            return True
        return registry.store.write(RegistryChange(key, body, item.version if item else 0)) or None

    settle(attempt)


def issue_external_id(registry: Registry, tenant: str) -> str:
    """A new external id; the oldest ones that no integration has are forgotten."""
    issued = registry.new_mark() + registry.new_mark()
    used = {integration.external_id for integration in find(registry.store, tenant, AwsIntegration)}

    def attempt() -> bool | None:
        item = registry.store.get(_external_ids(tenant))
        known = _ids_of(item)
        free = [each for each in known if each not in used][-EXTERNAL_IDS_PER_TENANT_MAX + 1 :]
        body = body_of([*(each for each in known if each in used), *free, issued])
        return registry.store.write(RegistryChange(_external_ids(tenant), body, item.version if item else 0)) or None

    settle(attempt)
    return issued


def is_issued(store: Store, tenant: str, external_id: str) -> bool:
    """Whether the tenant itself got this external id, so that it can use no other tenant's."""
    return external_id in _ids_of(store.get(_external_ids(tenant)))


def secret_name(tenant: str, integration_id: str) -> str:
    """Where the secret of an integration is, below the prefix of the stack: no character of either part is special."""
    return f"{tenant}/{integration_id}"


_STATES: Final = "integration-states"
_HOSTS: Final = "integration-hosts"
_PARTS: Final = (_STATES, _HOSTS)


def _keep(
    registry: Registry, tenant: str, integration_id: str, changed: CloudState, fits: Callable[[CloudState], bool]
) -> bool:
    key = _beside(tenant, _STATES, integration_id)

    def attempt() -> bool | None:
        item = registry.store.get(key)
        before = msgspec.json.decode(item.body, type=CloudState) if item else CloudState()
        if not fits(before):
            return False
        return registry.store.write(RegistryChange(key, body_of(changed), item.version if item else 0)) or None

    return settle(attempt)


def _check_name(known: Sequence[Integration], made: Integration) -> None:
    if any(each.name == made.name and each.id != made.id for each in known):
        raise RequestError(400, f"name: there is an integration {made.name!r}; choose another name")


def _ids_of(item: RegistryItem | None) -> list[str]:
    return msgspec.json.decode(item.body, type=list[str]) if item else []


def _item(store: Store, tenant: str, kind: type[Integration], integration_id: str) -> RegistryItem:
    if item := store.get(_key(tenant, kind, integration_id)):
        return item
    raise RequestError(404, f"integration {integration_id[:100]!r} is unknown")


def _key(tenant: str, kind: type[Integration], integration_id: str) -> Key:
    return Key(keys.registry_partition(tenant, f"{cloud_of(kind)}-integrations"), keys.escape(integration_id))


def _job_key(tenant: str, kind: type[Integration], integration_id: str) -> Key:
    return Key(keys.CLOUD_ITEM, f"{keys.escape(tenant)}:{cloud_of(kind)}:{keys.escape(integration_id)}")


def _beside(tenant: str, part: str, integration_id: str) -> Key:
    return Key(keys.registry_partition(tenant, part), keys.escape(integration_id))


def _external_ids(tenant: str) -> Key:
    return Key(keys.registry_partition(tenant, "external-ids"), "issued")
