"""The registry with its real parts."""

import os
import secrets
import time
from functools import cache, partial
from random import random
from typing import NamedTuple

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.registry import DynamoRegistry
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.parameters import SecretParameters
from carbyne.core.keys import PICTURE_SECRET_ITEM
from carbyne.core.limits import PUT_CONNECT_S, PUT_READ_S
from carbyne.core.settings import RegistrySettings, load
from carbyne.core.signing import once_known
from carbyne.registry.ids import new_host_id
from carbyne.registry.store import Registry
from carbyne.stream.putter import Putter, Time
from carbyne.tenants.accounts import Accounts


class RegistryDeps(NamedTuple):
    """What the function's routes take."""

    accounts: Accounts
    registry: Registry


@cache
def registry() -> RegistryDeps:
    """Made at the first request of an instance, then kept."""
    telemetry.log_as_json("registry")
    settings = load(RegistrySettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=3, tries=3))
    kinesis = boto3.client("kinesis", config=aws.config(PUT_CONNECT_S, PUT_READ_S, tries=1))
    short = aws.config(connect_timeout_s=1, read_timeout_s=5, tries=2)
    putting = Time(now_ms=lambda: time.time_ns() // 1_000_000, clock=time.monotonic, sleep=time.sleep, random=random)
    store = DynamoAccounts(dynamodb, settings.accounts_table)
    return RegistryDeps(
        accounts=Accounts(store, time.monotonic),
        registry=Registry(
            store=DynamoRegistry(dynamodb, settings.registry_table),
            now_s=lambda: int(time.time()),
            new_id=partial(new_host_id, secrets.choice),
            put=Putter(KinesisStream(kinesis, settings.stream_name), putting).put,
            secrets=SecretParameters(lambda: boto3.client("ssm", config=short), settings.secrets),
            picture_secret=once_known(partial(store.secret, PICTURE_SECRET_ITEM)),
        ),
    )
