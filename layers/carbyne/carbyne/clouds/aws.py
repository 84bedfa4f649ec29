"""AWS: resources by the tagging API, their metrics by CloudWatch's lists, points by GetMetricData."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from carbyne.clouds.ports import CloudCall, CloudMetric, CloudPoint, CloudQuery, CloudResource, Inventory
from carbyne.core.limits import (
    CLOUD_BACK_S,
    CLOUD_DELAY_S,
    CLOUDWATCH_QUERIES_MAX,
    CLOUDWATCH_STATISTICS_MAX,
    DAY_S,
)
from carbyne.registry.cloud_metrics import NamedMetric, rows
from carbyne.registry.integrations import AwsIntegration

Dimensions = Mapping[str, str]
DOLLARS_A_METRIC: Final = 0.01 / 1_000
"""GetMetricData, list price of 2026 in most regions."""
DAILY: Final = "StorageType"
"""Dimension of S3's metrics that come once a day."""
S3_DELAY_S: Final = 900
"""S3's metrics of requests come up to a quarter of an hour late."""


class ResourceType(NamedTuple):
    """``filter``: as the tagging API calls it; ``arn``: what the end of an ARN is, the base dimension in a group."""

    filter: str
    arn: str


TYPES: Final = {
    "EC2": ResourceType("ec2:instance", r"instance/(.+)"),
    "RDS": ResourceType("rds:db", r"db:(.+)"),
    "ALB": ResourceType("elasticloadbalancing:loadbalancer", r"loadbalancer/(app/.+)"),
    "Lambda": ResourceType("lambda:function", r"function:([^:]+)"),
    "SQS": ResourceType("sqs", r"([^:/]+)"),
    "DynamoDB": ResourceType("dynamodb:table", r"table/([^/]+)"),
    "ElastiCache": ResourceType("elasticache:cluster", r"cluster:(.+)"),
    "S3": ResourceType("s3", r"([^:/]+)"),
}


class AwsApi(Protocol):
    """Calls with the credentials of an integration's role, in its region.  Errors as of ``Cloud``."""

    def resources(self, types: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        """ARN and tags of every resource of these types that has tags, or had some."""

    def existing(self, arns: Sequence[str]) -> set[str]:
        """Those of these ARNs that the tagging API knows."""

    def metrics(self, namespace: str, *, is_recent: bool) -> Iterator[tuple[str, Dimensions]]:
        """Every metric of a namespace, of the last three hours or of the last two weeks."""

    def engines(self) -> Mapping[str, str]:
        """Cache cluster -> its engine."""

    def data(self, metrics: Sequence[CloudMetric], from_s: int, to_s: int) -> Iterator[CloudPoint]:
        """All pages of one GetMetricData."""


class AwsCloud:
    """A Cloud."""

    def __init__(self, settings: AwsIntegration, api: AwsApi) -> None:
        self._settings = settings
        self._api = api
        self._services = sorted(name for name, service in settings.services.items() if service.enable)

    def find(self) -> Inventory:
        resources: dict[tuple[str, str], tuple[str, Mapping[str, str]]] = {}
        for arn, tags in self._api.resources([TYPES[name].filter for name in self._services]):
            for service in self._services:
                if name := name_of(service, arn):
                    resources[service, name] = arn, tags
        metrics: dict[tuple[str, str], list[CloudMetric]] = defaultdict(list)
        for service in self._services:
            for name, metric in self._metrics(service, {key[1] for key in resources if key[0] == service}):
                metrics[service, name].append(metric)
        chosen = [
            _resource(service, name, arn, tags, sorted(set(metrics[service, name])))
            for (service, name), (arn, tags) in sorted(resources.items())
        ]
        return Inventory(tuple(node for resource in chosen for node in _nodes(resource)))

    def gone(self, resources: Sequence[str]) -> set[str]:
        """A resource of a node's host is its cluster."""
        arns = {each: each.partition("#")[0] for each in resources}
        existing = self._api.existing(sorted(set(arns.values())))
        return {each for each, arn in arns.items() if arn not in existing}

    def calls(self, resources: Sequence[CloudResource]) -> Iterator[CloudCall]:
        """Points of one span; a resource is not divided, unless it is larger than a call."""
        for of_span in _by_span(resources).values():
            call: list[CloudQuery] = []
            for queries in of_span:
                if call and len(call) + len(queries) > CLOUDWATCH_QUERIES_MAX:
                    yield call
                    call = []
                call = call + queries
                while len(call) > CLOUDWATCH_QUERIES_MAX:
                    yield call[:CLOUDWATCH_QUERIES_MAX]
                    call = call[CLOUDWATCH_QUERIES_MAX:]
            if call:
                yield call

    def dollars(self, metrics: CloudCall) -> float:
        statistics: dict[tuple[object, ...], int] = defaultdict(int)
        for _, metric in metrics:
            statistics[metric.namespace, metric.metric, metric.dimensions] += 1
        return DOLLARS_A_METRIC * sum(-(-count // CLOUDWATCH_STATISTICS_MAX) for count in statistics.values())

    def read(self, metrics: CloudCall, now_s: int) -> Iterator[CloudPoint]:
        first = metrics[0][1]
        to_s = (now_s - first.delay_s) // 60 * 60
        from_s = to_s - CLOUD_BACK_S
        if first.period_s >= DAY_S:
            from_s = to_s // DAY_S * DAY_S - 2 * DAY_S
        yield from self._api.data([metric for _, metric in metrics], from_s, to_s)

    def _metrics(self, service: str, names: Collection[str]) -> Iterator[tuple[str, CloudMetric]]:
        """(name of the resource, metric) of all that CloudWatch lists and Mackerel names."""
        if not names:
            return
        named: dict[tuple[str, tuple[str, ...]], list[NamedMetric]] = defaultdict(list)
        for row in rows():
            if row.service == service:
                named[row.metric, tuple(sorted(row.dimensions))].append(row)
        [namespace] = {row.namespace for row in rows() if row.service == service}
        engines = self._api.engines() if service == "ElastiCache" else {}
        for metric, dimensions in self._api.metrics(namespace, is_recent=service != "S3"):
            for row in named.get((metric, tuple(sorted(dimensions))), ()):
                resource = dimensions[row.dimensions[0]]
                name = _filled(row, dimensions, engines.get(resource, ""))
                if resource in names and name and self._is_asked(row, name):
                    yield resource, _metric(row, name, dimensions)

    def _is_asked(self, row: NamedMetric, name: str) -> bool:
        """Settings name a metric as the file does, or as its engine spells it."""
        service = self._settings.services[row.service]
        spelt = {row.name, name}
        if service.included_metrics:
            return bool(spelt & set(service.included_metrics))
        return not spelt & set(service.excluded_metrics or ())


def name_of(service: str, arn: str) -> str:
    """The base dimension of a resource, empty if the ARN is none of this service."""
    parts = arn.split(":", 5)
    kind = TYPES[service]
    if len(parts) < 6 or parts[2] != kind.filter.partition(":")[0] or (service == "S3" and parts[3]):
        return ""
    match = re.fullmatch(kind.arn, parts[5])
    return match[1] if match else ""


def _resource(
    service: str, name: str, arn: str, tags: Mapping[str, str], metrics: Sequence[CloudMetric]
) -> CloudResource:
    identifier = f"{name}.ec2.amazonaws.com" if service == "EC2" else arn
    label = tags.get("Name", "") if service == "EC2" else ""
    return CloudResource(arn, service, identifier, label or name.removeprefix("app/"), tags, tuple(metrics))


def _nodes(resource: CloudResource) -> Iterator[CloudResource]:
    """A cache cluster is a host for each of its nodes, as at Mackerel; a node of one alone is named as the cluster."""
    nodes: dict[str, list[CloudMetric]] = defaultdict(list)
    if resource.service == "ElastiCache":
        for metric in resource.metrics:
            nodes[dict(metric.dimensions)["CacheNodeId"]].append(metric)
    if len(nodes) <= 1:
        yield resource
        return
    for node, metrics in sorted(nodes.items()):
        place = f"{resource.id}#{node}"
        yield resource._replace(id=place, identifier=place, name=f"{resource.name}/{node}", metrics=tuple(metrics))


def _filled(row: NamedMetric, dimensions: Dimensions, engine: str) -> str:
    """Mackerel's name of a metric with these dimensions, empty if it has none."""
    value = dimensions[row.dimensions[-1]]
    if row.service == "Lambda" and "#" in row.name:
        value = value.partition(":")[2] or "unqualified"
        if ("_per_version." in row.name) != value.isdigit():
            return ""
    if row.service == "ALB" and "#" in row.name:
        value = value.split("/")[1] if value.count("/") == 2 else value
    if row.service == "S3" and (value != "EntireBucket") == ("FilterId" in row.dimensions):
        return ""
    if row.service == "ElastiCache" and not _is_of_engine(row.name.split(".")[1], engine):
        return ""
    return row.name.replace("*", engine).replace("#", re.sub(r"[^-a-zA-Z0-9_]", "_", value))


def _is_of_engine(part: str, engine: str) -> bool:
    """Whether a metric with this part in its name is one of the engine's; those of the machine name no engine."""
    if part == "*":
        return engine in ("redis", "valkey")
    return part not in ("redis", "valkey", "memcached") or part == engine


def _metric(row: NamedMetric, name: str, dimensions: Dimensions) -> CloudMetric:
    delay_s = S3_DELAY_S if row.service == "S3" else CLOUD_DELAY_S
    period_s = DAY_S if DAILY in row.dimensions else 60
    ordered = tuple(sorted(dimensions.items()))
    return CloudMetric(name, row.namespace, row.metric, ordered, row.statistic, period_s, delay_s)


def _by_span(resources: Sequence[CloudResource]) -> dict[tuple[int, int], list[list[CloudQuery]]]:
    """(period, delay) -> the queries of each resource."""
    spans: dict[tuple[int, int], list[list[CloudQuery]]] = defaultdict(list)
    for resource in resources:
        mine: dict[tuple[int, int], list[CloudQuery]] = defaultdict(list)
        for metric in resource.metrics:
            mine[metric.period_s, metric.delay_s].append((resource, metric))
        for span, queries in mine.items():
            spans[span].append(queries)
    return spans
