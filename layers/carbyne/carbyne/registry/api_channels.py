"""Mackerel's calls on downtimes, channels, notification groups, alert group settings and users."""

from typing import Final

from carbyne.http.answers import DONE, Answer, Success
from carbyne.http.forms import loose_form
from carbyne.http.routes import Call, Route
from carbyne.registry import alerts, channels
from carbyne.registry.channels import CHANNELS, GROUPS, SETTINGS, AlertGroupSetting, Channel, NotificationGroup, shown
from carbyne.registry.downtimes import DOWNTIMES, Downtime, checked
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import BOTH, Permission


class Downtimes(Answer, frozen=True):
    """By name."""

    downtimes: list[Downtime]


class Channels(Answer, frozen=True):
    """By name, without their secrets."""

    channels: list[Channel]


class NotificationGroups(Answer, frozen=True):
    """By name."""

    notification_groups: list[NotificationGroup]


class AlertGroupSettings(Answer, frozen=True):
    """By name."""

    alert_group_settings: list[AlertGroupSetting]


class User(Answer, frozen=True):
    """Of whom there is none: API keys are a tenant's only accounts."""

    id: str
    screen_name: str
    email: str


class Users(Answer, frozen=True):
    """None."""

    users: list[User]


def get_downtimes(registry: Registry, call: Call) -> Downtimes:
    return Downtimes(DOWNTIMES.find(registry.store, call.tenant))


def post_downtime(registry: Registry, call: Call) -> Downtime:
    return DOWNTIMES.create(registry, call.tenant, checked(loose_form(call, Downtime)))


def put_downtime(registry: Registry, call: Call) -> Downtime:
    return DOWNTIMES.replace(registry, call.tenant, call.parts["id"], checked(loose_form(call, Downtime)))


def delete_downtime(registry: Registry, call: Call) -> Downtime:
    return DOWNTIMES.delete(registry, call.tenant, call.parts["id"])


def get_channels(registry: Registry, call: Call) -> Channels:
    return Channels(list(map(shown, CHANNELS.find(registry.store, call.tenant))))


def post_channel(registry: Registry, call: Call) -> Channel:
    return shown(channels.create_channel(registry, call.tenant, loose_form(call, Channel)))


def put_channel(registry: Registry, call: Call) -> Channel:
    return shown(channels.replace_channel(registry, call.tenant, call.parts["id"], loose_form(call, Channel)))


def delete_channel(registry: Registry, call: Call) -> Channel:
    return shown(channels.delete_channel(registry, call.tenant, call.parts["id"]))


def test_channel(registry: Registry, call: Call) -> Success:
    """It is told within a minute."""
    CHANNELS.get(registry.store, call.tenant, call.parts["id"])
    alerts.test_call(registry, call.tenant, call.parts["id"])
    return DONE


def get_groups(registry: Registry, call: Call) -> NotificationGroups:
    return NotificationGroups(channels.groups(registry.store, call.tenant))


def post_group(registry: Registry, call: Call) -> NotificationGroup:
    group = channels.checked_group(registry.store, call.tenant, loose_form(call, NotificationGroup))
    return GROUPS.create(registry, call.tenant, group)


def put_group(registry: Registry, call: Call) -> NotificationGroup:
    return channels.replace_group(registry, call.tenant, call.parts["id"], loose_form(call, NotificationGroup))


def delete_group(registry: Registry, call: Call) -> NotificationGroup:
    return channels.delete_group(registry, call.tenant, call.parts["id"])


def get_settings(registry: Registry, call: Call) -> AlertGroupSettings:
    return AlertGroupSettings(SETTINGS.find(registry.store, call.tenant))


def post_setting(registry: Registry, call: Call) -> AlertGroupSetting:
    return SETTINGS.create(registry, call.tenant, channels.checked_setting(loose_form(call, AlertGroupSetting)))


def get_setting(registry: Registry, call: Call) -> AlertGroupSetting:
    return SETTINGS.get(registry.store, call.tenant, call.parts["id"])


def put_setting(registry: Registry, call: Call) -> AlertGroupSetting:
    setting = channels.checked_setting(loose_form(call, AlertGroupSetting))
    return SETTINGS.replace(registry, call.tenant, call.parts["id"], setting)


def delete_setting(registry: Registry, call: Call) -> AlertGroupSetting:
    return SETTINGS.delete(registry, call.tenant, call.parts["id"])


def get_users(_: Registry, __: Call) -> Users:
    return Users([])


DOWN: Final = "/api/v0/downtimes"
CHANNEL: Final = "/api/v0/channels"
GROUP: Final = "/api/v0/notification-groups"
SETTING: Final = "/api/v0/alert-group-settings"
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("GET", DOWN, Permission.READ, "Downtimes", Downtimes, get_downtimes),
    Route("POST", DOWN, BOTH, "Make a downtime", Downtime, post_downtime, body=Downtime),
    Route("PUT", f"{DOWN}/{{id}}", BOTH, "Replace a downtime", Downtime, put_downtime, body=Downtime),
    Route("DELETE", f"{DOWN}/{{id}}", BOTH, "Delete a downtime", Downtime, delete_downtime),
    Route("GET", CHANNEL, Permission.READ, "Channels", Channels, get_channels),
    Route("POST", CHANNEL, BOTH, "Make a channel", Channel, post_channel, body=Channel),
    Route("PUT", f"{CHANNEL}/{{id}}", BOTH, "Replace a channel", Channel, put_channel, body=Channel),
    Route("DELETE", f"{CHANNEL}/{{id}}", BOTH, "Delete a channel", Channel, delete_channel),
    Route("POST", "/carbyne/v1/channels/{id}/test", BOTH, "Tell a channel of a test", Success, test_channel),
    Route("GET", GROUP, Permission.READ, "Notification groups", NotificationGroups, get_groups),
    Route("POST", GROUP, BOTH, "Make a notification group", NotificationGroup, post_group, body=NotificationGroup),
    Route(
        "PUT",
        f"{GROUP}/{{id}}",
        BOTH,
        "Replace a notification group",
        NotificationGroup,
        put_group,
        body=NotificationGroup,
    ),
    Route("DELETE", f"{GROUP}/{{id}}", BOTH, "Delete a notification group", NotificationGroup, delete_group),
    Route("GET", SETTING, Permission.READ, "Alert group settings", AlertGroupSettings, get_settings),
    Route(
        "POST", SETTING, BOTH, "Make an alert group setting", AlertGroupSetting, post_setting, body=AlertGroupSetting
    ),
    Route("GET", f"{SETTING}/{{id}}", Permission.READ, "An alert group setting", AlertGroupSetting, get_setting),
    Route(
        "PUT",
        f"{SETTING}/{{id}}",
        BOTH,
        "Replace an alert group setting",
        AlertGroupSetting,
        put_setting,
        body=AlertGroupSetting,
    ),
    Route("DELETE", f"{SETTING}/{{id}}", BOTH, "Delete an alert group setting", AlertGroupSetting, delete_setting),
    Route("GET", "/api/v0/users", Permission.READ, "Users, of whom there are none", Users, get_users),
)
