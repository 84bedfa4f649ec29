"""The writer: one post of an agent onto the stream, acknowledged only when all of it is there.

Samples of a body become rows, rows of a lane become stream records, and the lane is their partition key, so that every
source arrives in order.  A record may be put twice (a call that timed out may have been applied): every later stage
overwrites, so that is harmless, while a lost one is not.
"""

import logging
from collections.abc import Iterator, Mapping
from itertools import count
from struct import pack
from typing import Final

from carbyne.core import keys, names
from carbyne.core.errors import RequestError
from carbyne.core.limits import NAME_BYTES_MAX, RECORD_RAW_BYTES_MAX, ROW_RAW_BYTES_MAX, ROW_SERIES_MAX
from carbyne.core.meter import Meter
from carbyne.http.answers import DONE, Success
from carbyne.http.message import Request, Response, inflate, json_response, one, skipped_header, span_ms
from carbyne.http.routes import SKIPPED, Call, Parameter, Route, Seconds, Text, dispatch
from carbyne.intake import mackerel
from carbyne.stream import records
from carbyne.stream.putter import Entry, Putter, Stream, Time, deletion
from carbyne.tenants.accounts import BOTH, Accounts

_log = logging.getLogger(__name__)

PackedRow = tuple[str, int, bytes, bytes]
"""source, ts_ms, series blob, float64 little-endian values."""


class Writer:
    """The use case of the function, with what it needs from outside; ``retention_s``: of raw samples."""

    def __init__(self, accounts: Accounts, stream: Stream, retention_s: int, meter: Meter, time: Time) -> None:
        self._accounts = accounts
        self._retention_s = retention_s
        self._putter = Putter(stream, time, lambda number: meter.add("PutRetries", number))
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

    def delete(self, call: Call) -> Success:
        """``DELETE /carbyne/v1/samples?source&name&from&to``: see ``deletion_of``; 200 when it is on the stream."""
        self._putter.put([deletion_of(call)])
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
        self._putter.put(entries_of(tenant, samples.rows))
        self._count(samples)
        return json_response(200, DONE, skipped_header(samples.skipped))

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
        headers=SKIPPED,
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
