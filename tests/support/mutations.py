"""Recorded requests, changed at random: fast enough for a million, each by its number alone, with an oracle.

The oracle: no answer is a 5xx, each is JSON in the documented form, a refusal changes no store, what was accepted can
be read as it was sent, and of a post of samples exactly those are on the stream that a plain reader of the body finds.
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

from carbyne.core import keys
from carbyne.core.limits import AHEAD_MS_MAX, LATE_MARGIN_S, QUERY_FIELDS_MAX
from carbyne.intake.host_watch import HostWatch
from carbyne.intake.writer import RawWindows, Writer
from carbyne.stream import records
from carbyne.stream.putter import Time

from tests.support.fakes import NoDeletes
from tests.support.memory_system import LENGTH_S, RETENTION_S, MemorySystem, Meter
from tests.support.registry_store import MemoryRegistered

NOW_S = 1_700_000_000
TIMES = range(max(0, NOW_S - RETENTION_S + LATE_MARGIN_S), NOW_S + AHEAD_MS_MAX // 1000 + 1)
ANSWERS = {200, 400, 403, 404, 413}
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
PARTS = ["host1", "aA", "a%41", "x" * 64, "x" * 65, "x" * 1_100, "x" * 3_000, "é" * 50, "\x00", "\ud800", "..", "", " "]
PARTS += ["Shop", "web", "env", "i/1", "metadata", "roles", "*", "a:b", "a+b", "{id}"]
QUERIES = ["", "a=1&" * 2_100, "%", "=", "&&", "name=%00", "limit=1", "limit=0", "limit=x", "next=x", "status=working"]
QUERIES += [f"name={name}&from=1699999000&to=1700000000" for name in ("m", "loadavg5", "orders")]
QUERIES += ["name=m&from=0&to=1700000000&resolution=raw", "from=9&to=1&name=m"]
QUERIES += ["hostId=host1&name=m", f"hostId={'x' * 3_000}&name=m", "source=host/host1", "source=host/host1&from=1&to=2"]
QUERIES += [
    "service=Shop&role=web&customIdentifier=i",
    "caseInsensitive=true",
    "name=m&from=1e3&to=%F0%9F%98%80",
    "%ED%A0%80",
]

SAMPLE = b'{"hostId":"host1","name":"loadavg5","time":1700000000,"value":0.25}'
HOST = (
    b'{"name":"web1","displayName":"web 1","meta":{"memory":{"total":"16000kB"},"n":1.5e+22},"interfaces":[{"name":'
    b'"eth0","ipv4Addresses":["10.0.0.7"]}],"roleFullnames":["Shop:web"],"checks":[{"name":"ping","memo":"m"}],'
    b'"customIdentifier":"i/1"}\n'
)
REPORTS = (
    b'{"reports":[{"source":{"type":"host","hostId":"host1"},"name":"ping","status":"CRITICAL","message":"no answer",'
    b'"occurredAt":1700000000,"notificationInterval":10,"maxCheckAttempts":3}]}\n'
)
GRAPHS = (
    b'[{"name":"custom.a.#","displayName":"A","unit":"integer","metrics":[{"name":"custom.a.#.b","displayName":"B",'
    b'"isStacked":false}]}]\n'
)
STATUSES = b'{"ids":["host1","host2"],"status":"standby"}'
RECORDED = [
    *[("POST", "/api/v0/tsdb", b"[" + b",".join([SAMPLE] * number) + b"]\n") for number in (1, 2, 3, 5)],
    ("POST", "/api/v0/services/Shop/tsdb", b'[{"name":"orders","time":1700000000,"value":7},{"name":"x"}]'),
    ("DELETE", "/carbyne/v1/samples", b""),
    ("POST", "/api/v0/hosts", HOST),
    ("PUT", "/api/v0/hosts/host1", HOST),
    ("PUT", "/api/v0/hosts/host2", b'{"name":"web2","meta":{},"interfaces":null,"roleFullnames":null,"checks":null}'),
    ("GET", "/api/v0/hosts", b""),
    ("GET", "/api/v0/hosts/host1", b""),
    ("GET", "/api/v0/hosts/host1/metrics", b""),
    ("GET", "/api/v0/hosts/host1/metric-names", b""),
    ("GET", "/api/v0/services/Shop/metrics", b""),
    ("GET", "/api/v0/services/Shop/metric-names", b""),
    ("GET", "/api/v0/tsdb/latest", b""),
    ("GET", "/carbyne/v1/storage", b""),
    ("GET", "/api/v0/hosts-by-custom-identifier/i/1", b""),
    ("POST", "/api/v0/hosts/host1/status", b'{"status":"maintenance"}'),
    ("PUT", "/api/v0/hosts/host1/role-fullnames", b'{"roleFullnames":["Shop:db"]}'),
    ("POST", "/api/v0/hosts/host2/retire", b"null\n"),
    ("DELETE", "/carbyne/v1/hosts/host2", b""),
    ("GET", "/api/v0/hosts/host1/monitored-statuses", b""),
    ("POST", "/api/v0/hosts/bulk-update-statuses", STATUSES),
    ("POST", "/api/v0/hosts/bulk-retire", b'{"ids":["host2"]}'),
    ("POST", "/api/v0/monitoring/checks/report", REPORTS),
    ("POST", "/api/v0/graph-defs/create", GRAPHS),
    ("GET", "/api/v0/graph-defs", b""),
    ("DELETE", "/api/v0/graph-defs", b'{"name":"custom.a.#"}'),
    ("GET", "/api/v0/services", b""),
    ("POST", "/api/v0/services", b'{"name":"Blog","memo":"words"}'),
    ("DELETE", "/api/v0/services/Blog", b""),
    ("GET", "/api/v0/services/Shop/roles", b""),
    ("POST", "/api/v0/services/Shop/roles", b'{"name":"app","memo":""}'),
    ("DELETE", "/api/v0/services/Shop/roles/app", b""),
    ("GET", "/api/v0/hosts/host1/metadata", b""),
    ("PUT", "/api/v0/hosts/host1/metadata/env", b'{"stage":"production","n":[1.5e+22,null]}'),
    ("GET", "/api/v0/hosts/host1/metadata/env", b""),
    ("PUT", "/api/v0/services/Shop/metadata/env", b"1"),
    ("DELETE", "/api/v0/services/Shop/metadata/env", b""),
    ("PUT", "/api/v0/services/Shop/roles/web/metadata/env", b'["a"]'),
    ("GET", "/api/v0/org", b""),
    ("GET", "/openapi.json", b""),
    ("GET", "/api/v0/alerts", b""),
]


class Case:
    """The request of one number: a recorded one, nearly always with up to four changes."""

    def __init__(self, seed, number):
        self.draw = random.Random(f"{seed}:{number}")
        self.method, self.path, self.body = self.draw.choice(RECORDED)
        self.query = self.draw.choice(QUERIES) if self.draw.random() < 0.5 else ""
        self.headers = {"x-api-key": "key-a", "accept-encoding": "gzip"}
        for _ in range(self.draw.choice([0, 1, 1, 1, 2, 2, 4])):
            self.draw.choice([*[self._value] * 6, self._bytes, self._tokens, self._part, self._rest])()
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
        self.draw.choice([self._method, self._key, self._plain])()

    def _method(self):
        self.method = self.draw.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])

    def _key(self):
        self.headers["x-api-key"] = self.draw.choice(["key-a-reads", "key-a-writes", "nobody", "", "é", "x" * 300])

    def _plain(self):
        self.headers.pop("accept-encoding", None)

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
        self.system.deps["registry"] = accounts, registry._replace(new_id=lambda: next(ids))
        clock = Time(lambda: NOW_S * 1000, clock=lambda: 0.0, sleep=lambda _: None, random=lambda: 0.5)
        self.stream, watch = Stream(), HostWatch(MemoryRegistered(self.system.store), lambda: 0.0)
        for method, path, body in [("POST", "/api/v0/hosts", b'{"name":"web2"}'), *RECORDED]:
            if method != "DELETE" and "retire" not in path:
                self._call(method, path, body)
        self.system.deps["writer"] = Writer(
            accounts, self.stream, NoDeletes(), RawWindows(LENGTH_S, RETENTION_S), Meter(), clock, watch
        )

    def _call(self, method, path, body=b""):
        text = base64.b64encode(body).decode()
        http = {"method": method, "path": path}
        event = {"rawPath": path, "requestContext": {"http": http}, "headers": {"x-api-key": "key-a"}, "body": text}
        return self.system.handle(event | {"isBase64Encoded": True})

    def _check(self, case):
        before, self.stream.rows = dict(self.system.store.table), {}
        payload = self.system.handle(case.event)
        status, answer = payload["statusCode"], body_of(payload)
        self.statuses[f"{case.method} {case.path[:60]}", status] += 1
        assert status in ANSWERS, (status, answer)
        if status == 200:
            self._check_stored(case, payload)
            return
        assert set(answer) == {"error"} and isinstance(answer["error"]["message"], str) and answer["error"]["message"]
        assert self.stream.rows == {}
        changed = {key.pk for key, item in self.system.store.table.items() if before.get(key) != item}
        changed |= {key.pk for key in before.keys() - self.system.store.table.keys()}
        of_parts = {"a:services"} | ({"a:hosts", "a:retired"} if "/bulk-" in case.path else set())
        assert changed <= of_parts, "what was refused has changed something"
        if (case.method, case.path, status) == ("POST", "/api/v0/tsdb", 400) and len(case.query) < QUERY_FIELDS_MAX:
            assert self._plain(case) in (None, "deep"), "a body that can be read was refused"

    def _check_stored(self, case, payload):
        if case.method == "POST" and case.path.endswith("/tsdb"):
            self._check_samples(case, payload)
        elif case.method == "PUT" and "/metadata/" in case.path:
            got = self._call("GET", case.path)
            assert (got["statusCode"], raw_body(got)) == (200, self._inflated(case).strip(b" \t\r\n"))
        elif case.method in ("POST", "PUT") and "hosts" in case.path.split("/")[3:4] and "id" in body_of(payload):
            got = body_of(self._call("GET", f"/api/v0/hosts/{body_of(payload)['id']}"))["host"]
            sent = json.loads(self._inflated(case))
            assert got["name"] == sent["name"] and same(got["meta"], sent.get("meta", got["meta"]))
            assert self._call("GET", "/api/v0/hosts")["statusCode"] == 200

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


def same(one, other):
    return json.dumps(one) == json.dumps(other)


def raw_body(payload):
    body = payload["body"]
    data = base64.b64decode(body) if payload["isBase64Encoded"] else body.encode()
    return gzip.decompress(data) if payload["headers"].get("Content-Encoding") == "gzip" else data


def body_of(payload):
    return json.loads(raw_body(payload))
