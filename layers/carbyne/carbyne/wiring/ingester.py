"""Ingester and replayer with their real parts."""

import os
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple
from uuid import uuid4

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.control import LanesMark
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.adapters.dynamodb.usage import DynamoUsage
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.adapters.s3.quarantine import S3Quarantine
from carbyne.core.items import Table
from carbyne.core.limits import DIRECTORY_WRITERS
from carbyne.core.meter import Meter
from carbyne.core.settings import IngesterSettings, load
from carbyne.hot.deletes import Deletes
from carbyne.hot.followers import Followers, MastersItem
from carbyne.hot.ingester import Ingester, RecordQuarantine, RecordSinks
from carbyne.hot.jobs import Jobs
from carbyne.hot.lanes import ensure_initialised
from carbyne.hot.late import LateLog
from carbyne.hot.marks import Ticking
from carbyne.hot.progress import Notes, Progress
from carbyne.hot.replay import Replayer
from carbyne.samples.schedule import RawTimes, SealSchedule
from carbyne.store.catalogue import Catalogue
from carbyne.store.directory import Directory
from carbyne.store.worklist import Worklist
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.usage import Usage
from carbyne.tenants.windows import RawLengths
from carbyne.wiring.blocks import blocks_table
from carbyne.wiring.clock import now_ms
from carbyne.wiring.redis import nodes


class IngesterPorts(NamedTuple):
    """``hot`` and ``windows``: rows in Redis; ``table``: of blocks; ``quarantine``: the failure bucket; ``now_ms``: the
    clock; ``usage``: counts what tenants send, None where the ingester has counted it."""

    hot: HotStore
    windows: HotWindows
    table: Table
    accounts: Accounts
    quarantine: RecordQuarantine
    now_ms: Callable[[], int]
    meter: Meter
    usage: Usage | None = None


def assemble(settings: IngesterSettings, ports: IngesterPorts) -> Ingester:
    """An ingester out of its ports."""
    schedule = SealSchedule(settings.seal_grace_s, settings.seal_jitter_s)
    times = RawTimes(schedule, settings.raw_window_s, settings.cold_raw_s, ports.now_ms)
    lengths = RawLengths(lambda tenant: ports.accounts.standing(tenant).steps, settings.raw_window_s)
    catalogue, worklist = Catalogue(ports.table), Worklist(ports.table, lambda: uuid4().hex)
    return Ingester(
        sinks=RecordSinks(
            hot=ports.hot,
            deletes=Deletes(catalogue, worklist, ports.windows, ports.hot, times, lengths),
            late=LateLog(ports.hot, catalogue, worklist, times),
            facts=Directory(ports.table, settings.cold_raw_s, lambda: ports.now_ms() / 1000),
            quarantine=ports.quarantine,
        ),
        tenant_exists=ports.accounts.tenant_exists,
        epoch=settings.stream_epoch,
        times=times,
        lengths=lengths,
        meter=ports.meter,
        usage=ports.usage,
    )


@cache
def ingester() -> Ticking:
    """Made at the first batch of an instance, then kept; RetryableError if Redis or the table is away."""
    settings, ports = _ports("ingester")
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=2, tries=1))
    store = DynamoUsage(dynamodb, settings.accounts_table)
    usage = Usage(store, time.time, settings.raw_window_s, ports.hot.names_in)
    return Ticking(assemble(settings, ports._replace(usage=usage)), ports.windows)


@cache
def replayer() -> Replayer:
    """The same for the function that takes the stream a second time."""
    settings, ports = _ports("replayer")
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=2, tries=1))
    table = DynamoTable(dynamodb, settings.blocks_table)
    progress = Progress(Notes(table), Jobs(table).running, time.time)
    return Replayer(assemble(settings, ports), ports.windows, ports.meter, progress)


def _ports(function: str) -> tuple[IngesterSettings, IngesterPorts]:
    """The real ones, and the lanes initialised."""
    telemetry.log_as_json(function)
    settings = load(IngesterSettings, os.environ)
    meter = Meter(time.monotonic, telemetry.emf(function, settings.stack))
    dynamodb = boto3.client("dynamodb", config=aws.config(1, 2, tries=3, connections=DIRECTORY_WRITERS))
    s3 = boto3.client("s3", config=aws.config(connect_timeout_s=1, read_timeout_s=5, tries=3))
    table = blocks_table(dynamodb, settings.blocks_table)
    followers = Followers(MastersItem(table), time.time)
    redis = nodes(settings, lambda calls: meter.add("WritesWithoutReplica", calls), followers)
    hot = HotStore(redis)
    ensure_initialised(LanesMark(dynamodb, settings.accounts_table), hot)
    return settings, IngesterPorts(
        hot=hot,
        windows=HotWindows(redis),
        table=table,
        # By the clock of the day, which goes on while Lambda has the instance frozen: see STEP_AHEAD_S.
        accounts=Accounts(DynamoAccounts(dynamodb, settings.accounts_table), time.time),
        quarantine=S3Quarantine(s3, settings.failure_bucket),
        now_ms=now_ms,
        meter=meter,
    )
