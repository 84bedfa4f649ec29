"""The reconciler with its real parts."""

import os
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks, expiring
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.archive.compared import Compared, ComparedInTable, ComparedNow
from carbyne.archive.reconciler import Copying, Reconciler
from carbyne.core.items import Blocks, Table
from carbyne.core.keys import BlockKey
from carbyne.core.limits import COLD_READERS
from carbyne.core.meter import Meter
from carbyne.core.settings import ReconcilerSettings, by_resolution, load
from carbyne.store.catalogue import Catalogue
from carbyne.wiring.clock import now_ms

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client


class ReconcilerPorts(NamedTuple):
    """``expiring``: see ``Reconciler``; ``table``: of blocks; ``cold``: the archive; ``now_ms``: the clock."""

    expiring: Callable[[int, BlockKey | None], Iterable[BlockKey]]
    table: Table
    cold: Blocks
    now_ms: Callable[[], int]
    meter: Meter


def assemble(settings: ReconcilerSettings, ports: ReconcilerPorts, compared: Compared | None = None) -> Reconciler:
    """A reconciler out of its ports.  ``compared``: in the place of what the table remembers."""
    return Reconciler(
        expiring=ports.expiring,
        compared=compared or ComparedInTable(ports.table),
        copying=Copying(WarmBlocks(ports.table), ports.cold, Catalogue(ports.table)),
        kept_s=min(by_resolution(settings, "warm").values()),
        now_ms=ports.now_ms,
        meter=ports.meter,
    )


@cache
def reconciler() -> Reconciler:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("reconciler")
    settings = load(ReconcilerSettings, os.environ)
    config = aws.config(connect_timeout_s=1, read_timeout_s=5, tries=4, connections=COLD_READERS)
    dynamodb, s3 = boto3.client("dynamodb", config=config), boto3.client("s3", config=config)
    return assemble(
        settings,
        ReconcilerPorts(
            expiring=partial(expiring, dynamodb, settings.blocks_table),
            table=DynamoTable(dynamodb, settings.blocks_table),
            cold=ColdBlocks(s3, settings.blocks_bucket),
            now_ms=now_ms,
            meter=Meter(time.monotonic, telemetry.emf("reconciler", settings.stack)),
        ),
    )


def build(dynamodb: "DynamoDBClient", s3: "S3Client", table: str, bucket: str) -> Reconciler:
    """The operator's: it compares everything, whatever was compared before, and notes nothing."""
    settings = ReconcilerSettings("", table, bucket, 0, 0, 0, 0)
    ports = ReconcilerPorts(
        expiring=partial(expiring, dynamodb, table),
        table=DynamoTable(dynamodb, table),
        cold=ColdBlocks(s3, bucket),
        now_ms=now_ms,
        meter=Meter(time.monotonic, lambda _: None),
    )
    return assemble(settings, ports, ComparedNow())
