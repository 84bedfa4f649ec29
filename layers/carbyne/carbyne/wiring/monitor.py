"""The monitor with its real parts."""

import os
import secrets
import time
from functools import cache, partial
from random import random

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.accounts import add_tenant
from carbyne.adapters.dynamodb.registry import DynamoRegistry
from carbyne.adapters.kinesis import KinesisStream
from carbyne.core.limits import PUT_CONNECT_S, PUT_READ_S
from carbyne.core.names import OPERATOR
from carbyne.core.settings import MonitorSettings, load
from carbyne.monitor.monitor import Monitor
from carbyne.registry.ids import new_host_id
from carbyne.registry.store import Registry
from carbyne.stream.putter import Putter, Time
from carbyne.wiring.clock import now_ms


@cache
def monitor() -> Monitor:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("monitor")
    settings = load(MonitorSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=3, tries=3))
    kinesis = boto3.client("kinesis", config=aws.config(PUT_CONNECT_S, PUT_READ_S, tries=1))
    putting = Time(now_ms=now_ms, clock=time.monotonic, sleep=time.sleep, random=random)
    registry = Registry(
        store=DynamoRegistry(dynamodb, settings.registry_table),
        now_s=lambda: int(time.time()),
        new_id=partial(new_host_id, secrets.choice),
        put=Putter(KinesisStream(kinesis, settings.stream_name), putting).put,
    )
    return Monitor(registry, lambda: add_tenant(dynamodb, settings.accounts_table, OPERATOR))
