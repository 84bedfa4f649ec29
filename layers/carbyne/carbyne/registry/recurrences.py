"""When a downtime lasts; times and days of the week in UTC."""

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from carbyne.core.limits import DAY_S
from carbyne.registry.downtimes import Downtime, Recurrence

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HOUR_S: Final = 3_600


def is_active(downtime: Downtime, now_s: int) -> bool:
    """Whether one of its occurrences holds ``now_s``; its end is after it."""
    length_s, recurrence = downtime.duration * 60, downtime.recurrence
    if now_s < downtime.start:
        return False
    if recurrence is None:
        return now_s < downtime.start + length_s
    begun_s = _last(downtime.start, recurrence, now_s)
    return begun_s is not None and now_s < begun_s + length_s


def _last(start_s: int, recurrence: Recurrence, now_s: int) -> int | None:
    """The latest beginning of an occurrence that is not after ``now_s``; None if there was none before ``until``."""
    end_s = now_s if recurrence.until is None else min(now_s, recurrence.until)
    if end_s < start_s:
        return None
    return _BEFORE[recurrence.type](start_s, recurrence, end_s)


def _by_seconds(unit_s: int) -> Callable[[int, Recurrence, int], int | None]:
    def last(start_s: int, recurrence: Recurrence, end_s: int) -> int | None:
        step_s = unit_s * recurrence.interval
        return start_s + (end_s - start_s) // step_s * step_s

    return last


def _weekly(start_s: int, recurrence: Recurrence, end_s: int) -> int | None:
    """Of each week of the interval those of its days; the week of the start is the first one."""
    start = datetime.fromtimestamp(start_s, UTC)
    days = [_WEEKDAYS.index(name) for name in recurrence.weekdays or (_WEEKDAYS[start.weekday()],)]
    first = start - timedelta(days=start.weekday())
    weeks = int((end_s - first.timestamp()) // (7 * DAY_S))
    begun = None
    last = weeks // recurrence.interval * recurrence.interval
    for week in (last, last - recurrence.interval):
        for day in days:
            at_s = int((first + timedelta(days=7 * week + day)).timestamp())
            if start_s <= at_s <= end_s and (begun is None or at_s > begun):
                begun = at_s
    return begun


def _monthly(months: int) -> Callable[[int, Recurrence, int], int | None]:
    """In a month that lacks the day on its last one, as Mackerel documents of the 31st."""

    def last(start_s: int, recurrence: Recurrence, end_s: int) -> int | None:
        start, end = (datetime.fromtimestamp(time_s, UTC) for time_s in (start_s, end_s))
        step = months * recurrence.interval
        passed = (end.year - start.year) * 12 + end.month - start.month
        for number in (passed // step * step, passed // step * step - step):
            year, month = divmod(start.year * 12 + start.month - 1 + number, 12)
            day = min(start.day, monthrange(year, month + 1)[1])
            at_s = int(start.replace(year=year, month=month + 1, day=day).timestamp())
            if start_s <= at_s <= end_s:
                return at_s
        return None

    return last


_BEFORE: Final = {
    "hourly": _by_seconds(_HOUR_S),
    "daily": _by_seconds(DAY_S),
    "weekly": _weekly,
    "monthly": _monthly(1),
    "yearly": _monthly(12),
}
