"""Which channels hear of an alert."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from carbyne.alerts.judging import CRITICAL
from carbyne.registry import channels, checks, hosts, services
from carbyne.registry.alerts import Notice
from carbyne.registry.channels import CHANNELS, DEFAULT, Channel, ChannelEvent, NotificationGroup
from carbyne.registry.downtimes import DOWNTIMES
from carbyne.registry.hosts import RolesByService, StoredHost
from carbyne.registry.monitor_types import AnyMonitor, QueryMonitor, filled
from carbyne.registry.monitors import MONITORS
from carbyne.registry.muting import Muting
from carbyne.registry.services import Service
from carbyne.registry.store import Store


class Directions(NamedTuple):
    """What a tenant has set up; ``muting``: its downtimes that last now."""

    channels: Mapping[str, Channel]
    groups: "GroupIndex"
    muting: Muting


class GroupIndex:
    """The notification groups of a tenant, by what they name.  There may be hundreds, each in each other, so a notice
    follows every group once, and notices that begin with the same ones once together."""

    def __init__(self, groups: Sequence[NotificationGroup]) -> None:
        self._groups = {group.id: group for group in groups}
        self._of_monitor, self._of_service = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
        self._skipping: set[str] = set()
        self._known: dict[tuple[frozenset[str], bool], list[str]] = {}
        for group in groups:
            if group.id != DEFAULT:
                self._add(group)

    def hearers(self, monitor: str, roles: RolesByService, *, is_critical: bool) -> list[str]:
        """Ids of channels, each once, of the groups that name a monitor or service, of the default one unless a named
        one says otherwise, and of their children; ``is_critical``: whether those of critical alerts alone hear."""
        named = {
            *self._of_monitor.get(monitor, ()),
            *(each for name in roles for each in self._of_service.get(name, ())),
        }
        roots = frozenset(named if monitor in self._skipping else {*named, DEFAULT})
        if (roots, is_critical) not in self._known:
            self._known[roots, is_critical] = self._below(roots, is_critical)
        return self._known[roots, is_critical]

    def _add(self, group: NotificationGroup) -> None:
        for each in group.monitors or ():
            self._of_monitor[each.id].append(group.id)
            if each.skip_default:
                self._skipping.add(each.id)
        for service in group.services or ():
            self._of_service[service.name].append(group.id)

    def _below(self, roots: Iterable[str], is_critical: bool) -> list[str]:
        ids: set[str] = set()
        seen, left = set[str](), set(roots)
        while left:
            group = self._groups.get(id_ := left.pop())
            seen.add(id_)
            if group and (is_critical or group.notification_level != "critical"):
                ids.update(group.child_channel_ids or ())
                left.update(group.child_notification_group_ids or ())
                left -= seen
        return sorted(ids)


class About(NamedTuple):
    """What an alert is about, as far as it is there still.  ``roles``: of the host; of a service it alone; ``check``:
    the name of the check; ``registered``: the service, None for one that is not registered."""

    monitor: AnyMonitor | None
    host: StoredHost | None
    service: str
    roles: RolesByService
    check: str = ""
    registered: Service | None = None

    @property
    def source(self) -> str:
        """What people call the host or service, empty of neither."""
        return self.host.display_name or self.host.name if self.host else self.service

    def name_of(self, notice: Notice) -> str:
        """Of the monitor or check, or what stands for it."""
        name = self.monitor.name if self.monitor else self.check
        if isinstance(self.monitor, QueryMonitor) and notice.alert.series:
            name = filled(name, notice.alert.series.labels)
        return name or notice.alert.message[:100] or notice.alert.type


def directions(store: Store, tenant: str, now_s: int) -> Directions:
    """Read once for all that a tenant has to be told."""
    known = {channel.id: channel for channel in CHANNELS.find(store, tenant)}
    return Directions(known, GroupIndex(channels.groups(store, tenant)), Muting(DOWNTIMES.find(store, tenant), now_s))


def roles_of(host: StoredHost | None, service: str) -> RolesByService:
    """Of what an alert is about: a service is one without roles."""
    return host.roles if host else {service: []} if service else {}


def about(store: Store, tenant: str, notice: Notice) -> About:
    """What is known of the monitor and the source of an alert."""
    kind, _, name = notice.subject.source.partition("/")
    host = hosts.find_one(store, tenant, name) if kind == "host" else None
    service = name if kind == "service" else ""
    roles = roles_of(host, service)
    if notice.subject.kind == "check":
        return About(None, host, service, roles, checks.name_of(store, tenant, name, notice.subject.monitor))
    registered = services.find_one(store, tenant, service) if service else None
    monitor_item = store.get(MONITORS.key(tenant, notice.subject.monitor))
    monitor = MONITORS.read(monitor_item) if monitor_item else None
    return About(monitor, host, service, roles, registered=registered)


class Hearing(NamedTuple):
    """Ids of channels, each once: those that hear of an alert by itself, and those that hear of its group."""

    alone: list[str]
    grouped: list[str]


NOT_HEARD: Final = Hearing([], [])


def is_muted_everywhere(monitor_id: str, monitor: AnyMonitor | None, to: Directions) -> bool:
    """Whether no channel hears of a monitor now, whatever it looks at: it is muted, or a downtime of all lasts."""
    return (monitor is not None and monitor.is_mute) or to.muting.mutes_everywhere(monitor_id)


def is_muted(monitor_id: str, subject: About, to: Directions) -> bool:
    """Whether no channel hears of an alert of a monitor now; as Mackerel documents, none does of a host that is not
    working."""
    is_resting = subject.host is not None and subject.host.status != "working"
    is_everywhere = is_muted_everywhere(monitor_id, subject.monitor, to)
    return is_everywhere or is_resting or to.muting.mutes(monitor_id, subject.roles)


def hearing(notice: Notice, subject: About, to: Directions, most_grouped: int | None) -> Hearing:
    """Who hears of an alert: no channel while it is muted.

    A channel that takes groups hears of an alert that belongs to one as part of it alone, as Mackerel documents;
    ``most_grouped``: so many channels do, None for an alert that belongs to none.  The others hear of it by itself.
    """
    if notice.channel:
        return Hearing([notice.channel], []) if notice.channel in to.channels else NOT_HEARD
    monitor = notice.subject.monitor
    if is_muted(monitor, subject, to):
        return NOT_HEARD
    ids = to.groups.hearers(monitor, subject.roles, is_critical=notice.was == CRITICAL)
    listening = [to.channels[each] for each in ids if each in to.channels and to.channels[each].suspended_at is None]
    grouped = [each.id for each in listening if _takes(each, "alertGroup")][: most_grouped or 0]
    events: Sequence[ChannelEvent] = ("alert",) if most_grouped is None else ("alert", "alertGroup")
    left = [each for each in listening if each.id not in grouped and any(_takes(each, event) for event in events)]
    return Hearing([each.id for each in left], grouped)


def hears_of_groups(channel: Channel) -> bool:
    """Whether it takes news of groups now."""
    return channel.suspended_at is None and _takes(channel, "alertGroup")


def alertmanagers(store: Store, tenant: str) -> list[str]:
    """Ids of the channels that hear of the alerts of rules."""
    return [each.id for each in CHANNELS.find(store, tenant) if each.type == "alertmanager" and not each.suspended_at]


def _takes(channel: Channel, event: ChannelEvent) -> bool:
    return event in (("alert",) if channel.events is None else channel.events)
