"""The writer's own handler and adapters against an AWS that answers over HTTP, and against ways it may not answer."""

import importlib.util
import json
import socket
import struct
import threading
import time
import uuid
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.stub import Stubber
from carbyne.adapters import aws as aws_adapter
from carbyne.adapters.dynamodb.accounts import DynamoAccounts, add_key, add_tenant
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.put_records import PutRecordsClient
from carbyne.adapters.signed import Place, Timeouts
from carbyne.core import keys, limits
from carbyne.core.errors import RequestError, RetryableError
from carbyne.stream import records
from carbyne.tenants.accounts import BOTH, Accounts
from carbyne.wiring.writer import writer as wired_writer

from tests.support.stores import create_table

ROOT = Path(__file__).parents[2]


def load_app():
    spec = importlib.util.spec_from_file_location("writer_app", ROOT / "functions/writer/app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def names(aws):
    """(stream, accounts table), new for each test; tenant acme has the key ``secret``."""
    name = uuid.uuid4().hex
    aws.client("kinesis").create_stream(StreamName=name, ShardCount=2)
    dynamodb = aws.client("dynamodb")
    create_table(dynamodb, "pk", name=name)
    add_tenant(dynamodb, name, "acme")
    add_key(dynamodb, name, "secret", "acme")
    return name, name


@pytest.fixture
def post(aws, names, monkeypatch):
    """Posts through the real handler with its real wiring."""
    variables = aws.environment | {
        "STACK": "carbyne",
        "STREAM_NAME": names[0],
        "ACCOUNTS_TABLE": names[1],
        "REGISTRY_TABLE": names[1],
        "REGISTRY_FUNCTION": "registry",
        "READER_FUNCTION": "reader",
        "BLOCKS_TABLE": names[1],
        "RAW_WINDOW_S": "14400",
        "COLD_RAW_S": "39744000",
    }
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr("carbyne.adapters.telemetry.log_as_json", lambda function: None)
    wired_writer.cache_clear()
    app = load_app()

    def post(samples, api_key="secret"):
        event = {
            "rawPath": "/api/v0/tsdb",
            "headers": {"x-api-key": api_key},
            "requestContext": {"http": {"method": "POST"}},
            "body": json.dumps(samples),
            "isBase64Encoded": False,
        }
        return app.handler(event, None)

    yield post
    wired_writer.cache_clear()


def on_stream(aws, stream):
    """(partition key, record) of everything in the stream."""
    client = aws.client("kinesis")
    stream_records = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        where = {"StreamName": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = client.get_shard_iterator(**where)["ShardIterator"]
        stream_records += client.get_records(ShardIterator=iterator)["Records"]
    return [(record["PartitionKey"], records.decode(record["Data"])) for record in stream_records]


def test_posted_samples_are_on_the_stream_by_lane(aws, names, post):
    now_s = int(time.time())
    samples = [
        {"hostId": f"host{host}", "name": f"metric.{metric}", "time": now_s, "value": host + metric / 7}
        for host in range(20)
        for metric in range(100)
    ]
    answer = post(samples)
    assert (answer["statusCode"], answer["body"]) == (200, '{"success":true}')
    by_name = {}
    for key, record in on_stream(aws, names[0]):
        for row in record.rows:
            assert key == keys.lane_tag(keys.lane_of("acme", row.source))
            series = keys.split_series(record.lists[row.series])
            values = struct.unpack(f"<{len(series)}d", row.values)
            by_name |= {(row.source, name): value for name, value in zip(series, values, strict=True)}
    assert by_name == {(f"host/{sample['hostId']}", sample["name"]): sample["value"] for sample in samples}


def test_a_wrong_key_is_403_and_a_stream_that_is_gone_503(aws, names, post):
    good = {"hostId": "h", "name": "m", "time": int(time.time()), "value": 1}
    assert post([good], "wrong")["statusCode"] == 403
    aws.client("kinesis").delete_stream(StreamName=names[0])
    answer = post([good])
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, str(limits.RETRY_AFTER_S))


def test_a_writer_believes_a_look_up_for_a_minute_of_the_day(post):
    """A monotonic clock may stand while Lambda has the instance frozen: it would miss a division that holds by then."""
    post([{"hostId": "h", "name": "m", "time": int(time.time()), "value": 1}])
    accounts = wired_writer()._accounts
    assert accounts._standings._clock is time.time and accounts.standing("acme").divisions == {}


def test_keys_and_tenants_of_the_table(aws, names):
    client = aws.client("dynamodb")
    accounts = Accounts(DynamoAccounts(client, names[1]), time.monotonic)
    assert accounts.tenant({"x-api-key": "secret"}, BOTH) == "acme"
    assert accounts.tenant_exists("acme")
    assert not accounts.tenant_exists("other")
    with pytest.raises(RequestError):
        accounts.tenant({"x-api-key": "acme"}, BOTH)
    assert "secret" not in json.dumps(client.scan(TableName=names[1])["Items"])
    with pytest.raises(RetryableError, match="ResourceNotFound"):
        DynamoAccounts(client, "no-such-table").has_tenant("acme")


def kinesis_at(endpoint, connect_timeout_s=0.5, read_timeout_s=0.5):
    config = aws_adapter.config(connect_timeout_s, read_timeout_s, tries=1)
    account = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    return boto3.client("kinesis", endpoint_url=endpoint, config=config, **account)


def lean_at(endpoint, connect_timeout_s=0.5, read_timeout_s=0.5):
    timeouts = Timeouts(connect_timeout_s, read_timeout_s)
    return PutRecordsClient(Credentials("a", "b"), Place(endpoint, "us-east-1"), timeouts)


both_clients = pytest.mark.parametrize("client_at", [kinesis_at, lean_at])


@pytest.fixture
def silent():
    """An endpoint that takes requests and never answers; ``connections`` counts them."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted = []

    def accept():
        while True:
            try:
                accepted.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", accepted
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()
    for connection in accepted:
        connection.close()


ENTRIES = [("l0001", b"a"), ("l0002", b"b"), ("l0003", b"c")]


@both_clients
def test_a_call_without_an_answer_leaves_every_entry_to_be_tried_again_and_is_made_once(silent, client_at):
    endpoint, accepted = silent
    client = client_at(endpoint)
    start_s = time.monotonic()
    assert KinesisStream(client, "s").put(ENTRIES) == [0, 1, 2]
    assert time.monotonic() - start_s < 3
    assert len(accepted) == 1
    client.close()


@both_clients
def test_an_endpoint_that_is_away_leaves_every_entry_to_be_tried_again(client_at):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert KinesisStream(client_at(f"http://127.0.0.1:{port}"), "s").put(ENTRIES) == [0, 1, 2]


def answering(results):
    client = kinesis_at("http://127.0.0.1:1")
    stubber = Stubber(client)
    stubber.add_response("put_records", {"Records": results})
    stubber.activate()
    return KinesisStream(client, "s")


DONE = {"SequenceNumber": "1", "ShardId": "s"}
THROTTLED = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}


@pytest.mark.parametrize(
    ("results", "failed"),
    [
        ([DONE, DONE, DONE], []),
        ([THROTTLED, DONE, {"ErrorCode": "InternalFailure", "ErrorMessage": "?"}], [0, 2]),
        ([DONE, {}, DONE], [1]),
        ([DONE, DONE], [0, 1, 2]),
    ],
)
def test_only_a_sequence_number_acknowledges_an_entry(results, failed):
    assert answering(results).put(ENTRIES) == failed


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ServiceUnavailable", "InternalFailure"])
def test_a_throttled_call_leaves_every_entry_to_be_tried_again(code):
    client = kinesis_at("http://127.0.0.1:1")
    with Stubber(client) as stubber:
        stubber.add_client_error("put_records", code)
        assert KinesisStream(client, "s").put(ENTRIES) == [0, 1, 2]


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException", "KMSDisabledException"])
def test_a_refused_call_is_given_up_and_logged(code, caplog):
    client = kinesis_at("http://127.0.0.1:1")
    with Stubber(client) as stubber:
        stubber.add_client_error("put_records", code)
        with pytest.raises(RetryableError, match=code):
            KinesisStream(client, "s").put(ENTRIES)
    assert [record.levelname for record in caplog.records if record.name.startswith("carbyne")] == ["ERROR"]


@pytest.fixture
def answering_http():
    """Answers each request over HTTP as ``said`` says; keeps what it was asked."""
    asked, said = [], []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked.append((dict(self.headers), json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            status, body = said.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_): ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    client = lean_at(f"http://127.0.0.1:{server.server_port}")
    yield KinesisStream(client, "s"), asked, said
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_lean_client_asks_as_boto3_does(answering_http):
    stream, asked, said = answering_http
    said.append((200, json.dumps({"Records": [DONE, THROTTLED, DONE]}).encode()))
    assert stream.put(ENTRIES) == [1]
    [(headers, body)] = asked
    assert headers["X-Amz-Target"] == "Kinesis_20131202.PutRecords"
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=a/")
    data = [{"PartitionKey": key, "Data": b64encode(value).decode()} for key, value in ENTRIES]
    assert body == {"StreamName": "s", "Records": data}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"__type":"com.amazonaws.kinesis#ProvisionedThroughputExceededException","message":"slow down"}'),
        (500, b'{"__type":"InternalFailure"}'),
        (503, b"<html>busy</html>"),
        (502, b"[]"),
    ],
)
def test_a_fault_of_the_service_leaves_every_entry_to_be_tried_again(answering_http, status, body):
    stream, _, said = answering_http
    said.append((status, body))
    assert stream.put(ENTRIES) == [0, 1, 2]


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[1]", b"{}"])
def test_a_success_that_says_nothing_acknowledges_nothing(answering_http, body):
    stream, _, said = answering_http
    said.append((200, body))
    assert stream.put(ENTRIES) == [0, 1, 2]


def test_a_refusal_is_told_by_its_code(answering_http):
    stream, _, said = answering_http
    said.append((400, b'{"__type":"AccessDeniedException","Message":"no"}'))
    with pytest.raises(RetryableError, match="AccessDeniedException"):
        stream.put(ENTRIES)


def test_without_credentials_nothing_is_acknowledged():
    client = PutRecordsClient(None, Place("http://127.0.0.1:1", "us-east-1"), Timeouts(0.5, 0.5))
    assert KinesisStream(client, "s").put(ENTRIES) == [0, 1, 2]
