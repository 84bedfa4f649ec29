"""From the stream into the hot tier: a batch of records, one script call for each lane, then the deletes.

A batch is worked off in portions of bounded cost.  When little time is left the rest is reported as not done: Lambda
sends it again, and no call is killed in the middle of the same work each time.  The first portion is always tried.

Two kinds of failure are never mixed.  A corrupt record is put into the failure store with its reason and counts as
done.  Anything else leaves its records in the stream: the batch goes on from the lowest sequence number that failed.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from math import inf
from typing import NamedTuple, Protocol

from carbyne.core import labels, stamps
from carbyne.core.errors import CorruptDataError, RetryableError, UnknownVersionError
from carbyne.core.keys import SourceKey, Window, list_identity, split_series
from carbyne.core.limits import (
    DELETE_COST_US,
    FACT_COST_US,
    INGEST_RESERVE_S,
    LATE_MARGIN_S,
    LATE_ROW_SAMPLES,
    LISTS_REMEMBERED_MAX,
    PORTION_COST_US_MAX,
    RECORD_BYTES_PER_US,
    ROW_COST_US,
    WINDOW_COST_US,
)
from carbyne.core.meter import Meter
from carbyne.hot.late import LateGroups
from carbyne.hot.outcomes import HotWriter, LaneOutcome
from carbyne.samples.markers import Marker
from carbyne.samples.rows import HotRow, RowGroup
from carbyne.samples.schedule import RawTimes
from carbyne.stream import records
from carbyne.stream.arrived import Arrived
from carbyne.tenants.usage import Usage, UsedRow
from carbyne.tenants.windows import RawLengths

_log = logging.getLogger(__name__)


class DeleteLog(Protocol):
    """Notes deletes, each with when it came to the stream; RetryableError if it can't."""

    def note(self, source: SourceKey, marker: Marker, arrived_ms: int) -> LaneOutcome | None: ...


class LateWriter(Protocol):
    """Notes rows of windows that were past when their record arrived; the sources for which that failed, RetryableError
    if it did for all."""

    def put(self, groups: LateGroups) -> Mapping[SourceKey, RetryableError]: ...


class FactsLog(Protocol):
    """Keeps what rows don't say of labelled series, and which names are in the keys of a source's ``series``;
    RetryableError if it can't."""

    def note(
        self,
        tenant: str,
        targets: Mapping[str, str],
        metrics: Mapping[str, tuple[str, str, str]],
        series: Mapping[str, Set[str]],
    ) -> None: ...


class RecordQuarantine(Protocol):
    """Keeps a corrupt record with its reason, under its stamp; RetryableError if it can't."""

    def put(self, stamp: bytes, data: bytes, reason: str) -> None: ...


class _Arrival(NamedTuple):
    """A row of a window, out of the record with this number; ``redriven``: it arrived long before; ``late``: its window
    was past by then."""

    number: int
    source: SourceKey
    window: Window
    row: HotRow
    redriven: bool
    late: bool


class _Delete(NamedTuple):
    number: int
    source: SourceKey
    marker: Marker


class _Facts(NamedTuple):
    number: int
    record: records.FactsRecord


class _Said:
    """What a portion says of one tenant's labelled series, and the numbers of the records that wait for it."""

    def __init__(self) -> None:
        self.targets: dict[str, str] = {}
        self.metrics: dict[str, records.Metric] = {}
        self.series: dict[str, set[str]] = {}
        self.lists: set[int] = set()
        self.numbers: set[int] = set()


_Content = list[_Arrival] | _Delete | _Facts


class _Portion:
    """Some successive records: ``failed``: numbers of those that can't be judged now; ``end``: the number after the
    last one, 0 if it has none."""

    def __init__(self) -> None:
        self.arrivals: list[_Arrival] = []
        self.deletes: list[_Delete] = []
        self.facts: list[_Facts] = []
        self.failed: set[int] = set()
        self.cost_us = 0
        self.end = 0

    def add(self, content: _Content | None, number: int, cost_us: int) -> None:
        """Add what record ``number`` says; None if that can't be judged now."""
        if content is None:
            self.failed.add(number)
        elif isinstance(content, _Delete):
            self.deletes.append(content)
        elif isinstance(content, _Facts):
            self.facts.append(content)
        else:
            self.arrivals += content
        self.cost_us += cost_us
        self.end = number + 1


class RecordSinks(NamedTuple):
    """Where the content of records goes: rows into Redis, deletes, late rows, facts, and corrupt records."""

    hot: HotWriter
    deletes: DeleteLog
    late: LateWriter
    facts: FactsLog
    quarantine: RecordQuarantine


class Ingester:
    """``epoch``: of the stream; ``lengths``: of the windows of each source; ``usage``: counts what tenants send, None
    where another function has counted it."""

    def __init__(
        self,
        sinks: RecordSinks,
        tenant_exists: Callable[[str], bool],
        epoch: int,
        times: RawTimes,
        lengths: RawLengths,
        meter: Meter,
        usage: Usage | None = None,
    ) -> None:
        self._hot, self._deletes, self._late, self._facts, self._quarantine = sinks
        self._listed: set[int] = set()
        self._tenant_exists = tenant_exists
        self._epoch = epoch
        self._times = times
        self._lengths = lengths
        self._meter = meter
        self._usage = usage

    def ingest(self, entries: Sequence[Arrived], seconds_left: Callable[[], float] = lambda: inf) -> str | None:
        """Store a batch in stream order; the lowest sequence number that is not done, None if all are.

        ``seconds_left``: of this call; no portion but the first is begun with less than INGEST_RESERVE_S.
        """
        failed: set[int] = set()
        arrivals: list[_Arrival] = []
        arrived_ms = [int(1000 * entry.arrived_s) for entry in entries]
        behind: set[str] = set()
        tried = 0
        for portion in self._portions(entries):
            if tried and seconds_left() < INGEST_RESERVE_S:
                _log.warning("out of time: %d of %d records wait for the next call", len(entries) - tried, len(entries))
                failed.add(tried)
                break
            failed |= portion.failed | self._store_portion(portion, arrived_ms, behind)
            failed |= self._delete(portion.deletes, arrived_ms)
            arrivals += portion.arrivals
            tried = portion.end
        if self._usage:
            done = entries[: min(failed, default=len(entries))]  # what follows comes again
            used = (arrival for arrival in arrivals if arrival.number < len(done) and not arrival.redriven)
            self._usage.take(_used(arrival, done[arrival.number]) for arrival in used)
        self._meter.add("RecordsIngested", tried - len([number for number in failed if number < tried]))
        self._meter.flush_due()
        return min((entries[number].sequence for number in failed), key=int, default=None)

    def _portions(self, entries: Sequence[Arrived]) -> Iterator[_Portion]:
        """The records in order, in portions that cost about PORTION_COST_US_MAX at most, or of one record."""
        portion = _Portion()
        content: _Content | None
        for number, entry in enumerate(entries):
            try:
                content = self._content(number, entry)
            except (RetryableError, UnknownVersionError) as error:
                _log.warning("record %s stays in the stream: %s", entry.sequence, error)
                content = None
            cost_us = self._cost_us(entry, content)
            if portion.end and portion.cost_us + cost_us > PORTION_COST_US_MAX:
                yield portion
                portion = _Portion()
            portion.add(content, number, cost_us)
        if portion.end:
            yield portion

    def _cost_us(self, entry: Arrived, content: _Content | None) -> int:
        """About what it costs to store a record: see the bounds."""
        if isinstance(content, _Delete):
            return DELETE_COST_US
        if isinstance(content, _Facts):
            return FACT_COST_US * (len(content.record.targets) + len(content.record.metrics))
        rows = content or []
        windows = {(arrival.source, arrival.window) for arrival in rows}
        named = {
            row.source for row in rows if labels.is_labelled(row.source.source) and _list_of(row) not in self._listed
        }
        rows_us = WINDOW_COST_US * len(windows) + ROW_COST_US * len(rows) + FACT_COST_US * len(named)
        return rows_us + len(entry.data) // RECORD_BYTES_PER_US

    def _content(self, number: int, entry: Arrived) -> _Content:
        """What a record says: nothing if it is corrupt and now quarantined."""
        stamp = stamps.pack(self._epoch, entry.sequence)
        try:
            record = records.decode(entry.data)
            if isinstance(record, records.RedrivenRecord):
                return self._said(number, records.decode(record.data), record.stamp, entry.arrived_s, redriven=True)
            return self._said(number, record, stamp, entry.arrived_s, redriven=False)
        except UnknownVersionError:
            raise
        except CorruptDataError as error:
            _log.error("record %s is set aside: %s", entry.sequence, error)
            self._quarantine.put(stamp, entry.data, str(error))
            self._meter.add("RecordsQuarantined", 1)
            return []

    def _said(self, number: int, record: records.Record, stamp: bytes, arrived_s: float, *, redriven: bool) -> _Content:
        """The rows of a record, or the delete or the facts that it is; CorruptDataError if the tenant is unknown."""
        if isinstance(record, records.RedrivenRecord):
            raise CorruptDataError("a redriven record within a redriven record")
        if isinstance(record, records.FenceRecord):
            return []
        if not self._tenant_exists(record.tenant):
            raise CorruptDataError(f"unknown tenant {record.tenant!r}")
        if isinstance(record, records.DeleteRecord):
            marker = Marker(stamp, record.series, record.from_ms, record.to_ms)
            return _Delete(number, SourceKey(record.tenant, record.source), marker)
        if isinstance(record, records.FactsRecord):
            return _Facts(number, record)
        sources = {row.source: SourceKey(record.tenant, row.source) for row in record.rows}
        lists = [(list_identity(blob), blob) for blob in record.lists]
        rows = self._kept(record.rows) if redriven else record.rows
        windows = [self._lengths.window(sources[row.source], row.ts_ms) for row in rows]
        return [
            _Arrival(
                number,
                sources[row.source],
                window,
                HotRow(row.ts_ms, *lists[row.series], stamp, row.values),
                redriven,
                self._is_late(window, arrived_s),
            )
            for row, window in zip(rows, windows, strict=True)
        ]

    def _is_late(self, window: Window, arrived_s: float) -> bool:
        """By when the record arrived in the stream: the ingester may lag, and a replay puts each row where it was."""
        return self._times.schedule.is_past(window, int(arrived_s * 1000))

    def _kept(self, rows: Sequence[records.Row]) -> list[records.Row]:
        """Those that a writer would take today: to merge others would wipe their rollups."""
        oldest_ms = self._times.now_ms() - (self._times.retention_s - LATE_MARGIN_S) * 1000
        kept = [row for row in rows if row.ts_ms >= oldest_ms]
        self._meter.add("RowsTooOld", len(rows) - len(kept))
        return kept

    def _store_portion(self, portion: _Portion, arrived_ms: Sequence[int], behind: set[str]) -> set[int]:
        """Write the rows and keep the facts; the numbers of the records of which something failed.

        Rows that wait for facts, or for names, come after those, and nothing else waits for them.  ``behind``: tenants
        whose facts wait, to which those of this portion are added; all labelled rows of theirs wait too.
        """
        said = self._said_of(portion, behind)
        waiting = {number for of_tenant in said.values() for number in of_tenant.numbers}
        failed = self._store([arrival for arrival in portion.arrivals if arrival.number not in waiting], arrived_ms)
        unknown = self._note_facts(said, behind)
        known = waiting - unknown
        stored = self._store([arrival for arrival in portion.arrivals if arrival.number in known], arrived_ms)
        return failed | unknown | stored

    def _note_facts(self, tenants: Mapping[str, _Said], behind: set[str]) -> set[int]:
        """Keep facts and new names; the numbers of records for which that failed."""
        failed: set[int] = set()
        for tenant, said in tenants.items():
            if tenant in behind:
                failed |= said.numbers
                continue
            try:
                self._facts.note(tenant, said.targets, said.metrics, said.series)
                self._listed |= said.lists
            except RetryableError as error:
                _log.warning("facts of %s wait: %s", tenant, error)
                behind.add(tenant)
                failed |= said.numbers
        if len(self._listed) > LISTS_REMEMBERED_MAX:
            self._listed.clear()
        return failed

    def _said_of(self, portion: _Portion, behind: Set[str]) -> dict[str, _Said]:
        tenants: defaultdict[str, _Said] = defaultdict(_Said)
        for number, record in portion.facts:
            said = tenants[record.tenant]
            said.targets |= record.targets
            said.metrics |= record.metrics
            said.numbers.add(number)
        for arrival in portion.arrivals:
            tenant, source = arrival.source
            if not labels.is_labelled(source):
                continue
            if (known := _list_of(arrival)) not in self._listed:
                said = tenants[tenant]
                said.series.setdefault(source, set()).update(split_series(arrival.row.series))
                said.lists.add(known)
            if tenant in tenants or tenant in behind:
                tenants[tenant].numbers.add(arrival.number)
        return tenants

    def _delete(self, deletes: Iterable[_Delete], arrived_ms: Sequence[int]) -> set[int]:
        """Note deletes; the numbers of the records that could not be, and of those behind the first of them: a store
        that is away would take the time of the whole call."""
        failed: set[int] = set()
        for number, source, marker in deletes:
            if failed:
                failed.add(number)
                continue
            try:
                self._note(source.lane, self._deletes.note(source, marker, arrived_ms[number]))
                self._meter.add("Deletes", 1)
            except RetryableError as error:
                _log.warning("a delete of %s waits: %s", source.path, error)
                failed.add(number)
        return failed

    def _store(self, arrivals: Sequence[_Arrival], arrived_ms: Sequence[int]) -> set[int]:
        """Write the rows; the numbers of the records of which a lane failed, or the late rows of a source."""
        late = [arrival for arrival in arrivals if arrival.late]
        groups, members = self._grouped([arrival for arrival in arrivals if not arrival.late], arrived_ms)
        lanes: dict[int, list[RowGroup]] = {}
        for group in groups:
            lanes.setdefault(group.source.lane, []).append(group)
        failed = self._store_late(late) if late else set()
        for lane, outcome in self._hot.write(lanes).items() if lanes else ():
            if isinstance(outcome, RetryableError):
                _log.warning("lane %d is not written: %s", lane, outcome)
                failed |= members[lane]
                continue
            self._meter.add("RowsStored", outcome.stored)
            self._note(lane, outcome)
        return failed

    def _store_late(self, arrivals: Sequence[_Arrival]) -> set[int]:
        """Note late rows; the numbers of the records of sources that failed."""
        groups: dict[tuple[SourceKey, Window], list[HotRow]] = {}
        for arrival in arrivals:
            groups.setdefault((arrival.source, arrival.window), []).append(arrival.row)
        try:
            failed = self._late.put(groups)
        except RetryableError as error:
            _log.warning("%d late rows wait: %s", len(arrivals), error)
            return {arrival.number for arrival in arrivals}
        self._meter.add("RowsLate", len(arrivals))
        for source, reason in failed.items():
            _log.warning("late rows of %s wait: %s", source.path, reason)
        return {arrival.number for arrival in arrivals if arrival.source in failed}

    def _note(self, lane: int, outcome: LaneOutcome | None) -> None:
        if outcome and outcome.lost:
            _log.error("lane %d has lost its state or its tail: it is rebuilding until it is replayed", lane)
            self._meter.add("LanesLost", 1)

    def _grouped(
        self, arrivals: Iterable[_Arrival], arrived_ms: Sequence[int]
    ) -> tuple[list[RowGroup], dict[int, set[int]]]:
        """Groups with each (source, ts, list) once, of its highest stamp, and the record numbers behind each lane."""
        now_ms = self._times.now_ms()
        groups: dict[tuple[SourceKey, Window], dict[tuple[int, bytes], HotRow]] = {}
        members: dict[int, set[int]] = {}
        first: dict[tuple[SourceKey, Window], int] = {}
        old: set[tuple[SourceKey, Window]] = set()
        for number, source, window, row, redriven, _ in arrivals:
            members.setdefault(source.lane, set()).add(number)
            rows = groups.setdefault((source, window), {})
            first.setdefault((source, window), arrived_ms[number])
            if redriven:
                old.add((source, window))
            identity = row.ts_ms, row.identity
            if identity not in rows or rows[identity].stamp < row.stamp:
                rows[identity] = row
        return [
            RowGroup(
                source,
                window,
                due_ms=self._times.schedule.due_ms(source, window, now_ms),
                fresh=(source, window) not in old and self._times.schedule.is_fresh(window, now_ms),
                rows=list(rows.values()),
                arrived_ms=first[source, window],
            )
            for (source, window), rows in groups.items()
        ], members


def _list_of(arrival: _Arrival) -> int:
    """Stands for the source and its list of series."""
    return hash((arrival.source, arrival.row.identity))


def _used(arrival: _Arrival, entry: Arrived) -> UsedRow:
    row = arrival.row
    values = len(row.values) // 8
    samples = max(values, LATE_ROW_SAMPLES if arrival.late else 0)
    counted = samples, entry.arrived_s, int(entry.sequence), row.ts_ms, values
    return UsedRow(arrival.source, row.identity, row.series, *counted, arrival.window)
