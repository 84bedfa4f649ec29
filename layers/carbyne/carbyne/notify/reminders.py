"""What is said once more of an open group of alerts: of those that would be told once more by themselves."""

from functools import cached_property
from typing import Final

import msgspec

from carbyne.core.limits import (
    GROUP_ALERTS_PER_MESSAGE,
    GROUP_HEARERS_MAX,
    GROUP_TEXT_CHARACTERS_MAX,
    REMINDER_READS_MAX,
)
from carbyne.notify.messages import title
from carbyne.notify.routing import (
    About,
    Directions,
    about,
    directions,
    hearing,
    is_muted,
    is_muted_everywhere,
    roles_of,
)
from carbyne.registry import alerts, hosts
from carbyne.registry.alert_groups import AlertGroup, GroupedAlert, GroupMember, GroupNews
from carbyne.registry.alerts import Notice, StoredAlert
from carbyne.registry.hosts import StoredHost
from carbyne.registry.monitor_types import AnyMonitor
from carbyne.registry.monitors import MONITORS
from carbyne.registry.store import Store

READS_OF_ABOUT: Final = 3
"""Monitor or check, host, and service."""


class _MutedBy:
    """The monitors and sources of a tenant's alerts, as far as they mute these, each read once; ``reads``: how many
    were made."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store, self._tenant = store, tenant
        self._monitors: dict[str, AnyMonitor | None] = {}
        self._hosts: dict[str, StoredHost | None] = {}
        self.reads = 0

    def about(self, monitor: str, source: str) -> About:
        """Without names."""
        kind, _, name = source.partition("/")
        host = self._host(name) if kind == "host" else None
        service = name if kind == "service" else ""
        return About(self.monitor(monitor), host, service, roles_of(host, service))

    def monitor(self, monitor: str) -> AnyMonitor | None:
        """None for one that is not there, and for checks."""
        if monitor not in self._monitors:
            self.reads += 1
            item = self._store.get(MONITORS.key(self._tenant, monitor))
            self._monitors[monitor] = MONITORS.read(item) if item else None
        return self._monitors[monitor]

    def _host(self, host_id: str) -> StoredHost | None:
        if host_id not in self._hosts:
            self.reads += 1
            host = hosts.find_one(self._store, self._tenant, host_id)
            self._hosts[host_id] = host and msgspec.structs.replace(host, meta={}, interfaces=None, past=[])  # 300 KB
        return self._hosts[host_id]


class Reminders:
    """The reminders of a tenant's groups in one run of a notifier, with so many reads for all of them."""

    def __init__(self, store: Store, tenant: str, now_s: int) -> None:
        self._store, self._tenant, self._now_s = store, tenant, now_s
        self._muted_by = _MutedBy(store, tenant)
        self._reads = 0

    def reminded(self, group: AlertGroup) -> AlertGroup:
        """A group whose reminder is due, with what is sent of it: the worst of its open alerts that are not muted.
        There is nothing to send if all are, or if the reads do not suffice; the next run then goes on from there."""
        told, closed, looked_to, is_through = list[GroupNews](), set[str](), group.looked_to, False
        for place, alert_id in group.unseen():
            if len(told) == GROUP_ALERTS_PER_MESSAGE or self._muted_by.reads + self._reads >= REMINDER_READS_MAX:
                break
            looked_to = place
            if self._is_muted(group.members[alert_id]):
                continue
            if stored := self._open(alert_id):
                told += self._news(stored)
            else:
                closed.add(alert_id)
        else:
            is_through = True
        left = group.without(closed)
        if told:
            return left.reminded(self._now_s, tuple(told))
        return left.passed(self._now_s) if is_through else left.looked(looked_to)

    @cached_property
    def _to(self) -> Directions:
        return directions(self._store, self._tenant, self._now_s)

    def _is_muted(self, member: GroupMember) -> bool:
        """With as few reads as possible: a downtime mutes thousands of alerts."""
        monitor = member.monitor
        if is_muted_everywhere(monitor, None, self._to):
            return True
        is_everywhere = is_muted_everywhere(monitor, self._muted_by.monitor(monitor), self._to)
        return is_everywhere or is_muted(monitor, self._muted_by.about(monitor, member.source), self._to)

    def _open(self, alert_id: str) -> StoredAlert | None:
        self._reads += 1
        return alerts.opened_one(self._store, self._tenant, alert_id)

    def _news(self, stored: StoredAlert) -> list[GroupNews]:
        """None if no channel hears of it."""
        self._reads += READS_OF_ABOUT
        notice = alerts.reminder(self._tenant, stored, self._now_s)
        subject = about(self._store, self._tenant, notice)
        hearers = hearing(notice, subject, self._to, GROUP_HEARERS_MAX).grouped
        return [GroupNews(grouped_alert(notice, subject), tuple(hearers))] if hearers else []


def grouped_alert(notice: Notice, subject: About) -> GroupedAlert:
    """An alert as the message of a group has it."""
    alert = notice.alert
    return GroupedAlert(
        id=alert.id,
        entry=notice.entry,
        status=alert.status,
        title=title(notice, subject)[:GROUP_TEXT_CHARACTERS_MAX],
        message=alert.message[:GROUP_TEXT_CHARACTERS_MAX],
        monitor_id=alert.monitor_id,
        opened_at=alert.opened_at,
        host_id=alert.host_id,
        closed_at=alert.closed_at,
    )
