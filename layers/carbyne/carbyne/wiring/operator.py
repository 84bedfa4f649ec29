"""What the operator's commands work on, with its real parts; their clients come from the command line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import random
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import BotoCoreError

from carbyne.adapters import aws
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.table import DynamoTable, expiring
from carbyne.adapters.dynamodb.tenants import DynamoTenants
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.adapters.s3.redrive import S3Failures
from carbyne.archive.archiver import restore
from carbyne.archive.redrive import Failures
from carbyne.core.items import Table
from carbyne.core.keys import BlockKey
from carbyne.core.limits import COLD_READERS, DAY_S, DIRECTORY_DAYS, REDRIVE_BUDGET_S
from carbyne.core.settings import RedisSettings
from carbyne.store.catalogue import Catalogue
from carbyne.store.directory import Directory
from carbyne.store.reindex import Reindex
from carbyne.stream.putter import Putter, Time
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.admin import Tenancies
from carbyne.wiring.redis import nodes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client


ClientError: Final = BotoCoreError
"""What a client raises before it asks: no credentials, no region, no way to the endpoint."""


def client(service: str) -> Any:  # noqa: ANN401 - boto3's types have no name for any client
    """A client of AWS that waits as a person does."""
    return boto3.client(service, config=aws.config(5, 30, tries=5, connections=COLD_READERS))  # type: ignore[call-overload]


def stack(cloudformation: Any, name: str) -> Any:  # noqa: ANN401 - as the client answers
    """A CloudFormation stack with its outputs and parameters."""
    with aws.retryable("DescribeStacks"):
        [described] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    return described


def tenants(dynamodb: "DynamoDBClient", accounts_table: str) -> Tenancies:
    """Tenants with their limits, and API keys."""
    return DynamoTenants(dynamodb, accounts_table)


@contextmanager
def reindexing(
    dynamodb: "DynamoDBClient", table: str, redis: RedisSettings | None, now_s: Callable[[], int]
) -> Iterator[Reindex]:
    """Makes the directory again; without ``redis`` what no block has yet is left out."""
    stored, cluster = DynamoTable(dynamodb, table), nodes(redis) if redis else None
    directory = Directory(stored, DIRECTORY_DAYS * DAY_S, now_s)
    hot = HotStore(cluster) if cluster else None
    try:
        yield Reindex(directory, Catalogue(stored), partial(expiring, dynamodb, table), hot, now_s)
    finally:
        if cluster:
            cluster.close()


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
