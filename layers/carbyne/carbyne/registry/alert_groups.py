"""Groups of alerts as they are kept: which alerts are open, and what channels have not been told of them.

A notice leaves its own item in the transaction that brings it into a group.  What is about to be sent is written before
it is published, so that a notifier that dies between publishes the same again, under the same keys.
"""

from collections.abc import Collection, Iterable

import msgspec

from carbyne.alerts.judging import CRITICAL, OK, UNKNOWN, WARNING
from carbyne.core import keys
from carbyne.core.limits import GROUP_BYTES_MAX, GROUP_NEWS_MAX, GROUP_OPEN_MAX
from carbyne.registry.alerts import Subject
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


class GroupMember(msgspec.Struct, frozen=True, array_like=True):
    """An open alert of a group, and by what it may be muted."""

    status: str
    monitor: str
    source: str


class GroupNews(msgspec.Struct, frozen=True):
    """``hearers``: ids of the channels that are told."""

    alert: GroupedAlert
    hearers: tuple[str, ...]


class GroupSending(msgspec.Struct, frozen=True):
    """What is published, and was not yet for sure; ``again``: nothing changed, it is a reminder; ``open``: how many
    alerts of the group are open."""

    status: str
    created_s: int
    closed_s: int | None
    news: tuple[GroupNews, ...]
    again: bool = False
    open: int = 0


class AlertGroup(msgspec.Struct, frozen=True, kw_only=True):
    """``id``: that of the alert that opened it; ``members``: its open alerts; ``news``: what is not told yet;
    ``told_s`` and ``told``: when something last was, and of which status; ``passed_s``: when a reminder was last due
    and all of it muted; ``looked_to``: the place up to which that is known of a reminder that is due."""

    id: str
    setting: str
    name: str
    opened_s: int
    members: dict[str, GroupMember] = {}
    news: tuple[GroupNews, ...] = ()
    told_s: int = 0
    told: str = OK
    passed_s: int = 0
    looked_to: str = ""
    sending: GroupSending | None = None

    @property
    def status(self) -> str:
        """The worst one of its open alerts."""
        return _worst(member.status for member in self.members.values())

    @property
    def is_full(self) -> bool:
        """Whether there is so much to be told that it can't be kept for long."""
        return len(self.news) >= GROUP_NEWS_MAX or len(body_of(self)) > GROUP_BYTES_MAX

    @property
    def reminded_s(self) -> int:
        """When a reminder was last sent, or passed over, or something new was told."""
        return max(self.told_s, self.passed_s)

    def with_alert(
        self, alert: GroupedAlert, subject: Subject, open_status: str, hearers: tuple[str, ...]
    ) -> "AlertGroup":
        """With what is new of an alert: ``open_status`` is its status now, OK if it is closed.  What its channels were
        not told yet of it they are told as it is now, although nothing new is while it is muted."""
        members = {known: member for known, member in self.members.items() if known != alert.id}
        if open_status != OK and len(members) < GROUP_OPEN_MAX:
            members[alert.id] = GroupMember(open_status, subject.monitor, subject.source)
        changed = msgspec.structs.replace(self, members=members)
        known = next((each for each in self.news if each.alert.id == alert.id), None)
        heard = tuple(dict.fromkeys([*(known.hearers if known else ()), *hearers]))
        if not heard:
            return changed
        newest = known.alert if known and known.alert.entry > alert.entry else alert
        news = *(each for each in self.news if each is not known), GroupNews(newest, heard)
        return msgspec.structs.replace(changed, news=news)

    def without(self, closed: Collection[str]) -> "AlertGroup":
        """Without some of its open alerts."""
        members = {known: member for known, member in self.members.items() if known not in closed}
        return msgspec.structs.replace(self, members=members)

    def is_due(self, interval_s: int, now_s: int) -> bool:
        """Whether what is new is told now: after the interval, sooner of what is worse than all that its channels know,
        and before there is too much to be kept."""
        is_time = now_s - self.told_s >= interval_s
        return bool(self.news and not self.sending) and (
            is_time or _WORSE[self.status] > _WORSE[self.told] or self.is_full
        )

    def is_reminder_due(self, interval_s: int, now_s: int) -> bool:
        """Whether its channels are told once more, without news."""
        is_quiet = not self.news and not self.sending
        return bool(interval_s and self.members and is_quiet and now_s - self.reminded_s >= interval_s)

    def is_over(self, interval_s: int, now_s: int) -> bool:
        """Whether it may be forgotten: within the interval another alert would be told at once."""
        return not (self.members or self.news or self.sending) and now_s - self.told_s >= interval_s

    def unseen(self) -> list[tuple[str, str]]:
        """Its open alerts that a reminder may be of, the worst first and the latest of these, each with its place."""
        places = sorted((f"{len(_WORSE) - _WORSE[each.status]}{known}", known) for known, each in self.members.items())
        return [(place, known) for place, known in places if place > self.looked_to]

    def begun(self, now_s: int) -> "AlertGroup":
        """All that is new is being sent, in the order of its times."""
        news = tuple(sorted(self.news, key=lambda news: (news.alert.opened_at, news.alert.id)))
        return msgspec.structs.replace(self._sending(self.status, now_s, news, again=False), news=())

    def reminded(self, now_s: int, open_alerts: tuple[GroupNews, ...]) -> "AlertGroup":
        """A reminder of some of its open alerts is being sent."""
        return self._sending(_worst(each.alert.status for each in open_alerts), now_s, open_alerts, again=True)

    def passed(self, now_s: int) -> "AlertGroup":
        """The reminder that is due is not sent, since all of its open alerts are muted."""
        return msgspec.structs.replace(self, passed_s=now_s, looked_to="")

    def looked(self, place: str) -> "AlertGroup":
        """Its open alerts are muted up to a place; the others are not known yet."""
        return msgspec.structs.replace(self, looked_to=place)

    def _sending(self, status: str, now_s: int, news: tuple[GroupNews, ...], *, again: bool) -> "AlertGroup":
        """At a time of its own, which names the messages."""
        now_s = max(now_s, self.told_s + 1)
        sending = GroupSending(status, now_s, None if self.members else now_s, news, again, len(self.members))
        return msgspec.structs.replace(self, sending=sending, told_s=now_s, told=status, looked_to="")


def _worst(statuses: Iterable[str]) -> str:
    return max(statuses, key=_WORSE.__getitem__, default=OK)


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
