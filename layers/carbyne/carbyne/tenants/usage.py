"""Limits and usage of a tenant: samples per minute, active series, and its part of a full Redis.

The ingester counts behind the stream, by the minute in which a record arrived there, and adds the counts to the
tenant's item once a minute.  The writer reads the item when it looks up a key, and refuses posts after a minute over
the limit.  So no request waits for a count, and a tenant is stopped a minute or two late.  An instance counts no record
twice: it keeps the sequence number up to which it counted in each lane, so that a batch that is tried again adds
nothing.  What an instance counted and had not written when it ended is lost.

While Redis is nearly full the sealer notes in the same item that a tenant holds more than its share of it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Final, NamedTuple, Protocol

import msgspec

from carbyne.core import labels
from carbyne.core.errors import OverLimitError, RetryableError
from carbyne.core.keys import SourceKey, Window, split_series
from carbyne.core.limits import (
    ACTIVE_SERIES_MAX,
    ADMIT_MINUTES,
    BODY_BYTES_MAX,
    DELETES_PER_MINUTE_MAX,
    DIVISIONS_PER_FLUSH,
    LISTS_REMEMBERED_MAX,
    OLD_WINDOWS_PER_MINUTE_MAX,
    SAMPLES_PER_MINUTE_MAX,
    SERIES_PER_SOURCE_MAX,
    USAGE_MINUTES_KEPT,
    USAGE_TENANTS_PER_FLUSH,
)
from carbyne.tenants.divisions import UNDIVIDED, Division, Divisions, begins_s, divided
from carbyne.tenants.months import MonthCounts, MonthUse, month_of
from carbyne.tenants.sketch import Sketch
from carbyne.tenants.windows import Cadence, Seen, Steps, stepped

MINUTE_S: Final = 60
HOUR_S: Final = 3_600
PAIR_LABELS: Final = ("cluster", "__replica__")
"""The names that Prometheus' and Mimir's documents use."""
MINUTES_LOOKED_AT: Final = 3
"""The current minute and two before it: a look-up may be a minute old, and a minute is counted after its end."""

_log = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True):
    """Of one tenant.  ``active_series``: distinct series with a sample since the beginning of the hour;
    ``old_windows_per_minute``: raw windows that samples older than BACKLOG_FREE_S lie in.  These and deletes are
    counted when they are asked for, the series of a target by each writer, the others behind the stream.
    ``series_per_source``: of labelled series, beyond which their target is divided."""

    samples_per_minute: int = SAMPLES_PER_MINUTE_MAX
    active_series: int = ACTIVE_SERIES_MAX
    body_bytes: int = BODY_BYTES_MAX
    old_windows_per_minute: int = OLD_WINDOWS_PER_MINUTE_MAX
    deletes_per_minute: int = DELETES_PER_MINUTE_MAX
    series_per_source: int = SERIES_PER_SOURCE_MAX


LIMITS: Final = tuple(field.name for field in msgspec.structs.fields(Limits))


class HeldMemory(msgspec.Struct, frozen=True):
    """The bytes that a tenant held of a full shard of Redis in this minute since 1970, and how many it may."""

    used_bytes: int
    allowed_bytes: int
    minute: int


class TakenBody(msgspec.Struct, frozen=True):
    """The place of the last old window of a body that is taken (``intake.pieces``), or of its last target, and the
    minute since 1970 of its last piece."""

    place: int
    minute: int


class Standing(msgspec.Struct, frozen=True):
    """Limits and usage of a tenant.  ``samples``: minute since 1970 -> samples; ``series``: of ``hour`` since 1970;
    ``memory``: None if it never filled Redis; ``pair_labels``: names of the labels that say which pair of senders a
    series came from, and which of the two; ``bodies``: digest -> those that are taken in part; ``steps``: of the
    lengths of its windows; ``divisions``: of its divided targets; ``months``: of the last few, by ``month_of``."""

    limits: Limits = Limits()
    samples: Mapping[int, int] = {}
    series: int = 0
    hour: int = 0
    memory: HeldMemory | None = None
    pair_labels: tuple[str, str] = PAIR_LABELS
    bodies: Mapping[str, TakenBody] = {}
    steps: Steps = ()
    divisions: Divisions = UNDIVIDED
    months: Mapping[int, MonthCounts] = {}

    def samples_at(self, now_s: int) -> int:
        """Samples of the busiest of the last MINUTES_LOOKED_AT minutes."""
        minute = now_s // MINUTE_S
        return max(self.samples.get(minute - back, 0) for back in range(MINUTES_LOOKED_AT))

    def series_at(self, now_s: int) -> int:
        return self.series if self.hour == now_s // HOUR_S else 0

    def over_rate(self, now_s: int) -> OverLimitError | None:
        """The error for a post of samples whose series are looked at one by one; None if it is within the limits."""
        if (samples := self.samples_at(now_s)) > self.limits.samples_per_minute:
            return OverLimitError("samples-per-minute", samples, self.limits.samples_per_minute)
        if (memory := self.memory) and now_s // MINUTE_S - memory.minute <= ADMIT_MINUTES:
            return OverLimitError("redis-memory", memory.used_bytes, memory.allowed_bytes)
        return None

    def over(self, now_s: int) -> OverLimitError | None:
        """The error for any other post of samples; None if it is within the limits."""
        if error := self.over_rate(now_s):
            return error
        if (series := self.series_at(now_s)) > self.limits.active_series:
            return OverLimitError("active-series", series, self.limits.active_series)
        return None


class UsedRow(NamedTuple):
    """A stored row: its series list (``keys.join_series``) and identity, the samples that it counts as, when its record
    arrived, its sequence number, its time, the samples that it has, and its window."""

    source: SourceKey
    identity: bytes
    series: bytes
    samples: int
    arrived_s: float
    sequence: int
    ts_ms: int
    values: int
    window: Window


class Counted(NamedTuple):
    """What a tenant's item says of its series: a sketch's registers, their hour since 1970, how often they come, how
    many a source may have, and which targets are divided."""

    registers: bytes
    hour: int
    seen: Seen = Seen()
    series_per_source: int = SERIES_PER_SOURCE_MAX
    divisions: Divisions = UNDIVIDED


NamesIn = Callable[[SourceKey, Window], Collection[bytes]]
"""The series that a source is known to have in a window."""


def no_names(source: SourceKey, window: Window) -> Collection[bytes]:
    """Where no target is divided."""
    return ()


class UsageStore(Protocol):
    """The tenants' items; all methods raise RetryableError."""

    def add(self, tenant: str, samples: Mapping[int, int], use: MonthUse) -> Counted | None:
        """Add samples by minute, and to a month; returns the series of the item, None if there is no such tenant."""

    def put_series(self, tenant: str, counted: Counted, estimate: int) -> None:
        """Replace the series of the item."""

    def put_seen(self, tenant: str, seen: Seen, before: Seen) -> None:
        """Replace how often its labelled series come, if that is still as before."""

    def put_divisions(
        self, tenant: str, source: str, divisions: tuple[Division, ...], before: tuple[Division, ...]
    ) -> None:
        """Replace the divisions of a target, if they are still as before."""


class _Use:
    """Usage of one tenant since it was last written."""

    def __init__(self) -> None:
        self.samples: Counter[int] = Counter()
        self.month: Counter[str] = Counter()
        self.sketch = Sketch()
        self.cadence = Cadence()
        self.large = LargeSources()
        self.written_minute = 0


class LargeSources:
    """Labelled sources of a tenant that had more series in a window than one should have.

    They are looked at again when they have an eighth more, as telling their names apart takes long.
    """

    def __init__(self) -> None:
        self.per_source = SERIES_PER_SOURCE_MAX
        self._windows: dict[SourceKey, Window] = {}
        self._looked_at: dict[SourceKey, int] = {}

    def note(self, source: SourceKey, window: Window, series: int) -> None:
        """Keep a source with so many series, unless it was looked at."""
        if series > self._looked_at.get(source, self.per_source):
            self._windows[source] = window

    def take(self) -> list[tuple[SourceKey, Window]]:
        """Some of them, each once."""
        return [(source, self._windows.pop(source)) for source in list(islice(self._windows, DIVISIONS_PER_FLUSH))]

    def suffices(self, source: SourceKey, series: int) -> None:
        """The source needs no further division with so many series."""
        self._looked_at[source] = max(self.per_source, series + series // 8)


class Usage:
    """Counts of one instance of the ingester; ``now_s``: the clock; ``usual_s``: the usual length of raw windows;
    ``names_in``: what Redis was given."""

    def __init__(
        self, store: UsageStore, now_s: Callable[[], float], usual_s: int, names_in: NamesIn = no_names
    ) -> None:
        self._store = store
        self._now_s = now_s
        self._usual_s = usual_s
        self._names_in = names_in
        self._tenants: dict[str, _Use] = {}
        self._lists: set[int] = set()
        self._counted: dict[int, int] = {}
        self._hour = 0

    def take(self, rows: Iterable[UsedRow]) -> None:
        """Write what is due, then count rows, which is written by a later call.

        So nothing is written of a batch whose call died before its answer: it comes again, and is counted then.
        """
        self._turn_hour()
        minute = int(self._now_s()) // MINUTE_S
        self._write_due(minute)
        counted = dict(self._counted)
        for row in rows:
            lane = row.source.lane
            if row.sequence > counted.get(lane, -1):
                self._counted[lane] = max(row.sequence, self._counted.get(lane, -1))
                self._count(row, minute - USAGE_MINUTES_KEPT)

    def _count(self, row: UsedRow, after_minute: int) -> None:
        use = self._tenants.setdefault(row.source.tenant, _Use())
        minute, is_labelled = int(row.arrived_s) // MINUTE_S, labels.is_labelled(row.source.source)
        if minute > after_minute:
            use.samples[minute] += row.samples
            if is_labelled:
                use.cadence.note(row.source.source, row.ts_ms, row.samples)
        if is_labelled:
            use.large.note(row.source, row.window, len(self._names_in(row.source, row.window)))
        use.month["samples"] += row.values
        use.month["rows"] += 1
        known = hash((row.source, row.identity))
        if known not in self._lists:
            self._remember(known)
            whole = labels.whole_of(row.source.source)  # or a series would count twice in the hour of a division
            for name in split_series(row.series):
                use.sketch.add(f"{whole}\n{name}".encode())

    def _write_due(self, minute: int) -> None:
        due = [name for name, use in self._tenants.items() if use.month and use.written_minute < minute]
        for tenant in due[:USAGE_TENANTS_PER_FLUSH]:
            self._tenants[tenant].written_minute = minute
            try:
                self._write(tenant, self._tenants[tenant])
            except RetryableError as error:
                _log.warning("usage of %s may not be counted: %s", tenant, error)
                return  # each of the others would take as long

    def _write(self, tenant: str, use: _Use) -> None:
        """Samples are added once at most: what fails may have been applied, and to add it again would refuse posts."""
        samples, use.samples = use.samples, Counter()
        month, use.month = use.month, Counter()
        counted = self._store.add(tenant, samples, MonthUse(month_of(self._now_s()), month))
        if counted is None:
            return
        if counted.hour == self._hour:
            use.sketch.merge(counted.registers)
        mine = Counted(use.sketch.registers, self._hour, counted.seen)
        if mine != counted:
            self._store.put_series(tenant, mine, use.sketch.estimate)
        self._write_seen(tenant, use, counted.seen)
        self._divide(tenant, use.large, counted)

    def _write_seen(self, tenant: str, use: _Use, before: Seen) -> None:
        """Note how often labelled series come, and what follows for their windows."""
        often, use.cadence = use.cadence.often, Cadence()
        if often is None:
            return
        seen = stepped(before, int(self._now_s()), self._usual_s, often=often)
        if seen != before:
            self._store.put_seen(tenant, seen, before)

    def _divide(self, tenant: str, large: LargeSources, counted: Counted) -> None:
        """Store divisions of targets of which a source has too many series."""
        large.per_source = counted.series_per_source
        known, from_s = dict(counted.divisions), begins_s(int(self._now_s()))
        for source, window in large.take():
            names, whole = self._names_in(source, window), labels.whole_of(source.source)
            before = known.get(whole, ())
            known[whole] = divided(before, names, large.per_source, from_s)
            if known[whole] != before:
                self._store.put_divisions(tenant, whole, known[whole], before)
            else:
                large.suffices(source, len(names))

    def _remember(self, known: int) -> None:
        if len(self._lists) >= LISTS_REMEMBERED_MAX:
            self._lists.clear()
        self._lists.add(known)

    def _turn_hour(self) -> None:
        """At a new hour all counts of series start again; tenants that were quiet for an hour are forgotten."""
        hour = int(self._now_s()) // HOUR_S
        if hour != self._hour:
            self._hour = hour
            self._lists.clear()
            self._tenants = {name: use for name, use in self._tenants.items() if use.month}
            for use in self._tenants.values():
                use.sketch, use.large = Sketch(), LargeSources()
