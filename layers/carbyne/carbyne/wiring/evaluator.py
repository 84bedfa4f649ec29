"""The evaluator of monitors with its real parts."""

import os
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import NamedTuple

import boto3

from carbyne.adapters import aws, telemetry
from carbyne.adapters.dynamodb.registry import DynamoRegistry
from carbyne.adapters.redis.arrivals import HotArrivals
from carbyne.core.errors import InvariantError
from carbyne.core.limits import EVALUATE_READERS
from carbyne.core.settings import EvaluatorSettings, load
from carbyne.evaluate.evaluator import MonitorEvaluator
from carbyne.evaluate.look import Arriving, Eyes
from carbyne.evaluate.recent import ManyReader, Recent
from carbyne.registry.ids import new_host_id
from carbyne.registry.store import Registry, Store
from carbyne.stream.putter import Entry
from carbyne.wiring import reader
from carbyne.wiring.clock import now_ms
from carbyne.wiring.redis import nodes


class EvaluatorPorts(NamedTuple):
    """``store``: the registry's table; ``arriving``: rows in Redis; ``reader``: samples of all tiers."""

    store: Store
    arriving: Arriving
    reader: ManyReader
    now_ms: Callable[[], int]
    monotonic: Callable[[], float] = time.monotonic


def assemble(ports: EvaluatorPorts) -> MonitorEvaluator:
    """An evaluator out of its ports.  It puts nothing on the stream."""
    registry = Registry(ports.store, lambda: ports.now_ms() // 1000, partial(new_host_id, secrets.choice), _put_nothing)
    eyes = Eyes(registry, ports.arriving, Recent(ports.reader), ThreadPoolExecutor(EVALUATE_READERS))
    return MonitorEvaluator(eyes, ports.now_ms, ports.monotonic)


@cache
def evaluator() -> MonitorEvaluator:
    """Made at the first run of an instance, then kept; RetryableError if Redis is away."""
    telemetry.log_as_json("evaluator")
    settings = load(EvaluatorSettings, os.environ)
    redis = nodes(settings)
    samples = reader.assemble(settings, reader.ports_of(settings, redis, "evaluator"))
    dynamodb = boto3.client("dynamodb", config=aws.config(1, 3, tries=3, connections=2 * EVALUATE_READERS))
    store = DynamoRegistry(dynamodb, settings.registry_table)
    return assemble(EvaluatorPorts(store, HotArrivals(redis), samples.queries.reader, now_ms))


def _put_nothing(_: Sequence[Entry]) -> None:
    raise InvariantError("BUG: the evaluator puts records on the stream")
