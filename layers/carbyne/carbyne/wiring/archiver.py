"""The archiver with its real parts."""

import os
import time
from functools import cache

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.adapters.s3.quarantine import S3Quarantine
from carbyne.archive.archiver import Archiver
from carbyne.core.meter import Meter
from carbyne.core.settings import ArchiverSettings, load
from carbyne.store.catalogue import Catalogue


@cache
def archiver() -> Archiver:
    """Made at the first batch of an instance, then kept."""
    telemetry.log_as_json("archiver")
    settings = load(ArchiverSettings, os.environ)
    s3 = boto3.client("s3", config=aws.config(connect_timeout_s=1, read_timeout_s=5, tries=4))
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=5, tries=4))
    return Archiver(
        cold=ColdBlocks(s3, settings.blocks_bucket),
        deletes=Catalogue(DynamoTable(dynamodb, settings.blocks_table)),
        quarantine=S3Quarantine(s3, settings.archive_failure_bucket),
        now_ms=lambda: time.time_ns() // 1_000_000,
        meter=Meter(time.monotonic, telemetry.emf("archiver", settings.stack)),
    )
