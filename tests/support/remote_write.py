"""Bodies of remote write as senders make them, and a writer that they are posted to.

The messages are those of the specification, with all their fields, built by the protobuf library from a text of their
own, so that no table of the product's describes both sides.
"""

import struct
from functools import cache
from typing import NamedTuple

import cramjam
import msgspec
from carbyne.core import keys
from carbyne.core.labels import parse
from carbyne.intake.writer import RawWindows, Writer
from carbyne.stream import records
from carbyne.stream.putter import Time
from carbyne.tenants.accounts import BOTH, Accounts, Elected, Grant
from carbyne.tenants.usage import Standing, TakenBody
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from harness.pipeline import APPS, http_event

V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
MESSAGES = """
WriteRequest timeseries=1:TimeSeries* metadata=3:MetricMetadata*
TimeSeries labels=1:Label* samples=2:Sample* exemplars=3:Exemplar* histograms=4:Histogram*
Label name=1:string value=2:string
Sample value=1:double timestamp=2:int64 start_timestamp=3:int64
Exemplar labels=1:Label* value=2:double timestamp=3:int64
MetricMetadata type=1:int32 metric_family_name=2:string help=4:string unit=5:string
Request symbols=4:string* timeseries=5:TimeSeries2*
TimeSeries2 labels_refs=1:uint32* samples=2:Sample* histograms=3:Histogram* exemplars=4:Exemplar2* metadata=5:Metadata \
created_timestamp=6:int64
Exemplar2 labels_refs=1:uint32* value=2:double timestamp=3:int64
Metadata type=1:int32 help_ref=3:uint32 unit_ref=4:uint32
Histogram count_int=1:uint64 count_float=2:double sum=3:double schema=4:sint32 zero_threshold=5:double \
zero_count_int=6:uint64 zero_count_float=7:double negative_spans=8:BucketSpan* negative_deltas=9:sint64* \
negative_counts=10:double* positive_spans=11:BucketSpan* positive_deltas=12:sint64* positive_counts=13:double* \
reset_hint=14:int32 timestamp=15:int64 custom_values=16:double*
BucketSpan offset=1:sint32 length=2:uint32
"""
TYPES = {"double": 1, "int64": 3, "uint64": 4, "int32": 5, "string": 9, "uint32": 13, "sint32": 17, "sint64": 18}
NOW_MS = 1_700_000_040_500


def message(name):
    """The class of a message of the specification."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"sender.{name}"))


@cache
def _pool():
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="sender.proto", package="sender", syntax="proto3")
    for line in MESSAGES.strip().splitlines():
        title, *fields = line.split()
        described = file.message_type.add(name=title)
        for field in fields:
            field_name, _, rest = field.partition("=")
            number, _, kind = rest.rstrip("*").partition(":")
            entry = described.field.add(name=field_name, number=int(number), label=3 if field.endswith("*") else 1)
            entry.type = TYPES.get(kind, 11)
            if kind not in TYPES:
                entry.type_name = f".sender.{kind}"
    pool.Add(file)
    return pool


def series_1(labels, *samples, **more):
    """A series of 1.0; ``samples``: (value, ts_ms)."""
    pairs = labels.items() if isinstance(labels, dict) else labels
    return message("TimeSeries")(
        labels=[message("Label")(name=name, value=value) for name, value in pairs],
        samples=[message("Sample")(value=value, timestamp=ts_ms) for value, ts_ms in samples],
        **more,
    )


def body_1(*series, metadata=()):
    return message("WriteRequest")(timeseries=series, metadata=metadata).SerializeToString()


class Body2:
    """A body of 2.0 that grows; symbols as they come."""

    def __init__(self):
        self.symbols = [""]
        self.series = []

    def ref(self, text):
        if text not in self.symbols:
            self.symbols.append(text)
        return self.symbols.index(text)

    def refs(self, labels):
        return [self.ref(text) for pair in labels.items() for text in pair]

    def add(
        self,
        labels,
        *samples,
        created_ms=0,
        about=None,
        exemplars=(),
        exemplars_ms=NOW_MS,
        exemplars_value=1.0,
        histograms=(),
    ):
        """``about``: (type, help, unit); ``exemplars``: their labels."""
        series = message("TimeSeries2")(labels_refs=self.refs(labels), created_timestamp=created_ms)
        series.samples.extend(message("Sample")(value=value, timestamp=ts_ms) for value, ts_ms in samples)
        for each in exemplars:
            series.exemplars.add(labels_refs=self.refs(each), value=exemplars_value, timestamp=exemplars_ms)
        series.histograms.extend(histograms)
        if about:
            kind, text, unit = about
            series.metadata.type, series.metadata.help_ref, series.metadata.unit_ref = (
                kind,
                self.ref(text),
                self.ref(unit),
            )
        self.series.append(series)
        return self

    def labels_of(self, series):
        """Of one of its series, as sorted pairs."""
        texts = [self.symbols[ref] for ref in series.labels_refs]
        return tuple(sorted(zip(texts[::2], texts[1::2], strict=True)))

    def bytes(self):
        return message("Request")(symbols=self.symbols, timeseries=self.series).SerializeToString()


def histogram(*, positive=False, negative=False, zero=False, custom=False, count=None, total=1.0):
    """A native histogram of so many kinds of buckets; ``count``: another one than theirs."""
    made = message("Histogram")(sum=total, timestamp=NOW_MS)
    made.count_int = 0
    if positive and not custom:
        made.positive_spans.add(offset=0, length=3)
        made.positive_spans.add(offset=2, length=2)
        made.positive_deltas.extend([1, 2, 1, 3, 1])
        made.count_int += 23
    if negative:
        made.negative_spans.add(offset=0, length=2)
        made.negative_deltas.extend([1, 1])
        made.count_int += 3
    if zero:
        made.zero_count_int = 1
        made.count_int += 1
    if custom:
        made.schema = -53
        made.custom_values.extend([0.1, 0.5, 1.0, 2.5, 5.0, 10.0])
        made.positive_spans.add(offset=0, length=6)
        made.positive_deltas.extend([2, 1, 2, 3, -1, -2])
        made.count_int = 30
    if count is not None:
        made.count_int = count
    return made


def packed(body):
    return bytes(cramjam.snappy.compress_raw(body))


class Stored(NamedTuple):
    """``samples``: (tenant, source, key, ts_ms) -> bits; ``targets``, ``metrics``: of facts."""

    samples: dict
    targets: dict
    metrics: dict

    def by_labels(self):
        """{(labels as sorted pairs, ts_ms): bits}, of targets with their labels."""
        return {
            (tuple(sorted((parse(self.targets.get(source, "")) | parse(key)).items())), ts_ms): bits
            for (_, source, key, ts_ms), bits in self.samples.items()
        }


class LabelledAccounts:
    """An AccountStore of one tenant; ``standing`` may be replaced; ``elections``: how often the table was asked."""

    def __init__(self):
        self.standing = Standing()
        self.spent = {}
        self.bodies = {}
        self.pairs = {}
        self.elections = 0

    def grant_of(self, api_key):
        return Grant("acme", BOTH) if api_key == "secret" else None

    def has_tenant(self, tenant):
        return True

    def standing_of(self, tenant):
        return msgspec.structs.replace(self.standing, bodies=dict(self.bodies))

    def note_taken(self, tenant, body, taken, minute):
        if taken:
            self.bodies[body] = TakenBody(taken, minute)
        else:
            del self.bodies[body]

    def spend(self, tenant, limit, minute, number):
        self.spent[limit, minute] = self.spent.get((limit, minute), 0) + number
        return self.spent[limit, minute]

    def elect(self, tenant, cluster, replica, now_ms, silent_ms):
        self.elections += 1
        elected = self.pairs.get((tenant, cluster))
        if elected is None or elected.replica == replica or elected.seen_ms <= now_ms - silent_ms:
            elected = self.pairs[tenant, cluster] = Elected(replica, now_ms)
        return elected

    def of(self, source):
        return 0


class Sums:
    def __init__(self):
        self.sums = {}

    def add(self, name, amount=1):
        self.sums[name] = self.sums.get(name, 0) + amount

    def flush_due(self):
        pass


class Receiver:
    """A writer over a stream in memory, whose clock is ``now_ms``; ``refuse``: the stream takes nothing."""

    def __init__(self, accounts=None):
        self.now_ms = NOW_MS
        self.entries = []
        self.refuse = False
        self.store = accounts or LabelledAccounts()
        self.meter = Sums()
        time = Time(now_ms=lambda: self.now_ms, clock=lambda: self.now_ms / 1000, sleep=self._sleep, random=lambda: 0.5)
        self.accounts = Accounts(self.store, time.clock)
        self.writer = Writer(self.accounts, self, self.store, RawWindows(14_400, 86_400 * 460), self.meter, time)

    def _sleep(self, seconds):
        self.now_ms += int(1000 * seconds) + 1

    def put(self, entries):
        self.now_ms += 20
        if self.refuse:
            return list(range(len(entries)))
        self.entries += entries
        return []

    def post(self, body, content_type=V2, path="/api/v1/write", headers=None, compressed=True):
        """The Lambda answer; ``headers``: others than a sender's."""
        usual = {"X-Api-Key": "secret", "Content-Type": content_type, "Content-Encoding": "snappy"}
        data = packed(body) if compressed else body
        event = http_event("POST", path, headers={**usual, **(headers or {})}, body=data)
        return APPS["writer"].handle(event, lambda: self.writer)

    def stored(self):
        return stored_of(self.entries)

    def by_labels(self):
        return self.stored().by_labels()


def stored_of(entries):
    """What (lane, record) of a stream say."""
    stored = Stored({}, {}, {})
    for tag, data in entries:
        record = records.decode(data)
        if isinstance(record, records.FactsRecord):
            stored.targets.update(record.targets)
            stored.metrics.update(record.metrics)
            assert all(keys.lane_tag(keys.lane_of(record.tenant, target)) == tag for target in record.targets)
            continue
        for row in record.rows:
            assert keys.lane_tag(keys.lane_of(record.tenant, row.source)) == tag
            series = keys.split_series(record.lists[row.series])
            for key, bits in zip(series, struct.unpack(f"<{len(series)}Q", row.values), strict=True):
                stored.samples[record.tenant, row.source, key, row.ts_ms] = bits
    return stored


def written(answer):
    """(samples, histograms, exemplars) of an answer's headers."""
    names = ("Samples", "Histograms", "Exemplars")
    return tuple(int(answer["headers"][f"X-Prometheus-Remote-Write-{name}-Written"]) for name in names)


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]
