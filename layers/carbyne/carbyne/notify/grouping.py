"""Brings notices of alerts into groups, by the settings of their tenant, and says what is sent of these and when."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Final

import msgspec

from carbyne.core.limits import (
    GROUP_ALERTS_PER_MESSAGE,
    GROUP_HEARERS_MAX,
    GROUP_NOTICES_PER_RUN,
    GROUPS_OPEN_MAX,
)
from carbyne.notify.reminders import Reminders, grouped_alert
from carbyne.notify.routing import About
from carbyne.registry import alert_groups, alerts
from carbyne.registry.alert_groups import AlertGroup, GroupedAlert, GroupSending
from carbyne.registry.alerts import Notice
from carbyne.registry.channels import SETTINGS, AlertGroupSetting
from carbyne.registry.scope_bits import ScopeBits, Scoped
from carbyne.registry.store import RegistryItem, Store

MINUTE_S: Final = 60


class GroupMessage(msgspec.Struct, frozen=True):
    """What one channel is told of a group: ``alerts`` that are new or closed, or those that are open still if it is
    told ``again``; ``open``: how many are open; ``part``: from 1 on, of ``parts`` with as many as fit a message."""

    tenant: str
    setting: str
    group: str
    name: str
    status: str
    opened_s: int
    created_s: int
    closed_s: int | None
    again: bool
    alerts: tuple[GroupedAlert, ...]
    part: int = 1
    parts: int = 1
    open: int = 0

    @property
    def key(self) -> str:
        """Of the message for each channel: a group that is told once more says so at another time."""
        return f"{self.tenant}:{self.setting}:{self.group}:{self.created_s}:{self.part}"


class Grouping:
    """The groups of a tenant in one run of a notifier."""

    def __init__(self, store: Store, tenant: str, now_s: int) -> None:
        self._store, self._tenant, self._now_s = store, tenant, now_s
        self._groups = alert_groups.find(store, tenant)
        self._taken: dict[str, list[RegistryItem]] = {}
        self._reminders = Reminders(store, tenant, now_s)

    @cached_property
    def _settings(self) -> dict[str, AlertGroupSetting]:
        """By id, in the order of their names."""
        return {setting.id: setting for setting in SETTINGS.find(self._store, self._tenant)}

    @cached_property
    def _scopes(self) -> ScopeBits:
        """Of the settings: a service or role, and a monitor, each if there are any."""
        return ScopeBits(
            Scoped(each.monitor_scopes, [*(each.service_scopes or ()), *(each.role_scopes or ())])
            for each in self._settings.values()
        )

    def setting_of(self, notice: Notice, subject: About) -> str:
        """The id of the setting that an alert belongs to, empty for none: where it is a member already, or the first
        one by name that takes it in."""
        if notice.channel:
            return ""
        for setting, (group, _) in self._groups.items():
            if notice.alert.id in group.members:
                return setting
        bits = self._scopes.of(notice.subject.monitor, subject.roles)
        return list(self._settings)[(bits & -bits).bit_length() - 1] if bits else ""

    def most_hearers(self, setting: str) -> int | None:
        """How many channels may hear of an alert as part of its group; None without a setting."""
        if not setting:
            return None
        return GROUP_HEARERS_MAX if setting in self._groups or len(self._groups) < GROUPS_OPEN_MAX else 0

    def is_member(self, setting: str, notice: Notice) -> bool:
        """Whether an alert keeps the group of a setting open."""
        return setting in self._groups and notice.alert.id in self._groups[setting][0].members

    def has_room(self, setting: str) -> bool:
        """Whether another notice of a setting can be taken in this run.  Not while what is being sent is not in the
        queue and as much waits behind it: both are in one item."""
        if setting in self._groups:
            group, _ = self._groups[setting]
            if group.sending and group.is_full:
                return False
        return len(self._taken.get(setting, ())) < GROUP_NOTICES_PER_RUN

    def add(self, setting: str, item: RegistryItem, notice: Notice, subject: About, hearers: Sequence[str]) -> None:
        """Let a group have a notice, which is deleted with the next write."""
        self._taken.setdefault(setting, []).append(item)
        group, version = self._groups.get(setting) or (self._opened(setting, notice), 0)
        status = alerts.open_status(self._store, self._tenant, notice.alert.id)
        alert = grouped_alert(notice, subject)
        self._groups[setting] = group.with_alert(alert, notice.subject, status, tuple(hearers)), version

    def tell(self, publish: Callable[[Sequence[tuple[str, GroupMessage]]], None]) -> None:
        """Publish what is due, as (channel, message); a group that another notifier wrote waits for the next run.  One
        that can't be told holds up no other; the error is raised at the end.  Those that were silent for longest come
        first, so that all get their reminders."""
        failure: Exception | None = None
        for setting, before in sorted(self._groups.items(), key=lambda each: each[1][0].reminded_s):
            try:
                self._tell(setting, before, publish)
            except Exception as error:  # noqa: BLE001 - also a bug of ours; what was not told is in the item
                failure = error
        if failure:
            raise failure

    def _tell(
        self,
        setting: str,
        before: tuple[AlertGroup, int],
        publish: Callable[[Sequence[tuple[str, GroupMessage]]], None],
    ) -> None:
        kept = self._keep(setting, *before)
        if kept and kept[0].sending:
            group, version = kept
            publish(list(self._messages(group, kept[0].sending)))
            sent = msgspec.structs.replace(group, sending=None)
            alert_groups.write(self._store, self._tenant, setting, sent, version)

    def _keep(self, setting: str, group: AlertGroup, version: int) -> tuple[AlertGroup, int] | None:
        """A group as it is written with the notices that it took; None if it is over, or another was quicker."""
        taken, interval_s = self._taken.get(setting, []), self._interval_s(setting)
        if group.is_over(interval_s, self._now_s):
            alert_groups.write(self._store, self._tenant, setting, None, version, taken)
            return None
        begun = self._begun(group, interval_s)
        if not taken and begun == group:
            return group, version
        is_written = alert_groups.write(self._store, self._tenant, setting, begun, version, taken)
        return (begun, version + 1) if is_written else None

    def _begun(self, group: AlertGroup, interval_s: int) -> AlertGroup:
        """With what is sent now, if something is due."""
        if group.is_reminder_due(interval_s, self._now_s):
            return self._reminders.reminded(group)
        return group.begun(self._now_s) if group.is_due(interval_s, self._now_s) else group

    def _opened(self, setting: str, notice: Notice) -> AlertGroup:
        name = self._settings[setting].name
        return AlertGroup(id=notice.alert.id, setting=setting, name=name, opened_s=notice.alert.opened_at)

    def _interval_s(self, setting: str) -> int:
        """0 for none, and where the setting is deleted: all goes out."""
        kept = self._settings.get(setting)
        return (kept.notification_interval or 0) * MINUTE_S if kept else 0

    def _messages(self, group: AlertGroup, sending: GroupSending) -> Iterator[tuple[str, GroupMessage]]:
        for channel in dict.fromkeys(each for news in sending.news for each in news.hearers):
            heard = [news.alert for news in sending.news if channel in news.hearers]
            parts = [
                tuple(heard[first : first + GROUP_ALERTS_PER_MESSAGE])
                for first in range(0, len(heard), GROUP_ALERTS_PER_MESSAGE)
            ]
            for number, part in enumerate(parts, 1):
                names = self._tenant, group.setting, group.id, group.name
                times = sending.created_s, sending.closed_s
                message = GroupMessage(*names, sending.status, group.opened_s, *times, sending.again, part)
                yield channel, msgspec.structs.replace(message, part=number, parts=len(parts), open=sending.open)
