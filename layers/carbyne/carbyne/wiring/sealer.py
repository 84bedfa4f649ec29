"""The sealer with its real parts."""

import os
import time
from functools import cache

import boto3

from carbyne import settings, telemetry
from carbyne.adapters import aws
from carbyne.adapters.table import DynamoTable, WarmBlocks
from carbyne.adapters.windows import HotWindows
from carbyne.catalogue import Catalogue
from carbyne.sealer import Retention, Sealer
from carbyne.sealing import SealSchedule
from carbyne.wiring.redis import nodes


@cache
def sealer() -> Sealer:
    """Made at the first run of an instance, then kept; RetryableError if Redis is away."""
    telemetry.log_as_json("sealer")
    wanted = settings.load(settings.SealerSettings, os.environ)
    meter = telemetry.Meter(time.monotonic, telemetry.emf("sealer"))
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=5, tries=4))
    table = DynamoTable(dynamodb, wanted.blocks_table)
    return Sealer(
        hot=HotWindows(nodes(wanted, alone=lambda calls: meter.add("WritesWithoutReplica", calls))),
        warm=WarmBlocks(table),
        catalogue=Catalogue(table),
        schedule=SealSchedule(wanted.seal_grace_s, wanted.seal_jitter_s),
        retention=Retention(wanted.hot_s, wanted.warm_raw_s),
        now_ms=lambda: time.time_ns() // 1_000_000,
        meter=meter,
    )
