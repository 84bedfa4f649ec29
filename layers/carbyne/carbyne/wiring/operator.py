"""What the operator's commands work on, with its real parts; their clients come from the command line."""

import time
from collections.abc import Callable
from functools import partial
from random import random
from typing import TYPE_CHECKING

from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.adapters.s3.redrive import S3Failures
from carbyne.archive.archiver import restore
from carbyne.archive.redrive import Failures
from carbyne.core.items import Table
from carbyne.core.keys import BlockKey
from carbyne.core.limits import REDRIVE_BUDGET_S
from carbyne.store.catalogue import Catalogue
from carbyne.stream.putter import Putter, Time
from carbyne.tenants.accounts import Accounts

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client


def blocks_table(dynamodb: "DynamoDBClient", name: str) -> Table:
    """The table of blocks, which has the jobs of replays and the notes of masters as well."""
    return DynamoTable(dynamodb, name)


def failures(s3: "S3Client", bucket: str) -> Failures:
    """What was set aside in a failure bucket."""
    return S3Failures(s3, bucket)


def putter(kinesis: "KinesisClient", stream: str, now_s: Callable[[], int]) -> Putter:
    """Puts records back into the stream, for as long as a redrive may wait."""
    putting = Time(now_ms=lambda: 1000 * now_s(), clock=time.monotonic, sleep=time.sleep, random=random)
    return Putter(KinesisStream(kinesis, stream), putting, budget_s=REDRIVE_BUDGET_S)


def restoring(s3: "S3Client", bucket: str, table: Table) -> Callable[[BlockKey, bytes], None]:
    """Puts a block into the archive, less what was deleted."""
    return partial(restore, ColdBlocks(s3, bucket), Catalogue(table))


def tenant_exists(dynamodb: "DynamoDBClient", accounts_table: str) -> Callable[[str], bool]:
    """Whether a tenant is known."""
    return Accounts(DynamoAccounts(dynamodb, accounts_table), time.monotonic).tenant_exists
