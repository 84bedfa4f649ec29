"""The hot path on one machine: the functions' own handlers around an in-memory stream and a real Redis Cluster.

``Pipeline`` wires them like ``carbyne.wiring`` does, with a stream, accounts, quarantine and clock of its own, so that
tests can count, replay, reorder and fail what lies between the functions, and need no embedded AWS for volume.
"""

import base64
import importlib.util
import json
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote, urlencode
from uuid import uuid4

from carbyne.adapters.dynamodb.table import WarmBlocks
from carbyne.adapters.redis.cache import RedisCache
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.keys import RAW, RESOLUTIONS
from carbyne.core.settings import RedisSettings
from carbyne.hot.failovers import Failovers
from carbyne.hot.followers import Followers, MastersItem
from carbyne.hot.marks import Ticking
from carbyne.hot.replay import ReplayRecords, Watch
from carbyne.intake.writer import RawWindows, Writer
from carbyne.samples.schedule import SealSchedule
from carbyne.seal.sealer import Retention
from carbyne.stream.putter import Time
from carbyne.tenants.accounts import BOTH, Accounts, Grant
from carbyne.tenants.usage import HeldMemory, Limits, Standing, TakenBody
from carbyne.wiring import ingester as wiring_ingester
from carbyne.wiring import reader as wiring_reader
from carbyne.wiring import sealer as wiring_sealer
from carbyne.wiring.redis import nodes

from harness.wired import NoDeletes, ingester_settings, reader_settings, sealer_settings
from servers.memory import MemoryTable

ROOT = Path(__file__).parents[1]
LENGTH_S = 14_400
RETENTION_S = 460 * 86_400
WARM_S = 7 * 86_400
SCHEDULE = SealSchedule(120, 1800)
BATCH = 100
"""Records of one event, as the template's default."""
DELIVERY_S = 30.0
"""How long ``deliver`` goes on with a batch that fails."""


def load_app(function):
    """The module of ``functions/<function>/app.py``."""
    spec = importlib.util.spec_from_file_location(f"{function}_app", ROOT / "functions" / function / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


APPS = {function: load_app(function) for function in ("writer", "ingester", "replayer", "sealer", "reader")}


class MemoryStream:
    """A ``putter.Stream`` that keeps (sequence number, partition key, data) in the order of arrival."""

    FIRST = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
    """A sequence number as Kinesis gives them: 56 digits, with gaps in between."""

    def __init__(self):
        self.records = []

    def put(self, entries):
        for partition_key, data in entries:
            self.append(partition_key, data)
        return []

    def append(self, partition_key, data):
        """Put one record, sound or not; its sequence number."""
        sequence = str(self.FIRST + (len(self.records) << 70 | len(self.records) * 7919 % 4096))
        self.records.append((sequence, partition_key, data))
        return sequence


def kinesis_event(records, arrived_s=lambda sequence: 1_700_000_000.0):
    """The event with which Lambda hands over these records of a stream."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": partition_key,
                    "sequenceNumber": sequence,
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": arrived_s(sequence),
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000000:{sequence}",
                "eventName": "aws:kinesis:record",
                "awsRegion": "us-east-1",
            }
            for sequence, partition_key, data in records
        ]
    }


def http_event(method, path, *, query=(), headers=None, body=None):
    """The payload 2.0 event of API Gateway; ``query``: (name, value) pairs; a body that is no text comes as base64."""
    try:
        text, is_base64 = (body.decode() if isinstance(body, bytes) else body), False
    except UnicodeDecodeError:
        text, is_base64 = base64.b64encode(body).decode(), True
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": urlencode(query),
        "headers": {name.lower(): value for name, value in (headers or {}).items()},
        "requestContext": {"http": {"method": method, "path": path}, "requestId": "test", "stage": "$default"},
        **({} if body is None else {"body": text}),
        "isBase64Encoded": is_base64,
    }


class MemoryAccounts:
    """An AccountStore: API key -> tenant, and the sealer's Admission; ``away`` makes it fail."""

    def __init__(self, tenant_of_key):
        self.tenant_of_key = tenant_of_key
        self.limits = Limits(
            old_windows_per_minute=10**9
        )  # tests post years at once, on a clock that stands; see test_neighbours for the real ones
        self.spent = Counter()
        self.memory, self.bodies, self.steps, self.divisions = {}, {}, {}, {}
        self.away = False

    def grant_of(self, api_key):
        self._ask()
        return Grant(self.tenant_of_key[api_key], BOTH) if api_key in self.tenant_of_key else None

    def has_tenant(self, tenant):
        self._ask()
        return tenant in self.tenant_of_key.values()

    def standing_of(self, tenant):
        """``steps``: tenant -> of the lengths of its windows; ``divisions``: tenant -> of its targets."""
        if not self.has_tenant(tenant):
            return None
        return Standing(
            self.limits,
            memory=self.memory.get(tenant),
            bodies=self.bodies,
            steps=self.steps.get(tenant, ()),
            divisions=dict(self.divisions.get(tenant, {})),
        )

    def note_taken(self, tenant, body, taken, minute):
        self._ask()
        self.bodies[body] = TakenBody(taken, minute)

    def refuse(self, tenant, used_bytes, allowed_bytes, now_s):
        self._ask()
        self.memory[tenant] = HeldMemory(used_bytes, allowed_bytes, now_s // 60)

    def spend(self, tenant, limit, minute, number):
        self._ask()
        self.spent[tenant, limit, minute] += number
        return self.spent[tenant, limit, minute]

    def _ask(self):
        if self.away:
            raise RetryableError("the accounts table is away")


class MemoryQuarantine:
    """A Quarantine: stamp -> (data, reason); ``away`` makes it fail."""

    def __init__(self):
        self.kept = {}
        self.away = False

    def put(self, stamp, data, reason):
        if self.away:
            raise RetryableError("the failure bucket is away")
        self.kept[stamp] = data, reason


class _Meter:
    """Counts at once what the real one adds up for a minute."""

    def __init__(self, counts):
        self._counts = counts

    def add(self, name, amount=1):
        self._counts[name] += amount

    def peak(self, name, amount):
        self._counts[name] = max(self._counts[name], amount)

    def flush_due(self):
        pass


class Pipeline:
    """Writer, stream, ingester, sealer and reader.  ``now_s``: what their clock says; ``counts``: metrics so far;
    ``clocked``: records arrive by the clock, so that some are late, else all arrive in time."""

    def __init__(self, cluster, now_s, tenants=None, quarantine=None, table=None, hot_s=3600, clocked=False):
        self.endpoint = f"127.0.0.1:{with_role(cluster, 'master')[0].port}"  # tests stop replicas, and then reconnect
        self.now_s = now_s
        self.counts = Counter()
        self.stream = MemoryStream()
        self.accounts = MemoryAccounts(tenants or {"secret": "acme"})
        self.quarantine = quarantine or MemoryQuarantine()
        self.table = table or MemoryTable()
        self.cold = WarmBlocks(MemoryTable())
        self.retention = Retention(hot_s, 604_800)
        self.warm_s = dict.fromkeys(RESOLUTIONS, WARM_S)
        self._open = []
        self.clocked, self._arrivals = clocked, {}
        self.reconnect()
        self.store.init()

    def reconnect(self):
        """New instances of all functions, with connections of their own."""
        self.close()
        self.meter = meter = _Meter(self.counts)
        accounts = Accounts(self.accounts, time.monotonic)
        time_of_puts = Time(now_ms=self._now_ms, clock=time.monotonic, sleep=time.sleep, random=lambda: 0.5)
        windows = RawWindows(LENGTH_S, RETENTION_S)
        self.writer = Writer(
            accounts, self.stream, NoDeletes(), windows, meter, time_of_puts, ask_reader=self._asked_of_reader
        )
        self.ingester_nodes, reader_nodes = self._nodes(), self._nodes()
        self.ingester = self.new_ingester(self.ingester_nodes)
        self.store = HotStore(reader_nodes)
        cache = RedisCache(reader_nodes, time.monotonic, meter)
        ports = wiring_reader.ReaderPorts(
            *(self.store, HotWindows(reader_nodes), self.table, self.cold, accounts, self._now_ms, cache),
        )
        self.reader = wiring_reader.assemble(reader_settings(LENGTH_S, RETENTION_S), ports)
        self.sealer = self.new_sealer(HotWindows(self._nodes()), self.table)

    def new_ingester(self, nodes):
        accounts = Accounts(self.accounts, time.monotonic)
        hot, windows = HotStore(nodes), HotWindows(nodes)
        ports = wiring_ingester.IngesterPorts(
            hot, windows, self.table, accounts, self.quarantine, self._now_ms, self.meter
        )
        return Ticking(wiring_ingester.assemble(ingester_settings(SCHEDULE, LENGTH_S, RETENTION_S), ports), windows)

    def new_watch(self, *, initialised=True):
        lanes = HotWindows(self._nodes())
        return Watch(
            ReplayRecords.of(self.table, SCHEDULE.grace_s),
            Failovers(self.table, lanes, lambda: self.now_s),
            lanes,
            lambda: initialised,
            lambda: uuid4().hex,
            self._now_ms,
        )

    def new_look(self):
        """What looks at the lanes once, as each run of the sealer does, and has those replayed that are not whole."""
        watch, windows = self.new_watch(), HotWindows(self._nodes())

        def look():
            see_to = watch.begin_look()
            see_to(windows.due(self._now_ms()))

        return look

    def new_sealer(self, hot, table):
        ports = wiring_sealer.SealerPorts(
            hot, table, self.cold, self.accounts, lambda: True, lambda: uuid4().hex, self._now_ms, self.meter
        )
        retention = self.retention
        warm_s = self.warm_s | {RAW: retention.warm_raw_s}
        return wiring_sealer.assemble(sealer_settings(SCHEDULE, RETENTION_S, retention.hot_s, warm_s), ports)

    def seal(self, seconds_left=lambda: 300.0):
        """One run of the sealer; the number of windows sealed."""
        return APPS["sealer"].handle(lambda: self.sealer, seconds_left)

    def close(self):
        while self._open:
            self._open.pop().close()

    def delete(self, source, api_key="secret", **span):
        """DELETE of a source's samples, of ``name`` from ``from_s`` to ``to_s`` where given; the answer."""
        query = [("source", source), *((key.removesuffix("_s"), value) for key, value in span.items())]
        event = http_event("DELETE", "/carbyne/v1/samples", query=query, headers={"X-Api-Key": api_key})
        return APPS["writer"].handle(event, lambda: self.writer)

    def post(self, samples, api_key="secret"):
        """POST samples, (host, name, time_s, value) each or a raw body; the answer."""
        body = samples
        if not isinstance(samples, bytes | str):
            body = json.dumps([{"hostId": h, "name": n, "time": t, "value": v} for h, n, t, v in samples])
        headers = {"X-Api-Key": api_key, "Content-Type": "application/json"}
        event = http_event("POST", "/api/v0/tsdb", headers=headers, body=body)
        return APPS["writer"].handle(event, lambda: self.writer)

    def ingest(self, records):
        """One event; the sequence number from which Lambda would send again, None if all is done."""
        failures = self._answer(records)["batchItemFailures"]
        return failures[0]["itemIdentifier"] if failures else None

    def _arrived_s(self, sequence):
        """When a record arrived: by the clock at its first delivery, or always in time."""
        return float(self._arrivals.setdefault(sequence, self.now_s)) if self.clocked else 0.0

    def _answer(self, records):
        return APPS["ingester"].handle(kinesis_event(records, self._arrived_s), lambda: self.ingester, lambda: 60.0)

    def deliver(self, records=None, batch=BATCH, between=lambda number: None):
        """All records (default: the whole stream) as Lambda would, each batch until it is done; how many events failed.

        ``between``: called with the number of each batch before its first try.
        """
        records = self.stream.records if records is None else records
        failed = 0
        for number, first in enumerate(range(0, len(records), batch)):
            between(number)
            todo, end_s = records[first : first + batch], time.monotonic() + DELIVERY_S
            while (sequence := self.ingest(todo)) is not None:
                assert time.monotonic() < end_s, f"batch {number} still fails at {sequence}"
                failed += 1
                todo = [record for record in todo if int(record[0]) >= int(sequence)]
        return failed

    def get(self, path, *query, api_key="secret"):
        event = http_event("GET", path, query=query, headers={"X-Api-Key": api_key})
        return APPS["reader"].handle(event, lambda: self.reader)

    def get_metric(self, host, name, from_s=0, to_s=2**33, api_key="secret", **more):
        """(status, headers, [(time_s, value)] or the error's message) of one metric's read, raw unless told."""
        query = [("name", name), ("from", from_s), ("to", to_s), *({"resolution": "raw"} | more).items()]
        answer = self.get(f"/api/v0/hosts/{quote(host)}/metrics", *query, api_key=api_key)
        body = json.loads(answer["body"])
        points = [(m["time"], m["value"]) for m in body["metrics"]] if "metrics" in body else body["error"]["message"]
        return answer["statusCode"], answer["headers"], points

    def _asked_of_reader(self, event):
        return APPS["reader"].handle(event, lambda: self.reader)

    def _now_ms(self):
        return self.now_s * 1000

    def _nodes(self):
        followers = Followers(MastersItem(self.table), lambda: self.now_s)
        connected = nodes(RedisSettings(self.endpoint, False), self._alone, followers)
        self._open.append(connected)
        return connected

    def _alone(self, calls):
        self.counts["WritesWithoutReplica"] += calls


def with_role(cluster, role):
    """Living nodes that are ``master`` or ``slave`` by their own account."""
    return [node for node in cluster.nodes if node.alive and f"role:{role}" in node.ask("INFO", "replication")]


def flush(cluster):
    for node in with_role(cluster, "master"):
        node.ask("FLUSHALL")


def slot_of(cluster, lane):
    return int(cluster.nodes[0].ask("CLUSTER KEYSLOT", keys.lane_state(lane)))


def master_of(cluster, lane):
    """The master that serves a lane, by its own account."""
    slot = slot_of(cluster, lane)
    return next(node for node in with_role(cluster, "master") if slot in _slots(node))


def replica_of(cluster, master):
    """The one replica of a master."""
    port = f"master_port:{master.port}\r"
    return next(node for node in with_role(cluster, "slave") if port in node.ask("INFO", "replication"))


def stored_bytes(cluster):
    """Memory of what is stored, over the masters: used_memory without replication buffers, clients and links."""
    return sum(_stored(node) for node in with_role(cluster, "master"))


def _stored(node):
    memory = dict(line.split(":", 1) for line in node.ask("INFO", "memory").split("\r\n") if ":" in line)
    besides = ("mem_total_replication_buffers", "mem_clients_normal", "mem_clients_slaves", "mem_cluster_links")
    return int(memory["used_memory"]) - sum(int(memory[name]) for name in besides)


def _slots(node):
    own = next(line for line in node.ask("CLUSTER NODES").splitlines() if "myself" in line)
    spans = [span.partition("-") for span in own.split(" ")[8:] if not span.startswith("[")]
    return {slot for first, _, last in spans for slot in range(int(first), int(last or first) + 1)}
