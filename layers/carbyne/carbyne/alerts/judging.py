"""Value monitors: which samples are bad, as a pure function of the samples and of the configuration at their time.

A status has a finite memory: it depends on the samples of the ``back_ms`` before it and on nothing else.  So a late
sample is judged as it would have been in time, and nothing has to be kept of the samples that were judged.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from operator import gt, lt
from typing import Final, Literal, NamedTuple

import msgspec

from carbyne.core.limits import ALERT_SPACING_MS

OK: Final = "OK"
WARNING: Final = "WARNING"
CRITICAL: Final = "CRITICAL"
UNKNOWN: Final = "UNKNOWN"
_COMPARED: Final = {">": gt, "<": lt}


class Rule(msgspec.Struct, frozen=True):
    """``duration``: samples that are averaged; ``attempts``: averages in a row that are bad before an alert opens; a
    bound of None is never reached."""

    operator: Literal[">", "<"]
    warning: float | None
    critical: float | None
    duration: int = 1
    attempts: int = 1

    def status_of(self, value: float) -> str:
        is_beyond = _COMPARED[self.operator]
        if self.critical is not None and is_beyond(value, self.critical):
            return CRITICAL
        return WARNING if self.warning is not None and is_beyond(value, self.warning) else OK


class RuleVersion(NamedTuple):
    """A rule that is in force from ``since_ms`` on, until the next version."""

    since_ms: int
    rule: Rule


def back_ms(versions: Iterable[RuleVersion]) -> int:
    """How far before a sample lies what its status depends on; attempts of one version count averages of another."""
    rules = [version.rule for version in versions]
    duration = max((rule.duration for rule in rules), default=0)
    return ALERT_SPACING_MS * (duration + max((rule.attempts for rule in rules), default=0))


class Judgement(NamedTuple):
    """What one sample says: ``value`` is the average that ends with it, ``status`` that of the alert after it."""

    ts_ms: int
    status: str
    value: float


class _Average(NamedTuple):
    ts_ms: int
    status: str
    value: float
    rule: Rule


SamplePairs = Sequence[tuple[int, float]]
"""(ts_ms, value), ascending, one for each ts."""


def judge(versions: Sequence[RuleVersion], samples: SamplePairs, from_ms: int) -> list[Judgement]:
    """One for each sample from ``from_ms`` on that has enough samples before it; NaN is no sample.

    ``versions``: ascending; a sample before the first one is not judged.  ``samples`` must begin ``back_ms`` before
    ``from_ms``.
    """
    known = [(ts_ms, value) for ts_ms, value in samples if not math.isnan(value)]
    averages = [average for number in range(len(known)) if (average := _average(versions, known, number))]
    return [
        Judgement(average.ts_ms, _confirmed(averages, number), _finite(average.value))
        for number, average in enumerate(averages)
        if average.ts_ms >= from_ms
    ]


def _average(versions: Sequence[RuleVersion], samples: SamplePairs, number: int) -> _Average | None:
    """The average that ends with a sample; summed from its first sample on, so that it is the same in every call."""
    ts_ms = samples[number][0]
    rule = next((version.rule for version in reversed(versions) if version.since_ms <= ts_ms), None)
    if rule is None or number + 1 < rule.duration:
        return None
    first = number + 1 - rule.duration
    if ts_ms - samples[first][0] >= ALERT_SPACING_MS * rule.duration:
        return None
    value = sum(value for _, value in samples[first : number + 1]) / rule.duration
    return _Average(ts_ms, rule.status_of(value), value, rule)


def _finite(value: float) -> float:
    """A number that JSON has: the average of huge values may be none."""
    if math.isnan(value):
        return 0.0
    return max(-sys.float_info.max, min(sys.float_info.max, value))


def _confirmed(averages: Sequence[_Average], number: int) -> str:
    """The status of the alert: that of the average if as many in a row are bad as the rule says."""
    last = averages[number]
    first = number + 1 - last.rule.attempts
    if last.status == OK or first < 0:
        return OK
    row = averages[first : number + 1]
    is_row = last.ts_ms - row[0].ts_ms < ALERT_SPACING_MS * last.rule.attempts
    return last.status if is_row and all(each.status != OK for each in row) else OK
