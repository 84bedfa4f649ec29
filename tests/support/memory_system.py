"""All functions that answer HTTP, over stores in memory, as a WSGI application.

What the writer puts on the stream is readable at once: ``MemoryHot`` is stream and hot tier in one.  The handlers, and
everything between them and the stores, are the real ones.
"""

import base64
import itertools
import struct
import time
import uuid
from functools import partial
from typing import NamedTuple

import numpy as np
from carbyne.adapters.redis.hot import HotRead
from carbyne.core import keys, stamps
from carbyne.core.errors import RetryableError
from carbyne.core.keys import Window
from carbyne.intake.host_watch import HostWatch
from carbyne.intake.writer import RawWindows, Writer
from carbyne.queue.api import QueueDeps
from carbyne.registry.store import Registry
from carbyne.samples.columns import EMPTY, Columns, Rows, between, from_rows, merge, restrict
from carbyne.samples.markers import Marker, erase
from carbyne.stream import records
from carbyne.stream.putter import Putter, Time
from carbyne.tenants.accounts import Accounts
from carbyne.wiring import reader as wiring_reader
from carbyne.wiring.openapi import TABLES

from harness.wired import reader_settings
from tests.support import pictures
from tests.support.clouds import MemorySecrets
from tests.support.fakes import DictCache, FakeBlocks, FakeTable, NoDeletes
from tests.support.page_system import MemorySessions, page_deps
from tests.support.queue_stores import MemoryQueueWorld
from tests.support.registry_store import MemoryRegistered, MemoryStore
from tests.support.registry_system import Keys, load_app

APPS = {function: load_app(function) for function in TABLES}
LENGTH_S = 14_400
RETENTION_S = 460 * 86_400


class HotRows(NamedTuple):
    columns: Columns
    size: int


class MemoryHot:
    """A ``putter.Stream`` whose rows are read at once: ``reader.Hot`` and ``placement.SourceWindows`` as well."""

    def __init__(self):
        self.columns = {}
        self.away = False
        self._sequence = itertools.count(1)

    def put(self, entries):
        self._check()
        for _, data in entries:
            self._store(records.decode(data), stamps.pack(1, str(next(self._sequence))))
        return []

    def read_each(self, sources, query):
        try:
            return {source: self._read(source, query.from_ms, query.to_ms, query.series) for source in sources}
        except RetryableError as error:
            return dict.fromkeys(sources, error)

    def _read(self, source, from_ms, to_ms, series):
        self._check()
        columns = self.columns.get(source, EMPTY)
        windows = self.windows(source)
        covered = {window for window in windows if window.overlaps(from_ms, to_ms)}
        known = [name in columns.series for name in series]
        asked = restrict(between(columns, from_ms, to_ms + 1), lambda name: name in series)
        return HotRead(True, known, asked, windows, covered)

    def series(self, source):
        self._check()
        return set(self.columns.get(source, EMPTY).series)

    def series_each(self, sources):
        return {source: dict.fromkeys(self.series(source), (0, 2**53)) for source in sources}

    def counts_each(self, sources, since_ms):
        return {source: len(self.series(source)) for source in sources}

    def windows(self, source):
        self._check()
        times = {int(ts) for group in self.columns.get(source, EMPTY).groups for ts in group.ts_ms}
        return sorted({Window.holding(ts_ms, LENGTH_S) for ts_ms in times})

    def rows(self, source, window):
        self._check()
        columns = between(self.columns.get(source, EMPTY), window.start_s * 1000, window.end_s * 1000)
        return HotRows(columns, 8 * columns.samples)

    def _store(self, record, stamp):
        if isinstance(record, records.DeleteRecord):
            source = keys.SourceKey(record.tenant, record.source)
            marker = Marker(stamp, record.series, record.from_ms, record.to_ms)
            self.columns[source] = erase(self.columns.get(source, EMPTY), [marker])
            return
        if isinstance(record, records.FactsRecord):
            return
        for row in record.rows:
            source = keys.SourceKey(record.tenant, row.source)
            series = tuple(keys.split_series(record.lists[row.series]))
            bits = np.array([struct.unpack(f"<{len(series)}Q", row.values)], np.uint64)
            new = Rows(series, np.array([row.ts_ms], np.int64), [stamp], bits)
            self.columns[source] = merge([self.columns.get(source, EMPTY), from_rows([new])])

    def _check(self):
        if self.away:
            raise RetryableError("the hot tier is away")


class Meter:
    def add(self, name, amount=1): ...
    def flush_due(self): ...


class MemorySystem:
    """``application``: WSGI; ``away``: the stores that don't answer are those of ``hot`` and ``store``."""

    def __init__(self, now_s=time.time, clock=time.monotonic):
        self.now_s = now_s
        self.hot, self.store, self.table = MemoryHot(), MemoryStore(), FakeTable()
        self.cache = DictCache()
        self.keys, self.sessions = Keys(), MemorySessions(lambda: int(now_s()))
        accounts = Accounts(self.keys, clock, now_s)
        time_of_puts = Time(lambda: int(now_s() * 1000), clock=clock, sleep=lambda _: None, random=lambda: 0.5)
        registered = MemoryRegistered(self.store)
        ports = wiring_reader.ReaderPorts(
            self.hot,
            self.hot,
            self.table,
            FakeBlocks(),
            accounts,
            time_of_puts.now_ms,
            self.cache,
            registered.has,
            registered.sources,
        )
        registry = Registry(
            self.store,
            lambda: int(now_s()),
            lambda: uuid.uuid4().hex[:11],
            Putter(self.hot, time_of_puts).put,
            secrets=MemorySecrets(),
            picture_secret=lambda: pictures.SECRET,
        )
        self.queue_world = MemoryQueueWorld(int(now_s() * 1000))
        self.deps = {
            "writer": Writer(
                accounts,
                self.hot,
                NoDeletes(),
                RawWindows(LENGTH_S, RETENTION_S),
                Meter(),
                time_of_puts,
                HostWatch(registered, clock),
                self.handle,
            ),
            "reader": wiring_reader.assemble(reader_settings(LENGTH_S, RETENTION_S), ports),
            "registry": (accounts, registry),
            "page": page_deps(accounts, self.keys, self.sessions, lambda: int(now_s())),
            "queue": QueueDeps(accounts, self.queue_world.queues, None),
        }

    def handle(self, event):
        """The Lambda answer of the function that the gateway would choose: the registry's for what no route names."""
        http = event["requestContext"]["http"]
        asked = http["method"], http["path"]
        for function, table in TABLES.items():
            if any(route.parts_of(*asked) is not None for route in table):
                return APPS[function].handle(event, partial(self.deps.__getitem__, function))
        return APPS["registry"].handle(event, partial(self.deps.__getitem__, "registry"))

    def application(self, environ, start_response):
        answer = self.handle(event_of(environ))
        body = answer["body"]
        data = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        headers = [*answer["headers"].items(), ("Content-Length", str(len(data)))]
        start_response(f"{answer['statusCode']} Said", headers)
        return [data]


def event_of(environ):
    """The payload 2.0 event of a WSGI request."""
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    names = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
    names |= {name: environ[name] for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(name)}
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": environ.get("QUERY_STRING", ""),
        "headers": {name.replace("_", "-").lower(): value for name, value in names.items()},
        "requestContext": {"http": {"method": environ["REQUEST_METHOD"], "path": path}, "requestId": "test"},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
