"""Which channels hear of an alert."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    groups: Sequence[NotificationGroup]
    muting: Muting


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
    return Directions(known, channels.groups(store, tenant), Muting(DOWNTIMES.find(store, tenant), now_s))


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
    """Whether no channel hears of an alert of a monitor now; as Mackerel documents, none does of a host on standby."""
    is_standby = subject.host is not None and subject.host.status == "standby"
    is_everywhere = is_muted_everywhere(monitor_id, subject.monitor, to)
    return is_everywhere or is_standby or to.muting.mutes(monitor_id, subject.roles)


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
    groups = {group.id: group for group in to.groups}
    named = [group for group in to.groups if group.id != DEFAULT and _is_named(group, monitor, subject.roles)]
    skips = any(each.id == monitor and each.skip_default for group in named for each in group.monitors or ())
    roots = named if skips else [*named, groups[DEFAULT]]
    ids = dict.fromkeys(each for root in roots for each in _heard_by(root, groups, notice, set()))
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


def _is_named(group: NotificationGroup, monitor: str, roles: RolesByService) -> bool:
    names_monitor = any(each.id == monitor for each in group.monitors or ())
    return names_monitor or any(each.name in roles for each in group.services or ())


def _heard_by(
    group: NotificationGroup, groups: Mapping[str, NotificationGroup], notice: Notice, seen: set[str]
) -> Iterator[str]:
    """Channels of a group and of its children; groups may contain each other."""
    if group.id in seen or (group.notification_level == "critical" and notice.was != CRITICAL):
        return
    seen.add(group.id)
    yield from group.child_channel_ids or ()
    children: Iterable[str] = group.child_notification_group_ids or ()
    for child in children:
        if child in groups:
            yield from _heard_by(groups[child], groups, notice, seen)


def _takes(channel: Channel, event: ChannelEvent) -> bool:
    return event in (("alert",) if channel.events is None else channel.events)
