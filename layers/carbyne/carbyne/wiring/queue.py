"""The queues' function with its real parts."""

import os
import secrets
import time
from functools import cache

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.queue import DynamoQueues
from carbyne.adapters.redis.queue import RedisQueues
from carbyne.core.settings import QueueSettings, load
from carbyne.queue.api import QueueDeps
from carbyne.queue.queues import Queues, QueueTime
from carbyne.queue.sweep import Sweep
from carbyne.tenants.accounts import Accounts
from carbyne.wiring.clock import now_ms
from carbyne.wiring.redis import nodes


@cache
def queue() -> QueueDeps:
    """Made at the first request of an instance; RetryableError if Redis is away."""
    telemetry.log_as_json("queue")
    settings = load(QueueSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=3, tries=3))
    order, table = RedisQueues(nodes(settings)), DynamoQueues(dynamodb, settings.queues_table)
    times = QueueTime(now_ms, time.monotonic, time.sleep, lambda digits: secrets.token_hex(digits // 2))
    return QueueDeps(
        Accounts(DynamoAccounts(dynamodb, settings.accounts_table), time.monotonic),
        Queues(order, table, times),
        Sweep(order, table, now_ms, time.monotonic),
    )
