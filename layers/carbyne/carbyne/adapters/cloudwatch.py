"""Accounts of AWS: the worker assumes a role of the account with the external id of the integration.

Errors of an account are for its owner: they stand in the state of the integration and raise no alarm.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from carbyne.adapters import aws
from carbyne.clouds.aws import Dimensions
from carbyne.clouds.ports import CloudMetric, CloudPoint, CloudRefusedError
from carbyne.core.errors import RetryableError
from carbyne.core.limits import CLOUD_PAGES_MAX
from carbyne.registry.integrations import AwsIntegration

SESSION_S: Final = 3_600
EARLY_S: Final = 300
"""How long before its end a session is not used any more: a run begins no call later than a minute after its start."""
ARNS_A_CALL: Final = 100
REFUSALS: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "InvalidClientTokenId",
        "InvalidParameterException",
        "InvalidParameterValue",
        "OptInRequired",
        "RegionDisabledException",
        "SignatureDoesNotMatch",
        "UnauthorizedException",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
        "ValidationError",
        "ValidationException",
    }
)
"""Codes that say that the role, its policy or the region is wrong."""
_CONFIG: Final = aws.config(connect_timeout_s=2, read_timeout_s=10, tries=2)


class _Assumed(NamedTuple):
    until_s: float
    account: "AwsAccount"


class AssumedRoles:
    """Sessions of roles.  ``sts``: a client with the worker's own credentials; ``now_s``: since 1970."""

    def __init__(self, sts: Any, now_s: Callable[[], float]) -> None:  # noqa: ANN401 - made at run time by boto3
        self._sts = sts
        self._now_s = now_s
        self._assumed: dict[tuple[str, str, str], _Assumed] = {}

    def api(self, settings: AwsIntegration) -> "AwsAccount":
        """The account of an integration.  Errors as of ``Cloud``."""
        key = settings.role_arn, settings.external_id, settings.region
        known = self._assumed.get(key)
        if known is None or known.until_s <= self._now_s():
            self._assumed = {each: kept for each, kept in self._assumed.items() if kept.until_s > self._now_s()}
            known = self._assumed[key] = self._assume(*key)
        return known.account

    def _assume(self, role_arn: str, external_id: str, region: str) -> _Assumed:
        with _told("the role can't be assumed"):
            answer = self._sts.assume_role(
                RoleArn=role_arn, RoleSessionName="carbyne", ExternalId=external_id, DurationSeconds=SESSION_S
            )
        given = answer["Credentials"]
        session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region)
        return _Assumed(self._now_s() + SESSION_S - EARLY_S, AwsAccount(session))


class AwsAccount:
    """An AwsApi over a session of a role; its clients are made at their first use."""

    def __init__(self, session: boto3.Session) -> None:
        self._session = session
        self._clients: dict[str, Any] = {}

    def resources(self, types: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        for page in self._pages("resourcegroupstaggingapi", "get_resources", {"ResourceTypeFilters": list(types)}):
            for row in page["ResourceTagMappingList"]:
                yield row["ResourceARN"], {tag["Key"]: tag["Value"] for tag in row.get("Tags", [])}

    def existing(self, arns: Sequence[str]) -> set[str]:
        existing = set[str]()
        for first in range(0, len(arns), ARNS_A_CALL):
            with _told("tag:GetResources"):
                answer = self._client("resourcegroupstaggingapi").get_resources(
                    ResourceARNList=list(arns[first : first + ARNS_A_CALL])
                )
            existing |= {row["ResourceARN"] for row in answer["ResourceTagMappingList"]}
        return existing

    def metrics(self, namespace: str, *, is_recent: bool) -> Iterator[tuple[str, Dimensions]]:
        asked = {"Namespace": namespace, **({"RecentlyActive": "PT3H"} if is_recent else {})}
        for page in self._pages("cloudwatch", "list_metrics", asked):
            for row in page["Metrics"]:
                yield row["MetricName"], {each["Name"]: each["Value"] for each in row.get("Dimensions", [])}

    def engines(self) -> Mapping[str, str]:
        pages = self._pages("elasticache", "describe_cache_clusters", {})
        return {row["CacheClusterId"]: row["Engine"] for page in pages for row in page["CacheClusters"]}

    def data(self, metrics: Sequence[CloudMetric], from_s: int, to_s: int) -> Iterator[CloudPoint]:
        asked = {
            "MetricDataQueries": [_query(at, metric) for at, metric in enumerate(metrics)],
            "StartTime": datetime.fromtimestamp(from_s, UTC),
            "EndTime": datetime.fromtimestamp(to_s, UTC),
        }
        for page in self._pages("cloudwatch", "get_metric_data", asked):
            for result in page["MetricDataResults"]:
                at = int(result["Id"].removeprefix("m"))
                for time, value in zip(result["Timestamps"], result["Values"], strict=True):
                    yield CloudPoint(at, int(time.timestamp()) * 1000, value)

    def _pages(self, service: str, operation: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """At most CLOUD_PAGES_MAX of them."""
        paginator = self._client(service).get_paginator(operation)
        pages = iter(paginator.paginate(**asked))
        for _ in range(CLOUD_PAGES_MAX):
            with _told(operation):
                page = next(pages, None)
            if page is None:
                return
            yield page
        raise CloudRefusedError(f"{operation} has more than {CLOUD_PAGES_MAX} pages; integrate fewer services")

    def _client(self, service: str) -> Any:  # noqa: ANN401
        if service not in self._clients:
            self._clients[service] = self._session.client(service, config=_CONFIG)  # type: ignore[call-overload]
        return self._clients[service]


def _query(at: int, metric: CloudMetric) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    named = {"Namespace": metric.namespace, "MetricName": metric.metric, "Dimensions": dimensions}
    return {"Id": f"m{at}", "MetricStat": {"Metric": named, "Period": metric.period_s, "Stat": metric.statistic}}


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of AWS become those of ``Cloud``; botocore's messages name actions and ARNs, never keys."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in REFUSALS:
            raise CloudRefusedError(f"{what}: {error.response['Error'].get('Message', error)}") from None
        raise RetryableError(f"{what}: {error}") from error
