"""The evaluator of monitors with its real parts."""

import os
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import NamedTuple

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.registry import DynamoRegistry
from carbyne.adapters.redis.arrivals import HotArrivals
from carbyne.core.errors import InvariantError, OverLimitError, RequestError
from carbyne.core.limits import EVALUATE_READERS
from carbyne.core.meter import Meter
from carbyne.core.settings import EvaluatorSettings, load
from carbyne.evaluate.anomaly import Baselines
from carbyne.evaluate.bugs import noting
from carbyne.evaluate.evaluator import MonitorEvaluator
from carbyne.evaluate.filesystems import Filesystems
from carbyne.evaluate.groups import GroupEvaluator, OverLimit, SeriesOf
from carbyne.evaluate.look import MINUTE_MS, Arriving, ComputedSeries, Eyes, RunQuery
from carbyne.evaluate.minute import MinuteEvaluator
from carbyne.evaluate.recent import ManyReader, Recent, RolledReader
from carbyne.registry.ids import new_host_id
from carbyne.registry.store import Registry, Store
from carbyne.stream.putter import Entry
from carbyne.tenants.accounts import Accounts
from carbyne.wiring import reader
from carbyne.wiring.clock import now_ms
from carbyne.wiring.expressions import rolled_by
from carbyne.wiring.redis import nodes
from carbyne.wiring.rules import no_series, series_by


class EvaluatorPorts(NamedTuple):
    """``store``: the registry's table; ``arriving``: rows in Redis; ``reader`` and ``rolled``: samples and buckets of
    all tiers; ``query``: PromQL over them; ``series``: what rules select of them."""

    store: Store
    arriving: Arriving
    reader: ManyReader
    rolled: RolledReader
    query: RunQuery
    now_ms: Callable[[], int]
    meter: Meter
    over: OverLimit
    monotonic: Callable[[], float] = time.monotonic
    series: SeriesOf = no_series


def assemble(ports: EvaluatorPorts) -> MinuteEvaluator:
    """An evaluator out of its ports.  It puts nothing on the stream."""
    registry = Registry(ports.store, lambda: ports.now_ms() // 1000, partial(new_host_id, secrets.choice), _put_nothing)
    recent = Recent(ports.reader, ports.rolled)
    threads = ThreadPoolExecutor(EVALUATE_READERS)
    note_bug = noting(ports.meter)
    learned = Baselines(recent), Filesystems(recent)
    eyes = Eyes(registry, ports.arriving, recent, threads, ports.query, *learned, note_bug)
    groups = GroupEvaluator(
        ports.store, ports.arriving, ports.series, ports.now_ms, ports.monotonic, note_bug, ports.over
    )
    return MinuteEvaluator(groups, MonitorEvaluator(eyes, ports.now_ms, ports.monotonic), ports.meter)


@cache
def evaluator() -> MinuteEvaluator:
    """Made at the first run of an instance, then kept; RetryableError if Redis is away."""
    telemetry.log_as_json("evaluator")
    settings = load(EvaluatorSettings, os.environ)
    redis = nodes(settings)
    reading = reader.ports_of(settings, redis, "evaluator")
    samples = reader.assemble(settings, reading)
    dynamodb = boto3.client("dynamodb", config=aws.config(1, 3, tries=3, connections=2 * EVALUATE_READERS))
    store = DynamoRegistry(dynamodb, settings.registry_table)
    queries = samples.queries
    series = series_by(queries)
    return assemble(
        EvaluatorPorts(
            *(store, HotArrivals(redis), queries.reader, rolled_by(queries.reader), computed_by(series), now_ms),
            Meter(time.monotonic, telemetry.emf("evaluator", settings.stack)),
            over_by(reading.accounts),
            series=series,
        )
    )


def over_by(accounts: Accounts) -> OverLimit:
    """By the limits that posts have."""

    def over(tenant: str, now_s: int) -> OverLimitError | None:
        try:
            return accounts.standing(tenant).over(now_s)
        except RequestError:  # the tenant is deleted: nothing counts it, and its rules go with it
            return None

    return over


def computed_by(series_of: SeriesOf) -> RunQuery:
    """PromQL, which is imported with the first query of an instance."""

    def run(
        tenant: str, query: str, span_ms: tuple[int, int], timeout_s: float, behind: Collection[int]
    ) -> list[ComputedSeries]:
        from carbyne.read import evaluated  # noqa: PLC0415 - 80 ms that only monitors with queries cost

        series = evaluated.series_over(series_of(tenant, behind), query, (*span_ms, MINUTE_MS), timeout_s)
        return [
            ComputedSeries(dict(each.labels), list(zip(each.ts_ms.tolist(), each.values.tolist(), strict=True)))
            for each in series
        ]

    return run


def _put_nothing(_: Sequence[Entry]) -> None:
    raise InvariantError("BUG: the evaluator puts records on the stream")
