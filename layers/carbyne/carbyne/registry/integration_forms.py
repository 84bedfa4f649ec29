"""Settings of integrations as they are sent: what can't be kept is refused with the name of its field."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from carbyne.core import names
from carbyne.core.errors import RequestError
from carbyne.registry import integrations, tags
from carbyne.registry.integrations import (
    AwsIntegration,
    AzureIntegration,
    CloudName,
    IntegrationForm,
    ServiceForm,
    SomeIntegration,
    Uuid,
)
from carbyne.registry.store import Registry

SentText = str | UnsetType | None
ClientSecret = Annotated[str, Meta(min_length=1, max_length=256)]
RETIRING: Final = ("EC2", "ElastiCache", "RDS")
"""Services whose hosts can be retired with their resources, as Mackerel documents."""


class AwsForm(IntegrationForm, frozen=True, kw_only=True, rename="camel"):
    """What makes or replaces an integration of AWS; of a replacement, what is not in there stays as it is."""

    region: str
    role_arn: SentText = UNSET
    external_id: SentText = UNSET
    key: SentText = UNSET
    secret_key: SentText = UNSET
    budget_dollars: float | UnsetType = UNSET


class AzureForm(IntegrationForm, frozen=True, kw_only=True, rename="camel"):
    """The same of Azure.  ``client_secret``: written, and never read by any answer."""

    tenant_id: Uuid
    client_id: Uuid
    subscription_id: Uuid
    client_secret: ClientSecret | UnsetType = UNSET
    budget_dollars: float | UnsetType = UNSET


def aws(registry: Registry, tenant: str, asked: AwsForm, before: AwsIntegration | None) -> AwsIntegration:
    """The integration that a form makes; RequestError 400, which names the field, for what can't be kept."""
    if asked.key or asked.secret_key:
        raise RequestError(400, "key: access keys of users are not kept here; give roleArn and externalId")
    given = _given(asked, before, ("role_arn", "external_id"))
    if not given["role_arn"] or not given["external_id"]:
        raise RequestError(400, "roleArn, externalId: give a role that may be assumed, and its external id")
    _check_services(asked.services, "aws")
    made = _converted(AwsIntegration, {**given, "id": before.id if before else registry.new_id()})
    if not integrations.is_issued(registry.store, tenant, made.external_id):
        raise RequestError(400, "externalId: not one of yours; get one by POST /api/v0/aws-integrations-external-id")
    return made


def azure(registry: Registry, asked: AzureForm, before: AzureIntegration | None) -> AzureIntegration:
    _check_services(asked.services, "azure")
    return _converted(AzureIntegration, {**_given(asked, before, ()), "id": before.id if before else registry.new_id()})


def _given(asked: IntegrationForm, before: IntegrationForm | None, kept: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a form, without what it leaves out; ``kept``: what then stays as it was before."""
    tags.parse("includedTags", asked.included_tags)
    tags.parse("excludedTags", asked.excluded_tags)
    given = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not UNSET}
    for name in (*kept, "budget_dollars"):
        if name not in given and before:
            given[name] = getattr(before, name)
    return {**dict.fromkeys(kept), **{name: value for name, value in given.items() if name not in _NOT_KEPT}}


def _converted(kind: type[SomeIntegration], given: Mapping[str, Any]) -> SomeIntegration:
    """With the bounds of its type, which a form's optional fields do not have."""
    encoded = {kind.__struct_encode_fields__[kind.__struct_fields__.index(name)]: given[name] for name in given}
    try:
        return msgspec.json.decode(msgspec.json.encode(encoded), type=kind)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].strip("`")
        raise RequestError(400, f"{field}: {_FIELDS.get(field, error)}") from None


_NOT_KEPT: Final = frozenset({"key", "secret_key", "client_secret"})
_FIELDS: Final = {
    "roleArn": "the ARN of a role, whose name begins with CarbyneIntegration",
    "region": "the name of a region of AWS, such as ap-northeast-1",
}
"""What a field should be, where the decoder knows a pattern alone."""


def _check_services(services: Mapping[str, ServiceForm], cloud: CloudName) -> None:
    """RequestError 400 that names the field: roles, services, and names of metrics."""
    from carbyne.registry import cloud_metrics  # noqa: PLC0415 - as of ``get_metrics``

    known = cloud_metrics.AWS if cloud == "aws" else cloud_metrics.AZURE
    ways = {way for each in services.values() for way in ("included", "excluded") if _listed(each, way)}
    if len(ways) > 1:
        raise RequestError(400, "services: includedMetrics and excludedMetrics exclude each other in one integration")
    for name, service in services.items():
        field = f"services.{name[:64]}"
        if service.enable and name not in known:
            raise RequestError(400, f"{field}: not collected here; these are: {', '.join(known)}")
        if service.retire_automatically and name in known and name not in RETIRING and cloud == "aws":
            raise RequestError(400, f"{field}.retireAutomatically: only of {', '.join(RETIRING)}")
        if service.role is not None:
            _check_role(f"{field}.role", service.role)
        for way in ways if name in known else ():
            if unknown := sorted(set(_listed(service, way)) - set(cloud_metrics.names_of(name))):
                raise RequestError(400, f"{field}.{way}Metrics: {unknown[0][:100]!r} is no metric of {name}")


def _listed(service: ServiceForm, way: str) -> list[str]:
    return getattr(service, f"{way}_metrics") or []


def _check_role(field: str, role: str) -> None:
    try:
        names.role_fullname(role)
    except RequestError as error:
        raise RequestError(400, f"{field}: {error.message}") from None
