"""What channels are told of a group of alerts: Mackerel's JSON for webhooks, Slack's, and the text of a mail."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from carbyne.alerts.judging import OK
from carbyne.notify.grouping import GroupMessage
from carbyne.notify.links import Links
from carbyne.registry.alert_groups import GroupedAlert
from carbyne.registry.channels import AlertGroupSetting, Channel, Mentions

_COLOURS: Final = {"OK": "good", "WARNING": "warning", "CRITICAL": "danger"}


def webhook(message: GroupMessage, setting: AlertGroupSetting | None, links: Links) -> bytes:
    """With Mackerel's fields, and ours: ``saying``, ``alerts``, ``openAlerts``, ``part`` and ``parts``."""
    told: dict[str, Any] = {
        "orgName": message.tenant,
        "event": "alertGroup",
        "imageUrl": None,
        "alertGroup": {
            "id": message.group,
            "url": links.page("alerts"),
            "status": message.status,
            "createdAt": message.opened_s,
            "closedAt": message.closed_s,
        },
        "alertGroupSetting": {
            "id": message.setting,
            "url": None,
            "name": message.name,
            "memo": setting.memo if setting else "",
        },
        "saying": "again" if message.again else "changed",
        "notifiedAt": message.created_s,
        "alerts": message.alerts,
        "openAlerts": message.open,
        "part": message.part,
        "parts": message.parts,
    }
    return msgspec.json.encode(told)


def slack(message: GroupMessage, setting: AlertGroupSetting | None, channel: Channel, links: Links) -> bytes:
    """An incoming webhook's message; texts of a monitor or check can't mention people."""
    mentions = channel.mentions or Mentions()
    mention = {"OK": mentions.ok, "WARNING": mentions.warning, "CRITICAL": mentions.critical}.get(message.status, "")
    line = title(message)
    attachment = {"color": _COLOURS.get(message.status, "warning"), "title": _escaped(line), "fallback": _escaped(line)}
    attachment["title_link"] = links.page("alerts")
    attachment["text"] = _escaped("\n".join(_lines(message, setting)))
    return msgspec.json.encode({"text": mention, "attachments": [attachment]})


def mail(message: GroupMessage, setting: AlertGroupSetting | None, links: Links) -> str:
    """The text of a mail."""
    return "\n".join([title(message), "", *_lines(message, setting), "", links.page("alerts"), ""])


def title(message: GroupMessage) -> str:
    """One line."""
    part = f" ({message.part} of {message.parts})" if message.parts > 1 else ""
    again = " (still open)" if message.again else ""
    return " ".join(f"[{message.tenant}] {message.status}: {message.name}{part}{again}".split())


def _lines(message: GroupMessage, setting: AlertGroupSetting | None) -> list[str]:
    times = [f"opened {_time(message.opened_s)}"]
    times += [] if message.closed_s is None else [f"closed {_time(message.closed_s)}"]
    memo = [setting.memo] if setting and setting.memo else []
    counted = f"{message.open} open alert{'' if message.open == 1 else 's'}"
    return [*map(_line, message.alerts), ", ".join([*times, counted]), *memo, f"alert group {message.group}"]


def _line(alert: GroupedAlert) -> str:
    ended = "" if alert.closed_at is None else f", closed {_time(alert.closed_at)}"
    state = "" if alert.status == OK else f" {alert.message}" if alert.message else ""
    return f"{alert.title}:{state} opened {_time(alert.opened_at)}{ended}, alert {alert.id}"


def _time(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
