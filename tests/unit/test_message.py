"""Events of API Gateway in, answers out: decoding, bounds, and every exception an answer."""

import base64
import gzip
import json
import tracemalloc

import pytest
from carbyne.core.errors import InvariantError, RequestError, RetryableError
from carbyne.core.limits import BODY_BYTES_MAX, QUERY_FIELDS_MAX, RETRY_AFTER_S
from carbyne.http import message
from hypothesis import given, settings
from hypothesis import strategies as st


def event(**parts):
    http_part = {"method": "POST", "path": "/api/v0/tsdb"}
    return {"version": "2.0", "rawPath": "/api/v0/tsdb", "requestContext": {"http": http_part}} | parts


def encoded(body: bytes, **parts):
    return event(body=base64.b64encode(body).decode(), isBase64Encoded=True, **parts)


def refused(status, call, *args):
    with pytest.raises(RequestError) as raised:
        call(*args)
    assert raised.value.status == status


def ok(request):
    return message.json_response(200, {"success": True})


def test_the_parts_of_a_request():
    request = message.parse(event(rawQueryString="name=a&name=b%2Fc&from=", headers={"X-Api-Key": "k"}, body="[]"))
    assert (request.method, request.path, request.body) == ("POST", "/api/v0/tsdb", b"[]")
    assert request.query == {"name": ["a", "b/c"], "from": [""]}
    assert request.headers == {"x-api-key": "k"}


def test_a_request_of_almost_nothing():
    request = message.parse(event())
    assert (request.query, request.headers, request.body) == ({}, {}, b"")


def test_the_base64_flag_alone_says_how_the_body_is_encoded():
    json_type = {"content-type": "application/json"}
    assert message.parse(encoded(b"\x1f\x8b\xff", headers=json_type)).body == b"\x1f\x8b\xff"
    assert message.parse(event(body="W10=", isBase64Encoded=False)).body == b"W10="


@pytest.mark.parametrize("text", ["%%%", "abc", "W10=\n!", "é"])
def test_bad_base64_is_400(text):
    refused(400, message.parse, event(body=text, isBase64Encoded=True))


def test_text_that_is_no_unicode_is_400_where_it_is_read():
    assert message.parse(event(body="\ud800")).body == b"\xed\xa0\x80"
    refused(400, message.parse, event(rawPath="/api/v0/hosts/\ud800"))


def test_bounds_of_a_request():
    assert len(message.parse(event(body="x" * BODY_BYTES_MAX)).body) == BODY_BYTES_MAX
    refused(413, message.parse, event(body="x" * (BODY_BYTES_MAX + 1)))
    refused(413, message.parse, encoded(bytes(BODY_BYTES_MAX + 1)))
    refused(400, message.parse, event(rawQueryString="a=1&" * QUERY_FIELDS_MAX + "a=1"))


def test_inflate_finds_gzip_by_its_magic_bytes():
    assert message.inflate(b"[]") == b"[]"
    assert message.inflate(gzip.compress(b"[]")) == b"[]"
    assert len(message.inflate(gzip.compress(bytes(BODY_BYTES_MAX)))) == BODY_BYTES_MAX


def test_a_gzip_bomb_is_413():
    refused(413, message.inflate, gzip.compress(bytes(BODY_BYTES_MAX + 1)))
    refused(413, message.inflate, gzip.compress(bytes(100 * BODY_BYTES_MAX), compresslevel=1))


def test_a_gzip_bomb_takes_no_more_memory_than_a_body():
    bomb = gzip.compress(bytes(20 * BODY_BYTES_MAX), compresslevel=1)
    tracemalloc.start()
    refused(413, message.inflate, bomb)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4 * BODY_BYTES_MAX


def test_every_truncation_and_any_tail_of_a_gzip_is_400():
    whole = gzip.compress(b'[{"hostId":"h"}]')
    for length in range(2, len(whole)):
        refused(400, message.inflate, whole[:length])
    for tail in (b"\0", b"x", whole):
        refused(400, message.inflate, whole + tail)


@given(st.binary())
@settings(deadline=None)
def test_garbage_after_the_magic_bytes_is_400_or_inflates(tail):
    try:
        message.inflate(message.GZIP_MAGIC + tail)
    except RequestError as error:
        assert error.status == 400


def test_an_answer():
    answer = message.answer(event(), ok)
    assert answer == {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": '{"success":true}',
        "isBase64Encoded": False,
    }


def test_headers_of_an_answer():
    answer = message.answer(event(), lambda _: message.json_response(200, {}, {"Carbyne-Skipped": "bad-name=1"}))
    assert answer["headers"]["Carbyne-Skipped"] == "bad-name=1"


def raising(error):
    def route(request):
        raise error

    return route


def test_a_request_error_is_answered_with_its_status_and_message():
    answer = message.answer(event(), raising(RequestError(413, "too large")))
    assert (answer["statusCode"], json.loads(answer["body"])) == (413, {"error": {"message": "too large"}})


def test_an_error_in_the_request_itself_is_answered_too():
    assert message.answer(event(body="%", isBase64Encoded=True), ok)["statusCode"] == 400


@pytest.mark.parametrize("error", [InvariantError("BUG"), KeyError("x"), MemoryError(), RecursionError(), OSError()])
def test_anything_unexpected_is_503_with_a_stack_trace_in_the_log(error, caplog):
    answer = message.answer(event(), raising(error))
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, str(RETRY_AFTER_S))
    assert json.loads(answer["body"])["error"]["message"].startswith("temporarily unavailable")
    (record,) = caplog.records
    assert record.exc_info[1] is error


def test_a_retryable_error_is_503_with_a_line_in_the_log(caplog):
    answer = message.answer(event(), raising(RetryableError("the table is away")))
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, str(RETRY_AFTER_S))
    assert "the table is away" not in answer["body"]
    (record,) = caplog.records
    assert "the table is away" in record.message
    assert record.exc_info is None


@pytest.mark.parametrize("broken", [{}, {"requestContext": None}, {"requestContext": {}}])
def test_an_event_of_another_shape_is_503(broken):
    assert message.answer(broken, ok)["statusCode"] == 503


def test_an_unknown_route_names_what_was_asked():
    error = message.no_route(message.parse(event()))
    assert (error.status, error.message) == (404, "no such call: POST /api/v0/tsdb; GET /openapi.json lists all calls")


LARGE = {"hosts": [{"name": f'"{number}"', "memo": "x" * 100} for number in range(20_000)]}


@pytest.mark.parametrize(("accepted", "packed"), [("gzip", True), ("br, gzip;q=0.5", True), ("", False), ("br", False)])
def test_a_large_answer_fits_what_lambda_carries(accepted, packed):
    answer = message.answer(event(headers={"Accept-Encoding": accepted}), lambda _: message.json_response(200, LARGE))
    body = base64.b64decode(answer["body"])
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, True)
    assert (answer["headers"].get("Content-Encoding") == "gzip") == packed
    assert json.loads(gzip.decompress(body) if packed else body) == LARGE
    assert len(json.dumps(answer)) < 6 * 1024 * 1024


def test_an_answer_that_is_too_large_says_what_to_do():
    answer = message.answer(event(headers={}), lambda _: message.json_response(200, [LARGE, LARGE]))
    assert answer["statusCode"] == 413
    assert "accept gzip" in json.loads(answer["body"])["error"]["message"]
