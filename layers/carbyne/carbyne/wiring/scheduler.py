"""The scheduler of checks with its real parts."""

import os
import time
from functools import cache

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.registry import DynamoRegistry
from carbyne.adapters.invoke import CalledWorker, InvokedQueue
from carbyne.checks.scheduler import QUEUE, Scheduler
from carbyne.core.names import OPERATOR
from carbyne.core.settings import SchedulerSettings, load


@cache
def scheduler() -> Scheduler:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("scheduler")
    settings = load(SchedulerSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=3, tries=3))
    functions = boto3.client("lambda", config=aws.config(connect_timeout_s=1, read_timeout_s=28, tries=2))
    return Scheduler(
        DynamoRegistry(dynamodb, settings.registry_table),
        InvokedQueue(functions, settings.queue, OPERATOR, QUEUE),
        CalledWorker(functions, settings.worker),
        lambda: int(time.time()),
    )
