"""The schedulers of checks and of integrations with their real parts."""

import os
import time
from functools import cache
from typing import NamedTuple

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.registry import DynamoRegistry
from carbyne.adapters.invoke import CalledWorker, InvokedQueue, InvokedQueues
from carbyne.checks import scheduler as checks
from carbyne.checks.scheduler import CheckJob, CheckTaken, check_scheduler
from carbyne.clouds import scheduler as clouds
from carbyne.clouds.ports import CloudTaken
from carbyne.clouds.scheduler import cloud_scheduler
from carbyne.core.minutely import MinuteScheduler
from carbyne.core.settings import SchedulerSettings, load
from carbyne.registry.integrations import CloudJob


class SchedulerDeps(NamedTuple):
    """What the function runs each minute."""

    checks: MinuteScheduler[CheckJob]
    clouds: MinuteScheduler[CloudJob]


@cache
def scheduler() -> SchedulerDeps:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("scheduler")
    settings = load(SchedulerSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=3, tries=3))
    functions = boto3.client("lambda", config=aws.config(connect_timeout_s=1, read_timeout_s=28, tries=2))
    queues = InvokedQueues(functions, settings.queue)
    store = DynamoRegistry(dynamodb, settings.registry_table)
    return SchedulerDeps(
        check_scheduler(
            store,
            InvokedQueue(queues, checks.QUEUE, CheckTaken),
            CalledWorker(functions, settings.worker),
            lambda: int(time.time()),
        ),
        cloud_scheduler(
            store,
            InvokedQueue(queues, clouds.QUEUE, CloudTaken),
            CalledWorker(functions, settings.worker, b'{"clouds": true}'),
            lambda: int(time.time()),
        ),
    )
