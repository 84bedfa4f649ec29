"""From a post to acknowledged records: packing, splitting, and never a 2xx before everything is on the stream."""

import base64
import gzip
import importlib.util
import json
import random
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

import pytest
from carbyne.core import keys, limits
from carbyne.core.errors import RetryableError
from carbyne.intake import packing, writer
from carbyne.intake.writer import Writer
from carbyne.stream import putter, records
from carbyne.stream.putter import Time
from carbyne.tenants.accounts import BOTH, Accounts, Grant, Permission
from carbyne.tenants.usage import HeldMemory, Limits, Standing, TakenBody
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

ROOT = Path(__file__).parents[2]
TIME_S = 1_700_000_040
TS_MS = TIME_S // 60 * 60_000


def load_app():
    spec = importlib.util.spec_from_file_location("writer_app", ROOT / "functions/writer/app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


app = load_app()


GRANTS = {"secret": Grant("acme", BOTH), "read-only": Grant("acme", Permission.READ)}


class Keys:
    """An AccountStore with two keys; ``away`` makes it fail; ``standing``: of the tenant; ``spent``: by limit and
    minute; ``deletes``: that sources have."""

    def __init__(self):
        self.spent, self.deletes, self.bodies = Counter(), {}, {}

    away = False
    standing = Standing()

    def grant_of(self, api_key):
        if self.away:
            raise RetryableError("the table is away")
        return GRANTS.get(api_key)

    def has_tenant(self, tenant):
        return tenant == "acme"

    def standing_of(self, tenant):
        return structs.replace(self.standing, bodies=self.bodies) if tenant == "acme" else None

    def note_taken(self, tenant, body, taken, minute):
        self.bodies[body] = TakenBody(taken, minute)

    def spend(self, tenant, limit, minute, number):
        """What all writers counted, as accounts; how many deletes a source has, beside it."""
        if self.away:
            raise RetryableError("the table is away")
        self.spent[limit, minute] += number
        return self.spent[limit, minute]

    def of(self, source):
        return self.deletes.get(source.source, 0)


class FakeTime:
    """A clock that moves only by sleeping and by calls that take their time."""

    def __init__(self, seed=0):
        self.now_s = 50.0
        self.slept = []
        self.time = Time(
            now_ms=lambda: TIME_S * 1000, clock=lambda: self.now_s, sleep=self.sleep, random=random.Random(seed).random
        )

    def sleep(self, seconds):
        assert seconds >= 0
        self.slept.append(seconds)
        self.now_s += seconds


class FakeStream:
    """A stream whose ``outcomes`` say what each call in turn does; when they are used up, calls succeed.

    An outcome takes the number of entries and returns (indexes applied, indexes reported as failed, seconds it takes).
    """

    def __init__(self, clock, outcomes=()):
        self.clock = clock
        self.outcomes = list(outcomes)
        self.calls = []
        self.applied = []

    def put(self, entries):
        assert 0 < len(entries) <= limits.PUT_RECORDS_MAX
        assert sum(len(key) + len(data) for key, data in entries) <= limits.PUT_BYTES_MAX
        self.calls.append(list(entries))
        outcome = self.outcomes.pop(0) if self.outcomes else fine
        applied, failed, seconds = outcome(len(entries))
        self.clock.now_s += seconds
        self.applied += [entries[index] for index in applied]
        return list(failed)

    def values(self):
        """(tenant, source, ts_ms, series) -> value of everything applied, each record in its own lane."""
        by_series = {}
        for key, data in self.applied:
            record = records.decode(data)
            for row in record.rows:
                assert keys.lane_tag(keys.lane_of(record.tenant, row.source)) == key
                series = keys.split_series(record.lists[row.series])
                assert series == sorted(series)
                values = struct.unpack(f"<{len(series)}d", row.values)
                for name, value in zip(series, values, strict=True):
                    by_series[record.tenant, row.source, row.ts_ms, name] = value
        return by_series


def fine(entries):
    return range(entries), [], 0.02


def failing(*indexes):
    return lambda entries: (set(range(entries)) - set(indexes), indexes, 0.02)


def throttled(entries):
    return [], range(entries), 0.02


def timed_out(entries):
    return [], range(entries), limits.PUT_CALL_S


def timed_out_after_apply(entries):
    return range(entries), range(entries), limits.PUT_CALL_S


class Meter:
    def __init__(self):
        self.sums = {}
        self.flushes = 0

    def add(self, name, amount=1):
        self.sums[name] = self.sums.get(name, 0) + amount

    def flush_due(self):
        self.flushes += 1


class System:
    """A writer with fakes all around it."""

    def __init__(self, *outcomes, seed=0):
        self.clock = FakeTime(seed)
        self.stream = FakeStream(self.clock, outcomes)
        self.keys = Keys()
        self.meter = Meter()
        self.writer = Writer(
            Accounts(self.keys, self.clock.time.clock),
            self.stream,
            self.keys,
            writer.RawWindows(14_400, 86_400 * 460),
            self.meter,
            self.clock.time,
        )

    def delete(self, **query):
        parts = {"rawPath": "/carbyne/v1/samples", "rawQueryString": urlencode(query)}
        http = {"http": {"method": "DELETE", "path": "/carbyne/v1/samples"}}
        return app.handle(event(**parts, requestContext=http), lambda: self.writer)

    def post(self, samples, **parts):
        body = samples if isinstance(samples, str) else json.dumps(samples)
        return app.handle(event(body=body) | parts, lambda: self.writer)


def event(**parts):
    return {
        "rawPath": "/api/v0/tsdb",
        "rawQueryString": "",
        "headers": {"x-api-key": "secret", "content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": "/api/v0/tsdb"}},
        "isBase64Encoded": False,
    } | parts


def sample(host="h1", name="m", value=1.0, time_s=TIME_S):
    return {"hostId": host, "name": name, "time": time_s, "value": value}


def hosts(number):
    return [sample(host=f"host{index}", value=index) for index in range(number)]


def test_a_post_is_on_the_stream_when_it_is_acknowledged():
    system = System()
    answer = system.post([sample(name="b", value=2), sample(name="a", value=-0.0), sample("h2", "c", 5e-324)])
    assert (answer["statusCode"], answer["body"]) == (200, '{"success":true}')
    assert repr(system.stream.values()) == repr(
        {
            ("acme", "host/h1", TS_MS, "a"): -0.0,
            ("acme", "host/h1", TS_MS, "b"): 2.0,
            ("acme", "host/h2", TS_MS, "c"): 5e-324,
        }
    )
    assert system.meter.sums == {"SamplesAccepted": 3}
    assert system.meter.flushes == 1


def test_a_gzip_body_in_base64():
    system = System()
    body = base64.b64encode(gzip.compress(json.dumps([sample()]).encode())).decode()
    assert system.post("", body=body, isBase64Encoded=True)["statusCode"] == 200
    assert system.stream.values() == {("acme", "host/h1", TS_MS, "m"): 1.0}


def test_samples_of_a_service():
    system = System()
    samples = [{"name": "orders", "time": TIME_S, "value": 7}, {"name": "", "time": TIME_S, "value": 7}]
    answer = system.post(samples, rawPath="/api/v0/services/shop/tsdb")
    assert (answer["statusCode"], answer["headers"]["Carbyne-Skipped"]) == (200, "bad-name=1")
    assert system.stream.values() == {("acme", "service/shop", TS_MS, "orders"): 7.0}
    assert system.post(samples, rawPath="/api/v0/services/-/tsdb")["statusCode"] == 400


def test_the_last_value_of_a_minute_wins():
    system = System()
    system.post([sample(value=1), sample(value=2, time_s=TIME_S + 1), sample(value=3)])
    assert system.stream.values() == {("acme", "host/h1", TS_MS, "m"): 3.0}


def test_skipped_samples_are_reported_in_a_header_and_counted():
    system = System()
    answer = system.post([sample(), sample(name="a b"), sample(name=""), sample(value=None)])
    assert answer["statusCode"] == 200
    assert answer["headers"]["Carbyne-Skipped"] == "bad-name=2, bad-value=1"
    assert system.meter.sums == {
        "SamplesAccepted": 1,
        "SamplesRejected": 3,
        "SamplesRejected.bad-name": 2,
        "SamplesRejected.bad-value": 1,
    }


def test_when_all_are_skipped_or_there_are_none_nothing_is_put():
    system = System()
    answer = system.post([sample(value=None)])
    assert (answer["statusCode"], answer["headers"]["Carbyne-Skipped"]) == (200, "bad-value=1")
    answer = system.post([])
    assert (answer["statusCode"], "Carbyne-Skipped" in answer["headers"]) == (200, False)
    assert system.stream.calls == []


@pytest.mark.parametrize(
    ("status", "parts"),
    [
        (400, {"body": ""}),
        (400, {"body": None}),
        (400, {"body": "{}"}),
        (400, {"body": "[" * 100_000}),
        (400, {"body": "!", "isBase64Encoded": True}),
        (400, {"body": "H4s=", "isBase64Encoded": True}),
        (403, {"headers": {}}),
        (403, {"headers": {"x-api-key": "wrong"}}),
        (403, {"headers": {"x-api-key": "read-only"}}),
        (403, {"headers": {"x-api-key": "wrong"}, "body": "{}"}),
        (404, {"rawPath": "/"}),
        (404, {"requestContext": {"http": {"method": "GET"}}}),
        (413, {"body": "x" * (limits.BODY_BYTES_MAX + 1)}),
    ],
)
def test_refusals(status, parts):
    system = System()
    answer = system.post([sample()], **parts)
    assert answer["statusCode"] == status
    assert json.loads(answer["body"])["error"]["message"]
    assert system.stream.calls == []
    assert system.post([sample()])["statusCode"] == 200, "the system goes on"


def test_a_table_that_is_away_is_503():
    system = System()
    system.keys.away = True
    answer = system.post([sample()])
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, str(limits.RETRY_AFTER_S))


def test_deps_that_can_not_be_made_are_503():
    def broken():
        raise RuntimeError("no settings")

    assert app.handle(event(body="[]"), broken)["statusCode"] == 503


def test_only_the_failed_entries_are_tried_again():
    system = System(failing(1, 3), failing(0))
    assert system.post(hosts(5))["statusCode"] == 200
    first, second, third = system.stream.calls
    assert len(first) == 5
    assert second == [first[1], first[3]]
    assert third == [first[1]]
    assert sorted(system.stream.applied) == sorted(first), "each exactly once"
    assert system.meter.sums["PutRetries"] == 3


@pytest.mark.parametrize("outcome", [throttled, timed_out, timed_out_after_apply])
def test_a_call_that_fails_as_a_whole_is_tried_again(outcome):
    system = System(outcome)
    assert system.post(hosts(3))["statusCode"] == 200
    assert system.stream.calls[1] == system.stream.calls[0]
    assert len(system.stream.values()) == 3


@pytest.mark.parametrize(
    "outcome", [throttled, timed_out, timed_out_after_apply, lambda entries: (range(1, entries), [0], 0.02)]
)
def test_what_is_not_acknowledged_in_time_is_503_within_the_budget(outcome):
    system = System(*[outcome] * 1000)
    start_s = system.clock.now_s
    answer = system.post(hosts(3))
    assert answer["statusCode"] == 503
    assert answer["headers"]["Retry-After"] == str(limits.RETRY_AFTER_S)
    assert system.clock.now_s - start_s <= limits.PUT_BUDGET_S
    assert len(system.stream.calls) >= 2
    assert "SamplesAccepted" not in system.meter.sums
    assert system.meter.flushes == 1


def test_what_can_not_be_helped_by_trying_again_is_503_at_once():
    def refused(entries):
        raise RetryableError("AccessDenied")

    system = System(refused)
    assert system.post([sample()])["statusCode"] == 503
    assert len(system.stream.calls) == 1


def test_pauses_grow_and_are_spread():
    system = System(*[throttled] * 1000)
    system.post([sample()])
    bounds = [min(limits.PUT_PAUSE_S_MAX, limits.PUT_PAUSE_S * 2**attempt) for attempt in range(100)]
    slept = system.clock.slept
    assert all(pause <= bound for pause, bound in zip(slept, bounds, strict=False))
    assert len(set(slept)) == len(slept)
    assert sum(slept) > 1
    other = System(*[throttled] * 1000, seed=1)
    other.post([sample()])
    assert other.clock.slept != slept


@given(st.integers(0, 2**32), st.integers(1, 40))
@settings(deadline=None)
def test_no_2xx_before_everything_is_acknowledged(seed, number):
    """Random faults: after a 200 every value is on the stream; there is an end within the budget in any case."""
    dice = random.Random(seed)

    def any_outcome(entries):
        failed = [index for index in range(entries) if dice.random() < 0.5]
        applied = [index for index in range(entries) if index not in failed or dice.random() < 0.3]
        return applied, failed, dice.choice([0.01, 0.5, limits.PUT_CALL_S])

    system = System(*[any_outcome] * dice.randrange(30), seed=seed)
    start_s = system.clock.now_s
    answer = system.post(hosts(number))
    assert system.clock.now_s - start_s <= limits.PUT_BUDGET_S
    assert answer["statusCode"] in (200, 503)
    if answer["statusCode"] == 200:
        assert len(system.stream.values()) == number


def test_many_records_go_in_several_calls_and_a_failure_in_one_is_tried_again_alone(monkeypatch):
    monkeypatch.setattr(putter, "PUT_RECORDS_MAX", 4)
    system = System(fine, failing(2), timed_out)
    assert system.post(hosts(10))["statusCode"] == 200
    *firsts, again = system.stream.calls
    assert list(map(len, firsts)) == [4, 4, len(firsts[2])]
    assert again == [firsts[1][2], *firsts[2]]
    assert len(system.stream.values()) == 10


def test_many_calls_that_hang_keep_within_the_budget(monkeypatch):
    monkeypatch.setattr(putter, "PUT_RECORDS_MAX", 1)
    system = System(*[timed_out] * 1000)
    start_s = system.clock.now_s
    assert system.post(hosts(10))["statusCode"] == 503
    assert system.clock.now_s - start_s <= limits.PUT_BUDGET_S


def test_calls_keep_to_the_limits_of_put_records():
    entries = [("l0001", bytes(1_000_000))] * 9 + [("l0002", b"x")] * 1_200
    calls = list(putter.calls_of(entries, limits.PUT_RECORDS_MAX, limits.PUT_BYTES_MAX))
    assert [entry for call in calls for entry in call] == entries
    assert max(map(len, calls)) <= limits.PUT_RECORDS_MAX
    assert max(sum(len(key) + len(data) for key, data in call) for call in calls) <= limits.PUT_BYTES_MAX
    assert len(calls) <= 3 + 3


def test_sources_of_a_lane_share_a_record():
    rows = {(f"host/{index}", TS_MS): {"a": 1.0, "b": 2.0} for index in range(5_000)}
    entries = packing.entries_of("acme", rows)
    assert len(entries) <= limits.LANES
    assert sum(len(records.decode(data).rows) for _, data in entries) == 5_000
    assert all(len(records.decode(data).lists) == 1 for _, data in entries)


def test_a_source_with_20_000_metrics():
    metrics = {f"custom.metric.number.{index}": float(index) for index in range(20_000)}
    system = System()
    assert system.post([sample(name=name, value=value) for name, value in metrics.items()])["statusCode"] == 200
    assert system.stream.values() == {("acme", "host/h1", TS_MS, name): value for name, value in metrics.items()}


def test_records_of_the_largest_rows_fit_the_stream():
    """Names at their limit that zstd can't make smaller."""
    dice = random.Random(1)
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._"
    names = ["".join(dice.choices(alphabet, k=limits.NAME_BYTES_MAX)) for _ in range(10_000)]
    rows = {("host/h", TS_MS): {name: dice.random() for name in names}}
    entries = packing.entries_of("acme", rows)
    assert len(entries) > 2
    rows_stored = [row for _, data in entries for row in records.decode(data).rows]
    assert sum(len(row.values) for row in rows_stored) == 8 * len(names)
    assert max(len(data) for _, data in entries) <= limits.RECORD_BYTES_MAX


def test_a_small_row_is_one_part():
    series = [f"m{index:05d}" for index in range(limits.ROW_SERIES_MAX)]
    assert packing.split_series(series, limits.ROW_SERIES_MAX) == [series]


@pytest.mark.parametrize(
    ("standing", "limit"),
    [
        (Standing(Limits(samples_per_minute=5), {TIME_S // 60: 6}), "samples-per-minute"),
        (Standing(Limits(active_series=5), {}, 6, TIME_S // 3600), "active-series"),
        (Standing(memory=HeldMemory(6, 5, TIME_S // 60 - limits.ADMIT_MINUTES)), "redis-memory"),
    ],
)
@pytest.mark.parametrize("path", ["/api/v0/tsdb", "/api/v0/services/shop/tsdb"])
def test_a_tenant_over_its_limit_is_told_so_and_nothing_is_done_for_it(standing, limit, path, caplog):
    system = System()
    system.keys.standing = standing
    answer = system.post("not even looked at", rawPath=path)
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, str(limits.TENANT_CACHE_S))
    assert f"{limit}: 6 of at most 5" in json.loads(answer["body"])["error"]["message"]
    assert system.stream.calls == []
    assert system.meter.sums == {"PostsRefused": 1, f"PostsRefused.{limit}": 1}
    assert system.meter.flushes == 1
    system.post("once more", rawPath=path)
    assert [record.getMessage() for record in caplog.records] == [
        f"posts of tenant acme are refused: over the limit {limit}"
    ], "once a minute"


def test_a_tenant_that_filled_redis_is_let_in_again_when_the_sealer_says_no_more():
    system = System()
    system.keys.standing = Standing(memory=HeldMemory(6, 5, TIME_S // 60 - limits.ADMIT_MINUTES - 1))
    assert system.post([sample()])["statusCode"] == 200


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_tenant_may_have_a_smaller_body_than_others(gzipped):
    system = System()
    system.keys.standing = Standing(Limits(body_bytes=200))
    assert system.post([sample()])["statusCode"] == 200
    body = json.dumps(hosts(20)).encode()
    parts = {"body": base64.b64encode(gzip.compress(body)).decode(), "isBase64Encoded": True} if gzipped else {}
    answer = system.post(body.decode(), **parts)
    assert (answer["statusCode"], "200 bytes" in answer["body"]) == (413, True)
    assert system.meter.sums["PostsRefused.body-bytes"] == 1


def test_limits_cost_one_look_up_in_a_while():
    system = System()
    asked = []
    system.keys.standing_of = lambda tenant: asked.append(tenant) or Standing()
    for _ in range(10):
        assert system.post([sample()])["statusCode"] == 200
    system.clock.now_s += limits.TENANT_CACHE_S
    system.post([sample()])
    assert asked == ["acme", "acme"]


HOUR_S = 3_600


def backlog(hours, step_s=60, host="a"):
    """Samples of one metric from so many hours ago until now."""
    return [
        {"hostId": host, "name": "m", "time": TIME_S - ago_s, "value": 1.0}
        for ago_s in range(0, int(hours * HOUR_S), step_s)
    ]


def test_an_agents_backlog_of_six_hours_counts_as_no_old_windows():
    system = System()
    system.keys.standing = Standing(Limits(old_windows_per_minute=0))
    for number in range(30):
        assert system.post(backlog(6.5, host=f"h{number}"))["statusCode"] == 200
    assert not system.keys.spent


def test_old_windows_are_counted_over_all_writers_and_refused_before_anything_is_put():
    system = System()
    system.keys.standing = Standing(Limits(old_windows_per_minute=40))
    body = backlog(30 * 4, 4 * HOUR_S)  # one sample in each of 30 windows, three of which any agent may have
    assert system.post(body)["statusCode"] == 200
    assert system.keys.spent == {("old_windows_per_minute", TIME_S // 60): 27}
    put = len(system.stream.applied)
    answer = system.post(body)
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, str(limits.TENANT_CACHE_S))
    assert "old-windows-per-minute: 54 of at most 40" in answer["body"] and len(system.stream.applied) == put
    assert system.meter.sums["PostsRefused.old-windows-per-minute"] == 1
    assert system.post(backlog(1))["statusCode"] == 200, "what is new goes on"
    system.keys.spent.clear()  # the next minute
    assert system.post(body)["statusCode"] == 200


def test_windows_count_and_not_samples():
    """All minutes of a day are six windows of a host."""
    system = System()
    day = [sample | {"time": sample["time"] - 48 * HOUR_S} for sample in backlog(24)]
    assert system.post(day)["statusCode"] == 200
    assert 6 <= system.keys.spent.total() <= 7


LONG = backlog(1_000 * 4, 4 * HOUR_S)
"""One sample in each of 1,000 windows, three of which any agent may have."""


def test_a_post_with_more_old_windows_than_a_minute_allows_is_taken_piece_by_piece():
    """A sender that repeats its body gets a 200 in the end, when all of it is on the stream, and not before."""
    system, retries = System(), 0
    while (answer := system.post(LONG))["statusCode"] == 503:
        retries += 1
        assert answer["headers"]["Retry-After"] == str(limits.TENANT_CACHE_S)
        assert "old-windows-per-body: 997 of at most 300; samples older than 8 h" in answer["body"]
        assert f"the first {300 * retries} are stored" in answer["body"]
        assert len(system.stream.values()) == 3 + 300 * retries
        system.keys.spent.clear()  # the next minute
    assert (answer["statusCode"], retries) == (200, 3)
    assert len(system.stream.values()) == len(LONG) == 1_000
    assert system.keys.spent.total() == 97, "each window is counted once"
    assert system.post(LONG)["statusCode"] == 503, "a body that was taken is a new one"


def test_a_piece_waits_for_the_next_minute_as_other_posts_do():
    system = System()
    assert [system.post(LONG)["statusCode"] for _ in range(2)] == [503, 503]
    answer = system.post(LONG)
    assert "old-windows-per-minute: 900 of at most 600" in answer["body"] and len(system.stream.values()) == 603
    system.keys.spent.clear()
    assert "the first 900 are stored" in system.post(LONG)["body"]


def test_a_piece_is_as_large_as_the_tenants_minute():
    system = System()
    system.keys.standing = Standing(Limits(old_windows_per_minute=40))
    for minute in range(5):
        system.keys.spent.clear()
        assert system.post(backlog(203 * 4, 4 * HOUR_S))["statusCode"] == (200 if minute == 4 else 503)
    system = System()
    system.keys.standing = Standing(Limits(old_windows_per_minute=0))
    assert system.post(backlog(30 * 4, 4 * HOUR_S))["statusCode"] == 503


def test_a_piece_counts_only_when_it_is_on_the_stream():
    system = System(*[throttled] * 50)
    assert "temporarily unavailable" in system.post(LONG)["body"] and not system.keys.bodies
    system.stream.outcomes.clear()
    assert "the first 300 are stored" in system.post(LONG)["body"]
    assert len(system.stream.values()) == 303


def test_a_body_that_was_left_an_hour_ago_begins_again():
    system = System()
    system.post(LONG)
    [(digest, taken)] = system.keys.bodies.items()
    assert taken.minute == TIME_S // 60
    system.keys.bodies[digest] = TakenBody(taken.place, TIME_S // 60 - limits.TAKEN_BODY_MINUTES - 1)
    assert "the first 300 are stored" in system.post(LONG)["body"]


def test_two_long_posts_do_not_take_each_others_pieces():
    system, other = System(), backlog(1_000 * 4, 4 * HOUR_S, host="h2")
    for upto in (300, 600, 900):
        for body in (LONG, other):
            system.keys.spent.clear()
            assert f"the first {upto} are stored" in system.post(body)["body"]
    system.keys.spent.clear()
    assert [system.post(body)["statusCode"] for body in (LONG, other)] == [200, 200]
    assert len(system.stream.values()) == 2_000


def test_a_post_of_old_samples_waits_while_they_can_not_be_counted():
    system = System()
    assert system.post([sample()])["statusCode"] == 200
    system.keys.away = True
    assert system.post(backlog(30 * 4, 4 * HOUR_S))["statusCode"] == 503
    assert system.post([sample()])["statusCode"] == 200


def test_deletes_have_a_limit_of_their_own():
    system = System()
    system.keys.standing = Standing(Limits(deletes_per_minute=2))
    answers = [system.delete(source="host/a") for _ in range(3)]
    assert [answer["statusCode"] for answer in answers] == [200, 200, 503]
    assert "deletes-per-minute: 3 of at most 2" in answers[2]["body"] and "Retry-After" in answers[2]["headers"]
    assert len(system.stream.applied) == 2
    assert system.delete(source="nothing")["statusCode"] == 400
    assert system.keys.spent.total() == 3, "a malformed one costs nothing"


def test_a_source_with_too_many_deletes_takes_only_one_of_all():
    """Before it is accepted: the ingester drops none."""
    system = System()
    system.keys.deletes["host/a"] = limits.MARKERS_PER_SOURCE_MAX
    answer = system.delete(source="host/a", name="m")
    assert answer["statusCode"] == 400 and "delete a wider span" in answer["body"]
    assert system.delete(**{"source": "host/a", "from": 1, "to": 2})["statusCode"] == 400
    assert not system.stream.applied
    assert system.delete(source="host/a")["statusCode"] == 200
    assert system.delete(source="host/b", name="m")["statusCode"] == 200


def test_a_key_whose_tenant_is_gone_is_refused():
    """Else its samples would be acknowledged, and set aside by the ingester."""
    system = System()
    system.keys.standing_of = lambda tenant: None
    assert system.post([sample()])["statusCode"] == 403
    assert system.stream.calls == []


@given(st.sets(st.text("abc.", min_size=1, max_size=6), min_size=1, max_size=200), st.integers(1, 20))
@settings(deadline=None)
def test_a_row_splits_by_the_leading_bits_of_its_series(names, series_max):
    """Each series in exactly one part, parts by hash prefix of equal length, none longer than allowed."""
    parts = packing.split_series(sorted(names), series_max)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(part == sorted(part) and len(part) <= series_max for part in parts)
    prefixes = [{keys.series_hash(name) >> (64 - bits) for part in parts for name in part} for bits in range(1, 65)]
    assert len(parts) == 1 or len(parts) in map(len, prefixes)


def test_the_split_depends_on_the_set_of_series_alone():
    values = {f"metric{index}": 1.0 for index in range(3 * limits.ROW_SERIES_MAX)}
    backwards = dict(reversed(values.items()))
    assert list(packing.pack_row("host/h", TS_MS, values)) == list(packing.pack_row("host/h", TS_MS, backwards))
    other_values = dict.fromkeys(values, 7.0)
    blobs = [row[2] for row in packing.pack_row("host/h", TS_MS, values)]
    assert blobs == [row[2] for row in packing.pack_row("host/h", TS_MS + 60_000, other_values)]


@pytest.mark.parametrize("number", [1, 2, 100])
def test_a_row_is_packed_in_the_order_of_its_sorted_names_whatever_the_order_of_the_body(number):
    values = {f"m{number * 7919 % 997}": number / 3 for number in range(number)}
    for given_values in (values, dict(reversed(values.items())), values):  # the last one's list is known by then
        ((source, ts_ms, blob, packed),) = packing.pack_row("host/h", TS_MS, given_values)
        assert (source, ts_ms) == ("host/h", TS_MS)
        names = keys.split_series(blob)
        assert names == sorted(values)
        assert struct.unpack(f"<{number}d", packed) == tuple(values[name] for name in names)


@pytest.mark.parametrize("function", ["writer", "registry"])
def test_what_answers_agents_imports_nothing_heavy(function):
    """A cold start pays for every module."""
    code = (
        "import sys, importlib.util as u\n"
        f"s = u.spec_from_file_location('app', 'functions/{function}/app.py'); m = u.module_from_spec(s)\n"
        "s.loader.exec_module(m)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
        "print('aws_lambda_powertools.event_handler' in sys.modules)\n"
    )
    environment = {"PYTHONPATH": str(ROOT / "layers/carbyne")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    modules, has_event_handler = done.stdout.splitlines()
    assert {"carbyne", "botocore", "msgspec"} <= set(modules.split()), "the check itself works"
    assert not {"numpy", "redis", "aws_xray_sdk", "pydantic"} & set(modules.split())
    assert has_event_handler == "False"


def delete(system, query, **parts):
    http = {"method": "DELETE", "path": "/carbyne/v1/samples"}
    parts = {"rawPath": http["path"], "rawQueryString": query, "requestContext": {"http": http}} | parts
    return app.handle(event(**parts), lambda: system.writer)


@pytest.mark.parametrize(
    ("query", "series", "span"),
    [
        ("source=host%2Fh1&name=m&from=60&to=120", "m", (60_000, 120_000)),
        ("source=host%2Fh1&from=60&to=60", "", (60_000, 60_000)),
        ("source=host/h1&name=%00%E2%82%AC", "\0€", None),
        ("source=host/h1", "", None),
    ],
)
def test_a_delete_is_one_record_of_its_lane(query, series, span):
    system = System()
    assert delete(system, query)["statusCode"] == 200
    (((key, data),),) = system.stream.calls
    record = records.decode(data)
    assert (record.tenant, record.source, record.series) == ("acme", "host/h1", series)
    assert (record.from_ms, record.to_ms) == (span or records.ALL_TIME_MS)
    assert key == keys.lane_tag(keys.lane_of("acme", "host/h1"))


@pytest.mark.parametrize(
    ("status", "query", "says"),
    [
        (400, "", "source once"),
        (400, "source=", "source once"),
        (400, "source=host/a&source=host/b", "source once"),
        (400, "source=h1", "a source is host/<id> or service/<name>"),
        (400, "source=host/", "a source is host/<id> or service/<name>"),
        (400, "source=host/" + "x" * 65, "a source is"),
        (400, "source=tenant/x", "a source is"),
        (400, "source=host/h1&name=", "name once"),
        (400, "source=host/h1&name=" + "x" * 256, "name has more than 255 bytes"),
        (400, "source=host/h1&from=1", "to once"),
        (400, "source=host/h1&to=1", "from once"),
        (400, "source=host/h1&from=2&to=1", "from (2) is after to (1)"),
        (400, "source=host/h1&from=x&to=1", "seconds since 1970"),
        (400, "source=host/h1&names=m", "a delete takes source, name, from and to; got 'names'"),
    ],
)
def test_a_delete_that_does_not_say_what_is_refused(status, query, says):
    system = System()
    answer = delete(system, query)
    assert answer["statusCode"] == status and says in json.loads(answer["body"])["error"]["message"]
    assert system.stream.calls == []


@pytest.mark.parametrize("key", ["wrong", "read-only"])
def test_a_delete_needs_a_key_that_may_write(key):
    system = System()
    assert delete(system, "source=host/h1", headers={"x-api-key": key})["statusCode"] == 403
    assert system.stream.calls == []


def test_a_delete_is_acknowledged_when_it_is_on_the_stream():
    assert delete(System(failing(0), fine), "source=host/h1")["statusCode"] == 200
    assert delete(System(*[throttled] * 100), "source=host/h1")["statusCode"] == 503
