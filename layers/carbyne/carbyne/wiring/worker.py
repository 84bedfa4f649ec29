"""The worker of checks with its real parts."""

import os
import secrets
import ssl
import time
from functools import cache, partial
from random import random

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.registry import DynamoRegistry
from carbyne.adapters.invoke import InvokedQueue, InvokedQueues
from carbyne.adapters.kinesis import KinesisStream
from carbyne.checks.asking import Asking
from carbyne.checks.scheduler import QUEUE, CheckTaken
from carbyne.checks.targets import Targets, networks, resolve
from carbyne.checks.worker import CheckWorker
from carbyne.core.limits import CHECKS_AT_ONCE, PUT_CONNECT_S, PUT_READ_S
from carbyne.core.settings import WorkerSettings, load
from carbyne.registry.ids import new_host_id
from carbyne.registry.store import Registry
from carbyne.stream.putter import Putter, Time


@cache
def worker() -> CheckWorker:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("worker")
    settings = load(WorkerSettings, os.environ)
    functions = boto3.client("lambda", config=aws.config(connect_timeout_s=1, read_timeout_s=28, tries=2))
    registry = registry_of(settings, CHECKS_AT_ONCE)
    asking = Asking(
        Targets(networks(settings.check_networks), resolve), time.monotonic, cache(ssl.create_default_context)
    )
    return CheckWorker(
        registry, InvokedQueue(InvokedQueues(functions, settings.queue), QUEUE, CheckTaken), asking, time.sleep
    )


def registry_of(settings: WorkerSettings, connections: int) -> Registry:
    """The registry of workers, with its way to the stream; ``connections``: kept open at most."""
    dynamodb = boto3.client("dynamodb", config=aws.config(1, 3, tries=3, connections=connections))
    kinesis = boto3.client("kinesis", config=aws.config(PUT_CONNECT_S, PUT_READ_S, 1, connections=connections))
    putting = Time(now_ms=lambda: time.time_ns() // 1_000_000, clock=time.monotonic, sleep=time.sleep, random=random)
    return Registry(
        store=DynamoRegistry(dynamodb, settings.registry_table),
        now_s=lambda: int(time.time()),
        new_id=partial(new_host_id, secrets.choice),
        put=Putter(KinesisStream(kinesis, settings.stream_name), putting).put,
    )
