"""The reader with its real parts."""

import os
import time
from functools import cache
from typing import NamedTuple

import boto3

from carbyne import settings, telemetry
from carbyne.accounts import Accounts
from carbyne.adapters import aws
from carbyne.adapters.accounts import DynamoAccounts
from carbyne.adapters.hot import HotStore
from carbyne.adapters.table import DynamoTable, WarmBlocks
from carbyne.catalogue import Catalogue
from carbyne.reader import Reader
from carbyne.wiring.redis import nodes


class ReaderDeps(NamedTuple):
    """What ``queries.route`` takes beside the request."""

    accounts: Accounts
    reader: Reader


@cache
def reader() -> ReaderDeps:
    """Made at the first request of an instance, then kept; RetryableError if Redis is away."""
    telemetry.log_as_json("reader")
    wanted = settings.load(settings.ReaderSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=2, tries=2))
    table = DynamoTable(dynamodb, wanted.blocks_table)
    return ReaderDeps(
        accounts=Accounts(DynamoAccounts(dynamodb, wanted.accounts_table), time.monotonic),
        reader=Reader(
            hot=HotStore(nodes(wanted)),
            warm=WarmBlocks(table),
            catalogue=Catalogue(table),
            length_s=wanted.raw_window_s,
            retention_s=wanted.cold_raw_s,
            now_ms=lambda: time.time_ns() // 1_000_000,
        ),
    )
