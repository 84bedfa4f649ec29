"""The reader with its real parts."""

import os
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.accounts import DynamoAccounts
from carbyne.adapters.dynamodb.registered import Registered
from carbyne.adapters.dynamodb.rule_groups import DynamoRules
from carbyne.adapters.dynamodb.sources import DynamoSources
from carbyne.adapters.dynamodb.table import WarmBlocks
from carbyne.adapters.dynamodb.usage import DynamoUsage
from carbyne.adapters.redis.cache import RedisCache
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.nodes import Nodes
from carbyne.adapters.redis.windows import HotWindows
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.core.items import Blocks, Table
from carbyne.core.keys import SourceKey
from carbyne.core.limits import BATCH_READERS, CACHE_NEAR_BYTES_MAX, COLD_READERS, DAY_S
from carbyne.core.meter import Meter
from carbyne.core.settings import ReaderSettings, by_resolution, load
from carbyne.hot.failovers import Failovers
from carbyne.hot.marks import Marks
from carbyne.hot.served import ServedReads
from carbyne.read.batch import Batch
from carbyne.read.cardinality import Cardinality
from carbyne.read.finder import Finder
from carbyne.read.known import KnownSeries
from carbyne.read.listings import Listings
from carbyne.read.mackerel import Queries, ServerAbout, all_registered, not_counted
from carbyne.read.placement import Storage
from carbyne.read.reader import Reader, ReadTimes
from carbyne.read.registered import ListSources, no_sources
from carbyne.read.rules import ListRules, no_rules
from carbyne.read.views import Views
from carbyne.store.cached import BlockCache, CachedTiers
from carbyne.store.catalogue import Catalogue
from carbyne.store.directory import Directory
from carbyne.store.near import NearCache
from carbyne.store.tiers import BlockTiers
from carbyne.store.worklist import Worklist
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.months import QueryMeter
from carbyne.wiring.blocks import blocks_table
from carbyne.wiring.clock import now_ms
from carbyne.wiring.expressions import drawn_by
from carbyne.wiring.redis import nodes


class ReaderDeps(NamedTuple):
    """What ``api.route`` takes beside the request."""

    accounts: Accounts
    queries: Queries


class ReaderPorts(NamedTuple):
    """``hot`` and ``windows``: rows in Redis; ``table``: of blocks; ``cold``: the archive; ``now_ms``: the clock;
    ``is_registered``: whether the registry knows a source; ``cache``: of what blocks said;
    ``sources``: all that the registry knows; ``rules``: of alerts; ``count_query``: of a tenant."""

    hot: HotStore
    windows: HotWindows
    table: Table
    cold: Blocks
    accounts: Accounts
    now_ms: Callable[[], int]
    cache: BlockCache
    is_registered: Callable[[SourceKey], bool] = all_registered
    sources: ListSources = no_sources
    rules: ListRules = no_rules
    count_query: Callable[[str], None] = not_counted


def assemble(settings: ReaderSettings, ports: ReaderPorts) -> ReaderDeps:
    """A reader out of its ports."""
    warm, catalogue = WarmBlocks(ports.table), Catalogue(ports.table)
    failovers = Failovers(ports.table, ports.windows, lambda: ports.now_ms() // 1000)
    tiers = BlockTiers(warm, ports.cold, catalogue)
    hot = ServedReads(ports.hot, failovers, ports.windows)
    samples = Reader(
        hot=hot,
        tiers=tiers,
        views=Views(
            CachedTiers(tiers, catalogue, ports.cache, settings.raw_window_s),
            catalogue,
            lambda: ports.now_ms() - (settings.cold_raw_s - DAY_S) * 1000,
        ),
        catalogue=catalogue,
        times=ReadTimes(
            settings.raw_window_s, by_resolution(settings, "cold"), Marks(ports.table).sealed_s, ports.now_ms
        ),
    )
    storage = Storage(ports.windows, warm, ports.cold, catalogue)
    directory = Directory(ports.table, settings.cold_raw_s, lambda: ports.now_ms() / 1000)
    late = Worklist(ports.table, lambda: "")  # which is read alone
    known = KnownSeries(hot, late, catalogue, settings.raw_window_s, ports.now_ms, samples.check)
    finder = Finder(directory, known.spans, lambda: ports.now_ms() / 1000)
    queries = Queries(
        samples,
        storage,
        Batch(samples),
        ports.is_registered,
        ports.sources,
        finder.find,
        Listings(finder, ports.sources, directory.metrics),
        Cardinality(finder, ports.sources, ports.hot, known.spans, ports.now_ms).report,
        ports.now_ms,
        ports.rules,
        ServerAbout(settings.raw_window_s, by_resolution(settings, "cold"), ports.now_ms()),
        ports.accounts.standing,
        ports.count_query,
        drawn_by(samples, ports.sources),
    )
    return ReaderDeps(ports.accounts, queries)


@cache
def reader() -> ReaderDeps:
    """Made at the first request of an instance, then kept; RetryableError if Redis is away."""
    telemetry.log_as_json("reader")
    settings = load(ReaderSettings, os.environ)
    dynamodb = boto3.client("dynamodb", config=aws.config(connect_timeout_s=1, read_timeout_s=1, tries=1))
    meter = QueryMeter(DynamoUsage(dynamodb, settings.accounts_table), time.time)
    return assemble(settings, ports_of(settings, nodes(settings), "reader")._replace(count_query=meter.count))


def ports_of(settings: ReaderSettings, redis: Nodes, service: str) -> ReaderPorts:
    """The real ones."""
    dynamodb = boto3.client("dynamodb", config=aws.config(1, 2, tries=2, connections=2 * BATCH_READERS))
    s3 = boto3.client("s3", config=aws.config(1, 5, tries=3, connections=COLD_READERS))
    meter = Meter(time.monotonic, telemetry.emf(service, settings.stack))
    return ReaderPorts(
        hot=HotStore(redis),
        windows=HotWindows(redis),
        table=blocks_table(dynamodb, settings.blocks_table),
        cold=ColdBlocks(s3, settings.blocks_bucket),
        accounts=Accounts(DynamoAccounts(dynamodb, settings.accounts_table), time.monotonic),
        now_ms=now_ms,
        is_registered=Registered(dynamodb, settings.registry_table).has,
        sources=DynamoSources(dynamodb, settings.registry_table).of,
        rules=DynamoRules(dynamodb, settings.registry_table).of,
        cache=NearCache(RedisCache(redis, time.monotonic, meter), meter, CACHE_NEAR_BYTES_MAX),
    )
