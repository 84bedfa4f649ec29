"""Deletes by selectors: the reader finds, the writer deletes."""

import json

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.limits import DELETED_SERIES_MAX, MARKERS_PER_SOURCE_MAX
from carbyne.http.message import Request, parse
from carbyne.http.prometheus import DELETE_PATH, MATCHED_PATH
from carbyne.intake.writer import RawWindows, Writer
from carbyne.stream import records
from carbyne.stream.putter import Time
from carbyne.tenants.accounts import BOTH, Accounts, Grant, Permission
from carbyne.tenants.usage import Limits

from harness.pipeline import MemoryAccounts
from tests.support.memory_system import MemorySystem, Meter

NOW_MS = 1_700_000_000_000
SPAN_MS = (1_699_999_000_000, NOW_MS)
FOUND = [("target/t1", 'up{a="b"}'), ("target/t1", "up"), ("host/h1", "loadavg5")]


class Stream:
    """Keeps deletes; ``away`` makes it fail."""

    def __init__(self):
        self.deletes, self.away = [], False

    def put(self, entries):
        if self.away:
            raise RetryableError("the stream is away")
        self.deletes += [records.decode(data) for _, data in entries]
        return []


class System:
    """A writer; ``asked``: what the reader was asked, which finds ``found``; each source has ``kept`` deletes."""

    def __init__(self):
        self.found, self.asked, self.kept = FOUND, [], 0
        self.refusal = None
        self.stream, self.accounts = Stream(), MemoryAccounts({"secret": "acme"})
        time = Time(lambda: NOW_MS, clock=lambda: 0.0, sleep=lambda _: None, random=lambda: 0.5)
        windows = RawWindows(14_400, 460 * 86_400)
        accounts = Accounts(self.accounts, lambda: 0.0)
        self.writer = Writer(accounts, self.stream, self, windows, Meter(), time, ask_reader=self.ask)

    def of(self, source):
        assert source.tenant == "acme"
        return self.kept

    def ask(self, event):
        self.asked.append(parse(event))
        if self.refusal:
            return self.refusal
        series = [{"source": source, "name": name} for source, name in self.found]
        data = {"from_ms": SPAN_MS[0], "to_ms": SPAN_MS[1], "series": series}
        return {"statusCode": 200, "headers": {}, "body": json.dumps({"status": "success", "data": data})}

    def delete(self, api_key="secret", body=b"match[]=up"):
        headers = {"x-api-key": api_key, "content-type": "application/x-www-form-urlencoded", "accept-encoding": "gzip"}
        answer = self.writer.route(Request("POST", DELETE_PATH, {"start": ["1"], "match[]": ["a", "b"]}, headers, body))
        return answer.status, json.loads(answer.body) if answer.body else None


@pytest.fixture
def system():
    return System()


def test_what_the_reader_finds_is_deleted(system):
    assert system.delete() == (204, None)
    deleted = [(each.tenant, each.source, each.series, each.from_ms, each.to_ms) for each in system.stream.deletes]
    assert deleted == [("acme", source, name, *SPAN_MS) for source, name in FOUND]
    assert system.accounts.spent["acme", "deletes_per_minute", NOW_MS // 60_000] == len(FOUND)


def test_the_reader_gets_the_request_and_its_key(system):
    system.delete()
    (asked,) = system.asked
    assert (asked.method, asked.path, asked.body) == ("POST", MATCHED_PATH, b"match[]=up")
    assert asked.query == {"start": ["1"], "match[]": ["a", "b"]}
    assert asked.headers == {"x-api-key": "secret", "content-type": "application/x-www-form-urlencoded"}


def test_a_request_sent_again_makes_the_same_deletes(system):
    system.delete()
    system.delete()
    first, second = system.stream.deletes[: len(FOUND)], system.stream.deletes[len(FOUND) :]
    assert first == second


def test_a_refusal_of_the_reader_is_the_answer(system):
    body = {"status": "error", "errorType": "execution", "error": "too many"}
    system.refusal = {"statusCode": 422, "headers": {"Content-Type": "x"}, "body": json.dumps(body)}
    assert system.delete() == (422, body)
    assert system.stream.deletes == [] and not system.accounts.spent


@pytest.mark.parametrize(
    ("kept", "per_minute", "says"),
    [
        (MARKERS_PER_SOURCE_MAX - 1, 60, f"{MARKERS_PER_SOURCE_MAX + 1} deletes of single series"),
        (0, 2, "3 series match, and 2 deletes are allowed"),
    ],
)
def test_more_than_is_allowed_deletes_nothing(system, kept, per_minute, says):
    system.kept, system.accounts.limits = kept, Limits(deletes_per_minute=per_minute)
    status, body = system.delete()
    assert (status, body["errorType"]) == (422, "execution") and says in body["error"]
    assert system.stream.deletes == [] and not system.accounts.spent


def test_the_limit_of_a_minute_is_said_in_prometheus_form(system):
    system.accounts.limits = Limits(deletes_per_minute=len(FOUND))
    assert system.delete()[0] == 204
    status, body = system.delete()
    assert (status, body["errorType"]) == (503, "unavailable") and "deletes-per-minute" in body["error"]
    assert len(system.stream.deletes) == len(FOUND)


def test_nothing_found_is_nothing_spent(system):
    system.found = []
    assert system.delete() == (204, None)
    assert not system.accounts.spent and system.stream.deletes == []


def test_a_store_that_is_away_is_said_in_prometheus_form(system):
    system.stream.away = True
    status, body = system.delete()
    assert (status, body["errorType"]) == (503, "unavailable")


@pytest.mark.parametrize("permission", [Permission.READ, Permission.WRITE])
def test_a_key_that_may_not_do_both_deletes_nothing(system, permission, monkeypatch):
    monkeypatch.setattr(system.accounts, "grant_of", lambda _: Grant("acme", permission))
    status, body = system.delete()
    assert status == 403 and "permission" in body["error"]
    assert system.asked == []
    assert BOTH & ~permission


def call(system, method, path, query, body=""):
    event = {
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"x-api-key": "key-a"},
        "requestContext": {"http": {"method": method, "path": path}},
        "body": body,
    }
    answer = system.handle(event)
    return answer["statusCode"], json.loads(answer["body"]) if answer["body"] else None


def registered(system, number):
    host = {"name": f"web{number}", "meta": {}, "customIdentifier": f"web{number}"}
    return call(system, "POST", "/api/v0/hosts", "", json.dumps(host))[1]["id"]


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("", 400, "no match[] parameter"),
        ("match[]=rate(x[5m])", 400, "no selector of series"),
        ("match[]=x%20offset%205m", 400, "no selector of series"),
        ("match[]={a=~%22.*%22}", 400, "non-empty matcher"),
        ("match[]=x&start=2&end=1", 400, "not be before start"),
        ("match[]=x&start=soon", 400, "valid timestamp"),
    ],
)
@pytest.mark.parametrize("path", [MATCHED_PATH, DELETE_PATH])
def test_what_can_not_be_meant_is_refused(path, query, status, says):
    answer = call(MemorySystem(), "POST", path, query)
    assert answer[0] == status and says in answer[1]["error"]


def test_more_series_than_one_call_deletes_are_refused_and_none_is_deleted():
    system = MemorySystem(now_s=lambda: NOW_MS / 1000)
    host = registered(system, 1)
    samples = [
        {"hostId": host, "name": f"m{nth}", "time": NOW_MS // 1000, "value": 1} for nth in range(DELETED_SERIES_MAX + 1)
    ]
    call(system, "POST", "/api/v0/tsdb", "", json.dumps(samples))
    status, body = call(system, "POST", DELETE_PATH, "match[]={__name__=~%22m.*%22}")
    assert (status, body["errorType"]) == (422, "execution")
    assert f"match {DELETED_SERIES_MAX + 1} series" in body["error"] and "name more labels" in body["error"]
    assert call(system, "POST", DELETE_PATH, "match[]={__name__=~%22m1.%22}") == (204, None)
    left = call(system, "GET", MATCHED_PATH, f"match[]={{source=%22host/{host}%22}}")[1]["data"]["series"]
    assert len(left) == DELETED_SERIES_MAX + 1 - 10
    assert {"source": f"host/{host}", "name": "m2"} in left
