"""What is said about episodes: one alert for each, and a correction where late samples change what was said."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from carbyne.alerts.episodes import Episode, Turn


class Saying(Enum):
    """``LATE``: opened and closed, both in the past; ``REOPENED``: was closed too early; ``CORRECTED``: began or ended
    at another time; ``WITHDRAWN``: there was no such episode, or it is part of another one."""

    OPENED = "opened"
    CHANGED = "changed"
    CLOSED = "closed"
    LATE = "late"
    REOPENED = "reopened"
    CORRECTED = "corrected"
    WITHDRAWN = "withdrawn"


class SaidAlert(msgspec.Struct, frozen=True, array_like=True):
    """An alert as it was last told; ``status``: the last one that is not OK."""

    id: str
    opened_ms: int
    closed_ms: int | None
    status: str

    def covers(self, episode: Episode) -> bool:
        return Episode((Turn(self.opened_ms, self.status),), self.closed_ms).overlaps(episode)


class Decision(NamedTuple):
    """One thing to say of one alert, which is now as ``alert`` has it; ``value``: of the sample that decided."""

    kind: Saying
    alert: SaidAlert
    value: float


class Decided(NamedTuple):
    """``alerts``: those that a later sample may still change."""

    alerts: tuple[SaidAlert, ...]
    decisions: list[Decision]


def decide(said: Sequence[SaidAlert], episodes: Sequence[Episode], from_ms: int, new_id: Callable[[], str]) -> Decided:
    """Compare what was said with what is so: every episode gets one alert, the first that overlaps it or a new one."""
    left, alerts, decisions = list(said), [], []
    for episode in episodes:
        match = next((alert for alert in left if alert.covers(episode)), None)
        if match:
            left.remove(match)
        alert = _alert_of(episode, match, from_ms, new_id)
        alerts.append(alert)
        if kind := _kind(match, alert):
            decisions.append(Decision(kind, alert, episode.last.value))
    for alert in left:
        if alert.closed_ms is None or alert.closed_ms >= from_ms:
            gone = msgspec.structs.replace(
                alert, closed_ms=alert.opened_ms if alert.closed_ms is None else alert.closed_ms
            )
            decisions.append(Decision(Saying.WITHDRAWN, gone, 0.0))
    return Decided(tuple(alert for alert in alerts if alert.closed_ms is None or alert.closed_ms >= from_ms), decisions)


def _alert_of(episode: Episode, said: SaidAlert | None, from_ms: int, new_id: Callable[[], str]) -> SaidAlert:
    """An opening before ``from_ms`` stays as it was said."""
    if said is None:
        return SaidAlert(new_id(), episode.opened_ms, episode.closed_ms, episode.last.status)
    opened_ms = said.opened_ms if said.opened_ms < from_ms else episode.opened_ms
    return SaidAlert(said.id, opened_ms, episode.closed_ms, episode.last.status)


def _kind(said: SaidAlert | None, alert: SaidAlert) -> Saying | None:
    if said is None:
        return Saying.OPENED if alert.closed_ms is None else Saying.LATE
    if said == alert:
        return None
    if (said.closed_ms is None) != (alert.closed_ms is None):
        return Saying.CLOSED if said.closed_ms is None else Saying.REOPENED
    return Saying.CHANGED if said.opened_ms == alert.opened_ms and said.closed_ms is None else Saying.CORRECTED
