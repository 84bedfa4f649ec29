"""The states of an alert of a rule: pending, firing, inactive, as Prometheus has them.

found            for is over                   not found, keep_firing_for is over
─────> pending ──────────────> firing ────────────────────────────────────────────> inactive
          │ not found                                                         kept for RESOLVED_MS, to be told
          └─────────> gone
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from carbyne.promql.labels import Labels

RESOLVED_MS: Final = 15 * 60 * 1000
"""How long an alert that is over is told of, as Prometheus tells it."""
AlertState = Literal["pending", "firing", "inactive"]


class KeptAlert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``labels`` with ``alertname``; ``value``: a number as Prometheus writes it, which NaN is too; times in ms, 0 for
    none: since when it was found, fires, is over, and is kept firing."""

    labels: dict[str, str]
    annotations: dict[str, str]
    value: str
    state: AlertState
    active_ms: int
    fired_ms: int = 0
    resolved_ms: int = 0
    keep_since_ms: int | None = None


class FoundAlert(NamedTuple):
    """What an evaluation found."""

    annotations: dict[str, str]
    value: str


def step(
    before: "Mapping[Labels, KeptAlert]",
    seen_now: "Mapping[Labels, FoundAlert]",
    at_ms: int,
    hold_ms: int,
    keep_ms: int,
) -> "dict[Labels, KeptAlert]":
    """The alerts of a rule after one evaluation."""
    after: dict[Labels, KeptAlert] = {}
    for labels in sorted({*before, *seen_now}):
        alert, seen = before.get(labels), seen_now.get(labels)
        stepped = _found(labels, alert, seen, at_ms) if seen else _missed(alert, at_ms, keep_ms)
        if stepped:
            after[labels] = _of_hold(stepped, at_ms, hold_ms)
    return after


def is_active(alert: KeptAlert) -> bool:
    """Whether it is pending or firing."""
    return alert.state != "inactive"


def moved(alert: KeptAlert, gap_ms: int) -> KeptAlert:
    """The alert with its deadlines as much later: time in which nothing could be seen does not count."""
    if alert.state == "pending":
        return msgspec.structs.replace(alert, active_ms=alert.active_ms + gap_ms)
    if alert.keep_since_ms is not None:
        return msgspec.structs.replace(alert, keep_since_ms=alert.keep_since_ms + gap_ms)
    return alert


def _found(labels: "Labels", alert: KeptAlert | None, seen: FoundAlert, at_ms: int) -> KeptAlert:
    if alert is None or not is_active(alert):
        alert = KeptAlert(
            labels=dict(labels), annotations=seen.annotations, value=seen.value, state="pending", active_ms=at_ms
        )
    else:
        alert = msgspec.structs.replace(alert, annotations=seen.annotations, value=seen.value, keep_since_ms=None)
    return alert


def _of_hold(alert: KeptAlert, at_ms: int, hold_ms: int) -> KeptAlert:
    """Firing once its ``for`` is over, and pending again where a new rule file made that longer."""
    is_over = at_ms - alert.active_ms >= hold_ms
    if alert.state == "pending" and is_over:
        return msgspec.structs.replace(alert, state="firing", fired_ms=at_ms)
    if alert.state == "firing" and not is_over:
        return msgspec.structs.replace(alert, state="pending", fired_ms=0, keep_since_ms=None)
    return alert


def _missed(alert: KeptAlert | None, at_ms: int, keep_ms: int) -> KeptAlert | None:
    if alert is None or alert.state == "pending":
        return None
    if alert.state == "inactive":
        return None if at_ms - alert.resolved_ms > RESOLVED_MS else alert
    since_ms = at_ms if alert.keep_since_ms is None else alert.keep_since_ms
    if keep_ms and at_ms - since_ms < keep_ms:
        return msgspec.structs.replace(alert, keep_since_ms=since_ms)
    return msgspec.structs.replace(alert, state="inactive", resolved_ms=at_ms, keep_since_ms=None)
