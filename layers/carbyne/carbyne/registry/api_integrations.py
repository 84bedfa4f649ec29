"""Mackerel's calls on AWS integrations, the same for Azure, and what the last run of each did."""

from typing import Final

import msgspec
from msgspec import UNSET

from carbyne.core.errors import RequestError
from carbyne.http.answers import Answer
from carbyne.http.forms import form
from carbyne.http.routes import Call, Route
from carbyne.registry import integrations
from carbyne.registry.integration_forms import AwsForm, AzureForm, aws, azure
from carbyne.registry.integrations import (
    AwsIntegration,
    AzureIntegration,
    CloudName,
    CloudState,
    Integration,
    SomeIntegration,
    secret_name,
)
from carbyne.registry.store import Registry, SecretStore
from carbyne.tenants.accounts import BOTH, Permission


class AwsAnswer(AwsIntegration, frozen=True, kw_only=True, rename="camel"):
    """As Mackerel answers; ``key``: of a user, which is not taken here."""

    key: None = None


class AwsIntegrations(Answer, frozen=True, rename=None):
    """By name."""

    aws_integrations: list[AwsAnswer]


class AzureIntegrations(Answer, frozen=True):
    """By name."""

    azure_integrations: list[AzureIntegration]


class ExternalId(Answer, frozen=True):
    """A new one."""

    external_id: str


class RunAnswer(CloudState, frozen=True, kw_only=True, rename="camel"):
    """What the last run of an integration did, see CloudState; ``collected_at`` in seconds, 0 before the first."""

    id: str
    name: str
    cloud: CloudName
    collected_at: int
    budget_dollars: float


class RunAnswers(Answer, frozen=True):
    """By cloud and name."""

    integrations: list[RunAnswer]


def get_all_aws(registry: Registry, call: Call) -> AwsIntegrations:
    return AwsIntegrations([_answer(each) for each in integrations.find(registry.store, call.tenant, AwsIntegration)])


def post_aws(registry: Registry, call: Call) -> AwsAnswer:
    made = aws(registry, call.tenant, form(call, AwsForm), None)
    integrations.create(registry, call.tenant, made)
    return _answer(made)


def get_aws(registry: Registry, call: Call) -> AwsAnswer:
    return _answer(_known(registry, call, AwsIntegration))


def put_aws(registry: Registry, call: Call) -> AwsAnswer:
    made = aws(registry, call.tenant, form(call, AwsForm), _known(registry, call, AwsIntegration))
    integrations.replace(registry, call.tenant, made)
    return _answer(made)


def delete_aws(registry: Registry, call: Call) -> AwsAnswer:
    return _answer(integrations.delete(registry, call.tenant, AwsIntegration, call.parts["id"]))


def post_external_id(registry: Registry, call: Call) -> ExternalId:
    return ExternalId(integrations.issue_external_id(registry, call.tenant))


def get_metrics(_: Registry, __: Call) -> dict[str, list[str]]:
    from carbyne.registry import cloud_metrics  # noqa: PLC0415 - a table that no other route needs

    return {service: list(cloud_metrics.names_of(service)) for service in cloud_metrics.AWS}


def get_all_azure(registry: Registry, call: Call) -> AzureIntegrations:
    return AzureIntegrations(integrations.find(registry.store, call.tenant, AzureIntegration))


def post_azure(registry: Registry, call: Call) -> AzureIntegration:
    asked = form(call, AzureForm)
    if asked.client_secret is UNSET:
        raise RequestError(400, "clientSecret: give the secret of the service principal")
    made = azure(registry, asked, None)
    _secrets(registry).put(secret_name(call.tenant, made.id), asked.client_secret)
    integrations.create(registry, call.tenant, made)
    return made


def get_azure(registry: Registry, call: Call) -> AzureIntegration:
    return _known(registry, call, AzureIntegration)


def put_azure(registry: Registry, call: Call) -> AzureIntegration:
    asked = form(call, AzureForm)
    made = azure(registry, asked, _known(registry, call, AzureIntegration))
    if asked.client_secret is not UNSET:
        _secrets(registry).put(secret_name(call.tenant, made.id), asked.client_secret)
    integrations.replace(registry, call.tenant, made)
    return made


def delete_azure(registry: Registry, call: Call) -> AzureIntegration:
    gone = integrations.delete(registry, call.tenant, AzureIntegration, call.parts["id"])
    _secrets(registry).delete(secret_name(call.tenant, gone.id))
    return gone


def get_runs(registry: Registry, call: Call) -> RunAnswers:
    runs = integrations.states(registry.store, call.tenant)
    known: list[Integration] = [
        *integrations.find(registry.store, call.tenant, AwsIntegration),
        *integrations.find(registry.store, call.tenant, AzureIntegration),
    ]
    return RunAnswers([_run(each, runs.get(each.id, CloudState())) for each in known])


def _run(integration: Integration, state: CloudState) -> RunAnswer:
    return RunAnswer(
        **msgspec.structs.asdict(state),
        id=integration.id,
        name=integration.name,
        cloud=integrations.cloud_of(type(integration)),
        collected_at=state.minute * 60,
        budget_dollars=integration.budget_dollars,
    )


def _known(registry: Registry, call: Call, kind: type[SomeIntegration]) -> SomeIntegration:
    return integrations.get(registry.store, call.tenant, kind, call.parts["id"])


def _answer(integration: AwsIntegration) -> AwsAnswer:
    return AwsAnswer(**msgspec.structs.asdict(integration))


def _secrets(registry: Registry) -> SecretStore:
    assert registry.secrets is not None, "BUG: the function of these routes has no store of secrets"
    return registry.secrets


AWS: Final = "/api/v0/aws-integrations"
AZURE: Final = "/carbyne/v1/azure-integrations"
READ: Final = Permission.READ
RUNS: Final = "/carbyne/v1/integrations"
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("GET", AWS, READ, "Integrations of AWS", AwsIntegrations, get_all_aws),
    Route("POST", AWS, BOTH, "Make an integration of AWS", AwsAnswer, post_aws, body=AwsForm),
    Route("GET", f"{AWS}/{{id}}", READ, "An integration of AWS", AwsAnswer, get_aws),
    Route("PUT", f"{AWS}/{{id}}", BOTH, "Replace an integration of AWS", AwsAnswer, put_aws, body=AwsForm),
    Route("DELETE", f"{AWS}/{{id}}", BOTH, "Delete an integration of AWS", AwsAnswer, delete_aws),
    Route("POST", f"{AWS}-external-id", BOTH, "Get an external id", ExternalId, post_external_id),
    Route("GET", f"{AWS}-excludable-metrics", READ, "Metrics of each service", dict[str, list[str]], get_metrics),
    Route("GET", AZURE, READ, "Integrations of Azure", AzureIntegrations, get_all_azure),
    Route("POST", AZURE, BOTH, "Make an integration of Azure", AzureIntegration, post_azure, body=AzureForm),
    Route("GET", f"{AZURE}/{{id}}", READ, "An integration of Azure", AzureIntegration, get_azure),
    Route("PUT", f"{AZURE}/{{id}}", BOTH, "Replace an integration of Azure", AzureIntegration, put_azure, AzureForm),
    Route("DELETE", f"{AZURE}/{{id}}", BOTH, "Delete an integration of Azure", AzureIntegration, delete_azure),
    Route("GET", RUNS, READ, "What the last run of each integration did, and its dollars", RunAnswers, get_runs),
)
