"""The archive's adapter: what each answer of S3 means.  A wrong 'not there' would lose a block."""

import io
import logging
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from carbyne.adapters import aws
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import BlockKey, SourceKey, Window

KEY = BlockKey(SourceKey("acme", "host/a"), "raw", Window(1_699_992_000, 14_400))
TRANSIENT = [
    ("SlowDown", 503),
    ("InternalError", 500),
    ("RequestTimeout", 400),
    ("ServiceUnavailable", 503),
    ("503", 503),
]
WRONG = [("AccessDenied", 403), ("NoSuchBucket", 404), ("InvalidObjectState", 403), ("KMSDisabledException", 400)]


@pytest.fixture
def client():
    return boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=aws.config(1, 1, tries=1),
    )


@pytest.fixture
def answers(client):
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def cold(client):
    return ColdBlocks(client, "archive")


WHERE = {"Bucket": "archive", "Key": "raw/acme/host%2Fa/1699992000+14400/all"}


def test_a_block_has_its_etag_as_token(answers, cold):
    answers.add_response("get_object", {"Body": StreamingBody(io.BytesIO(b"data"), 4), "ETag": '"e1"'}, WHERE)
    item = cold.get(KEY)
    assert item == Item(b"data") and item.token == '"e1"'
    answers.add_response("put_object", {"ETag": '"e2"'}, {**WHERE, "Body": b"more", "IfMatch": '"e1"'})
    assert cold.put(KEY, Item(b"more"), item)
    answers.add_response("put_object", {"ETag": '"e3"'}, {**WHERE, "Body": b"new", "IfNoneMatch": "*"})
    assert cold.put(KEY, Item(b"new", expires_s=5), None)
    assert cold.puts == 2


def test_only_no_such_key_means_that_nothing_is_there(answers, cold):
    answers.add_client_error("get_object", "NoSuchKey", http_status_code=404)
    assert cold.get(KEY) is None


@pytest.mark.parametrize(
    ("code", "status"), [("PreconditionFailed", 412), ("ConditionalRequestConflict", 409), ("NoSuchKey", 404)]
)
@pytest.mark.parametrize("replaces", [None, Item(b"old", token='"e1"')], ids=["new", "changed"])
def test_a_failed_condition_means_read_again(answers, cold, code, status, replaces):
    answers.add_client_error("put_object", code, http_status_code=status)
    assert cold.put(KEY, Item(b"x"), replaces) is False
    assert cold.puts == 0


@pytest.mark.parametrize(("code", "status"), TRANSIENT + WRONG)
@pytest.mark.parametrize("operation", ["get_object", "put_object"])
def test_everything_else_is_open_and_what_a_human_must_mend_is_an_error_in_the_log(
    answers, cold, code, status, operation, caplog
):
    answers.add_client_error(operation, code, http_status_code=status)
    with pytest.raises(RetryableError, match=code):
        cold.get(KEY) if operation == "get_object" else cold.put(KEY, Item(b"x"), None)
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert bool(logged) == ((code, status) in WRONG)


@pytest.mark.parametrize(
    "error",
    [
        ConnectTimeoutError(endpoint_url="s3"),
        ReadTimeoutError(endpoint_url="s3"),
        EndpointConnectionError(endpoint_url="s3"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_network_that_fails_is_retryable(error):
    def fail(**_):
        raise error

    cold = ColdBlocks(SimpleNamespace(get_object=fail, put_object=fail), "archive")
    for ask in (lambda: cold.get(KEY), lambda: cold.put(KEY, Item(b"x"), None)):
        with pytest.raises(RetryableError):
            ask()


@pytest.mark.parametrize("body", [StreamingBody(io.BytesIO(b"dat"), 4), StreamingBody(SimpleNamespace(), 4)])
def test_a_body_that_breaks_off_is_no_block(answers, cold, body):
    if not isinstance(body._raw_stream, io.BytesIO):
        body._raw_stream.read = lambda *_: (_ for _ in ()).throw(ReadTimeoutError(endpoint_url="s3"))
    answers.add_response("get_object", {"Body": body, "ETag": '"e1"'})
    with pytest.raises(RetryableError):
        cold.get(KEY)
