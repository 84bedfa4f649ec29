"""The writer with its real parts."""

import os
import time
from collections.abc import Mapping
from functools import cache
from random import random
from typing import TYPE_CHECKING, Any

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.deletes import MarkerCount
from carbyne.adapters.dynamodb.registered import Registered
from carbyne.adapters.handed import InvokedFunction
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.put_records import PutRecordsClient
from carbyne.adapters.signed import Place, Timeouts
from carbyne.core.limits import PUT_CONNECT_S, PUT_READ_S
from carbyne.core.meter import Meter
from carbyne.core.settings import WriterSettings, load
from carbyne.intake.host_watch import HostWatch
from carbyne.intake.writer import RawWindows, Writer
from carbyne.stream.putter import Time
from carbyne.tenants.accounts import Accounts

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@cache
def writer() -> Writer:
    """Made at the first request of an instance, then kept."""
    telemetry.log_as_json("writer")
    settings = load(WriterSettings, os.environ)
    session = boto3.Session()
    dynamodb = session.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=2, tries=2))
    timeouts = Timeouts(PUT_CONNECT_S, PUT_READ_S)
    kinesis = PutRecordsClient(session.get_credentials(), place_of_kinesis(session, dynamodb), timeouts)
    return Writer(
        # By the clock of the day, which goes on while Lambda has the instance frozen: see STEP_AHEAD_S.
        accounts=Accounts(DynamoAccounts(dynamodb, settings.accounts_table), time.time),
        stream=KinesisStream(kinesis, settings.stream_name),
        deletes=MarkerCount(dynamodb, settings.blocks_table),
        windows=RawWindows(settings.raw_window_s, settings.cold_raw_s),
        meter=Meter(time.monotonic, telemetry.emf("writer", settings.stack)),
        hosts=HostWatch(Registered(dynamodb, settings.registry_table), time.monotonic),
        time=Time(now_ms=lambda: time.time_ns() // 1_000_000, clock=time.monotonic, sleep=time.sleep, random=random),
        ask_reader=ask_reader,
    )


def ask_registry(event: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the registry's function."""
    return _registry()(event)


def ask_reader(event: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the reader's function."""
    return _reader()(event)


@cache
def _registry() -> InvokedFunction:
    """Made when an agent's first call of it comes by the Function URL."""
    return _invoked(load(WriterSettings, os.environ).registry_function)


@cache
def _reader() -> InvokedFunction:
    """Made at the first delete by selectors."""
    return _invoked(load(WriterSettings, os.environ).reader_function)


def _invoked(function: str) -> InvokedFunction:
    config = aws.config(connect_timeout_s=1, read_timeout_s=15, tries=1)
    return InvokedFunction(boto3.client("lambda", config=config), function)


def place_of_kinesis(session: boto3.Session, dynamodb: "DynamoDBClient") -> Place:
    """Kinesis of the same region and partition as DynamoDB, whose name differs by the service alone, so that no second
    client has to be made; where endpoints are FIPS ones or set by hand, boto3's client says."""
    url = dynamodb.meta.endpoint_url
    is_plain = "//dynamodb." in url and not any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ)
    there = url.replace("//dynamodb.", "//kinesis.", 1) if is_plain else session.client("kinesis").meta.endpoint_url
    return Place(there, dynamodb.meta.region_name)
