"""The reconciler with its real parts."""

import os
import time
from functools import cache, partial
from typing import TYPE_CHECKING

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks, expiring
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.archive.reconciler import Reconciler
from carbyne.core import settings
from carbyne.core.limits import COLD_READERS
from carbyne.core.meter import Emit, Meter
from carbyne.store.catalogue import Catalogue

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client


@cache
def reconciler() -> Reconciler:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("reconciler")
    wanted = settings.load(settings.ReconcilerSettings, os.environ)
    settled = aws.config(connect_timeout_s=1, read_timeout_s=5, tries=4, connections=COLD_READERS)
    dynamodb, s3 = boto3.client("dynamodb", config=settled), boto3.client("s3", config=settled)
    emit = telemetry.emf("reconciler", wanted.stack)
    return build(dynamodb, s3, wanted.blocks_table, wanted.blocks_bucket, emit)


def build(dynamodb: "DynamoDBClient", s3: "S3Client", table: str, bucket: str, emit: Emit) -> Reconciler:
    """For the function and for the operator's command."""
    blocks = DynamoTable(dynamodb, table)
    return Reconciler(
        expiring=partial(expiring, dynamodb, table),
        warm=WarmBlocks(blocks),
        cold=ColdBlocks(s3, bucket),
        deletes=Catalogue(blocks),
        now_ms=lambda: time.time_ns() // 1_000_000,
        meter=Meter(time.monotonic, emit),
    )
