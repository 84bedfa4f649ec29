"""Recorded requests, changed at random: fast enough for a million, each by its number alone, with an oracle.

The oracle: no answer is a 5xx, each is JSON in the documented form, a refusal changes no store, what was accepted can
be read as it was sent, and of a post of samples exactly those are on the stream that a plain reader of the body finds.
Only remote write may store a part of a body that it refuses.
"""

import base64
import contextlib
import gzip
import json
import math
import random
import re
import struct
import zlib
from collections import Counter
from itertools import chain

import cramjam
from carbyne.core import keys
from carbyne.core.limits import AHEAD_MS_MAX, LATE_MARGIN_S, QUERY_FIELDS_MAX, QUEUE_DELETION_S
from carbyne.intake.host_watch import HostWatch
from carbyne.intake.writer import RawWindows, Writer
from carbyne.page.sessions import Session
from carbyne.read.prometheus import FORM_TYPE
from carbyne.stream import records
from carbyne.stream.putter import Time
from google.protobuf.message import DecodeError

from tests.support.fakes import NoDeletes
from tests.support.memory_system import LENGTH_S, RETENTION_S, MemorySystem, Meter
from tests.support.pictures import PICTURE_PATH, PICTURE_QUERY
from tests.support.recorded import NOW_S, RECORDED, THINGS, Recorded
from tests.support.registry_store import MemoryRegistered
from tests.support.remote_write import V2, message

TIMES = range(max(0, NOW_S - RETENTION_S + LATE_MARGIN_S), NOW_S + AHEAD_MS_MAX // 1000 + 1)
WRITES = ("/api/v1/write", "/api/v1/push")
ANSWERS = {200, 204, 400, 403, 404, 413, 415, 422}
SYSTEM_CASES = 500
"""Cases that one system answers, so that lists stay short."""

NUMBERS = ["0", "-0", "-0.0", "1", "1.5", "1e22", "1e999", "-1e999", "1E-400", "9" * 400, "9" * 5000, "01", "+1", "NaN"]
NUMBERS += [
    "1699999981",
    "1700000039",
    "1700000040",
    "1700000000.0",
    "1.7e9",
    "1699999999.5",
    "9007199254740993",
    "-1",
    "2147483648",
    "4294967296",
    "Infinity",
]
TEXTS = [
    '""',
    '"a"',
    '"a b"',
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    '"é"',
    '"a/b"',
    '"a%41"',
    '"\\""',
    '"x\\n"',
]
TEXTS += [f'"{"x" * length}"' for length in (63, 64, 65, 128, 255, 256, 1_024, 2_049, 5_000)]
TEXTS += ['"Shop:web"', '"working"', '"CRITICAL"', '"custom.a.#.b"', '"host1"', '"unterminated', "'single'"]
NESTED = [f"{'[' * depth}1{']' * depth}" for depth in (1, 99, 100, 101, 500, 982, 1_100, 9_998)]
NESTED += ['{"a":' * depth + "1" + "}" * depth for depth in (1, 99, 101, 990, 5_000)]
VALUES = [
    *NUMBERS,
    *TEXTS,
    *NESTED,
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[null]",
    '{"a":null}',
    "",
    ",",
    ":",
    "}",
    "]",
]
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{},:]')
WORD = re.compile(r"[A-Za-z_]+|[0-9.]+|%..|[^A-Za-z0-9_%]")
WORDS = [
    "",
    "sum",
    "by",
    "rate",
    "offset",
    "1",
    "0",
    "-1",
    "1e400",
    "5m",
    "9999y",
    "NaN",
    "%28",
    "%29",
    "%7B",
    "%5B",
    "%5D",
]
WORDS += [
    "%22",
    "%5C",
    "%00",
    "%F0",
    "%C3%A9",
    "%2B",
    "%5E",
    "%25",
    "%40",
    "topk",
    "absent",
    "label_replace",
    "m",
    "&",
    "=",
]
MEDIA = [
    "",
    "text/plain",
    "application/json",
    FORM_TYPE,
    V2,
    f"{V2};x",
    "application/x-protobuf;proto=a",
    "é/ü",
    ";" * 900,
]
PARTS = ["host1", "aA", "a%41", "x" * 64, "x" * 65, "x" * 1_100, "x" * 3_000, "é" * 50, "\x00", "\ud800", "..", "", " "]
PARTS += ["Shop", "web", "env", "i/1", "metadata", "roles", "*", "a:b", "a+b", "{id}"]
QUERIES = ["", "a=1&" * 2_100, "%", "=", "&&", "name=%00", "limit=1", "limit=0", "limit=x", "next=x", "status=working"]
QUERIES += [f"name={name}&from=1699999000&to=1700000000" for name in ("m", "loadavg5", "orders")]
QUERIES += ["name=m&from=0&to=1700000000&resolution=raw", "from=9&to=1&name=m"]
QUERIES += ["query=topk(NaN,loadavg5)", "query=-loadavg5&time=x", "query=m[5m]&start=1&end=9&step=0", "match[]=%7B%7D"]
QUERIES += ["hostId=host1&name=m", f"hostId={'x' * 3_000}&name=m", "source=host/host1", "source=host/host1&from=1&to=2"]
QUERIES += [
    "service=Shop&role=web&customIdentifier=i",
    "caseInsensitive=true",
    "name=m&from=1e3&to=%F0%9F%98%80",
    "%ED%A0%80",
]


class Case:
    """The request of one number: a recorded one, nearly always with up to four changes."""

    def __init__(self, seed, number):
        self.draw = random.Random(f"{seed}:{number}")
        self.recorded = self.draw.choice(RECORDED)
        self.method, self.path, self.body, self.query, headers = self.recorded
        self.headers = {"x-api-key": "key-a", "accept-encoding": "gzip", **headers}
        for _ in range(self.draw.choice([0, 1, 1, 1, 2, 2, 4])):
            self.draw.choice(
                [*[self._value] * 6, self._bytes, self._tokens, self._part, *[self._asked] * 2, self._rest]
            )()
        self.sent = self._packed() if self.draw.random() < 0.1 else self.body

    @property
    def event(self):
        """As API Gateway sends it: text, or base64 where a type or the bytes ask for it."""
        body, is_base64 = base64.b64encode(self.sent).decode(), True
        if self.draw.random() < 0.5:
            with contextlib.suppress(UnicodeDecodeError):
                body, is_base64 = self.sent.decode(errors="surrogatepass"), False
        return {
            "rawPath": self.path,
            "rawQueryString": self.query,
            "headers": self.headers,
            "requestContext": {"http": {"method": self.method, "path": self.path}},
            "body": body,
            "isBase64Encoded": is_base64,
        }

    def _value(self):
        """Something else in the place of one value, name or bracket."""
        if tokens := list(TOKEN.finditer(self.body)):
            token = self.draw.choice(tokens)
            value = self.draw.choice(VALUES).encode(errors="surrogatepass")
            self.body = self.body[: token.start()] + value + self.body[token.end() :]

    def _asked(self):
        """Another query, or something else in the place of a word or sign of it."""
        words = list(WORD.finditer(self.query))
        if not words or self.draw.random() < 0.5:
            self.query = self.draw.choice(QUERIES)
            return
        word = self.draw.choice(words)
        self.query = self.query[: word.start()] + self.draw.choice(WORDS) + self.query[word.end() :]

    def _bytes(self):
        if self.body:
            at, length = self.draw.randrange(len(self.body)), self.draw.choice([0, 1, 1, 2, 9])
            self.body = self.body[:at] + self.draw.randbytes(self.draw.choice([0, 1, 2])) + self.body[at + length :]

    def _tokens(self):
        """A run of tokens twice, or not at all."""
        if tokens := list(TOKEN.finditer(self.body)):
            first, last = sorted(self.draw.choices(range(len(tokens)), k=2))
            start, end = tokens[first].start(), tokens[last].end()
            self.body = self.body[:start] + self.body[start:end] * self.draw.choice([0, 2]) + self.body[end:]

    def _part(self):
        parts = self.path.split("/")
        parts[self.draw.randrange(1, len(parts))] = self.draw.choice(PARTS)
        self.path = "/".join(parts)

    def _rest(self):
        self.draw.choice([self._method, self._key, self._plain, self._media])()

    def _method(self):
        self.method = self.draw.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])

    def _key(self):
        self.headers["x-api-key"] = self.draw.choice(["key-a-reads", "key-a-writes", "nobody", "", "é", "x" * 300])

    def _plain(self):
        self.headers.pop("accept-encoding", None)

    def _media(self):
        self.headers["content-type"] = self.draw.choice(MEDIA)
        self.headers["content-encoding"] = self.draw.choice(["snappy", "gzip", "zstd", ""])

    def _packed(self):
        packed = gzip.compress(self.body, 1, mtime=0)
        return self.draw.choice([packed, packed, packed[:-1], packed + b"x", zlib.compress(self.body)])


class Stream:
    """Keeps the rows of the records of the last request: (source, ts_ms) -> name -> value."""

    def __init__(self):
        self.rows = {}

    def put(self, entries):
        for lane, data in entries:
            record = records.decode(data)
            for row in getattr(record, "rows", ()):
                assert lane == keys.lane_tag(keys.lane_of(record.tenant, row.source)) and record.tenant == "a"
                names = keys.split_series(record.lists[row.series])
                values = struct.unpack(f"<{len(names)}d", row.values)
                self.rows.setdefault((row.source, row.ts_ms), {}).update(zip(names, values, strict=True))
        return []


class Mutations:
    """``statuses``: (method and recorded path, status) -> number of answers."""

    def __init__(self, seed):
        self.seed = seed
        self.statuses = Counter()
        self._renew()

    def run(self, numbers):
        for number in numbers:
            if number % SYSTEM_CASES == 0:
                self._renew()
            case = Case(self.seed, number)
            try:
                self._check(case)
            except Exception as error:
                sent = f"{case.method} {case.path!r} ?{case.query[:99]} {case.sent[:999]!r}"
                error.add_note(f"case {number} of seed {self.seed!r}: {sent}")
                raise

    def _renew(self):
        self.system = MemorySystem(lambda: NOW_S, lambda: 0.0)
        accounts, registry = self.system.deps["registry"]
        ids = chain(["host2", "host1"], (f"host{number}" for number in range(3, 10 * SYSTEM_CASES)))
        marked = registry._replace(new_id=lambda: next(ids), new_mark=lambda: "0123456789abcdef")
        self.system.deps["registry"] = accounts, marked
        clock = Time(lambda: NOW_S * 1000, clock=lambda: 0.0, sleep=lambda _: None, random=lambda: 0.5)
        self.stream, watch = Stream(), HostWatch(MemoryRegistered(self.system.store), lambda: 0.0)
        self.system.sessions.put("known", Session("a", keys.api_key_item("key-a"), NOW_S, NOW_S + 60, ""))
        for each in (Recorded("POST", "/api/v0/hosts", b'{"name":"web2"}'), *RECORDED):
            if each.method != "DELETE" and not each.path.endswith(("retire", "/ack", "/close")):
                self._call(each)
        self.system.deps["writer"] = Writer(
            *(accounts, self.stream, NoDeletes(), RawWindows(LENGTH_S, RETENTION_S), Meter(), clock, watch),
            ask_reader=self.system.handle,
        )

    def _call(self, recorded):
        http = {"method": recorded.method, "path": recorded.path}
        event = {"rawPath": recorded.path, "rawQueryString": recorded.query, "requestContext": {"http": http}}
        event |= {"headers": {"x-api-key": "key-a", **recorded.headers}, "isBase64Encoded": True}
        return self.system.handle(event | {"body": base64.b64encode(recorded.body).decode()})

    def _check(self, case):
        before, queued, self.stream.rows = dict(self.system.store.table), self._queued(), {}
        payload = self.system.handle(case.event)
        status = payload["statusCode"]
        self.statuses[f"{case.method} {case.path[:60]}", status] += 1
        if case.path.startswith(WRITES):
            self._check_written(case, status)
        if status not in (200, 204):
            self._check_refused(case, payload, before, queued)
        elif status == 200:
            self._check_stored(case, payload)

    def _check_refused(self, case, payload, before, queued):
        status, answer = payload["statusCode"], body_of(payload)
        assert status in ANSWERS, (status, answer)
        told = answer["error"] if "errorType" in answer else answer["error"]["message"]
        assert isinstance(told, str) and told
        assert answer.keys() in ({"error"}, {"status", "errorType", "error"})
        changed = {key.pk for key, item in self.system.store.table.items() if before.get(key) != item}
        changed |= {key.pk for key in before.keys() - self.system.store.table.keys()}
        of_parts = {"a:services"} | ({"a:hosts", "a:retired"} if "/bulk-" in case.path else set())
        assert changed <= of_parts, "what was refused has changed something"
        assert self._queued() == queued, "what was refused has changed a queue"
        assert case.path.startswith(WRITES) or self.stream.rows == {}, "samples of what was refused are stored"
        if (case.method, case.path, status) == ("POST", "/api/v0/tsdb", 400) and len(case.query) < QUERY_FIELDS_MAX:
            assert self._plain(case) in (None, "deep"), "a body that can be read was refused"

    def _queued(self):
        table = self.system.queue_world.table
        return dict(table.messages), dict(table.later), dict(table.letters), dict(table.notes)

    def _check_stored(self, case, payload):
        kind = case.path.split("/")[3:4]
        if case.path == PICTURE_PATH:
            assert PICTURE_QUERY in case.query, "a picture was drawn that was not signed"
        if case.method == "POST" and case.path.endswith("/tsdb"):
            self._check_samples(case, payload)
        elif case.method == "PUT" and "/metadata/" in case.path:
            stored = self._call(Recorded("GET", case.path))
            assert (stored["statusCode"], raw_body(stored)) == (200, self._inflated(case).strip(b" \t\r\n"))
        elif case.method in ("POST", "PUT") and "hosts" in kind and "id" in body_of(payload):
            stored = body_of(self._call(Recorded("GET", f"/api/v0/hosts/{body_of(payload)['id']}")))["host"]
            sent = json.loads(self._inflated(case))
            assert stored["name"] == sent["name"] and same(stored["meta"], sent.get("meta", stored["meta"]))
            assert self._call(Recorded("GET", "/api/v0/hosts"))["statusCode"] == 200
        elif case.method in ("POST", "PUT") and kind and kind[0] in THINGS and case.path.count("/") < 5:
            self._check_thing(kind[0], body_of(payload), self._inflated(case))
        elif case.method == "POST" and case.path.startswith("/carbyne/v1/queues/") and case.path.endswith("/messages"):
            self._check_messages(body_of(payload)["ids"], self._inflated(case))
        elif case.method == "DELETE" and case.path.startswith("/carbyne/v1/queues/"):
            self.system.queue_world.sleep(QUEUE_DELETION_S)  # a queue that is being deleted takes nothing
            self.system.queue_world.sweep()

    def _check_thing(self, kind, answer, sent):
        """The list has what was answered, under its id; and names are those that were sent."""
        query = "service={service}&from={from}&to={to}".format(**answer) if kind == "graph-annotations" else ""
        listed = body_of(self._call(Recorded("GET", f"/api/v0/{kind}", query=query))).popitem()[1]
        [stored] = [each for each in listed if each["id"] == answer["id"]]
        assert same(stored, {name: answer[name] for name in stored})
        title = "title" if "title" in answer else "name"
        assert answer[title] == json.loads(sent)[title]

    def _check_written(self, case, status):
        """Remote write takes what it can of a body, bit for bit, and all of a sound one."""
        rows = self.stream.rows.items()
        stored = {(ts_ms, struct.pack("<d", value)) for (_, ts_ms), values in rows for value in values.values()}
        is_sound = status == 204 and case.sent == case.recorded.body
        if stored or is_sound:
            kind = "Request" if "v2.Request" in case.headers["content-type"] else "WriteRequest"
            try:
                series = message(kind).FromString(bytes(cramjam.snappy.decompress_raw(case.sent))).timeseries
            except DecodeError as error:
                assert "UTF-8" in str(error)  # of a help, which is kept with replacement characters
                return
            sent = {(each.timestamp, struct.pack("<d", each.value)) for labelled in series for each in labelled.samples}
            assert stored == sent if is_sound else stored <= sent

    def _check_messages(self, ids, sent):
        """Each message is in the queue as it was sent, or what its key stands for."""
        table, messages = self.system.queue_world.table, json.loads(sent)["messages"]
        bodies = {each.id: each.body for each in (*table.messages.values(), *table.later.values())}
        assert len(ids) == len(messages)
        for message_id, sent_message in zip(ids, messages, strict=True):
            assert message_id in bodies or sent_message.get("key")
            if not sent_message.get("key"):
                assert same(json.loads(bodies[message_id]), sent_message["body"])

    def _check_samples(self, case, payload):
        plain = self._plain(case)
        if plain == "deep":
            return
        rows, number = plain
        assert bits(self.stream.rows) == bits(rows)
        skipped = re.findall(r"=(\d+)", payload["headers"].get("Carbyne-Skipped", ""))
        assert sum(map(int, skipped)) == number

    def _inflated(self, case):
        return gzip.decompress(case.sent) if case.sent.startswith(b"\x1f\x8b") else case.sent

    def _plain(self, case):
        """(rows, number of skipped samples) of a post, None if it is no array of objects, "deep" if only a decoder
        without a limit could tell."""
        service = case.path.split("/")[4] if case.path != "/api/v0/tsdb" else None
        try:
            elements = decoded(self._inflated(case))
        except (ValueError, OSError, EOFError, zlib.error):
            return None
        except RecursionError:
            return "deep"
        if not isinstance(elements, list) or not all(isinstance(element, dict) for element in elements):
            return None
        samples = [sample_of(element, service) for element in elements]
        rows = {}
        for source, ts_ms, name, value in filter(None, samples):
            rows.setdefault((source, ts_ms), {})[name] = value
        return rows, samples.count(None)


class Number(str):
    """The text of a number."""


def decoded(body):
    return json.loads(body.decode(errors="surrogatepass"), parse_int=Number, parse_float=Number, parse_constant=refuse)


def refuse(name):
    raise ValueError(name)


def sample_of(element, service):
    """(source, ts_ms, name, value) of an element, None if it can't be stored."""
    if has_surrogate(element) or not {"name", "time", "value"} <= element.keys():
        return None
    host_id, name, time, value = (element.get(field) for field in ("hostId", "name", "time", "value"))
    if not is_name(name, 255) or not (service or is_name(host_id, 64)):
        return None
    if not isinstance(time, Number) or not isinstance(value, Number) or not math.isfinite(float(value)):
        return None
    time_s = float(time)
    if not math.isfinite(time_s) or time_s != int(time_s) or int(time_s) not in TIMES:
        return None
    source = f"service/{service}" if service else f"host/{host_id}"
    return source, int(time_s) // 60 * 60_000, name, float(value)


def is_name(text, length):
    return type(text) is str and re.fullmatch(r"[a-zA-Z0-9._-]+", text) is not None and len(text) <= length


def has_surrogate(value):
    return re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)) is not None


def bits(rows):
    """With what tells -0.0 from 0.0, and without an order."""
    return {key: {name: struct.pack("<d", value) for name, value in values.items()} for key, values in rows.items()}


def same(left, other):
    return json.dumps(left) == json.dumps(other)


def raw_body(payload):
    body = payload["body"]
    data = base64.b64decode(body) if payload["isBase64Encoded"] else body.encode()
    return gzip.decompress(data) if payload["headers"].get("Content-Encoding") == "gzip" else data


def body_of(payload):
    return json.loads(raw_body(payload))
