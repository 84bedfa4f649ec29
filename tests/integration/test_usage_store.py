"""A tenant's item: what several ingesters add to it, what stays in it, and the writer that is told to refuse by it."""

import json

import pytest
from carbyne.adapters.dynamodb import usage
from carbyne.adapters.dynamodb.accounts import DynamoAccounts, add_key, add_tenant
from carbyne.adapters.dynamodb.usage import DynamoUsage
from carbyne.core.keys import PICTURE_SECRET_ITEM, TOKEN_SECRET_ITEM, SourceKey, Window
from carbyne.core.limits import (
    ADMIT_MINUTES,
    DIVIDED_TARGETS_MAX,
    SERIES_PER_SOURCE_MAX,
    TAKEN_BODIES_MAX,
    TENANT_CACHE_S,
    USAGE_MINUTES_HELD,
    USAGE_MONTHS_HELD,
)
from carbyne.intake.writer import RawWindows, Writer
from carbyne.stream.putter import Time
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.divisions import Division
from carbyne.tenants.months import MonthCounts, MonthUse, month_of
from carbyne.tenants.sketch import Sketch
from carbyne.tenants.usage import Counted, HeldMemory, Limits, Standing, TakenBody, Usage, UsedRow
from carbyne.tenants.windows import LengthStep, Seen

from harness.pipeline import APPS, MemoryStream, http_event
from tests.support.fakes import NoDeletes
from tests.support.stores import create_table

NOW_S = 1_700_000_000
MINUTE = NOW_S // 60
NOTHING = MonthUse(202_311, {})


@pytest.fixture
def client(aws):
    return aws.client("dynamodb")


@pytest.fixture
def table(client):
    name = create_table(client, "pk")
    add_tenant(client, name, "acme")
    add_key(client, name, "secret", "acme")
    return name


def test_a_replica_is_elected_until_it_was_silent(client, table):
    def elect(replica, now_ms, cluster="eu"):
        return DynamoAccounts(client, table).elect("acme", cluster, replica, now_ms, 30_000)

    assert elect("a", 1_000_000) == ("a", 1_000_000)
    assert elect("b", 1_029_999) == ("a", 1_000_000)
    assert elect("a", 1_010_000) == ("a", 1_010_000)
    assert elect("b", 1_030_000) == ("a", 1_010_000)
    assert elect("b", 1_040_000) == ("b", 1_040_000)
    assert elect("a", 1_040_001) == ("b", 1_040_000)
    assert elect("a", 1_040_001, cluster="us") == ("a", 1_040_001)


def test_a_secret_is_made_once_and_each_item_has_its_own(client, table):
    accounts = DynamoAccounts(client, table)
    assert accounts.token_secret() is accounts.secret(PICTURE_SECRET_ITEM) is None
    assert accounts.made_secret(PICTURE_SECRET_ITEM, lambda: b"a" * 32) == b"a" * 32
    assert accounts.made_secret(PICTURE_SECRET_ITEM, lambda: b"b" * 32) == b"a" * 32
    assert accounts.token_secret() is None
    assert accounts.made_secret(TOKEN_SECRET_ITEM, lambda: b"c" * 32) == accounts.token_secret() == b"c" * 32
    quicker = DynamoAccounts(client, table)

    def between():
        quicker.made_secret("other#secret", lambda: b"first")
        return b"second"

    assert accounts.made_secret("other#secret", between) == b"first", "of two that make it one does"


def test_pairs_have_the_labels_that_a_tenant_names(client, table):
    accounts = DynamoAccounts(client, table)
    assert accounts.standing_of("acme").pair_labels == ("cluster", "__replica__")
    assert usage.set_pair_labels(client, table, "acme", ("group", "r"))
    assert accounts.standing_of("acme").pair_labels == ("group", "r")
    assert not usage.set_pair_labels(client, table, "nobody", ("group", "r"))


@pytest.fixture
def store(client, table):
    return DynamoUsage(client, table)


@pytest.fixture
def standing(client, table):
    return lambda: DynamoAccounts(client, table).standing_of("acme")


def test_a_new_tenant_has_the_defaults_and_used_nothing(standing):
    assert standing() == Standing()


def test_samples_add_up_by_minute(store, standing):
    assert store.add("acme", {MINUTE: 5, MINUTE - 1: 2}, NOTHING) == Counted(b"", 0)
    store.add("acme", {MINUTE: 7}, NOTHING)
    assert standing().samples == {MINUTE: 12, MINUTE - 1: 2}


def test_series_are_kept_as_they_are(store, standing):
    sketch = Sketch()
    sketch.add(b"x")
    store.put_series("acme", Counted(sketch.registers, 472), 1)
    assert store.add("acme", {MINUTE: 1}, NOTHING) == Counted(sketch.registers, 472)
    assert (standing().series, standing().hour) == (1, 472)


def test_steps_of_window_lengths_are_replaced_only_as_they_were_read(store, standing):
    first, second = (
        Seen((LengthStep(1_700_006_400, True),), 3_600),
        Seen((LengthStep(1_700_006_400, True), LengthStep(1_800_000_000, False))),
    )
    store.put_seen("acme", Seen((), 7_200), Seen())
    assert store.add("acme", {MINUTE: 1}, NOTHING).seen == Seen((), 7_200)
    store.put_seen("acme", first, Seen((), 7_200))
    store.put_seen("acme", Seen((LengthStep(1, True),)), Seen())
    assert store.add("acme", {MINUTE: 1}, NOTHING).seen == first and standing().steps == first.steps
    store.put_seen("acme", second, first)
    assert standing().steps == second.steps
    store.put_seen("nobody", first, Seen())
    assert store.add("nobody", {MINUTE: 1}, NOTHING) is None


FIRST, SECOND = (Division(1_700_006_400, 1, 0),), (Division(1_700_006_400, 1, 0), Division(1_700_020_800, 2, 2))


def test_divisions_of_a_target_are_replaced_only_as_they_were_read(client, table, store, standing):
    store.put_divisions("acme", "prom/00ff", FIRST, ())
    store.put_divisions("acme", "prom/00ff", SECOND, ())
    assert standing().divisions == {"prom/00ff": FIRST}
    store.put_divisions("acme", "prom/00ff", SECOND, FIRST)
    store.put_divisions("acme", "prom/bucket-07", FIRST, ())
    assert standing().divisions == {"prom/00ff": SECOND, "prom/bucket-07": FIRST}
    counted = store.add("acme", {MINUTE: 1}, NOTHING)
    assert counted.divisions == standing().divisions and counted.series_per_source == SERIES_PER_SOURCE_MAX
    usage.set_limits(client, table, "acme", {"series_per_source": 0})
    assert store.add("acme", {MINUTE: 1}, NOTHING).series_per_source == 0
    store.put_divisions("nobody", "prom/00ff", FIRST, ())
    assert DynamoAccounts(client, table).standing_of("nobody") is None


def test_the_target_that_was_divided_longest_ago_is_forgotten(client, table, store, standing, monkeypatch):
    monkeypatch.setattr("carbyne.adapters.dynamodb.usage.DIVIDED_TARGETS_MAX", 2)
    for number, divisions in enumerate((SECOND, FIRST, SECOND)):
        store.put_divisions("acme", f"prom/{number:02d}", divisions, ())
    assert standing().divisions.keys() == {"prom/00", "prom/02"}


def test_an_item_with_the_most_divided_targets_is_read_for_some_units():
    longest = "parts_" + 24 * "f" + " ".join(["1700006400/1/0"] * 4)
    assert DIVIDED_TARGETS_MAX * len(longest) < 20_000


def test_months_add_up_and_the_oldest_are_forgotten(store, standing):
    for _ in range(2):
        store.add("acme", {MINUTE: 5}, MonthUse(202_311, {"samples": 5, "rows": 2}))
    store.add_month("acme", MonthUse(202_311, {"queries": 3}))
    store.add_month("nobody", MonthUse(202_311, {"queries": 3}))
    hour = NOW_S // 3600
    for estimate in (7, 9, 8):
        store.put_series("acme", Counted(b"", hour), estimate)
    counts = MonthCounts(samples=10, rows=4, series=9, queries=3)
    assert standing().months == {202_311: counts}
    for month in range(202_401, 202_401 + USAGE_MONTHS_HELD):
        store.add_month("acme", MonthUse(month, {"queries": 1}))
    assert standing().months == dict.fromkeys(range(202_401, 202_401 + USAGE_MONTHS_HELD), MonthCounts(queries=1))


def test_what_the_sealer_notes_of_a_full_redis_stays_beside_the_counts_until_it_is_noted_again(store, standing):
    store.add("acme", {MINUTE: 5}, NOTHING)
    store.refuse("acme", 900, 500, NOW_S)
    assert standing().memory == HeldMemory(900, 500, MINUTE) and standing().samples == {MINUTE: 5}
    assert "redis-memory" in str(standing().over(NOW_S + 60 * ADMIT_MINUTES))
    store.refuse("acme", 700, 600, NOW_S + 60)
    assert standing().memory == HeldMemory(700, 600, MINUTE + 1)
    assert standing().over(NOW_S + 60 * (ADMIT_MINUTES + 2)) is None


def test_a_tenant_that_is_gone_is_not_made_by_counting(client, table, store):
    assert store.add("nobody", {MINUTE: 1}, NOTHING) is None
    store.put_series("nobody", Counted(b"", 0), 0)
    store.refuse("nobody", 2, 1, NOW_S)
    assert DynamoAccounts(client, table).standing_of("nobody") is None
    assert not usage.set_limits(client, table, "nobody", {"active_series": 1})


def test_an_item_stays_small(client, table, store, standing):
    for minute in range(MINUTE, MINUTE + 200):
        store.add("acme", {minute: 1}, MonthUse(month_of(minute * 60), {"samples": 10**11, "rows": 10**9}))
        assert len(standing().samples) <= 2 * USAGE_MINUTES_HELD
    assert {MINUTE + 199 - back for back in range(USAGE_MINUTES_HELD)} <= standing().samples.keys()
    item = client.get_item(TableName=table, Key={"pk": {"S": "tenant#acme"}})["Item"]
    assert len(str(item)) < 4_096, "one read unit"


@pytest.mark.parametrize("limit", ["old_windows_per_minute", "deletes_per_minute"])
def test_what_is_asked_for_is_counted_by_minute_and_limit(client, table, standing, limit):
    accounts = DynamoAccounts(client, table)
    assert [accounts.spend("acme", limit, MINUTE, number) for number in (5, 7)] == [5, 12]
    assert accounts.spend("acme", limit, MINUTE + 1, 1) == 1
    assert accounts.spend("acme", limit, MINUTE, 1) == 13
    other = "deletes_per_minute" if limit == "old_windows_per_minute" else "old_windows_per_minute"
    assert accounts.spend("acme", other, MINUTE, 2) == 2
    assert standing() == Standing(), "they are no samples, and no limits"


def test_what_is_asked_for_leaves_the_item_small_and_makes_no_tenant(client, table):
    accounts = DynamoAccounts(client, table)
    for minute in range(MINUTE, MINUTE + 3 * USAGE_MINUTES_HELD):
        assert accounts.spend("acme", "deletes_per_minute", minute, 1) == 1
    item = client.get_item(TableName=table, Key={"pk": {"S": "tenant#acme"}})["Item"]
    assert len([name for name in item if name.startswith("d")]) <= 2 * USAGE_MINUTES_HELD
    assert accounts.spend("nobody", "deletes_per_minute", MINUTE, 1) == 0
    assert accounts.standing_of("nobody") is None


def test_pieces_of_bodies_are_noted_and_the_oldest_are_forgotten(client, table, standing):
    accounts = DynamoAccounts(client, table)
    for taken in (300, 600):
        accounts.note_taken("acme", "00ff", taken, MINUTE)
    accounts.note_taken("acme", "aa", 40, MINUTE + 1)
    assert standing().bodies == {"00ff": TakenBody(600, MINUTE), "aa": TakenBody(40, MINUTE + 1)}
    accounts.note_taken("acme", "aa", 0, MINUTE + 2)
    assert standing().bodies == {"00ff": TakenBody(600, MINUTE)}
    for number in range(TAKEN_BODIES_MAX):
        accounts.note_taken("acme", f"{number:024x}", 1, MINUTE + 1)
    assert "00ff" not in standing().bodies and len(standing().bodies) == TAKEN_BODIES_MAX
    accounts.note_taken("nobody", "aa", 40, MINUTE)
    assert accounts.standing_of("nobody") is None


def test_limits_of_a_tenant_and_the_defaults_again(client, table, standing):
    assert usage.set_limits(client, table, "acme", {"samples_per_minute": 10, "body_bytes": 20})
    assert standing().limits == Limits(samples_per_minute=10, body_bytes=20)
    assert usage.set_limits(client, table, "acme", {"samples_per_minute": None, "active_series": 30})
    assert standing().limits == Limits(active_series=30, body_bytes=20)


class Counting:
    """A DynamoDB client that notes its calls."""

    def __init__(self, client):
        self._client, self.calls = client, []

    def __getattr__(self, name):
        def call(**parameters):
            self.calls.append((name, parameters.get("Key", {}).get("pk", {}).get("S")))
            return getattr(self._client, name)(**parameters)

        return call


class Meter(dict):
    def add(self, name, amount=1):
        self[name] = self.get(name, 0) + amount

    def flush_due(self): ...


def test_what_the_ingester_counts_makes_the_writer_refuse(client, table, store):
    """Through the real items: over the limit, refused with the reason; a minute of look-ups is two reads."""
    clock, meter, watched = [0.0], Meter(), Counting(client)
    time_of_puts = Time(
        now_ms=lambda: int((NOW_S + clock[0]) * 1000), clock=lambda: clock[0], sleep=lambda _: None, random=lambda: 0.5
    )
    accounts = Accounts(DynamoAccounts(watched, table), lambda: clock[0])
    writer = Writer(accounts, MemoryStream(), NoDeletes(), RawWindows(14_400, 86_400 * 460), meter, time_of_puts)

    def post():
        body = json.dumps([{"hostId": "h", "name": "m", "time": NOW_S, "value": 1}])
        event = http_event("POST", "/api/v0/tsdb", headers={"X-Api-Key": "secret"}, body=body)
        return APPS["writer"].handle(event, lambda: writer)

    usage.set_limits(client, table, "acme", {"samples_per_minute": 100})
    for _ in range(20):
        assert post()["statusCode"] == 200
    assert len(watched.calls) == 2 and watched.calls[1] == ("get_item", "tenant#acme")

    times = NOW_S, 1, 1000 * NOW_S, 101, Window.holding(1000 * NOW_S, 14_400)
    row = UsedRow(SourceKey("acme", "host/h"), b"12345678", b"m", 101, *times)
    counted = Usage(store, lambda: NOW_S + clock[0], 14_400)
    counted.take([row])
    counted.take([])
    assert post()["statusCode"] == 200, "a look-up is believed for a while"
    clock[0] += TENANT_CACHE_S
    refused = post()
    assert (refused["statusCode"], refused["headers"]["Retry-After"]) == (503, str(TENANT_CACHE_S))
    assert "samples-per-minute: 101 of at most 100" in json.loads(refused["body"])["error"]["message"]
    assert (meter["PostsRefused"], meter["PostsRefused.samples-per-minute"]) == (1, 1)
    assert len(watched.calls) == 4

    clock[0] += 180
    assert post()["statusCode"] == 200, "the busy minute is over"
