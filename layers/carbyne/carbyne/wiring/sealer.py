"""The sealer with its real parts."""

import os
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple
from uuid import uuid4

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.control import LanesMark
from carbyne.adapters.dynamodb.table import WarmBlocks
from carbyne.adapters.dynamodb.usage import DynamoUsage
from carbyne.adapters.redis.windows import HotWindows
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.core.items import Blocks, Table
from carbyne.core.limits import COLD_READERS
from carbyne.core.meter import Meter
from carbyne.core.settings import SealerSettings, by_resolution, load
from carbyne.hot.failovers import Failovers
from carbyne.hot.followers import Followers, MastersItem
from carbyne.hot.replay import ReplayRecords, Watch
from carbyne.samples.schedule import SealSchedule
from carbyne.seal.relief import Admission
from carbyne.seal.roller import Roller
from carbyne.seal.sealer import Retention, SealDuties, Sealer, SealStores, SealTimes
from carbyne.store.catalogue import Catalogue
from carbyne.store.tiers import BlockTiers
from carbyne.store.worklist import Worklist
from carbyne.wiring.blocks import blocks_table
from carbyne.wiring.clock import now_ms
from carbyne.wiring.redis import nodes


class SealerPorts(NamedTuple):
    """``hot``: rows in Redis; ``table``: of blocks; ``cold``: the archive; ``admission``: has the writer refuse
    tenants; ``initialised``: whether the lanes were ever whole; ``new_token``: a text that nothing else has;
    ``now_ms``: the clock."""

    hot: HotWindows
    table: Table
    cold: Blocks
    admission: Admission
    initialised: Callable[[], bool]
    new_token: Callable[[], str]
    now_ms: Callable[[], int]
    meter: Meter


def assemble(settings: SealerSettings, ports: SealerPorts) -> Sealer:
    """A sealer out of its ports."""
    warm, catalogue = WarmBlocks(ports.table), Catalogue(ports.table)
    tiers = BlockTiers(warm, ports.cold, catalogue)
    warm_s = by_resolution(settings, "warm")
    failovers = Failovers(ports.table, ports.hot, lambda: ports.now_ms() // 1000)
    watch = Watch(
        ReplayRecords.of(ports.table, settings.seal_grace_s),
        failovers,
        ports.hot,
        ports.initialised,
        ports.new_token,
        ports.now_ms,
    )
    rollups = Roller(warm, tiers, catalogue, warm_s, settings.cold_raw_s, ports.now_ms)
    schedule = SealSchedule(settings.seal_grace_s, settings.seal_jitter_s)
    return Sealer(
        SealStores(ports.hot, warm, ports.cold, catalogue),
        SealDuties(rollups, Worklist(ports.table, ports.new_token), ports.admission, watch),
        SealTimes(schedule, Retention(settings.hot_s, settings.warm_raw_s), ports.now_ms),
        ports.meter,
    )


@cache
def sealer() -> Sealer:
    """Made at the first run of an instance, then kept; RetryableError if Redis is away."""
    telemetry.log_as_json("sealer")
    settings = load(SealerSettings, os.environ)
    meter = Meter(time.monotonic, telemetry.emf("sealer", settings.stack))
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=5, tries=4))
    s3 = boto3.client("s3", config=aws.config(1, 5, tries=3, connections=COLD_READERS))
    table = blocks_table(dynamodb, settings.blocks_table)
    followers = Followers(MastersItem(table), time.time)
    redis = nodes(settings, lambda calls: meter.add("WritesWithoutReplica", calls), followers)
    ports = SealerPorts(
        hot=HotWindows(redis),
        table=table,
        cold=ColdBlocks(s3, settings.blocks_bucket),
        admission=DynamoUsage(dynamodb, settings.accounts_table),
        initialised=LanesMark(dynamodb, settings.accounts_table).is_set,
        new_token=lambda: uuid4().hex,
        now_ms=now_ms,
        meter=meter,
    )
    return assemble(settings, ports)
