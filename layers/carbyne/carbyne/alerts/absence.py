"""Silence: how long nothing arrived from a source, by the clock of arrival and not by the times of samples.

What could not be seen is no silence: while Redis rebuilds, or does not answer, the minutes do not count.
"""

import msgspec

from carbyne.alerts.judging import CRITICAL, OK, WARNING


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """``rows``: of the source, in Redis; ``minute``: of the last arrival, since 1970, moved by the minutes that could
    not be seen."""

    rows: int
    minute: int

    def silent_minutes(self, minute: int) -> int:
        return minute - self.minute


class Bounds(msgspec.Struct, frozen=True):
    """Minutes of silence from which on the status is this one; None: never."""

    warning: int | None
    critical: int | None

    def status_of(self, silent_minutes: int) -> str:
        if self.critical is not None and silent_minutes >= self.critical:
            return CRITICAL
        return WARNING if self.warning is not None and silent_minutes >= self.warning else OK


def listen(before: Heard | None, rows: int | None, minute: int, last_minute: int) -> Heard:
    """After a look at a source; ``rows``: None if it could not be seen; ``last_minute``: of the look before.

    More rows are an arrival; fewer are none, since windows expire.  Minutes without a look are as those that could not
    be seen: as many rows may have expired in them as arrived.  A source that is new is heard now.
    """
    if before is None:
        return Heard(rows or 0, minute)
    unseen = minute - last_minute - (rows is not None)
    if rows is None or rows <= before.rows:
        return Heard(before.rows if rows is None else rows, min(minute, before.minute + max(0, unseen)))
    return Heard(rows, minute)
