"""The reader with its real parts."""

import os
import time
from functools import cache
from typing import NamedTuple

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.core import settings
from carbyne.core.limits import COLD_READERS
from carbyne.read.mackerel import Queries
from carbyne.read.placement import Storage
from carbyne.read.reader import Reader
from carbyne.store.catalogue import Catalogue
from carbyne.store.tiers import BlockTiers
from carbyne.tenants.accounts import Accounts
from carbyne.wiring.redis import nodes


class ReaderDeps(NamedTuple):
    """What ``mackerel.route`` takes beside the request."""

    accounts: Accounts
    queries: Queries


@cache
def reader() -> ReaderDeps:
    """Made at the first request of an instance, then kept; RetryableError if Redis is away."""
    telemetry.log_as_json("reader")
    wanted = settings.load(settings.ReaderSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=2, tries=2))
    s3 = boto3.client("s3", config=aws.config(1, 5, tries=3, connections=COLD_READERS))
    redis, table = nodes(wanted), DynamoTable(dynamodb, wanted.blocks_table)
    warm, cold, catalogue = WarmBlocks(table), ColdBlocks(s3, wanted.blocks_bucket), Catalogue(table)
    return ReaderDeps(
        Accounts(DynamoAccounts(dynamodb, wanted.accounts_table), time.monotonic),
        Queries(
            Reader(
                hot=HotStore(redis),
                tiers=BlockTiers(warm, cold, catalogue),
                catalogue=catalogue,
                length_s=wanted.raw_window_s,
                retention_s=settings.by_resolution(wanted, "cold"),
                now_ms=lambda: time.time_ns() // 1_000_000,
            ),
            Storage(HotWindows(redis), warm, cold, catalogue),
        ),
    )
