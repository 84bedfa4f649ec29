"""What an answer means for a monitor: OK, WARNING or CRITICAL, and why."""

from typing import Final, NamedTuple

from carbyne.checks.asking import Asked
from carbyne.core.limits import CHECK_TIMES_MAX, DAY_S
from carbyne.registry.monitor_types import ExternalMonitor
from carbyne.registry.monitors import ExternalState

OK: Final = "OK"
WARNING: Final = "WARNING"
CRITICAL: Final = "CRITICAL"
_RANK: Final = {OK: 0, WARNING: 1, CRITICAL: 2}


class Verdict(NamedTuple):
    """``message``: for people."""

    status: str
    message: str


def judge(monitor: ExternalMonitor, asked: Asked, times_ms: list[float], now_s: int) -> Verdict:
    """The worst of all that a monitor looks at; ``times_ms``: its last response times, the newest last."""
    if asked.problem:
        return Verdict(CRITICAL, asked.problem)
    parts = [_of_status(monitor, asked), _of_text(monitor, asked), _of_times(monitor, times_ms)]
    parts.append(_of_certificate(monitor, asked, now_s))
    worst = max((each for each in parts if each), key=lambda each: _RANK[each.status], default=None)
    return worst or Verdict(OK, f"{asked.status} in {asked.seconds * 1000:.0f} ms")


def after(
    before: ExternalState | None, verdict: Verdict, times_ms: list[float], minute: int, most: int
) -> ExternalState:
    """The state after a check; ``most``: checks in a row that may fail before it is an alert."""
    attempts = 0 if verdict.status == OK else (before.attempts if before else 0) + 1
    alert = verdict.status if attempts >= most else OK
    return ExternalState(verdict.status, verdict.message, minute, attempts, alert, times_ms)


def times_after(before: ExternalState | None, asked: Asked) -> list[float]:
    """The last response times; a target that does not answer has none."""
    known = before.times_ms if before else []
    return [*known, *([] if asked.problem else [asked.seconds * 1000])][-CHECK_TIMES_MAX:]


def _of_status(monitor: ExternalMonitor, asked: Asked) -> Verdict | None:
    expected = monitor.expected_status_code
    if expected is not None and asked.status != expected:
        return Verdict(CRITICAL, f"the status is {asked.status}, not {expected}")
    if expected is None and asked.status >= 400:
        return Verdict(CRITICAL, f"the status is {asked.status}")
    return None


def _of_text(monitor: ExternalMonitor, asked: Asked) -> Verdict | None:
    if monitor.contains_string and monitor.contains_string.encode() not in asked.body:
        return Verdict(CRITICAL, f"the answer does not contain {monitor.contains_string!r}")
    return None


def _of_times(monitor: ExternalMonitor, times_ms: list[float]) -> Verdict | None:
    minutes = monitor.response_time_duration or 1
    recent = times_ms[-minutes:]
    if len(recent) < minutes:
        return None
    average_ms = sum(recent) / len(recent)
    bounds = ((CRITICAL, monitor.response_time_critical), (WARNING, monitor.response_time_warning))
    for status, most_ms in bounds:
        if most_ms is not None and average_ms > most_ms:
            text = f"the response time over {minutes} minutes is {average_ms:.0f} ms, more than {most_ms:g} ms"
            return Verdict(status, text)
    return None


def _of_certificate(monitor: ExternalMonitor, asked: Asked, now_s: int) -> Verdict | None:
    if asked.expires_s is None:
        return None
    days = (asked.expires_s - now_s) // DAY_S
    bounds = (
        (CRITICAL, monitor.certification_expiration_critical),
        (WARNING, monitor.certification_expiration_warning),
    )
    for status, least in bounds:
        if least is not None and days < least:
            return Verdict(
                status, f"the certificate expires in {days} days" if days >= 0 else "the certificate expired"
            )
    return None
