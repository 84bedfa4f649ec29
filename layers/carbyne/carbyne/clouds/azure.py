"""Azure: virtual machines and SQL databases by Azure Resource Manager, their points by Azure Monitor's metrics.

Requests are in the form of Microsoft's documentation: OAuth 2.0 client credentials, Virtual Machines - List All,
Resources - List, Metric Definitions - List, Metrics - List.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from operator import attrgetter
from threading import Lock
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from carbyne.clouds.ports import CloudCall, CloudMetric, CloudPoint, CloudRefusedError, CloudResource, Inventory
from carbyne.core.errors import RetryableError
from carbyne.core.limits import (
    AZURE_METRICS_PER_CALL_MAX,
    CLOUD_BACK_S,
    CLOUD_CALLS_AT_ONCE,
    CLOUD_DELAY_S,
    CLOUD_PAGES_MAX,
    CLOUD_RESOURCES_MAX,
)
from carbyne.registry import tags
from carbyne.registry.cloud_metrics import NamedMetric, rows
from carbyne.registry.integrations import AzureIntegration

Places = Mapping[tuple[str, str], int]
"""(metric, statistic in lower case) -> place in the list of what was read."""
LOGIN: Final = "https://login.microsoftonline.com"
MANAGEMENT: Final = "https://management.azure.com"
MACHINES: Final = "2024-07-01"
RESOURCES: Final = "2021-04-01"
METRICS: Final = "2023-10-01"
"""Versions of the APIs."""
DOLLARS_A_CALL: Final = 0.01 / 1_000
"""Azure Monitor, list price of 2026 behind the first million calls of a month, which are free."""


class HttpCall(NamedTuple):
    """A request; ``body``: None of a GET."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


class HttpAnswer(NamedTuple):
    """``status`` and whole body."""

    status: int
    body: bytes


class AzureCloud:
    """A Cloud.  ``fetch``: makes a call over HTTPS, RetryableError if there is no answer; ``secret``: of the service
    principal."""

    def __init__(self, settings: AzureIntegration, secret: str, fetch: Callable[[HttpCall], HttpAnswer]) -> None:
        self._settings = settings
        self._secret = secret
        self._fetch = fetch
        self._token = ""
        self._logging_in = Lock()

    def find(self) -> Inventory:
        services = self._settings.services
        resources: list[CloudResource] = []
        if "VirtualMachine" in services and services["VirtualMachine"].enable:
            resources += map(self._machine, self._list("/providers/Microsoft.Compute/virtualMachines", MACHINES))
        if "SQLDatabase" in services and services["SQLDatabase"].enable:
            filtered = "$filter=resourceType eq 'Microsoft.Sql/servers/databases'"
            listed = self._list("/resources", RESOURCES, filtered)
            resources += (_database(row) for row in listed if _text(row, "name").rpartition("/")[2] != "master")
        included = tags.parse("includedTags", self._settings.included_tags)
        excluded = tags.parse("excludedTags", self._settings.excluded_tags)
        chosen = sorted((each for each in resources if tags.is_chosen(each.tags, included, excluded)), key=_id_of)
        notes = [f"{len(chosen)} resources are more than {CLOUD_RESOURCES_MAX}; choose fewer by tags"]
        with ThreadPoolExecutor(CLOUD_CALLS_AT_ONCE) as threads:
            known = tuple(threads.map(self._with_metrics, chosen[:CLOUD_RESOURCES_MAX]))
        return Inventory(known, tuple(notes) if len(chosen) > CLOUD_RESOURCES_MAX else ())

    def gone(self, resources: Sequence[str]) -> set[str]:
        """Lists have no deleted ones, and Mackerel retires none of Azure by itself."""
        return set()

    def calls(self, resources: Sequence[CloudResource]) -> Iterator[CloudCall]:
        for resource in resources:
            queries = [(resource, metric) for metric in resource.metrics]
            for first in range(0, len(queries), AZURE_METRICS_PER_CALL_MAX):
                yield queries[first : first + AZURE_METRICS_PER_CALL_MAX]

    def dollars(self, metrics: CloudCall) -> float:
        return DOLLARS_A_CALL

    def read(self, metrics: CloudCall, now_s: int) -> Iterator[CloudPoint]:
        to_s = (now_s - CLOUD_DELAY_S) // 60 * 60
        statistics = sorted({metric.statistic for _, metric in metrics})
        query = (
            f"timespan={_time(to_s - CLOUD_BACK_S)}/{_time(to_s)}&interval=PT1M"
            f"&metricnames={','.join(dict.fromkeys(metric.metric for _, metric in metrics))}"
            f"&aggregation={','.join(statistics)}&api-version={METRICS}"
        )
        answer = self._get(f"{MANAGEMENT}{metrics[0][0].id}/providers/Microsoft.Insights/metrics", query)
        places = {(metric.metric, metric.statistic.lower()): at for at, (_, metric) in enumerate(metrics)}
        for value in _rows(answer, "value"):
            name = str(value.get("name", {}).get("value"))
            for series in value.get("timeseries", []):
                yield from _points(series.get("data", []), name, places)

    def _machine(self, row: Mapping[str, Any]) -> CloudResource:
        """With the identifier of an agent on it."""
        vm_id = str(row.get("properties", {}).get("vmId", ""))
        identifier = f"{vm_id}.virtual_machine.azure.microsoft.com" if vm_id else _text(row, "id")
        return CloudResource(_id(row), "VirtualMachine", identifier, _text(row, "name"), _tags(row), ())

    def _with_metrics(self, resource: CloudResource) -> CloudResource:
        """With those that Azure has of it: the tiers of databases differ, and one unknown name fails a whole call."""
        url = f"{MANAGEMENT}{resource.id}/providers/Microsoft.Insights/metricDefinitions"
        answer = self._get(url, f"api-version={METRICS}")
        defined = {str(row.get("name", {}).get("value")) for row in _rows(answer, "value")}
        asked = [row for row in rows() if row.service == resource.service and row.metric in defined]
        metrics = sorted(_metric(row) for row in asked if self._is_asked(row))
        return resource._replace(metrics=tuple(metrics))

    def _is_asked(self, row: NamedMetric) -> bool:
        service = self._settings.services[row.service]
        if service.included_metrics:
            return row.name in service.included_metrics
        return row.name not in (service.excluded_metrics or ())

    def _list(self, path: str, version: str, query: str = "") -> Iterator[Mapping[str, Any]]:
        """All pages of a list of the subscription; a link that leads to another host is refused, or it would get our
        token."""
        url = f"{MANAGEMENT}/subscriptions/{self._settings.subscription_id}{path}"
        answer = self._get(url, "&".join(filter(None, (query, f"api-version={version}"))))
        for _ in range(CLOUD_PAGES_MAX):
            yield from _rows(answer, "value")
            link = str(answer.get("nextLink") or "")
            if not link:
                return
            if not link.startswith(f"{MANAGEMENT}/"):
                raise CloudRefusedError(f"a list of Azure goes on at another host, {urlsplit(link).hostname}")
            answer = self._ask(link)
        raise CloudRefusedError(f"{path} has more than {CLOUD_PAGES_MAX} pages; integrate fewer services")

    def _get(self, url: str, query: str) -> Mapping[str, Any]:
        return self._ask(f"{quote(url, safe='/:')}?{quote(query, safe='=&$,/:')}")

    def _ask(self, url: str) -> Mapping[str, Any]:
        with self._logging_in:
            self._token = self._token or self._log_in()
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        return _decoded(self._fetch(HttpCall("GET", url, headers)), "Azure refuses")

    def _log_in(self) -> str:
        form = {
            "client_id": self._settings.client_id,
            "scope": f"{MANAGEMENT}/.default",
            "client_secret": self._secret,
            "grant_type": "client_credentials",
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url = f"{LOGIN}/{self._settings.tenant_id}/oauth2/v2.0/token"
        answer = self._fetch(HttpCall("POST", url, headers, urlencode(form).encode()))
        return _text(_decoded(answer, "the service principal can't log in"), "access_token")


_id_of: Final = attrgetter("id")


def _decoded(answer: HttpAnswer, refusal: str) -> Mapping[str, Any]:
    if answer.status == 429 or answer.status >= 500:
        raise RetryableError(f"Azure answers {answer.status}")
    try:
        body = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise CloudRefusedError(f"{refusal}: {answer.status} without JSON") from None
    if answer.status != 200:
        raise CloudRefusedError(f"{refusal}: {answer.status} {_cause(body)}"[:500])
    return body


def _cause(body: Mapping[str, Any]) -> str:
    """Azure Resource Manager has an object of code and message, the log-in a code and a description."""
    error = body.get("error", "")
    if isinstance(error, dict):
        return f"{error.get('code', '')} {error.get('message', '')}".strip()
    return f"{error} {str(body.get('error_description', '')).partition(chr(10))[0]}".strip()


def _points(data: Sequence[Mapping[str, Any]], name: str, places: Places) -> Iterator[CloudPoint]:
    """A minute without a value has none of the fields."""
    for point in data:
        for statistic in ("average", "total", "maximum", "minimum", "count"):
            at = places.get((name, statistic))
            if at is not None and isinstance(point.get(statistic), int | float):
                yield CloudPoint(at, _ms(str(point.get("timeStamp"))), float(point[statistic]))


def _metric(row: NamedMetric) -> CloudMetric:
    return CloudMetric(row.name, row.namespace, row.metric, (), row.statistic, 60, CLOUD_DELAY_S)


def _database(row: Mapping[str, Any]) -> CloudResource:
    return CloudResource(_id(row), "SQLDatabase", _id(row), _text(row, "name"), _tags(row), ())


def _rows(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    listed = answer.get(name)
    return [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []


def _text(row: Mapping[str, Any], name: str) -> str:
    text = row.get(name)
    if not isinstance(text, str) or not text:
        raise CloudRefusedError(f"an answer of Azure lacks {name}")
    return text


def _id(row: Mapping[str, Any]) -> str:
    """A path of the management API; anything else could make another host of a URL, which would get our token."""
    text = _text(row, "id")
    if not text.startswith("/subscriptions/"):
        raise CloudRefusedError(f"a resource of Azure has the id {text[:100]!r}")
    return text


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    tags = row.get("tags")
    return {str(key): str(value) for key, value in tags.items()} if isinstance(tags, dict) else {}


def _time(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ms(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) * 1000
    except ValueError:
        raise CloudRefusedError(f"a point of Azure has the time {text[:40]!r}") from None
