"""The worker of integrations with its real parts."""

import os
import time
from functools import cache, partial

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.cloudwatch import AssumedRoles
from carbyne.adapters.https import fetch
from carbyne.adapters.invoke import InvokedQueue, InvokedQueues
from carbyne.adapters.parameters import SecretParameters
from carbyne.clouds.aws import AwsCloud
from carbyne.clouds.azure import AzureCloud
from carbyne.clouds.collector import Collector
from carbyne.clouds.ports import Cloud, CloudRefusedError, CloudTaken
from carbyne.clouds.scheduler import QUEUE
from carbyne.clouds.worker import CloudWorker
from carbyne.core.limits import CLOUD_AT_ONCE, CLOUD_CALLS_AT_ONCE
from carbyne.core.settings import WorkerSettings, load
from carbyne.registry.integrations import AwsIntegration, AzureIntegration, Integration, secret_name
from carbyne.registry.store import SecretStore
from carbyne.wiring.worker import registry_of


@cache
def worker() -> CloudWorker:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("worker")
    settings = load(WorkerSettings, os.environ)
    functions = boto3.client("lambda", config=aws.config(connect_timeout_s=1, read_timeout_s=28, tries=2))
    short = aws.config(connect_timeout_s=1, read_timeout_s=5, tries=2)
    parameters = SecretParameters(lambda: boto3.client("ssm", config=short), settings.secrets)
    connect = partial(connected, AssumedRoles(boto3.client("sts", config=short), time.time), parameters)
    queue = InvokedQueue(InvokedQueues(functions, settings.queue), QUEUE, CloudTaken)
    return CloudWorker(queue, Collector(registry_of(settings, CLOUD_AT_ONCE * CLOUD_CALLS_AT_ONCE), connect))


def connected(roles: AssumedRoles, parameters: SecretStore, tenant: str, settings: Integration) -> Cloud:
    """The cloud of an integration; errors as of ``Cloud``."""
    if isinstance(settings, AwsIntegration):
        return AwsCloud(settings, roles.api(settings))
    assert isinstance(settings, AzureIntegration), settings
    secret = parameters.get(secret_name(tenant, settings.id))
    if secret is None:
        raise CloudRefusedError("the client secret is not there any more; send it again by PUT")
    return AzureCloud(settings, secret, fetch)
