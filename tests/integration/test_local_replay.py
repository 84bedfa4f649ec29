"""`make run` loses its Redis: reads are refused, the system replays the stream by itself, every sample is back."""

import os
import random
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import urlencode

import psutil
import pytest
import redis
from carbyne.adapters.lambda_ import LambdaReaders
from carbyne.core.errors import RetryableError

from local.sources import shards_of
from local.template import ARNS
from servers.aws import Aws
from servers.process import ROOT
from tests.support.make_run import running

PARAMETERS = "RawWindowSeconds=60 SealGraceSeconds=1 SealJitterSeconds=1 IngesterBatchWindowSeconds=0"
HOSTS = [f"web{i}" for i in range(6)]
NAMES = ["loadavg5", "cpu.user.percentage", "custom.a.b"]


def listening(process):
    """Ports on which a process listens, lowest first."""
    return sorted(
        connection.laddr.port
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    )


class Client:
    """Posts samples of which it knows each bit, and reads them all."""

    def __init__(self, system):
        self.system, self.random, self.posted = system, random.Random(1), {}
        self.first_s = int(time.time()) // 60 * 60 - 1200
        (aws,) = (child for child in system.children if "servers.aws" in child.cmdline())
        self.aws = Aws()
        self.aws.endpoint = f"http://127.0.0.1:{listening(aws)[0]}"

    def post(self, minute):
        body = [
            {"hostId": host, "name": name, "time": self.first_s + 60 * minute, "value": self.random.random()}
            for host in HOSTS
            for name in NAMES
        ]
        assert self.system.call("/api/v0/tsdb", body) == (200, {"success": True})
        self.posted |= {(sample["hostId"], sample["name"], sample["time"]): sample["value"] for sample in body}

    def read(self, host, name, **more):
        query = urlencode({"name": name, "from": self.first_s, "to": self.first_s + 3600, **more})
        return self.system.call(f"/api/v0/hosts/{host}/metrics?{query}")

    def readable(self, refused=(503,)):
        """Every sample that reads give, or None while one is refused."""
        result = {}
        for host in HOSTS:
            for name in NAMES:
                status, answer = self.read(host, name)
                if status in refused:
                    return None
                assert status == 200, answer
                result |= {(host, name, point["time"]): point["value"] for point in answer["metrics"]}
        return result

    def flush(self):
        """FLUSHALL on every master; how many there are."""
        nodes = [child for child in self.system.children if re.search("valkey|redis", child.name())]
        masters = 0
        for node in nodes:
            with redis.Redis(port=listening(node)[0]) as node_client:
                if node_client.info("replication")["role"] == "master":
                    node_client.flushall()
                    masters += 1
        return masters

    def mappings(self):
        return self.aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]


def until(condition, limit_s, between=lambda: None):
    end_s = time.monotonic() + limit_s
    while not (answer := condition()):
        assert time.monotonic() < end_s, f"not so within {limit_s} s"
        between()
        time.sleep(0.5)
    return answer


def test_a_flushed_redis_is_filled_again_without_anyone_asking():
    with running(PARAMETERS=PARAMETERS, SCHEDULE_MINUTE_S="10") as system:
        client = Client(system)
        for minute in range(5):
            client.post(minute)
        until(lambda: client.readable(refused=(404,)) == client.posted, 10)
        assert client.flush() == 3
        minutes = iter(range(5, 1000))
        assert client.read(HOSTS[0], NAMES[0])[0] == 503
        assert client.read(HOSTS[0], NAMES[0], partial="true")[0] == 200

        def goes_on():
            client.post(next(minutes) % 15)  # some of them a second time, over the first
            client.readable()

        until(client.mappings, 150, goes_on)
        shown = show(client)
        until(lambda: client.readable() is not None, 30, lambda: client.post(next(minutes) % 15))
        until(lambda: client.readable() == client.posted, 20)
        until(lambda: not client.mappings(), 100)
        assert client.readable() == client.posted, "what was replayed and then sealed"
        words, remarks = shown.communicate(timeout=20)
        assert re.search(r"replay \w+ is done: .* s of the stream in [\d,]+ records, [\d,]+x real time", words), words
        assert re.search(r"the stream is replayed up to .*, \d+% of it", remarks), remarks
        assert shown.returncode == 0


def show(client):
    """``carbyne replay --show``, started."""
    environment = {**os.environ, **client.aws.environment, "PYTHONPATH": "layers/carbyne"}
    command = [sys.executable, "-m", "carbyne", "replay", "--show", "--table", "carbyne-blockstable"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)


@pytest.fixture
def readers(aws):
    """Readers of a stream of their own."""
    name = f"stream-{random.randrange(10**9)}"
    aws.client("kinesis").create_stream(StreamName=name, ShardCount=1)
    aws.register([f"f-{name}"])
    return LambdaReaders(aws.client("lambda"), f"f-{name}", ARNS["AWS::Kinesis::Stream"] + name)


def test_a_reader_is_started_once_and_stopped_once(readers):
    first = readers.start(0)
    assert readers.start(0) == first
    readers.stop(first)
    readers.stop(first)
    assert readers.start(0) != first


def test_a_reader_that_is_still_being_deleted_is_not_the_next_one(readers, monkeypatch):
    readers.start(0)
    listed = readers._client.list_event_source_mappings()["EventSourceMappings"]
    deleting = {"EventSourceMappings": [{**mapping, "State": "Deleting"} for mapping in listed]}
    monkeypatch.setattr(readers._client, "list_event_source_mappings", lambda **_: deleting)
    with pytest.raises(RetryableError, match="not gone yet"):
        readers.start(0)


def test_a_reader_begins_where_the_mark_is(readers, aws):
    """What came before that time is not delivered."""
    stream, since_s = readers._stream_arn.rpartition("/")[2], int(time.time()) - 100
    readers.start(since_s)
    [mapping] = readers._client.list_event_source_mappings(FunctionName=readers._function)["EventSourceMappings"]
    assert mapping["StartingPosition"] == "AT_TIMESTAMP"
    assert mapping["StartingPositionTimestamp"].timestamp() == since_s
    aws.client("kinesis").put_record(StreamName=stream, Data=b"x", PartitionKey="l0001")
    for begin_s, count in ((since_s, 1), (since_s + 1000, 0)):
        settings = {**mapping, "Stream": readers._stream_arn}
        settings["StartingPositionTimestamp"] = datetime.fromtimestamp(begin_s, UTC)
        [shard] = shards_of(aws, SimpleNamespace(name="f"), settings)
        records = shard.client.get_records(ShardIterator=shard.iterator)["Records"]
        assert len(records) == count
