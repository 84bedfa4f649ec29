"""Ingester and replayer with their real parts."""

import os
import time
from functools import cache

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.control import LanesMark
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.adapters.dynamodb.usage import DynamoUsage
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.adapters.s3.quarantine import S3Quarantine
from carbyne.core import settings
from carbyne.core.meter import Meter
from carbyne.hot.deletes import Deletes
from carbyne.hot.ingester import Ingester
from carbyne.hot.lanes import ensure_initialised
from carbyne.hot.progress import Notes, Progress
from carbyne.hot.replay import Jobs, Replayer
from carbyne.samples.schedule import SealSchedule
from carbyne.store.catalogue import Catalogue
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.usage import Usage
from carbyne.wiring.redis import nodes


@cache
def ingester() -> Ingester:
    """Made at the first batch of an instance, then kept; RetryableError if Redis or the table is away."""
    return _parts("ingester")[0]


@cache
def replayer() -> Replayer:
    """The same for the function that takes the stream a second time."""
    wanted = settings.load(settings.IngesterSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=2, tries=1))
    table = DynamoTable(dynamodb, wanted.blocks_table)
    return Replayer(*_parts("replayer"), Progress(Notes(table), Jobs(table).running, time.time))


def _parts(function: str) -> tuple[Ingester, HotWindows, Meter]:
    telemetry.log_as_json(function)
    wanted = settings.load(settings.IngesterSettings, os.environ)
    meter = Meter(time.monotonic, telemetry.emf(function, wanted.stack))
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=2, tries=3))
    s3 = boto3.client("s3", config=aws.config(connect_timeout_s=1, read_timeout_s=5, tries=3))
    redis = nodes(wanted, alone=lambda calls: meter.add("WritesWithoutReplica", calls))
    hot, windows = HotStore(redis), HotWindows(redis)
    schedule = SealSchedule(wanted.seal_grace_s, wanted.seal_jitter_s)
    noted = Catalogue(DynamoTable(dynamodb, wanted.blocks_table))
    ensure_initialised(LanesMark(dynamodb, wanted.accounts_table), hot)
    ingester = Ingester(
        hot=hot,
        deletes=Deletes(noted, windows, hot, schedule, wanted.raw_window_s, wanted.cold_raw_s, _now_ms),
        quarantine=S3Quarantine(s3, wanted.failure_bucket),
        tenant_exists=Accounts(DynamoAccounts(dynamodb, wanted.accounts_table), time.monotonic).tenant_exists,
        schedule=schedule,
        epoch=wanted.stream_epoch,
        length_s=wanted.raw_window_s,
        retention_s=wanted.cold_raw_s,
        now_ms=_now_ms,
        meter=meter,
        usage=Usage(DynamoUsage(dynamodb, wanted.accounts_table), time.time) if function == "ingester" else None,
    )
    return ingester, windows, meter


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
