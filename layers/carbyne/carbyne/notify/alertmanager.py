"""Alerts of rules as an Alertmanager takes them: what fires, until it is heard of no more, and what is over."""

from datetime import UTC, datetime
from typing import Final

import msgspec

from carbyne.notify.links import Links
from carbyne.rules.alerting import RESOLVED_MS, KeptAlert
from carbyne.rules.kept import KeptGroup, alerts_in

INTERVALS: Final = 4
"""How many intervals an alert lasts that is heard of no more, as Prometheus has it."""


def url(base: str) -> str:
    """Where alerts are posted."""
    return f"{base.rstrip('/')}/api/v2/alerts"


def alerts(kept: KeptGroup, now_ms: int, links: Links) -> bytes:
    """The alerts of a group as they are now; empty if there is none to tell of."""
    interval_ms = kept.interval_s * 1000
    told = [_alert(alert, interval_ms, now_ms, links) for alert in alerts_in(kept) if _is_told(alert, now_ms)]
    return msgspec.json.encode(told) if told else b""


def test(now_ms: int) -> bytes:
    """An alert that is over at once."""
    labels = {"alertname": "CarbyneTest"}
    told = {"labels": labels, "annotations": {"summary": "a test: no alert"}, "startsAt": _time(now_ms - 1000)}
    return msgspec.json.encode([{**told, "endsAt": _time(now_ms)}])


def _is_told(alert: KeptAlert, now_ms: int) -> bool:
    is_over = alert.state == "inactive" and now_ms - alert.resolved_ms <= RESOLVED_MS
    return alert.state == "firing" or is_over


def _alert(alert: KeptAlert, interval_ms: int, now_ms: int, links: Links) -> dict[str, object]:
    """The source of an alert: the hosts with the name that a label of it has, or all."""
    host = alert.labels.get("host")
    ends_ms = now_ms + INTERVALS * interval_ms if alert.state == "firing" else alert.resolved_ms
    times = {"startsAt": _time(alert.fired_ms), "endsAt": _time(ends_ms)}
    source = links.page("hosts", q=host) if host else links.page("hosts")
    return {"labels": alert.labels, "annotations": alert.annotations, "generatorURL": source, **times}


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
