"""Puts records onto the stream: done when all of them are acknowledged; only failed ones are retried.

A record may be put twice, since a call that timed out may have been applied.  That is harmless, because every later
stage overwrites.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Protocol

import msgspec

from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.limits import PUT_BUDGET_S, PUT_BYTES_MAX, PUT_CALL_S, PUT_PAUSE_S, PUT_PAUSE_S_MAX, PUT_RECORDS_MAX
from carbyne.stream import records

Entry = tuple[str, bytes]
"""Partition key and data of one stream record."""


class Stream(Protocol):
    """Where records go."""

    def put(self, entries: Sequence[Entry]) -> list[int]:
        """One call for at most PUT_RECORDS_MAX entries of PUT_BYTES_MAX bytes, which takes at most PUT_CALL_S.

        Returns the indexes of the entries that are not acknowledged and may be retried, all of them if the call failed
        as a whole.  Such an entry may be on the stream nevertheless.  Raises RetryableError if an immediate retry
        cannot help.
        """


class Time(msgspec.Struct, frozen=True):
    """``now_ms``: ms since the epoch; ``clock``: monotonic seconds; ``sleep``: seconds; ``random``: 0 to 1."""

    now_ms: Callable[[], int]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]


class Putter:
    """``retried``: called with the number of records that are retried; ``budget_s``: for all tries of one ``put``."""

    def __init__(
        self,
        stream: Stream,
        time: Time,
        retried: Callable[[int], None] = lambda _: None,
        budget_s: float = PUT_BUDGET_S,
    ) -> None:
        self._stream = stream
        self._time = time
        self._retried = retried
        self._budget_s = budget_s

    def put(self, entries: Sequence[Entry], before: Sequence[Entry] = ()) -> None:
        """Returns when every entry is acknowledged; RetryableError if that takes longer than the budget.

        ``before``: entries that the stream must have first.  Of those that are put together one may be refused, and
        come after the others.
        """
        deadline_s = self._time.clock() + self._budget_s
        for some in (before, entries):
            if some:
                self._put_all(some, deadline_s)

    def _put_all(self, entries: Sequence[Entry], deadline_s: float) -> None:
        left = list(entries)
        for attempt in count():
            left = self._put_once(left, deadline_s)
            if not left:
                return
            pause_s = min(PUT_PAUSE_S_MAX, PUT_PAUSE_S * 2.0 ** min(attempt, 30)) * self._time.random()
            if not self._has_time_for_a_call(deadline_s - pause_s):
                raise RetryableError(
                    f"{len(left)} of {len(entries)} records not acknowledged within {self._budget_s} s"
                )
            self._retried(len(left))
            self._time.sleep(pause_s)

    def _put_once(self, entries: Sequence[Entry], deadline_s: float) -> list[Entry]:
        """Tries each entry once while time is left; returns those that are not acknowledged."""
        left: list[Entry] = []
        for call in calls_of(entries, PUT_RECORDS_MAX, PUT_BYTES_MAX):
            failed = self._stream.put(call) if self._has_time_for_a_call(deadline_s) else range(len(call))
            left += [call[index] for index in failed]
        return left

    def _has_time_for_a_call(self, deadline_s: float) -> bool:
        return self._time.clock() + PUT_CALL_S <= deadline_s


def calls_of(entries: Sequence[Entry], records_max: int, bytes_max: int) -> Iterator[list[Entry]]:
    """The entries in order, in groups within both bounds; an entry over ``bytes_max`` is a group of its own."""
    call: list[Entry] = []
    size = 0
    for entry in entries:
        cost = size_of(entry)
        if call and (len(call) == records_max or size + cost > bytes_max):
            yield call
            call, size = [], 0
        call.append(entry)
        size += cost
    if call:
        yield call


def size_of(entry: Entry) -> int:
    """Bytes of a record as Kinesis counts them."""
    return len(entry[0]) + len(entry[1])


def deletion(tenant: str, source: str, series: str, span_ms: tuple[int, int]) -> Entry:
    """The record that deletes what arrived before it: see ``records.DeleteRecord``."""
    record = records.DeleteRecord(tenant, source, series, *span_ms)
    return keys.lane_tag(keys.lane_of(tenant, source)), records.encode(record)
