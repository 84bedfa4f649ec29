"""Where alerts are notified: channels, groups of them, and settings by which alerts are grouped."""

from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from carbyne.core.errors import RequestError
from carbyne.core.limits import CHANNELS_PER_TENANT_MAX, EMAILS_MAX, EXTERNAL_TEXT_CHARACTERS_MAX, GROUP_MEMBERS_MAX
from carbyne.registry.documents import Documents
from carbyne.registry.downtimes import MonitorIds
from carbyne.registry.monitor_types import MemoText, NotificationMinutes, Title, check_url
from carbyne.registry.scopes import Scopes, check_scopes
from carbyne.registry.store import Registry, RegistryChange, RegistryItem, Store, body_of, settle

DocumentId = Annotated[str, Meta(max_length=64)]
Ids = Annotated[list[DocumentId], Meta(max_length=GROUP_MEMBERS_MAX)]
Email = Annotated[
    str,
    Meta(min_length=3, max_length=254, pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$(?!\n)"),
]
"""As HTML has them; SES takes no others, and none of a mail that has one.  ``$`` alone lets a line's end pass."""
ChannelEvent = Literal["alert", "alertGroup", "hostStatus", "hostRegister", "hostRetire", "monitor"]
DEFAULT: Final = "default"
"""DocumentId of the group that every tenant has."""
DEFAULT_NAME: Final = "Default"


class Mentions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Texts before a message of Slack, by status."""

    ok: Annotated[str, Meta(max_length=EXTERNAL_TEXT_CHARACTERS_MAX)] = ""
    warning: Annotated[str, Meta(max_length=EXTERNAL_TEXT_CHARACTERS_MAX)] = ""
    critical: Annotated[str, Meta(max_length=EXTERNAL_TEXT_CHARACTERS_MAX)] = ""


class Channel(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``events``: of which it takes ``alert``; ``secret``: signs what is sent to a webhook, and is never answered.  An
    ``alertmanager`` hears of the alerts of Prometheus' rules alone."""

    id: DocumentId = ""
    name: Title
    type: Literal["email", "slack", "webhook", "alertmanager"]
    emails: Annotated[list[Email], Meta(max_length=EMAILS_MAX)] | None = None
    user_ids: Ids | None = None
    mentions: Mentions | None = None
    enabled_graph_image: bool | None = None
    url: Annotated[str, Meta(max_length=2_048)] = ""
    events: Annotated[list[ChannelEvent], Meta(max_length=20)] | None = None
    suspended_at: int | None = None
    add_to_default_notification_group: bool | None = None
    secret: Annotated[str, Meta(max_length=EXTERNAL_TEXT_CHARACTERS_MAX)] = ""


class GroupMonitor(msgspec.Struct, frozen=True, rename="camel"):
    """A monitor whose alerts go to a group; ``skip_default``: and not to the default one."""

    id: DocumentId
    skip_default: bool = False


class GroupService(msgspec.Struct, frozen=True):
    """A service whose alerts go to a group."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]


class NotificationGroup(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``notification_level``: of which alerts it hears."""

    id: DocumentId = ""
    type: Literal["group", "group-default"] | None = None
    name: Title
    notification_level: Literal["all", "critical"] | None = None
    child_notification_group_ids: Ids | None = None
    child_channel_ids: Ids | None = None
    monitors: Annotated[list[GroupMonitor], Meta(max_length=GROUP_MEMBERS_MAX)] | None = None
    services: Annotated[list[GroupService], Meta(max_length=GROUP_MEMBERS_MAX)] | None = None


class AlertGroupSetting(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Alerts in one of the scopes are shown as one."""

    id: DocumentId = ""
    name: Title
    memo: MemoText = ""
    service_scopes: Scopes | None = None
    role_scopes: Scopes | None = None
    monitor_scopes: MonitorIds | None = None
    notification_interval: NotificationMinutes | None = None


CHANNELS: Final[Documents[Channel]] = Documents("channels", "channel", Channel, CHANNELS_PER_TENANT_MAX)
GROUPS: Final[Documents[NotificationGroup]] = Documents(
    "notification-groups", "notification group", NotificationGroup, CHANNELS_PER_TENANT_MAX
)
SETTINGS: Final[Documents[AlertGroupSetting]] = Documents(
    "alert-group-settings", "alert group setting", AlertGroupSetting, CHANNELS_PER_TENANT_MAX
)


def shown(channel: Channel) -> Channel:
    """Without what is said to the registry alone."""
    return msgspec.structs.replace(channel, secret="", add_to_default_notification_group=None)


def checked_channel(form: Channel) -> Channel:
    """As it is kept; RequestError 400 that names the field."""
    if form.type == "email":
        if form.url:
            raise RequestError(400, "url: a channel of the type email has emails")
        if form.user_ids:
            raise RequestError(400, f"userIds: {form.user_ids[0][:64]!r} is unknown: there are no users; give emails")
        if not form.emails:
            raise RequestError(400, "emails: give at least one address, or the channel tells no person")
        return msgspec.structs.replace(form, user_ids=[], events=form.events or ["alert"])
    check_url("url", form.url, may_sign_in=True)
    if form.type == "alertmanager":
        return msgspec.structs.replace(form, events=[])
    return msgspec.structs.replace(form, events=["alert"] if form.events is None else form.events)


def create_channel(registry: Registry, tenant: str, form: Channel) -> Channel:
    """A new one, in the default group unless it says otherwise; RequestError 400."""
    is_member = form.add_to_default_notification_group is not False and form.type != "alertmanager"
    made = CHANNELS.create(registry, tenant, checked_channel(form))
    if is_member:
        _change_default(registry, tenant, lambda ids: [*ids, made.id] if made.id not in ids else ids)
    return made


def replace_channel(registry: Registry, tenant: str, channel_id: str, form: Channel) -> Channel:
    """RequestError 404 for an unknown id, 400 as of ``create_channel`` or for another type.  Without a secret the one
    before stays."""

    def joined(old: Channel, form: Channel) -> Channel:
        if form.type != old.type:
            raise RequestError(400, f"type: the channel is of the type {old.type}, which can't be changed")
        return form if form.secret else msgspec.structs.replace(form, secret=old.secret)

    return CHANNELS.replace(registry, tenant, channel_id, checked_channel(form), joined)


def delete_channel(registry: Registry, tenant: str, channel_id: str) -> Channel:
    """One as it was; RequestError 404 for an unknown id."""
    gone = CHANNELS.delete(registry, tenant, channel_id)
    _change_default(registry, tenant, lambda ids: [each for each in ids if each != channel_id])
    return gone


def groups(store: Store, tenant: str) -> list[NotificationGroup]:
    """All of a tenant, by name; the default one is there although it was never stored."""
    known = GROUPS.find(store, tenant)
    return known if any(group.id == DEFAULT for group in known) else [_default(None), *known]


def checked_group(store: Store, tenant: str, form: NotificationGroup) -> NotificationGroup:
    """As it is kept; RequestError 400 that names the field."""
    _check_ids("childChannelIds", form.child_channel_ids, {each.id for each in CHANNELS.find(store, tenant)})
    _check_ids("childNotificationGroupIds", form.child_notification_group_ids, {g.id for g in groups(store, tenant)})
    return msgspec.structs.replace(
        form,
        type="group",
        notification_level=form.notification_level or "all",
        child_notification_group_ids=form.child_notification_group_ids or [],
        child_channel_ids=form.child_channel_ids or [],
    )


def replace_group(registry: Registry, tenant: str, group_id: str, form: NotificationGroup) -> NotificationGroup:
    """RequestError 404 for an unknown id, 400 as of ``checked_group``."""
    form = checked_group(registry.store, tenant, form)
    if group_id != DEFAULT:
        return GROUPS.replace(registry, tenant, group_id, form)
    if form.name != DEFAULT_NAME:
        raise RequestError(400, f"name: the default notification group is called {DEFAULT_NAME!r}")
    made = msgspec.structs.replace(form, id=DEFAULT, type="group-default")
    _write_default(registry, tenant, lambda _: made)
    return made


def delete_group(registry: Registry, tenant: str, group_id: str) -> NotificationGroup:
    """One as it was; RequestError 404 for an unknown id, 400 for the default one."""
    if group_id == DEFAULT:
        raise RequestError(400, "the default notification group can't be deleted")
    return GROUPS.delete(registry, tenant, group_id)


def checked_setting(form: AlertGroupSetting) -> AlertGroupSetting:
    """RequestError 400 that names the field."""
    check_scopes("serviceScopes", form.service_scopes)
    check_scopes("roleScopes", form.role_scopes)
    return form


def _change_default(registry: Registry, tenant: str, change: Callable[[list[str]], list[str]]) -> None:
    def changed(group: NotificationGroup) -> NotificationGroup:
        return msgspec.structs.replace(group, child_channel_ids=change(group.child_channel_ids or []))

    _write_default(registry, tenant, changed)


def _write_default(registry: Registry, tenant: str, change: Callable[[NotificationGroup], NotificationGroup]) -> None:
    def attempt() -> bool | None:
        item = registry.store.get(GROUPS.key(tenant, DEFAULT))
        made = change(_default(item))
        version = item.version if item else 0
        return registry.store.write(RegistryChange(GROUPS.key(tenant, DEFAULT), body_of(made), version)) or None

    settle(attempt)


def _default(item: RegistryItem | None) -> NotificationGroup:
    if item:
        return GROUPS.read(item)
    return NotificationGroup(
        id=DEFAULT,
        type="group-default",
        name=DEFAULT_NAME,
        notification_level="all",
        child_notification_group_ids=[],
        child_channel_ids=[],
    )


def _check_ids(field: str, ids: list[str] | None, known: set[str]) -> None:
    for number, each in enumerate(ids or ()):
        if each not in known:
            raise RequestError(400, f"{field}[{number}]: {each[:64]!r} is unknown")
