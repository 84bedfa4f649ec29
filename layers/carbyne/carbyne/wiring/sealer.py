"""The sealer with its real parts."""

import os
import time
from functools import cache
from uuid import uuid4

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.control import LanesMark
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks
from carbyne.adapters.redis.windows import HotWindows
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.core import settings
from carbyne.core.limits import COLD_READERS
from carbyne.core.meter import Meter
from carbyne.hot.failovers import Failovers
from carbyne.hot.replay import Jobs, Watch
from carbyne.samples.schedule import SealSchedule
from carbyne.seal.roller import Roller
from carbyne.seal.sealer import Retention, Sealer
from carbyne.store.catalogue import Catalogue
from carbyne.store.tiers import BlockTiers
from carbyne.wiring.redis import nodes


@cache
def sealer() -> Sealer:
    """Made at the first run of an instance, then kept; RetryableError if Redis is away."""
    telemetry.log_as_json("sealer")
    wanted = settings.load(settings.SealerSettings, os.environ)
    meter = Meter(time.monotonic, telemetry.emf("sealer", wanted.stack))
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=5, tries=4))
    s3 = boto3.client("s3", config=aws.config(1, 5, tries=3, connections=COLD_READERS))
    table = DynamoTable(dynamodb, wanted.blocks_table)
    warm, catalogue = WarmBlocks(table), Catalogue(table)
    cold = ColdBlocks(s3, wanted.blocks_bucket)
    tiers = BlockTiers(warm, cold, catalogue)
    hot = HotWindows(nodes(wanted, alone=lambda calls: meter.add("WritesWithoutReplica", calls)))
    initialised = LanesMark(dynamodb, wanted.accounts_table).is_set
    return Sealer(
        hot=hot,
        warm=warm,
        cold=cold,
        catalogue=catalogue,
        rollups=Roller(warm, tiers, catalogue, settings.by_resolution(wanted, "warm"), wanted.cold_raw_s, _now_ms),
        replays=Watch(Jobs(table), Failovers(table, hot), hot, initialised, lambda: uuid4().hex, _now_ms),
        schedule=SealSchedule(wanted.seal_grace_s, wanted.seal_jitter_s),
        retention=Retention(wanted.hot_s, wanted.warm_raw_s),
        now_ms=_now_ms,
        meter=meter,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
