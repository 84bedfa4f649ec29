"""The page's function with its real parts."""

import os
import secrets
import time
from functools import cache, partial

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.adapters.redis.sessions import RedisSessions
from carbyne.adapters.redis.system import RedisSystem
from carbyne.core.keys import TOKEN_SECRET_ITEM
from carbyne.core.settings import PageSettings, load
from carbyne.hot.jobs import Jobs
from carbyne.page.api import PageDeps, PageParts
from carbyne.page.sessions import Sessions
from carbyne.page.system import System
from carbyne.tenants.accounts import Accounts
from carbyne.wiring.clock import now_ms
from carbyne.wiring.redis import nodes


def _now_s() -> int:
    return int(time.time())


@cache
def page() -> PageDeps:
    """Made at the first request of an instance that is not for a file; RetryableError if Redis is away."""
    telemetry.log_as_json("page")
    settings = load(PageSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=2, tries=2))
    redis, store = nodes(settings), DynamoAccounts(dynamodb, settings.accounts_table)
    jobs, accounts = Jobs(DynamoTable(dynamodb, settings.blocks_table)), Accounts(store, time.monotonic)
    sessions = Sessions(
        RedisSessions(redis, _now_s),
        store,
        cache(lambda: store.made_secret(TOKEN_SECRET_ITEM, partial(secrets.token_bytes, 32))),
        _now_s,
        lambda: secrets.token_urlsafe(32),
    )
    system = System(RedisSystem(redis), lambda: jobs.load()[0], now_ms)
    return PageDeps(accounts, PageParts(accounts, sessions, system))
