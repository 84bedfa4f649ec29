"""The writer: one post of an agent onto the stream, acknowledged only when all of it is there.

Samples of a body become rows, rows of a lane become stream records, and the lane is their partition key, so that every
source arrives in order.  A record may be put twice (a call that timed out may have been applied): every later stage
overwrites, so that is harmless, while a lost one is not.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from struct import pack
from typing import Final, NamedTuple, Protocol

from carbyne.core import keys, names
from carbyne.core.errors import OverLimitError, RequestError
from carbyne.core.limits import (
    BACKLOG_FREE_S,
    MARKERS_PER_SOURCE_MAX,
    NAME_BYTES_MAX,
    OLD_WINDOWS_PER_BODY_MAX,
    RECORD_RAW_BYTES_MAX,
    ROW_RAW_BYTES_MAX,
    ROW_SERIES_MAX,
)
from carbyne.core.meter import Meter
from carbyne.http.answers import DONE, Success
from carbyne.http.message import Request, Response, inflate, json_response, one, skipped_header, span_ms
from carbyne.http.routes import SKIPPED, Call, Parameter, Route, Seconds, Text, dispatch
from carbyne.intake import mackerel
from carbyne.intake.host_watch import UNKNOWN_HOSTS_HEADER, HostWatch
from carbyne.stream import records
from carbyne.stream.putter import Entry, Putter, Stream, Time, deletion
from carbyne.tenants.accounts import BOTH, Accounts

_log = logging.getLogger(__name__)

PackedRow = tuple[str, int, bytes, bytes]
"""source, ts_ms, series blob, float64 little-endian values."""


class DeletesOfSource(Protocol):
    """How many deletes of a source are kept; RetryableError if the table can't be asked."""

    def of(self, source: keys.SourceKey) -> int: ...


class RawWindows(NamedTuple):
    """``length_s``: of a raw window; ``retention_s``: how long its samples are kept."""

    length_s: int
    retention_s: int


class Writer:
    """The use case of the function, with what it needs from outside; ``hosts``: None where posts are not compared with
    the registry."""

    def __init__(
        self,
        accounts: Accounts,
        stream: Stream,
        deletes: DeletesOfSource,
        windows: RawWindows,
        meter: Meter,
        time: Time,
        hosts: HostWatch | None = None,
    ) -> None:
        self._accounts = accounts
        self._deletes = deletes
        self._windows = windows
        self._putter = Putter(stream, time, lambda number: meter.add("PutRetries", number))
        self._meter = meter
        self._time = time
        self._hosts = hosts
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

    def delete(self, call: Call) -> Success:
        """``DELETE /carbyne/v1/samples?source&name&from&to``: see ``deletion_of``; 200 when it is on the stream.

        RequestError 400 for a source with MARKERS_PER_SOURCE_MAX deletes: here, as what was accepted is never dropped.
        """
        entry = deletion_of(call)
        self._spend(call.tenant, "deletes_per_minute", 1)
        source = keys.SourceKey(call.tenant, one(call.request, "source"))
        if (number := self._deletes.of(source)) >= MARKERS_PER_SOURCE_MAX and not _is_of_all(call.request):
            raise RequestError(
                400,
                f"{source.source} has {number} deletes of single series or spans, and can have no more; delete a wider"
                " span: one without name, from and to takes the place of all of them",
            )
        self._putter.put([entry])
        self._meter.add("DeletesAccepted")
        return DONE

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

    def _spend(self, tenant: str, limit: str, number: int) -> None:
        """Count what a request asks for; OverLimitError if the tenant may not have it in this minute."""
        try:
            self._accounts.spend(tenant, limit, self._time.now_ms() // 1000, number)
        except OverLimitError as over:
            self._note_refused(tenant, over.limit)
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
        return mackerel.storable(self._time.now_ms(), self._windows.retention_s)

    def _store(self, tenant: str, samples: mackerel.Samples) -> Response:
        self._spend_old(tenant, samples.rows)
        self._putter.put(entries_of(tenant, samples.rows))
        self._count(samples)
        return json_response(200, DONE, {**skipped_header(samples.skipped), **self._unknown_hosts(tenant, samples)})

    def _unknown_hosts(self, tenant: str, samples: mackerel.Samples) -> dict[str, str]:
        """The header that names hosts which are not registered; their samples are stored and counted."""
        sizes: Counter[str] = Counter()
        for (source, _), values in samples.rows.items():
            kind, _, host_id = source.partition("/")
            if kind == "host":
                sizes[host_id] += len(values)
        if not self._hosts or not sizes:
            return {}
        unknown = self._hosts.unknown(tenant, sizes)
        if unknown.hosts:
            self._meter.add("SamplesOfUnknownHosts", sum(sizes[host_id] for host_id in unknown.hosts))
        return unknown.header

    def _spend_old(self, tenant: str, rows: mackerel.RowsByTime) -> None:
        """Count the windows of samples that are older than any agent's backlog: each is merged into a block of its own.

        RequestError 413 for more than a post may have, OverLimitError for more than the tenant may in this minute.
        """
        oldest_ms = self._time.now_ms() - BACKLOG_FREE_S * 1000
        length_ms = self._windows.length_s * 1000
        old = {(source, ts_ms // length_ms) for source, ts_ms in rows if ts_ms < oldest_ms}
        if len(old) > OLD_WINDOWS_PER_BODY_MAX:
            self._note_refused(tenant, "old-windows-per-body")
            raise RequestError(
                413,
                f"samples older than {BACKLOG_FREE_S // 3600} h lie in {len(old)} windows of"
                f" {self._windows.length_s} s; send at most {OLD_WINDOWS_PER_BODY_MAX} at once",
            )
        if old:
            self._spend(tenant, "old_windows_per_minute", len(old))

    def _count(self, samples: mackerel.Samples) -> None:
        self._meter.add("SamplesAccepted", samples.accepted)
        for reason, number in samples.skipped.items():
            self._meter.add("SamplesRejected", number)
            self._meter.add(f"SamplesRejected.{reason}", number)


ROUTES: Final = (
    Route(
        "POST",
        "/api/v0/tsdb",
        BOTH,
        "Store samples of hosts",
        Success,
        Writer.post_of_hosts,
        body=list[mackerel.Sample],
        headers={
            **SKIPPED,
            UNKNOWN_HOSTS_HEADER: "Hosts that are not registered, or retired; their samples are stored",
        },
    ),
    Route(
        "POST",
        "/api/v0/services/{service}/tsdb",
        BOTH,
        "Store samples of a service",
        Success,
        Writer.post_of_service,
        body=list[mackerel.SampleOfService],
        headers=SKIPPED,
    ),
    Route(
        "DELETE",
        "/carbyne/v1/samples",
        BOTH,
        "Delete what was posted before of a source",
        Success,
        Writer.delete,
        parameters=(
            Parameter("source", Text, "`host/<id>` or `service/<name>`", required=True),
            Parameter("name", Text, "Of the metric; without it all of the source's"),
            Parameter("from", Seconds, "Seconds since 1970; without `from` and `to` all that there is"),
            Parameter("to", Seconds, "Seconds since 1970, not before `from`, and included"),
        ),
    ),
)


def entries_of(tenant: str, rows: mackerel.RowsByTime) -> list[Entry]:
    """Stream records of the rows, by lane."""
    lanes: dict[int, list[PackedRow]] = {}
    for (source, ts_ms), values in rows.items():
        lanes.setdefault(keys.lane_of(tenant, source), []).extend(pack_row(source, ts_ms, values))
    return [
        (keys.lane_tag(lane), data)
        for lane, packed in lanes.items()
        for data in records.pack(tenant, packed, RECORD_RAW_BYTES_MAX)
    ]


def deletion_of(call: Call) -> Entry:
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
    return deletion(call.tenant, source, name, span_ms(request) if timed else records.ALL_TIME_MS)


def _is_of_all(request: Request) -> bool:
    """Whether a delete names neither series nor span."""
    return request.query.keys() == {"source"}


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
