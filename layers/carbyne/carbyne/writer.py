"""The writer: one post of an agent onto the stream, acknowledged only when all of it is there.

Samples of a body become rows, rows of a lane become stream records, and the lane is their partition key, so that every
source arrives in order.  A record may be put twice (a call that timed out may have been applied): every later stage
overwrites, so that is harmless, while a lost one is not.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from struct import pack
from typing import Final, Protocol

import msgspec

from carbyne import keys, mackerel, names, records
from carbyne.accounts import BOTH, Accounts
from carbyne.errors import RequestError, RetryableError
from carbyne.http import Request, Response, inflate, json_response, one, skipped_header, span_ms
from carbyne.limits import (
    AHEAD_MS_MAX,
    NAME_BYTES_MAX,
    PUT_BUDGET_S,
    PUT_BYTES_MAX,
    PUT_CALL_S,
    PUT_PAUSE_S,
    PUT_PAUSE_S_MAX,
    PUT_RECORDS_MAX,
    RECORD_RAW_BYTES_MAX,
    ROW_RAW_BYTES_MAX,
    ROW_SERIES_MAX,
)
from carbyne.routes import Call, Route, dispatch

_log = logging.getLogger(__name__)

Entry = tuple[str, bytes]
"""Partition key and data of one stream record."""
PackedRow = tuple[str, int, bytes, bytes]
"""source, ts_ms, series blob, float64 little-endian values."""


class Stream(Protocol):
    """Where records go."""

    def put(self, entries: Sequence[Entry]) -> list[int]:
        """One call for at most PUT_RECORDS_MAX entries of PUT_BYTES_MAX bytes, which takes at most PUT_CALL_S.

        Returns the indexes of the entries that are not acknowledged and may be tried again, all of them if the call
        failed as a whole; such an entry may be on the stream nevertheless.  Raises RetryableError if trying again at
        once can't help.
        """


class Meter(Protocol):
    """Counts what happens."""

    def add(self, name: str, amount: float = 1) -> None: ...
    def flush_due(self) -> None: ...


class Time(msgspec.Struct, frozen=True):
    """``now_ms``: ms since the epoch; ``clock``: monotonic seconds; ``sleep``: seconds; ``random``: 0 to 1."""

    now_ms: Callable[[], int]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]


class Writer:
    """The use case of the function, with what it needs from outside; ``retention_s``: of raw samples."""

    def __init__(self, accounts: Accounts, stream: Stream, retention_s: int, meter: Meter, time: Time) -> None:
        self._accounts = accounts
        self._retention_s = retention_s
        self._stream = stream
        self._meter = meter
        self._time = time
        self._logged: dict[str, int] = {}

    def route(self, request: Request) -> Response:
        """The answer to any request: 200 only when every sample that was not skipped is on the stream."""
        try:
            return dispatch(ROUTES, request, self._accounts, self)
        finally:
            self._meter.flush_due()

    def post_of_hosts(self, call: Call) -> Response:
        """``POST /api/v0/tsdb``: samples of any hosts."""
        return self._store(call.tenant, mackerel.parse(self._admitted(call), self._storable()))

    def post_of_service(self, call: Call) -> Response:
        """``POST /api/v0/services/{service}/tsdb``: samples of one service, which need not be registered."""
        service = names.service(call.parts["service"])
        return self._store(call.tenant, mackerel.parse(self._admitted(call), self._storable(), service))

    def delete(self, call: Call) -> Response:
        """``DELETE /carbyne/v1/samples?source&name&from&to``: see ``deletion``; 200 when it is on the stream."""
        self._put_all([deletion(call, self._time.now_ms())])
        self._meter.add("DeletesAccepted")
        return json_response(200, {"success": True})

    def _admitted(self, call: Call) -> bytes:
        """The body of a post, if the tenant's limits let it in: before anything is done with it."""
        standing = self._accounts.standing(call.tenant)
        if over := standing.over(self._time.now_ms() // 1000):
            self._note_refused(call.tenant, over.limit)
            raise over
        try:
            return inflate(call.request.body, standing.limits.body_bytes)
        except RequestError as error:
            if error.status == 413:
                self._note_refused(call.tenant, "body-bytes")
            raise

    def _note_refused(self, tenant: str, limit: str) -> None:
        """Count it, and log it once a minute: metrics name no tenant."""
        self._meter.add("PostsRefused")
        self._meter.add(f"PostsRefused.{limit}")
        minute = self._time.now_ms() // 60_000
        if self._logged.get(tenant) != minute:
            self._logged[tenant] = minute
            _log.warning("posts of tenant %s are refused: over the limit %s", tenant, limit)

    def _storable(self) -> range:
        return mackerel.storable(self._time.now_ms(), self._retention_s)

    def _store(self, tenant: str, samples: mackerel.Samples) -> Response:
        self._put_all(entries_of(tenant, samples.rows))
        self._count(samples)
        return json_response(200, {"success": True}, skipped_header(samples.skipped))

    def _count(self, samples: mackerel.Samples) -> None:
        self._meter.add("SamplesAccepted", samples.accepted)
        for reason, number in samples.skipped.items():
            self._meter.add("SamplesRejected", number)
            self._meter.add(f"SamplesRejected.{reason}", number)

    def _put_all(self, entries: list[Entry]) -> None:
        """Returns when every entry is acknowledged; RetryableError if that takes longer than PUT_BUDGET_S."""
        deadline_s = self._time.clock() + PUT_BUDGET_S
        left = entries
        for attempt in count():
            left = self._put_once(left, deadline_s)
            if not left:
                return
            pause_s = min(PUT_PAUSE_S_MAX, PUT_PAUSE_S * 2.0**attempt) * self._time.random()
            if not self._has_time_for_a_call(deadline_s - pause_s):
                raise RetryableError(f"{len(left)} of {len(entries)} records not acknowledged within {PUT_BUDGET_S} s")
            self._meter.add("PutRetries", len(left))
            self._time.sleep(pause_s)

    def _put_once(self, entries: list[Entry], deadline_s: float) -> list[Entry]:
        """Tries each entry once while there is time; returns those that are not acknowledged."""
        left: list[Entry] = []
        for call in calls_of(entries):
            failed = self._stream.put(call) if self._has_time_for_a_call(deadline_s) else range(len(call))
            left += [call[index] for index in failed]
        return left

    def _has_time_for_a_call(self, deadline_s: float) -> bool:
        return self._time.clock() + PUT_CALL_S <= deadline_s


ROUTES: Final = (
    Route("POST", "/api/v0/tsdb", BOTH, Writer.post_of_hosts),
    Route("POST", "/api/v0/services/{service}/tsdb", BOTH, Writer.post_of_service),
    Route("DELETE", "/carbyne/v1/samples", BOTH, Writer.delete),
)


def entries_of(tenant: str, rows: mackerel.Rows) -> list[Entry]:
    """Stream records of the rows, by lane."""
    lanes: dict[int, list[PackedRow]] = {}
    for (source, ts_ms), values in rows.items():
        lanes.setdefault(keys.lane_of(tenant, source), []).extend(pack_row(source, ts_ms, values))
    return [
        (keys.lane_tag(lane), data)
        for lane, packed in lanes.items()
        for data in records.pack(tenant, packed, RECORD_RAW_BYTES_MAX)
    ]


def deletion(call: Call, now_ms: int) -> Entry:
    """The stream record of a delete: of the query's ``source`` (``host/<id>`` or ``service/<name>``), one series
    (``name``) or all, from ``from`` to ``to`` (seconds, both included); without these two all that there is.

    RequestError 400 for anything else.
    """
    request = call.request
    if unknown := request.query.keys() - {"source", "name", "from", "to"}:
        raise RequestError(400, f"a delete takes source, name, from and to; got {min(unknown)[:32]!r}")
    source = names.source(one(request, "source"))
    name = one(request, "name") if "name" in request.query else ""
    if len(name.encode()) > NAME_BYTES_MAX:
        raise RequestError(400, f"name has more than {NAME_BYTES_MAX} bytes")
    timed = {"from", "to"} & request.query.keys()
    from_ms, to_ms = span_ms(request) if timed else (0, now_ms + AHEAD_MS_MAX)
    record = records.DeleteRecord(call.tenant, source, name, from_ms, to_ms)
    return keys.lane_tag(keys.lane_of(call.tenant, source)), records.encode(record)


def pack_row(source: str, ts_ms: int, values: Mapping[str, float]) -> Iterator[PackedRow]:
    """The row in as many parts as its size asks for; the same set of series gives the same parts each time."""
    for series in split_series(sorted(values)):
        yield source, ts_ms, keys.join_series(series), pack(f"<{len(series)}d", *(values[name] for name in series))


def split_series(series: list[str]) -> list[list[str]]:
    """2**k parts (less empty ones) by the leading k bits of each key's hash, with the least k for which all fit."""
    if _fits(series):
        return [series]
    hashes = [keys.series_hash(name) for name in series]
    for bits in count(1):
        parts: dict[int, list[str]] = {}
        for name, name_hash in zip(series, hashes, strict=True):
            parts.setdefault(name_hash >> (64 - bits), []).append(name)
        if all(map(_fits, parts.values())):
            break
    return list(parts.values())


def _fits(series: list[str]) -> bool:
    return len(series) <= ROW_SERIES_MAX and sum(map(len, series)) + 9 * len(series) <= ROW_RAW_BYTES_MAX


def calls_of(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """The entries in order, in groups that PutRecords takes."""
    call: list[Entry] = []
    size = 0
    for entry in entries:
        cost = len(entry[0]) + len(entry[1])
        if call and (len(call) == PUT_RECORDS_MAX or size + cost > PUT_BYTES_MAX):
            yield call
            call, size = [], 0
        call.append(entry)
        size += cost
    if call:
        yield call
