"""The reconciler with its real parts."""

import os
import time
from collections.abc import Callable
from functools import cache, partial

import boto3

from carbyne import settings, telemetry
from carbyne.adapters import aws
from carbyne.adapters.objects import ColdBlocks
from carbyne.adapters.table import expiring
from carbyne.limits import COLD_READERS
from carbyne.reconciler import Reconciler


@cache
def reconciler() -> Reconciler:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("reconciler")
    wanted = settings.load(settings.ReconcilerSettings, os.environ)
    return build(wanted.blocks_table, wanted.blocks_bucket, lambda _: None)


def build(table: str, bucket: str, progress: Callable[[int], None]) -> Reconciler:
    """For the function and for the operations command, which shows its ``progress``."""
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=10, tries=4))
    s3 = boto3.client("s3", config=aws.config(1, 5, tries=4, connections=COLD_READERS))
    return Reconciler(
        expiring=partial(expiring, dynamodb, table),
        cold=ColdBlocks(s3, bucket),
        now_ms=lambda: time.time_ns() // 1_000_000,
        meter=telemetry.Meter(time.monotonic, telemetry.emf("reconciler")),
        progress=progress,
    )
