"""A pipeline whose ingester divides targets, and a target with many series that is read back."""

import json
import time
from base64 import b64decode

from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core.labels import source_of, whole_of
from carbyne.hot.marks import Ticking
from carbyne.intake.writer import RawWindows, Writer
from carbyne.stream.putter import Time
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.usage import Counted, Limits, Usage
from carbyne.wiring import ingester as wiring_ingester

from harness.pipeline import APPS, LENGTH_S, RETENTION_S, SCHEDULE, Pipeline, http_event
from harness.wired import NoDeletes, ingester_settings
from tests.support.remote_write import V2, Body2, packed

NOW_S = 1_700_006_400 + 60  # shortly after windows of all lengths began
TARGET = {"job": "kube", "instance": "a:1"}
SOURCE = source_of(TARGET)
HEADERS = {"X-Api-Key": "secret", "Content-Type": V2, "Content-Encoding": "snappy"}


class Divided(Pipeline):
    """Whose ingester counts, and divides targets: what is stored of a tenant is ``accounts``'.  ``taken``: how many
    records of the stream."""

    taken = 0

    def new_ingester(self, nodes):
        hot, windows = HotStore(nodes), HotWindows(nodes)
        accounts = Accounts(self.accounts, lambda: self.now_s)
        usage = Usage(self, lambda: float(self.now_s), LENGTH_S, hot.names_in)
        ports = wiring_ingester.IngesterPorts(
            hot, windows, self.table, accounts, self.quarantine, self._now_ms, self.meter, usage
        )
        return Ticking(wiring_ingester.assemble(ingester_settings(SCHEDULE, LENGTH_S, RETENTION_S), ports), windows)

    def add(self, tenant, samples, use):
        per_source, divisions = self.accounts.limits.series_per_source, self.accounts.divisions.get(tenant, {})
        return Counted(b"", 0, series_per_source=per_source, divisions=dict(divisions))

    def put_series(self, tenant, counted, estimate): ...
    def put_seen(self, tenant, seen, before): ...

    def put_divisions(self, tenant, source, divisions, before):
        known = self.accounts.divisions.setdefault(tenant, {})
        assert known.get(source, ()) == before
        known[source] = divisions

    def new_writer(self):
        """One more instance, which looks the tenant up at its first post, and again a minute later."""
        accounts = Accounts(self.accounts, lambda: self.now_s)
        puts = Time(now_ms=self._now_ms, clock=time.monotonic, sleep=time.sleep, random=lambda: 0.5)
        return Writer(accounts, self.stream, NoDeletes(), RawWindows(LENGTH_S, RETENTION_S), self.meter, puts)

    def write(self, writer, body):
        event = http_event("POST", "/api/v1/write", headers=HEADERS, body=packed(body))
        answer = APPS["writer"].handle(event, lambda: writer)
        assert answer["statusCode"] == 204, answer["body"]

    def delete_series(self, *selectors):
        """By the writer that can ask the reader."""
        query = [("match[]", selector) for selector in selectors]
        event = http_event("POST", "/api/v1/admin/tsdb/delete_series", query=query, headers={"X-Api-Key": "secret"})
        assert APPS["writer"].handle(event, lambda: self.writer)["statusCode"] == 204
        self.take_all()

    def targets(self, name):
        """Sources into whose series a query of one metric looks."""
        finder = self.reader.queries.listings._finder
        return finder.targets("acme", [[("__name__", name.__eq__)]], 0, 1000 * self.now_s)

    def take_all(self):
        """Deliver what is new on the stream."""
        self.deliver(self.stream.records[self.taken :])
        self.taken = len(self.stream.records)

    def until_divided(self, writer, series, metrics=8):
        """Post so many series a minute until their target is divided; since when it is."""
        while SOURCE not in self.accounts.divisions.get("acme", {}):
            for body in bodies(series, [1000 * self.now_s], metrics=metrics):
                self.write(writer, body)
            self.take_all()
            self.now_s += 60
            assert self.now_s < NOW_S + 600
        return self.accounts.divisions["acme"][SOURCE][-1].from_s

    def query(self, text, at_s=None):
        """Labels in order -> value."""
        result = self.data("query", ("query", text), ("time", at_s or self.now_s))["result"]
        return {tuple(sorted(each["metric"].items())): each["value"][1] for each in result}

    def number(self, text, at_s=None):
        (value,) = self.query(text, at_s).values()
        return float(value)

    def listed(self, selector):
        return [tuple(sorted(each.items())) for each in self.data("series", ("match[]", selector))]

    def data(self, path, *query):
        answer = self.get(f"/api/v1/{path}", *query)
        assert answer["statusCode"] == 200, answer["body"]
        body = answer["body"]
        return json.loads(b64decode(body) if answer.get("isBase64Encoded") else body)["data"]


def bodies(series, ts_ms, value=0.0, metrics=100, portion=12_500):
    """So many series of the target at these times; the value of each is its number and ``value``."""
    for first in range(0, series, portion):
        body = Body2()
        for number in range(first, min(series, first + portion)):
            name = {"__name__": f"metric_{number % metrics}", "n": str(number)}
            body.add({**TARGET, **name}, *((number + value, at_ms) for at_ms in ts_ms))
        yield body.bytes()


def sources_of(path):
    return {
        listed
        for listed in path.reader.queries.listings._finder._directory.sources("acme")
        if whole_of(listed) == SOURCE
    }


def check_many(path, series, per_source):
    """So many series of a target are read back once, by queries that begin before its division: out of Redis, and then
    out of blocks."""
    path.accounts.limits = Limits(series_per_source=per_source)
    writer = path.new_writer()
    from_s = path.until_divided(writer, series, metrics=100)
    minutes = (path.now_s - NOW_S) // 60
    (division,) = path.accounts.divisions["acme"][SOURCE]
    assert division.bits == 2 and from_s == NOW_S - 60 + 3_600
    path.now_s = from_s + 30
    for body in bodies(series, [1000 * path.now_s], 0.5):
        path.write(writer, body)
    path.take_all()
    path.now_s += 10
    read_back(path, series, minutes)
    largest, *_ = path.data("status/tsdb")["seriesCountByTarget"]
    assert largest == {"name": "instance=a:1,job=kube", "value": series}
    in_parts = 1 << division.label_bits
    assert in_parts < 4 and len(path.targets("metric_7")) == in_parts + 1, "not in all parts, and in the whole"
    at_s, path.now_s = path.now_s, path.now_s + 2 * LENGTH_S
    assert path.seal() == 5
    read_back(path, series, minutes, at_s)


def read_back(path, series, minutes, at_s=None):
    """``minutes``: before the division; ``at_s``: when queries are asked, if not now."""
    every = '{job="kube"}'
    assert len(sources_of(path)) == 5
    assert path.number(f"count({every})", at_s) == series
    assert path.number(f"sum({every})", at_s) == sum(range(series)) + series / 2
    assert path.number(f"sum(count_over_time({every}[8h]))", at_s) == series * (minutes + 1), "no sample twice"
    assert len(path.query('metric_7{job="kube"}', at_s)) == series // 100
    listed = path.listed(every)
    assert len(listed) == len(set(listed)) == series
    assert path.listed('metric_7{n="7"}') == [
        (("__name__", "metric_7"), ("instance", "a:1"), ("job", "kube"), ("n", "7"))
    ]
