"""The supervisor with its real parts."""

import os
import time
from functools import cache

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.lambda_ import LambdaReaders
from carbyne.core.limits import PUT_CONNECT_S, PUT_READ_S
from carbyne.core.settings import SupervisorSettings, load
from carbyne.hot.jobs import Jobs
from carbyne.hot.replay import Supervisor


@cache
def supervisor() -> Supervisor:
    """Made at the first run of an instance, then kept."""
    telemetry.log_as_json("supervisor")
    settings = load(SupervisorSettings, os.environ)
    config = aws.config(connect_timeout_s=1, read_timeout_s=5, tries=3)
    table = DynamoTable(boto3.client("dynamodb", config=config), settings.blocks_table)
    return Supervisor(
        jobs=Jobs(table),
        readers=LambdaReaders(boto3.client("lambda", config=config), settings.replayer, settings.stream_arn),
        stream=KinesisStream(
            boto3.client("kinesis", config=aws.config(PUT_CONNECT_S, PUT_READ_S, tries=1)), settings.stream_name
        ),
        now_s=time.time,
    )
