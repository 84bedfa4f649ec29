"""One run of an integration: find what there is, read it within the budget, make hosts and samples of it.

A run that fails says so in its state; the next one reads the same span again, and every sample overwrites itself.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import msgspec

from carbyne.clouds.budget import ReadingPlan, plan
from carbyne.clouds.hosting import Hosting
from carbyne.clouds.ports import Cloud, CloudCall, CloudRefusedError, CloudResource, Inventory
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.limits import (
    CLOUD_CALLS_AT_ONCE,
    CLOUD_EVERY_MINUTES,
    CLOUD_INVENTORIES_MAX,
    CLOUD_INVENTORY_S,
    CLOUD_LATE_MINUTES,
    CLOUD_MESSAGE_CHARACTERS_MAX,
    CLOUD_RESOURCES_MAX,
    CLOUD_STOP_S,
)
from carbyne.intake.packing import entries_of
from carbyne.registry import integrations, tags
from carbyne.registry.integrations import AwsIntegration, AzureIntegration, CloudJob, CloudState, Integration
from carbyne.registry.store import Registry

_log = logging.getLogger(__name__)
Left = Callable[[], float]
"""Seconds until the function must end."""


class Collector:
    """``connect``: the cloud of a tenant's integration; errors as of ``Cloud``."""

    def __init__(self, registry: Registry, connect: Callable[[str, Integration], Cloud]) -> None:
        self._registry = registry
        self._connect = connect
        self._hosting = Hosting(registry)
        self._inventories: dict[str, tuple[int, Integration, Inventory]] = {}

    def run(self, job: CloudJob, seconds_left: Left) -> bool:
        """Whether this run read the integration; RetryableError if our registry is away: then the job comes again."""
        kind: type[Integration] = AwsIntegration if job.cloud == "aws" else AzureIntegration
        now_s = self._registry.now_s()
        if now_s // 60 - job.minute > CLOUD_LATE_MINUTES:
            _log.error("workers are behind: an integration of %s is read by a later run", job.tenant)
            return False
        try:
            settings = integrations.get(self._registry.store, job.tenant, kind, job.integration)
        except RequestError:  # it was deleted
            return False
        begun = _begun(integrations.state(self._registry.store, job.tenant, job.integration), job, now_s)
        if not integrations.begin(self._registry, job.tenant, job, begun):
            return False
        try:
            ended = self._collect(job, settings, begun, seconds_left)
        except (RetryableError, CloudRefusedError) as error:
            before = integrations.state(self._registry.store, job.tenant, job.integration)
            ended = msgspec.structs.replace(before, message=str(error)[:CLOUD_MESSAGE_CHARACTERS_MAX])
        integrations.end(self._registry, job.tenant, job, ended)
        return True

    def _collect(self, job: CloudJob, settings: Integration, begun: CloudState, seconds_left: Left) -> CloudState:
        """The state at the end.  What the calls cost is counted before the first one."""
        cloud = self._connect(job.tenant, settings)
        inventory, is_new = self._remembered(job.tenant, settings, cloud)
        chosen, notes = _chosen(settings, inventory)
        met = self._hosting.hosts(job.tenant, settings, cloud, inventory, chosen, is_new=is_new)
        left_dollars = settings.budget_dollars - begun.spent_dollars
        planned = plan(cloud, cloud.calls(chosen), settings.budget_dollars, left_dollars, job.minute)
        counted = msgspec.structs.replace(
            begun,
            hosts=len(chosen),
            metrics=planned.metrics,
            not_called=planned.over_budget + planned.over_limit,
            dollars_a_month=round(planned.dollars_a_month, 4),
            spent_dollars=begun.spent_dollars + planned.dollars,
        )
        if not integrations.end(self._registry, job.tenant, job, counted):
            return counted
        unread = self._read(job, cloud, planned.calls, met, seconds_left)
        notes += _notes(planned, settings, left_dollars, unread)
        told = "; ".join([f"{planned.metrics} metrics of {len(chosen)} hosts are read", *notes])
        return msgspec.structs.replace(counted, message=told[:CLOUD_MESSAGE_CHARACTERS_MAX])

    def _remembered(self, tenant: str, settings: Integration, cloud: Cloud) -> tuple[Inventory, bool]:
        """What an account has, and whether that was asked now."""
        now_s, key = self._registry.now_s(), f"{tenant}/{settings.id}"
        known = self._inventories.pop(key, None)
        is_new = known is None or now_s - known[0] >= CLOUD_INVENTORY_S or known[1] != settings
        entry = (now_s, settings, cloud.find()) if known is None or is_new else known
        self._inventories = dict(list(self._inventories.items())[-CLOUD_INVENTORIES_MAX + 1 :]) | {key: entry}
        return entry[2], is_new

    def _read(
        self, job: CloudJob, cloud: Cloud, calls: Sequence[CloudCall], met: dict[str, str], seconds_left: Left
    ) -> int:
        """How many metrics were not read for lack of time; each run begins with other calls."""
        turn = job.minute // CLOUD_EVERY_MINUTES % max(1, len(calls))
        read = partial(self._read_call, job.tenant, cloud, met, seconds_left)
        with ThreadPoolExecutor(CLOUD_CALLS_AT_ONCE) as threads:
            return sum(threads.map(read, [*calls[turn:], *calls[:turn]]))

    def _read_call(self, tenant: str, cloud: Cloud, met: dict[str, str], seconds_left: Left, call: CloudCall) -> int:
        """As of ``_read``, of one call."""
        if seconds_left() < CLOUD_STOP_S:
            return len(call)
        rows: dict[tuple[str, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for point in cloud.read(call, self._registry.now_s()):
            resource, metric = call[point.at]
            if host := met.get(resource.id):
                rows[f"host/{host}", point.ts_ms][metric.name] += point.value
        if rows:
            self._registry.put(entries_of(tenant, rows))
        return 0


def _begun(before: CloudState, job: CloudJob, now_s: int) -> CloudState:
    month = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m")
    spent = before.spent_dollars if before.month == month else 0.0
    return msgspec.structs.replace(before, minute=job.minute, month=month, spent_dollars=spent)


def _chosen(settings: Integration, inventory: Inventory) -> tuple[list[CloudResource], list[str]]:
    """The resources that are read, and what people should know of it."""
    included = tags.parse("includedTags", settings.included_tags)
    excluded = tags.parse("excludedTags", settings.excluded_tags)
    chosen = [each for each in inventory.resources if tags.is_chosen(each.tags, included, excluded)]
    notes = list(inventory.notes)
    if len(chosen) > CLOUD_RESOURCES_MAX:
        notes.append(f"{len(chosen)} resources are more than {CLOUD_RESOURCES_MAX}; choose fewer by tags")
    return chosen[:CLOUD_RESOURCES_MAX], notes


def _notes(planned: ReadingPlan, settings: Integration, left_dollars: float, unread: int) -> list[str]:
    notes = []
    if planned.over_budget:
        notes.append(f"{planned.over_budget} are over the budget of ${settings.budget_dollars:g} a month: not called")
    if planned.over_limit:
        notes.append(f"{planned.over_limit} are more than one integration may have: not called")
    if planned.metrics and left_dollars <= 0:
        notes.append("the budget of this month is spent: nothing is called until the next one")
    if unread:
        notes.append(f"{unread} were not read in time")
    return notes
