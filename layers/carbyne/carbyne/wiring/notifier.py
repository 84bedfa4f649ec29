"""The notifier with its real parts."""

import os
import ssl
import time
from functools import cache, partial
from random import random
from secrets import token_bytes

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.deliveries import InvokedDeliveries
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.registry import DynamoRegistry
from carbyne.adapters.invoke import InvokedQueues
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.mail import SesMail
from carbyne.checks.asking import Asking
from carbyne.checks.posting import Posting
from carbyne.checks.targets import Targets, networks, resolve
from carbyne.core.keys import PICTURE_SECRET_ITEM
from carbyne.core.limits import PUT_CONNECT_S, PUT_READ_S, SENT_AT_ONCE
from carbyne.core.settings import NotifierSettings, load
from carbyne.notify.links import Links
from carbyne.notify.notifier import Notifier, Ways
from carbyne.stream.putter import Putter, Time


@cache
def notifier() -> Notifier:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("notifier")
    settings = load(NotifierSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(1, 3, tries=3, connections=SENT_AT_ONCE))
    functions = boto3.client("lambda", config=aws.config(1, 28, tries=2, connections=SENT_AT_ONCE))
    mails = boto3.client("ses", config=aws.config(1, 10, tries=2, connections=SENT_AT_ONCE))
    kinesis = boto3.client("kinesis", config=aws.config(PUT_CONNECT_S, PUT_READ_S, tries=1))
    putting = Time(now_ms=lambda: time.time_ns() // 1_000_000, clock=time.monotonic, sleep=time.sleep, random=random)
    accounts = DynamoAccounts(dynamodb, settings.accounts_table)
    targets = Targets(networks(settings.check_networks), resolve)
    asking = Asking(targets, time.monotonic, cache(ssl.create_default_context))
    return Notifier(
        DynamoRegistry(dynamodb, settings.registry_table),
        InvokedDeliveries(InvokedQueues(functions, settings.queue)),
        Ways(Posting(asking), SesMail(mails, settings.mail_from)),
        lambda: int(time.time()),
        Putter(KinesisStream(kinesis, settings.stream_name), putting).put,
        Links(settings.url, cache(partial(accounts.made_secret, PICTURE_SECRET_ITEM, partial(token_bytes, 32)))),
        time.monotonic,
    )
