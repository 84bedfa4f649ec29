"""Groups of alerts as they are kept: which alerts are open, and what channels have not been told of them.

A notice leaves its own item in the transaction that brings it into a group.  What is about to be sent is written before
it is published, so that a notifier that dies between publishes the same again, under the same keys.
"""

from collections.abc import Iterable

import msgspec

from carbyne.alerts.judging import CRITICAL, OK, UNKNOWN, WARNING
from carbyne.core import keys
from carbyne.core.limits import GROUP_NEWS_MAX, GROUP_OPEN_MAX
from carbyne.registry.store import Key, RegistryChange, RegistryItem, Store, body_of

_WORSE = {status: rank for rank, status in enumerate((OK, UNKNOWN, WARNING, CRITICAL))}


class GroupedAlert(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An alert in the notice of its group; ``entry``: number of the log's entry; times in seconds."""

    id: str
    entry: int
    status: str
    title: str
    message: str
    monitor_id: str
    opened_at: int
    host_id: str = ""
    closed_at: int | None = None


class GroupNews(msgspec.Struct, frozen=True):
    """``hearers``: ids of the channels that are told."""

    alert: GroupedAlert
    hearers: tuple[str, ...]


class GroupSending(msgspec.Struct, frozen=True):
    """What is published, and was not yet for sure; ``again``: nothing changed, it is a reminder for ``hearers``."""

    status: str
    created_s: int
    closed_s: int | None
    news: tuple[GroupNews, ...]
    hearers: tuple[str, ...] = ()
    again: bool = False


class AlertGroup(msgspec.Struct, frozen=True, kw_only=True):
    """``id``: that of the alert that opened it; ``members``: status of each open alert; ``news``: what is not told yet;
    ``hearers``: of all that was told; ``told_s`` and ``told``: when they last were, and of which status."""

    id: str
    setting: str
    name: str
    opened_s: int
    members: dict[str, str] = {}
    news: tuple[GroupNews, ...] = ()
    hearers: tuple[str, ...] = ()
    told_s: int = 0
    told: str = OK
    sending: GroupSending | None = None

    @property
    def status(self) -> str:
        """The worst one of its open alerts."""
        return max(self.members.values(), key=_WORSE.__getitem__, default=OK)

    def with_alert(self, alert: GroupedAlert, open_status: str, hearers: tuple[str, ...]) -> "AlertGroup":
        """With what is new of an alert: ``open_status`` is its status now, OK if it is closed."""
        members = {known: status for known, status in self.members.items() if known != alert.id}
        if open_status != OK and len(members) < GROUP_OPEN_MAX:
            members[alert.id] = open_status
        changed = msgspec.structs.replace(self, members=members)
        known = next((each for each in self.news if each.alert.id == alert.id), None)
        if not hearers or (known and known.alert.entry > alert.entry):
            return changed
        heard = tuple(dict.fromkeys([*(known.hearers if known else ()), *hearers]))
        news = *(each for each in self.news if each is not known), GroupNews(alert, heard)
        return msgspec.structs.replace(changed, news=news, hearers=tuple(dict.fromkeys([*self.hearers, *hearers])))

    def is_due(self, interval_s: int, now_s: int) -> bool:
        """Whether its channels are told now: after the interval, sooner of what is worse than all that they know, and
        before there is too much to be kept."""
        is_time = now_s - self.told_s >= interval_s
        if not self.news:
            return bool(self.members and interval_s and is_time)
        return is_time or _WORSE[self.status] > _WORSE[self.told] or len(self.news) >= GROUP_NEWS_MAX

    def is_over(self, interval_s: int, now_s: int) -> bool:
        """Whether it may be forgotten: within the interval another alert would be told at once."""
        return not (self.members or self.news or self.sending) and now_s - self.told_s >= interval_s

    def begun(self, now_s: int) -> "AlertGroup":
        """All that is new is being sent, in the order of its times; at a time of its own, which names the messages."""
        now_s = max(now_s, self.told_s + 1)
        closed_s = None if self.members else now_s
        news = tuple(sorted(self.news, key=lambda news: (news.alert.opened_at, news.alert.id)))
        sending = GroupSending(self.status, now_s, closed_s, news, () if news else self.hearers, not news)
        return msgspec.structs.replace(self, sending=sending, news=(), told_s=now_s, told=self.status)


def find(store: Store, tenant: str) -> dict[str, tuple[AlertGroup, int]]:
    """By setting, each with the version of its item."""
    items = store.items(keys.GROUPED_ITEM, f"{keys.escape(tenant)}:")
    groups = [(msgspec.json.decode(item.body, type=AlertGroup), item.version) for item in items]
    return {group.setting: (group, version) for group, version in groups}


def write(
    store: Store, tenant: str, setting: str, group: AlertGroup | None, version: int, done: Iterable[RegistryItem] = ()
) -> bool:
    """Keep a group, or forget it, and delete the notices that it has taken; False if another notifier was quicker."""
    key = Key(keys.GROUPED_ITEM, f"{keys.escape(tenant)}:{setting}")
    change = RegistryChange(key, body_of(group) if group else None, version)
    return store.write(change, *(RegistryChange(item.key, None, item.version) for item in done))
