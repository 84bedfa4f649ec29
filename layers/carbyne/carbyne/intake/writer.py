"""The writer: one post of an agent onto the stream, acknowledged only when all of it is there.

Samples of a body become rows, rows of a lane become stream records, and the lane is their partition key, so that every
source arrives in order.  A record may be put twice (a call that timed out may have been applied): every later stage
overwrites, so that is harmless, while a lost one is not.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from carbyne.core import keys, names
from carbyne.core.errors import OverLimitError, RequestError, RetryableError
from carbyne.core.limits import MARKERS_PER_SOURCE_MAX, NAME_BYTES_MAX
from carbyne.core.meter import Meter
from carbyne.http.agents import HandOn
from carbyne.http.answers import DONE, Success
from carbyne.http.message import (
    Request,
    Response,
    error_response,
    inflate,
    json_response,
    parameter,
    skipped_header,
    span_ms,
)
from carbyne.http.prometheus import DELETE_PATH, QueryFailure, refused
from carbyne.http.routes import SKIPPED, Call, Parameter, Route, Seconds, Text, dispatch
from carbyne.intake import mackerel, remote_write, series_deletes
from carbyne.intake.door import Door
from carbyne.intake.facts import NO_FACTS, FactEntries
from carbyne.intake.facts import entries_of as entries_of_facts
from carbyne.intake.host_watch import UNKNOWN_HOSTS_HEADER, HostWatch
from carbyne.intake.labelled import Taking
from carbyne.intake.packing import BITS, FLOATS, RowValues, entries_of
from carbyne.intake.pieces import Pieces
from carbyne.intake.series_deletes import no_reader
from carbyne.stream import records
from carbyne.stream.putter import Entry, Putter, Stream, Time, deletion
from carbyne.tenants.accounts import BOTH, Accounts
from carbyne.tenants.usage import Standing

_log = logging.getLogger(__name__)


class DeletesOfSource(Protocol):
    """How many deletes of a source are kept; RetryableError if the table can't be asked."""

    def of(self, source: keys.SourceKey) -> int: ...


class RawWindows(NamedTuple):
    """``length_s``: of most raw windows; ``retention_s``: how long its samples are kept."""

    length_s: int
    retention_s: int


class Writer:
    """The use case of the function, with what it needs from outside; ``hosts``: None where posts are not compared with
    the registry; ``ask_reader``: the answer of the reader's function."""

    def __init__(
        self,
        accounts: Accounts,
        stream: Stream,
        deletes: DeletesOfSource,
        windows: RawWindows,
        meter: Meter,
        time: Time,
        hosts: HostWatch | None = None,
        ask_reader: HandOn = no_reader,
    ) -> None:
        self._accounts = accounts
        self._deletes = deletes
        self._retention_s = windows.retention_s
        self._putter = Putter(stream, time, lambda number: meter.add("PutRetries", number))
        self._meter = meter
        self._time = time
        self._hosts = hosts
        self._ask_reader = ask_reader
        self._door = Door(accounts, time)
        self._pieces = Pieces(accounts, windows.length_s)
        self._logged: dict[str, int] = {}

    def route(self, request: Request) -> Response:
        """The answer to any request: 200 only when every sample that was not skipped is on the stream."""
        try:
            return dispatch(ROUTES, request, self._accounts, self)
        except (RequestError, RetryableError) as error:
            if request.path != DELETE_PATH:
                raise
            return refused(error)
        finally:
            self._meter.flush_due()

    def post_of_hosts(self, call: Call) -> Response:
        """``POST /api/v0/tsdb``: samples of any hosts."""
        body = self._admitted(call)
        return self._store(call.tenant, body, mackerel.parse(body, self._storable()))

    def post_of_service(self, call: Call) -> Response:
        """``POST /api/v0/services/{service}/tsdb``: samples of one service, which need not be registered."""
        service = names.service(call.parts["service"])
        body = self._admitted(call)
        return self._store(call.tenant, body, mackerel.parse(body, self._storable(), service))

    def post_of_prometheus(self, call: Call) -> Response:
        """``POST /api/v1/write``: labelled samples by remote write.  204 when all of it is on the stream; 400 when all
        that could be stored is, and something could not."""
        tenant, message = call.tenant, remote_write.message_of(call.request.headers)
        body = self._admitted(call, remote_write.inflate, Standing.over_rate)
        times = self._storable()
        taking = self._door.taking(tenant, range(1000 * times.start, 1000 * times.stop))
        remote_write.parse(message, body, self._door.identities(tenant, remote_write.PAIRS_OF[message]), taking)
        self._put_targets(tenant, body, taking)
        return self._answer(taking)

    def _put_targets(self, tenant: str, body: bytes, taking: Taking) -> None:
        """Put the facts and rows of a body on the stream; OverLimitError unless all of them are there then."""
        facts, pieces = self._door.facts, self._door.pieces
        with self._noting_refusals(tenant):
            piece = pieces.next(tenant, taking.name_of(body), taking, self._time.now_ms() // 1000)
            untold = facts.untold(tenant, piece.targets, taking.metadata)
            self._put(tenant, piece.name, piece.rows, BITS, entries_of_facts(tenant, untold))
            facts.told(tenant, untold)
            pieces.taken(tenant, piece, self._time.now_ms() // 1000)

    def _answer(self, taking: Taking) -> Response:
        self._count(taking.stored, taking.refused)
        for reason, number in taking.passed_over.items():
            self._meter.add(f"SamplesPassedOver.{reason}", number)
        headers = {**remote_write.written(taking), **skipped_header(taking.passed_over + taking.refused)}
        if complaint := taking.complaint:
            return error_response(400, complaint, headers)
        return Response(204, "", headers)

    def delete(self, call: Call) -> Success:
        """``DELETE /carbyne/v1/samples?source&name&from&to``: see ``deletion_of``; 200 when it is on the stream.

        RequestError 400 for a source with MARKERS_PER_SOURCE_MAX deletes: here, as what was accepted is never dropped.
        """
        entry = deletion_of(call)
        self._spend(call.tenant, "deletes_per_minute", 1)
        source = keys.SourceKey(call.tenant, parameter(call.request, "source"))
        if (number := self._deletes.of(source)) >= MARKERS_PER_SOURCE_MAX and not _is_of_all(call.request):
            raise RequestError(
                400,
                f"{source.source} has {number} deletes of single series or spans, and can have no more; delete a wider"
                " span: one without name, from and to takes the place of all of them",
            )
        self._putter.put([entry])
        self._meter.add("DeletesAccepted")
        return DONE

    def delete_series(self, call: Call) -> Response:
        """``POST /api/v1/admin/tsdb/delete_series``: delete what arrived until now of the series that selectors find;
        204 when that is on the stream.  Errors as of ``series_deletes``, or the reader's."""
        matched = series_deletes.matched(self._ask_reader, call.request)
        if isinstance(matched, Response):
            return matched
        per_minute = self._accounts.standing(call.tenant).limits.deletes_per_minute
        series_deletes.check(call.tenant, matched, self._deletes.of, per_minute)
        if matched.series:
            self._spend(call.tenant, "deletes_per_minute", len(matched.series))
            self._putter.put(series_deletes.deletions(call.tenant, matched))
            self._meter.add("DeletesAccepted", len(matched.series))
        return Response(204, "")

    def _admitted(
        self,
        call: Call,
        inflated: Callable[[bytes, int], bytes] = inflate,
        over_limit: Callable[[Standing, int], OverLimitError | None] = Standing.over,
    ) -> bytes:
        """The body of a post, if the tenant's limits let it in: before anything is done with it."""
        standing = self._accounts.standing(call.tenant)
        if over := over_limit(standing, self._time.now_ms() // 1000):
            self._note_refused(call.tenant, over.limit)
            raise over
        try:
            return inflated(call.request.body, standing.limits.body_bytes)
        except RequestError as error:
            if error.status == 413:
                self._note_refused(call.tenant, "body-bytes")
            raise

    def _spend(self, tenant: str, limit: str, number: int) -> None:
        """Count what a request asks for; OverLimitError if the tenant may not have it in this minute."""
        with self._noting_refusals(tenant):
            self._accounts.spend(tenant, limit, self._time.now_ms() // 1000, number)

    @contextmanager
    def _noting_refusals(self, tenant: str) -> Iterator[None]:
        try:
            yield
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
        return mackerel.storable(self._time.now_ms(), self._retention_s)

    def _store(self, tenant: str, body: bytes, samples: mackerel.Samples) -> Response:
        with self._noting_refusals(tenant):
            self._put(tenant, body, samples.rows)
        self._count(samples.accepted, samples.skipped)
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

    def _put(
        self, tenant: str, body: bytes, rows: RowValues, form: str = FLOATS, facts: FactEntries = NO_FACTS
    ) -> None:
        """Put the rows of a body on the stream, and facts; OverLimitError unless all of them are there then.

        Windows of samples that are older than any agent's backlog are counted, as each is merged into a block of its
        own; a body with many of them is taken piece by piece, one each time that it is sent.
        """
        piece = self._pieces.next(tenant, body, rows, self._time.now_ms())
        self._putter.put([*facts.beside, *entries_of(tenant, piece.rows, form)], facts.before)
        self._pieces.taken(tenant, piece, self._time.now_ms())

    def _count(self, accepted: int, skipped: Counter[str]) -> None:
        self._meter.add("SamplesAccepted", accepted)
        for reason, number in skipped.items():
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
    *(
        Route(
            "POST",
            path,
            BOTH,
            "Store samples of labelled series by Prometheus' remote write, 1.0 or 2.0",
            None,
            Writer.post_of_prometheus,
            body=bytes,
            media=remote_write.MEDIA_TYPE,
            headers={**SKIPPED, **remote_write.WRITTEN_HEADERS},
        )
        for path in ("/api/v1/write", "/api/v1/push")
    ),
    Route(
        *("POST", DELETE_PATH, BOTH, "Delete the series that selectors find", None, Writer.delete_series),
        parameters=(
            Parameter("match[]", list[Text], "Selectors; of several, what any of them finds", required=True),
            Parameter("start", Text, "Seconds since 1970, or RFC 3339; without it the beginning"),
            Parameter("end", Text, "Seconds since 1970, or RFC 3339; without it the end"),
        ),
        error=QueryFailure,
        unprocessable="More series match than one call deletes, or a source would have too many deletes",
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


def deletion_of(call: Call) -> Entry:
    """The stream record of a delete: of the query's ``source`` (``host/<id>`` or ``service/<name>``), one series
    (``name``) or all, from ``from`` to ``to`` (seconds, both included); without these two all that there is.

    RequestError 400 for anything else.
    """
    request = call.request
    if unknown := request.query.keys() - {"source", "name", "from", "to"}:
        raise RequestError(400, f"a delete takes source, name, from and to; got {min(unknown)[:32]!r}")
    source = names.source(parameter(request, "source"))
    name = parameter(request, "name") if "name" in request.query else ""
    if len(name.encode()) > NAME_BYTES_MAX:
        raise RequestError(400, f"name has more than {NAME_BYTES_MAX} bytes")
    timed = {"from", "to"} & request.query.keys()
    return deletion(call.tenant, source, name, span_ms(request) if timed else records.ALL_TIME_MS)


def _is_of_all(request: Request) -> bool:
    """Whether a delete names neither series nor span."""
    return request.query.keys() == {"source"}
