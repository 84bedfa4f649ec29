"""What channels are told: Mackerel's JSON for webhooks, Slack's, and the text of a mail; and the signature."""

import hmac
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from typing import Any, Final

import msgspec

from carbyne.alerts.judging import CRITICAL, OK, WARNING
from carbyne.alerts.pictures import HEIGHT, WIDTH
from carbyne.notify.links import Links
from carbyne.notify.routing import About
from carbyne.registry.alerts import Notice, Trigger
from carbyne.registry.channels import Channel, Mentions
from carbyne.registry.hosts import StoredHost
from carbyne.registry.monitor_types import ExpressionMonitor, HostMonitor, QueryMonitor, ServiceMonitor

SIGNATURE: Final = "X-Carbyne-Signature"
_BOUNDED: Final = (HostMonitor, ServiceMonitor, ExpressionMonitor, QueryMonitor)
_TRIGGERS: Final[dict[Trigger, str]] = {
    "manual": "manual",
    "monitorDeleted": "monitorDelete",
    "hostRetired": "hostRetire",
}
"""Mackerel's words; all else is ``monitor``."""
_COLOURS: Final = {"OK": "good", "WARNING": "warning", "CRITICAL": "danger"}
_CORRECTIONS: Final = {
    "late": "samples that came late",
    "reopened": "samples that came late: it goes on",
    "corrected": "samples that came late: other times",
    "withdrawn": "samples that came late: it was none",
    "again": "still open",
    "test": "a test: no alert",
}


def webhook(notice: Notice, subject: About, channel: Channel, links: Links) -> bytes:
    """With Mackerel's fields, and ``saying``: how it relates to what was told before."""
    alert = notice.alert
    told: dict[str, Any] = {
        "orgName": notice.tenant,
        "event": "alert",
        "imageUrl": _picture(notice, subject, channel, links),
        "memo": subject.monitor.memo if subject.monitor else "",
        "type": alert.type,
        "message": text_of(notice, subject),
        "saying": notice.saying,
        "notifiedAt": notice.created_s,
    }
    if subject.host:
        told["host"] = _host(subject.host, links)
    if subject.service:
        told["service"] = _service(subject, notice.tenant, links)
    if alert.series:
        told["metric"] = alert.series
    told["alert"] = {
        "id": alert.id,
        "url": links.alert(notice),
        "openedAt": alert.opened_at,
        "closedAt": alert.closed_at,
        "createdAt": alert.opened_at * 1000,
        "statusChangedAt": notice.changed_s or alert.opened_at,
        "isOpen": alert.closed_at is None,
        "status": notice.status.lower(),
        "trigger": _TRIGGERS.get(notice.trigger, "monitor"),
        "monitorName": subject.name_of(notice),
        **_bounds(notice, subject),
    }
    return msgspec.json.encode(told)


def slack(notice: Notice, subject: About, channel: Channel, links: Links) -> bytes:
    """An incoming webhook's message; texts of a monitor or check can't mention people."""
    mentions = channel.mentions or Mentions()
    mention = {"OK": mentions.ok, "WARNING": mentions.warning, "CRITICAL": mentions.critical}.get(notice.status, "")
    attachment = {"color": _COLOURS.get(notice.status, "warning"), "title": _escaped(title(notice, subject))}
    attachment["text"] = _escaped("\n".join(_lines(notice, subject)))
    attachment["fallback"] = attachment["title"]
    attachment["title_link"] = links.alert(notice)
    if image := _picture(notice, subject, channel, links):
        attachment["image_url"] = image
    return msgspec.json.encode({"text": mention, "attachments": [attachment]})


def mail(notice: Notice, subject: About, links: Links) -> str:
    """The text of a mail."""
    image = links.picture(notice, subject)
    urls = [links.alert(notice), *([image] if image else [])]
    return "\n".join([title(notice, subject), "", *_lines(notice, subject), "", *urls, ""])


def mail_html(notice: Notice, subject: About, links: Links) -> str:
    """The same as HTML, with the picture in it."""
    lines = "<br>".join(map(escape, _lines(notice, subject)))
    parts = [
        f"<b>{escape(title(notice, subject))}</b>",
        lines,
        f'<a href="{escape(links.alert(notice))}">Alert and graphs</a>',
    ]
    if image := links.picture(notice, subject):
        parts.append(f'<img src="{escape(image)}" width="{WIDTH}" height="{HEIGHT}" alt="graph of the last hour">')
    return "".join(f"<p>{part}</p>" for part in parts)


def title(notice: Notice, subject: About) -> str:
    """One line."""
    correction = _CORRECTIONS.get(notice.saying, "")
    parts = [
        f"[{notice.tenant}] {notice.status}: {subject.name_of(notice)}",
        f"at {subject.source}" if subject.source else "",
    ]
    text = " ".join([*filter(None, parts), *([f"({correction})"] if correction else [])])
    return " ".join(text.split())


def text_of(notice: Notice, subject: About) -> str:
    """An alert's message, with its value and the bound that this crossed: ``loadavg5 2.26 > 1.96``."""
    text, value, monitor = notice.alert.message, notice.alert.value, subject.monitor
    if value is None or not isinstance(monitor, _BOUNDED):
        return text
    if notice.status == OK:
        return f"{text} {_number(value)}".strip()
    bound = {WARNING: monitor.warning, CRITICAL: monitor.critical}.get(notice.status)
    return text if bound is None else f"{text} {_number(value)} {monitor.operator} {_number(bound)}".strip()


def signature(secret: str, now_s: int, body: bytes) -> str:
    """``t=<seconds>,v1=<hex>``: HMAC-SHA256 of ``<seconds>.<body>``, as Stripe and others sign."""
    digest = hmac.new(secret.encode(), f"{now_s}.".encode() + body, sha256).hexdigest()
    return f"t={now_s},v1={digest}"


def _lines(notice: Notice, subject: About) -> list[str]:
    alert = notice.alert
    times = [f"opened {_time(alert.opened_at)}"]
    times += [] if alert.closed_at is None else [f"closed {_time(alert.closed_at)}"]
    text = text_of(notice, subject)
    value = [] if alert.value is None or text != alert.message else [f"value {alert.value:g}"]
    reason = [alert.reason] if alert.reason else []
    memo = [subject.monitor.memo] if subject.monitor and subject.monitor.memo else []
    return [*([text] if text else []), *value, *reason, ", ".join(times), *memo, f"alert {alert.id}"]


def _picture(notice: Notice, subject: About, channel: Channel, links: Links) -> str | None:
    return None if channel.enabled_graph_image is False else links.picture(notice, subject)


def _time(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _bounds(notice: Notice, subject: About) -> dict[str, Any]:
    monitor = subject.monitor
    if not isinstance(monitor, _BOUNDED):
        return {}
    label, duration = monitor.name, 1
    if isinstance(monitor, HostMonitor | ServiceMonitor):
        label, duration = monitor.metric, monitor.duration
    return {
        "metricLabel": label,
        "metricValue": notice.alert.value,
        "criticalThreshold": monitor.critical,
        "warningThreshold": monitor.warning,
        "monitorOperator": monitor.operator,
        "duration": duration,
    }


def _number(value: float) -> str:
    """With two places behind the point, or three digits of what is less than 1."""
    return f"{value:.3g}" if abs(value) < 1 else f"{round(value, 2):.15g}"


def _service(subject: About, tenant: str, links: Links) -> dict[str, Any]:
    registered = subject.registered
    return {
        "id": subject.service,
        "orgId": tenant,
        "name": subject.service,
        "memo": registered.memo if registered else "",
        "roles": [_role(subject.service, role, links) for role in (registered.roles if registered else ())],
    }


def _role(service: str, role: str, links: Links) -> dict[str, str]:
    url = links.page("services", service)
    return {
        "fullname": f"{service}: {role}",
        "serviceName": service,
        "serviceUrl": url,
        "roleName": role,
        "roleUrl": url,
    }


def _host(host: StoredHost, links: Links) -> dict[str, Any]:
    return {
        "id": host.id,
        "name": host.name,
        "url": links.page("hosts", host.id),
        "type": "unknown",
        "status": host.status,
        "memo": host.memo,
        "isRetired": host.retired_s is not None,
        "roles": [_role(service, role, links) for service, of in host.roles.items() for role in of],
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
