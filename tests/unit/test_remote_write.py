"""Remote write 1.0 and 2.0: what is stored, what is refused, and what strangers send.

What receivers are asked for everywhere is in test_receiver_cases.
"""

import json
import math
import struct
from collections import Counter
from pathlib import Path

import cramjam
import pytest
from carbyne.core import limits
from carbyne.core.labels import parse, source_of, target_of, text
from carbyne.intake import protobuf
from carbyne.intake.series_watch import SeriesWatch
from carbyne.stream import records
from carbyne.tenants.divisions import Division, source_at
from carbyne.tenants.usage import Limits, Standing

from tests.support.remote_write import (
    NOW_MS,
    V1,
    V2,
    Body2,
    Receiver,
    bits,
    body_1,
    histogram,
    message,
    packed,
    series_1,
    written,
)

GOLDEN = Path(__file__).parents[1] / "golden"
HOUR_MS = 3_600_000
TARGET = {"__name__": "up", "job": "testjob", "instance": "localhost:9090"}
TRACE = {"trace_id": "abc123def456"}


@pytest.fixture
def receiver():
    return Receiver()


def metric(name, **more):
    return {"__name__": name, **more}


def expect(answer, status, *counts):
    assert answer["statusCode"] == status, answer["body"]
    assert written(answer) == counts
    assert (answer["body"] == "") == (status == 204)


# Requests


@pytest.mark.parametrize("content_type", ["application/json", "image/png", "", f"{V1};proto=io.prometheus.write.v9.X"])
def test_other_content_types_are_415(receiver, content_type):
    answer = receiver.post(b"\xff\xff", content_type=content_type)
    assert answer["statusCode"] == 415
    assert "proto=prometheus.WriteRequest or io.prometheus.write.v2.Request" in answer["body"]
    assert not receiver.entries


def test_another_compression_is_415(receiver):
    answer = receiver.post(Body2().add(TARGET, (1.0, NOW_MS)).bytes(), headers={"Content-Encoding": "zstd"})
    assert answer["statusCode"] == 415


@pytest.mark.parametrize("content_type", [V1, V2])
def test_a_corrupt_body_is_400(receiver, content_type):
    for body in (b"\xff\xff\xff", packed(b"\xff\xff\xff"), b""):
        assert receiver.post(body, content_type, compressed=False)["statusCode"] == 400


# Metrics


def test_a_fresh_created_timestamp_is_a_zero(receiver):
    body = Body2().add(metric("http_requests_total", job="api"), (100.0, NOW_MS), created_ms=NOW_MS - 7_000)
    expect(receiver.post(body.bytes()), 204, 1, 0, 0)
    assert sorted((ts_ms, value) for (*_, ts_ms), value in receiver.stored().samples.items()) == [
        (NOW_MS - 7_000, 0),
        (NOW_MS, bits(100.0)),
    ]


def test_the_start_of_a_sample_is_a_zero_too(receiver):
    body = Body2().add(metric("http_requests_total"), (5.0, NOW_MS))
    body.series[0].samples[0].start_timestamp = NOW_MS - 1
    expect(receiver.post(body.bytes()), 204, 1, 0, 0)
    assert {ts_ms for *_, ts_ms in receiver.stored().samples} == {NOW_MS - 1, NOW_MS}


# 1.0


def test_1_0_is_taken(receiver):
    body = body_1(series_1(TARGET, (1.0, NOW_MS)), series_1(metric("http_requests_total"), (100.0, NOW_MS)))
    for content_type in (V1, f"{V1}; proto=prometheus.WriteRequest"):
        expect(receiver.post(body, content_type), 204, 2, 0, 0)
    assert len(receiver.stored().samples) == 2


@pytest.mark.parametrize("name", ["samples", "metadata"])
def test_bodies_of_prometheus_2_42_are_read_as_recorded(receiver, name):
    """Of its own scrape, as it put them on the wire."""
    body = (GOLDEN / f"remote-write-1-{name}.snappy").read_bytes()
    sent = message("WriteRequest").FromString(bytes(cramjam.snappy.decompress_raw(body)))
    receiver.now_ms = max(
        (sample.timestamp for timeseries in sent.timeseries for sample in timeseries.samples), default=NOW_MS
    )
    assert receiver.post(body, V1, compressed=False)["statusCode"] == 204
    assert receiver.by_labels() == {
        (tuple(sorted((label.name, label.value) for label in timeseries.labels)), sample.timestamp): bits(sample.value)
        for timeseries in sent.timeseries
        for sample in timeseries.samples
    }
    assert receiver.stored().metrics.keys() == {about.metric_family_name for about in sent.metadata}
    assert sent.timeseries or sent.metadata


# Metadata


def test_metadata_of_1_0_comes_alone(receiver):
    about = message("MetricMetadata")(type=1, metric_family_name="http_requests_total", help="Total", unit="requests")
    expect(receiver.post(body_1(metadata=[about]), V1), 204, 0, 0, 0)
    assert receiver.stored().metrics == {"http_requests_total": ("counter", "Total", "requests")}


def test_metadata_goes_onto_the_stream_when_it_changes_and_once_an_hour(receiver):
    def post(text):
        before = len(receiver.entries)
        receiver.post(Body2().add(metric("m"), (1.0, NOW_MS), about=(1, text, "")).bytes())
        return len(receiver.entries) - before - 1  # its row

    assert [post("a"), post("a"), post("b"), post("b")] == [2, 0, 1, 0]  # the target too at first
    receiver.now_ms += limits.FACTS_S * 1000
    assert post("b") == 2


def test_a_type_of_the_future_is_unknown(receiver):
    receiver.post(Body2().add(metric("m"), about=(99, "help", "")).bytes())
    assert receiver.stored().metrics == {"m": ("unknown", "help", "")}


# Exemplars and histograms


def test_what_is_not_stored_is_counted_and_said(receiver):
    body = Body2().add(metric("m"), (1.0, NOW_MS), exemplars=[TRACE])
    body.add(metric("h"), histograms=[histogram(zero=True)], exemplars=[TRACE])
    answer = receiver.post(body.bytes())
    expect(answer, 204, 1, 1, 2)
    assert answer["headers"]["Carbyne-Skipped"] == "exemplar=2, histogram=1"
    assert receiver.meter.sums["SamplesPassedOver.exemplar"] == 2
    assert receiver.meter.sums["SamplesPassedOver.histogram"] == 1
    assert len(receiver.stored().samples) == 1


def test_histograms_of_floats_and_of_nan(receiver):
    floats = message("Histogram")(count_float=2.5, sum=1.0, zero_count_float=0.5, positive_counts=[1.5, 0.5])
    floats.positive_spans.add(length=2)
    nan = histogram(positive=True, count=25, total=math.nan)
    expect(receiver.post(Body2().add(metric("h"), histograms=[floats, nan]).bytes()), 204, 0, 2, 0)


@pytest.mark.parametrize("broken", ["count", "spans", "negative"])
def test_broken_histograms_are_400(receiver, broken):
    made = histogram(positive=True, count=99 if broken == "count" else None)
    if broken == "spans":
        made.positive_spans.add(length=2**32 - 1)
    if broken == "negative":
        made.positive_deltas[0] = -50
    body = Body2().add(metric("minimal_hist"), histograms=[made]).add(metric("fine"), (1.0, NOW_MS))
    expect(receiver.post(body.bytes()), 400, 1, 0, 0)


# What is stored


def test_sources_are_targets_and_keys_are_the_other_labels(receiver):
    body = Body2()
    body.add({**TARGET, "zone": "b", "cpu": "0"}, (1.0, NOW_MS)).add({**TARGET, "__name__": "x"}, (2.0, NOW_MS))
    body.add({**TARGET, "instance": "localhost:9091"}, (3.0, NOW_MS)).add(metric("up", job="batch"), (4.0, NOW_MS))
    receiver.post(body.bytes())
    stored = receiver.stored()
    keys_of = {}
    for _, source, key, _ in stored.samples:
        keys_of.setdefault(source, set()).add(key)
    [bucket] = [source for source in keys_of if "bucket" in source]
    assert sorted(map(sorted, keys_of.values())) == [["up"], ["up{cpu=0,zone=b}", "x"], ["up{job=batch}"]]
    assert keys_of[bucket] == {"up{job=batch}"}
    assert sorted(filter(None, stored.targets.values())) == [
        "{instance=localhost:9090,job=testjob}",
        "{instance=localhost:9091,job=testjob}",
    ]


def test_times_are_exact_and_the_last_of_two_values_stands(receiver):
    for body, content_type in (
        (Body2().add(TARGET, (1.0, NOW_MS - 1), (2.0, NOW_MS), (3.0, NOW_MS)).bytes(), V2),
        (body_1(series_1(TARGET, (1.0, NOW_MS - 1), (2.0, NOW_MS)), series_1(TARGET, (3.0, NOW_MS))), V1),
    ):
        mine = Receiver()
        assert mine.post(body, content_type)["statusCode"] == 204
        assert {(ts_ms, value) for (*_, ts_ms), value in mine.stored().samples.items()} == {
            (NOW_MS - 1, bits(1.0)),
            (NOW_MS, bits(3.0)),
        }


def test_both_versions_and_any_order_of_labels_name_one_series(receiver):
    labels = {**TARGET, "a": "1", "b": "2", "gone": ""}
    receiver.post(Body2().add(dict(reversed(labels.items())), (1.0, NOW_MS)).bytes())
    receiver.post(body_1(series_1(labels, (1.0, NOW_MS))), V1)
    [(_, _, key, _)] = receiver.stored().samples
    assert key == "up{a=1,b=2}"


@pytest.mark.parametrize("carrier", ["Bearer secret", "Basic dXNlcjpzZWNyZXQ="])
def test_keys_come_as_prometheus_sends_them(receiver, carrier):
    body = Body2().add(TARGET, (1.0, NOW_MS)).bytes()
    answer = receiver.post(body, headers={"X-Api-Key": "", "Authorization": carrier}, path="/api/v1/push")
    assert answer["statusCode"] == 204
    assert receiver.post(body, headers={"X-Api-Key": "wrong"})["statusCode"] == 403


def test_2xx_only_when_the_stream_has_all_and_a_retry_is_the_same(receiver):
    body = Body2().add(TARGET, (1.0, NOW_MS), about=(1, "help", "")).bytes()
    receiver.refuse = True
    answer = receiver.post(body)
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, str(limits.RETRY_AFTER_S))
    assert "SamplesAccepted" not in receiver.meter.sums
    receiver.refuse = False
    receiver.post(body)
    once = receiver.stored()
    assert len(once.samples) == len(once.targets) == len(once.metrics) == 1, "facts too were put again"
    receiver.post(body)
    assert receiver.stored() == once


def kinds(entries):
    return ["target" if of.targets else "metric" if of.metrics else "rows" for of in map(facts_of, entries)]


def facts_of(entry):
    decoded = records.decode(entry[1])
    return decoded if isinstance(decoded, records.FactsRecord) else records.FactsRecord("", {}, {})


@pytest.mark.parametrize("refused", [1, 2, 5])
def test_no_row_is_on_the_stream_before_the_facts_of_its_target(receiver, refused):
    """Whatever entries PutRecords refuses, a few times."""
    calls, put = [], receiver.put

    def flaky(entries):
        calls.append(kinds(entries))
        if len(calls) > refused:
            return put(entries)
        put([entry for number, entry in enumerate(entries) if number % 2])
        return [number for number in range(len(entries)) if number % 2 == 0]

    receiver.put = flaky
    body = Body2()
    for number in range(20):
        body.add({**TARGET, "instance": f"h{number}"}, (1.0, NOW_MS), about=(1, "help", ""))
    expect(receiver.post(body.bytes()), 204, 20, 0, 0)
    known = set()
    for entry in receiver.entries:
        decoded = records.decode(entry[1])
        if isinstance(decoded, records.FactsRecord):
            known |= decoded.targets.keys()
        else:
            assert {row.source for row in decoded.rows} <= known
    assert len(known) == 20 and len(receiver.stored().samples) == 20


def test_facts_that_this_writer_has_put_before_cost_no_call_of_their_own(receiver):
    calls, put = [], receiver.put
    receiver.put = lambda entries: calls.append(kinds(entries)) or put(entries)
    for _ in range(2):
        receiver.post(Body2().add(TARGET, (1.0, NOW_MS), about=(1, "help", "")).bytes())
    receiver.now_ms += 1000 * limits.FACTS_S
    receiver.post(Body2().add(TARGET, (1.0, NOW_MS), about=(1, "help", "")).bytes())
    assert calls == [["target"], ["metric", "rows"], ["rows"], ["target", "metric", "rows"]]


def test_samples_out_of_time_are_400_after_the_rest(receiver):
    ahead_ms = NOW_MS + limits.AHEAD_MS_MAX + 2_000
    answer = receiver.post(Body2().add(TARGET, (1.0, 5), (2.0, NOW_MS), (3.0, ahead_ms), (4.0, -(2**63))).bytes())
    expect(answer, 400, 1, 0, 0)
    text = json.loads(answer["body"])["error"]["message"]
    assert "too-far-ahead: 1" in text and "too-old: 2, such as up" in text
    assert answer["headers"]["Carbyne-Skipped"] == "too-far-ahead=1, too-old=2"


MANY = 2_000


def many(*numbers, at_ms=NOW_MS):
    """A body of 1.0 with one sample of each target."""
    labels = ({"__name__": "up", "job": "j", "instance": f"web{number:05d}"} for number in numbers)
    return body_1(*(series_1(each, (1.0, at_ms)) for each in labels))


def test_a_body_of_many_new_targets_is_taken_piece_by_piece(receiver):
    """Its sender gets a 204 in the end, when all of it is on the stream, and not before."""
    body, retries = many(*range(MANY)), 0
    while (answer := receiver.post(body, V1))["statusCode"] == 503:
        retries += 1
        upto = retries * limits.TARGETS_PER_BODY_MAX
        left = MANY - upto + limits.TARGETS_PER_BODY_MAX
        assert answer["headers"]["Retry-After"] == str(limits.TENANT_CACHE_S)
        assert f"new-targets-per-body: {left} of at most {limits.TARGETS_PER_BODY_MAX}" in answer["body"]
        assert f"the first {upto} of {MANY} targets are stored" in answer["body"]
        stored = receiver.stored()
        assert len(stored.samples) == len(stored.targets) == upto
        assert receiver.meter.sums["PostsRefused.new-targets-per-body"] == retries
        assert "SamplesAccepted" not in receiver.meter.sums
    expect(answer, 204, MANY, 0, 0)
    assert retries == 3 and len(receiver.stored().samples) == len(receiver.stored().targets) == MANY
    assert not receiver.store.bodies, "a body that was taken is a new one"
    expect(receiver.post(body, V1), 204, MANY, 0, 0)


def test_the_next_piece_may_come_to_another_writer(receiver):
    body = many(*range(MANY))
    receivers = [receiver, Receiver(receiver.store)]
    answers = [receivers[at % 2].post(body, V1)["statusCode"] for at in range(4)]
    assert answers == [503, 503, 503, 204]
    both = receivers[0].stored().samples.keys() | receivers[1].stored().samples.keys()
    assert len(both) == MANY and not receiver.store.bodies


def test_targets_that_a_writer_knows_need_no_pieces(receiver):
    for first in range(0, MANY, 500):
        expect(receiver.post(many(*range(first, first + 500)), V1), 204, 500, 0, 0)
    expect(receiver.post(many(*range(MANY + limits.TARGETS_PER_BODY_MAX)), V1), 204, MANY + 600, 0, 0)


def test_a_piece_of_new_targets_counts_only_when_it_is_on_the_stream(receiver):
    receiver.refuse = True
    assert "temporarily unavailable" in receiver.post(many(*range(MANY)), V1)["body"] and not receiver.store.bodies
    receiver.refuse = False
    assert "the first 600 of 2000" in receiver.post(many(*range(MANY)), V1)["body"]
    assert len(receiver.stored().samples) == 600


def test_new_targets_with_old_windows_are_taken_in_pieces_of_both(receiver):
    body, answers = many(*range(700), at_ms=NOW_MS - 86_400_000), []
    for _ in range(3):
        receiver.store.spent.clear()  # the next minute
        answers.append(receiver.post(body, V1))
    assert [answer["statusCode"] for answer in answers] == [503, 503, 204]
    assert "old-windows-per-body: 600 of at most 300" in answers[0]["body"]
    assert "new-targets-per-body: 700" in answers[1]["body"]
    assert len(receiver.stored().samples) == len(receiver.stored().targets) == 700
    assert not receiver.store.bodies


def test_a_series_that_is_admitted_between_two_pieces_is_stored_from_the_first_window_on(receiver):
    """By a writer that has just started, or under another limit: no try may count as taken what it did not see."""
    old, new = metric("old"), metric("new")
    receiver.post(Body2().add(old, (1.0, NOW_MS)).bytes())
    receiver.entries.clear()
    receiver.store.standing = Standing(Limits(active_series=1), series=5, hour=NOW_MS // HOUR_MS)
    receiver.now_ms += 1000 * limits.SERIES_LEARNED_S
    other, codes, body = Receiver(receiver.store), [], Body2()
    other.now_ms = receiver.now_ms
    other.writer._door._series._since_s = receiver.now_ms / 1000
    for series in (old, new):
        body.add(series, *((1.0, NOW_MS - 20 * 24 * HOUR_MS - number * 4 * HOUR_MS) for number in range(400)))
    for writer in (receiver, other, other, other):
        receiver.store.spent.clear()  # the next minute
        codes.append(writer.post(body.bytes())["statusCode"])
    assert codes == [503, 503, 503, 204]
    stored = receiver.stored().samples | other.stored().samples
    assert Counter(key for _, _, key, _ in stored) == {"old": 400, "new": 400}


def test_refused_series_of_new_targets_cost_a_writer_no_memory():
    clock = [1e6]
    watch = SeriesWatch(lambda: clock[0])
    clock[0] += limits.SERIES_LEARNED_S
    for number in range(1_000):
        reason = watch.refusal("acme", f"prom/{number:024x}", "up", lambda source, _: (source, 60_000), full=True)
        assert reason == "active-series"
    assert not watch._now


def test_a_target_without_a_row_is_not_told(receiver):
    expect(receiver.post(body_1(series_1(TARGET, (1.0, 5))), V1), 400, 0, 0, 0)
    assert receiver.entries == []


def test_what_is_said_of_many_metrics_goes_onto_the_stream_in_several_posts(receiver):
    about = [
        message("MetricMetadata")(type=1, metric_family_name=f"m{number}", help="Total") for number in range(2_500)
    ]
    for stored in (limits.METRICS_PER_BODY_MAX, 2_500):
        expect(receiver.post(body_1(metadata=about), V1), 204, 0, 0, 0)
        assert len(receiver.stored().metrics) == stored


# Limits


def test_over_the_rate_is_503(receiver):
    receiver.store.standing = Standing(Limits(samples_per_minute=1), {NOW_MS // 60_000: 5})
    answer = receiver.post(Body2().add(TARGET, (1.0, NOW_MS)).bytes())
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, str(limits.TENANT_CACHE_S))


def test_over_the_limit_of_series_only_new_ones_are_refused(receiver):
    old, new = metric("old"), metric("new")
    receiver.post(Body2().add(old, (1.0, NOW_MS)).bytes())
    receiver.store.standing = Standing(Limits(active_series=1), series=5, hour=NOW_MS // HOUR_MS)
    receiver.now_ms += 1000 * limits.SERIES_LEARNED_S
    answer = receiver.post(Body2().add(old, (2.0, NOW_MS)).add(new, (2.0, NOW_MS)).bytes())
    expect(answer, 400, 1, 0, 0)
    assert "active-series: 1, such as new" in answer["body"]
    assert [key for _, _, key, _ in receiver.stored().samples] == ["old"]


def test_a_writer_that_has_not_learned_refuses_no_series(receiver):
    receiver.store.standing = Standing(Limits(active_series=1), series=5, hour=NOW_MS // HOUR_MS)
    expect(receiver.post(Body2().add(metric("m"), (2.0, NOW_MS)).bytes()), 204, 1, 0, 0)


def test_a_target_has_a_limit_of_its_own(receiver):
    """Of three times what a source should have until it is divided."""
    receiver.store.standing = Standing(Limits(series_per_source=1))
    body = Body2()
    for number in range(5):
        body.add({**TARGET, "n": str(number)}, (1.0, NOW_MS))
    body.add({**TARGET, "instance": "another"}, (1.0, NOW_MS))
    answer = receiver.post(body.bytes())
    expect(answer, 400, 4, 0, 0)
    assert answer["headers"]["Carbyne-Skipped"] == "series-per-target=2"
    assert "series-per-target: 2, such as up{n=3}" in answer["body"]
    receiver.now_ms += HOUR_MS
    again = Body2().add({**TARGET, "n": "4"}, (1.0, receiver.now_ms)).bytes()
    expect(receiver.post(again), 204, 1, 0, 0)


# Divided targets

STEP_S = NOW_MS // 1000 - 60
SOURCE = source_of(TARGET)
DIVIDED = Standing(divisions={SOURCE: (Division(STEP_S, 0, 1), Division(STEP_S + 30, 0, 2))})


def sources(receiver):
    """How many samples each source has."""
    return Counter(source for _, source, _, _ in receiver.stored().samples)


def scraped(*times_ms, series=40):
    body = Body2()
    for number in range(series):
        body.add({**TARGET, "n": str(number)}, *((float(number), ts_ms) for ts_ms in times_ms))
    return body.bytes()


def test_each_sample_of_a_divided_target_goes_to_the_source_of_its_time(receiver):
    receiver.store.standing = DIVIDED
    times = [1000 * STEP_S - 1, 1000 * STEP_S, 1000 * (STEP_S + 30)]
    expect(receiver.post(scraped(*times)), 204, 120, 0, 0)
    for at, bits_of_labels in zip(times, (None, 1, 2), strict=True):
        expected = [f"up{{n={number}}}" for number in range(40)]
        of_time = [(source, key) for _, source, key, ts_ms in receiver.stored().samples if ts_ms == at]
        assert sorted(key for _, key in of_time) == sorted(expected), "each once"
        parts = {source for source, _ in of_time}
        assert len(parts) == (1 if bits_of_labels is None else 2**bits_of_labels)
        assert all(source == source_at(SOURCE, key, DIVIDED.divisions[SOURCE], at) for source, key in of_time)


def test_each_source_of_a_target_is_told_its_labels_before_its_rows(receiver):
    receiver.store.standing = DIVIDED
    receiver.post(scraped(1000 * STEP_S - 1, NOW_MS))
    told = {}
    for entry in receiver.entries:
        record = records.decode(entry[1])
        if isinstance(record, records.FactsRecord):
            told |= record.targets
        else:
            assert {row.source for row in record.rows} <= told.keys()
    assert set(told.values()) == {text(target_of(TARGET))} and len(told) == 5


def test_a_counter_that_began_before_a_division_has_its_zero_in_the_source_of_then(receiver):
    receiver.store.standing = DIVIDED
    body = Body2().add(TARGET, (1.0, NOW_MS), created_ms=1000 * STEP_S - 1)
    expect(receiver.post(body.bytes()), 204, 1, 0, 0)
    assert {(source == SOURCE, ts_ms) for _, source, _, ts_ms in receiver.stored().samples} == {
        (True, 1000 * STEP_S - 1),
        (False, NOW_MS),
    }


def test_a_body_that_is_sent_again_across_the_step_stores_no_sample_twice(receiver):
    """The first try comes before a division is known, the second one after it holds."""
    step_s = NOW_MS // 1000 + limits.STEP_AHEAD_S
    body = scraped(NOW_MS, NOW_MS + limits.AHEAD_MS_MAX)
    expect(receiver.post(body), 204, 80, 0, 0)
    before = receiver.stored().samples
    receiver.store.standing = Standing(divisions={SOURCE: (Division(step_s, 2, 2),)})
    receiver.now_ms = 1000 * step_s
    expect(receiver.post(body), 204, 80, 0, 0)
    assert receiver.stored().samples == before and set(sources(receiver)) == {SOURCE}
    expect(receiver.post(scraped(receiver.now_ms)), 204, 40, 0, 0)
    assert sources(receiver)[SOURCE] == 80 and len(sources(receiver)) > 3


def test_a_divided_target_may_have_more_series_but_none_of_its_sources_too_many(receiver):
    """Whoever finds keys whose hashes begin alike fills one source with them, and no more."""
    divisions = {SOURCE: (Division(STEP_S, 0, 4),)}
    receiver.store.standing = Standing(Limits(series_per_source=3), divisions=divisions)
    keys = {number: source_at(SOURCE, f"up{{n={number}}}", divisions[SOURCE], NOW_MS) for number in range(200)}
    alike = [number for number, source in keys.items() if source == keys[0]]
    body = Body2()
    for number in alike:
        body.add({**TARGET, "n": str(number)}, (1.0, NOW_MS))
    expect(receiver.post(body.bytes()), 400, 3, 0, 0)
    of_sources = Counter(keys[number] for number in range(60))
    stored = sum(min(size, 3) for size in of_sources.values())
    assert len(alike) > 5 and stored > 30
    receiver.now_ms += HOUR_MS
    body = Body2()
    for number in range(60):
        body.add({**TARGET, "n": str(number)}, (1.0, receiver.now_ms))
    expect(receiver.post(body.bytes()), 400, stored, 0, 0)


LONG = "x" * limits.LABEL_VALUE_BYTES_MAX


@pytest.mark.parametrize(
    ("reason", "labels"),
    [
        ("no-name", [("a", "b")]),
        ("duplicate-label", [("__name__", "m"), ("a", "b"), ("a", "c")]),
        ("empty-label-name", [("__name__", "m"), ("", "b")]),
        ("label-name-too-long", [("__name__", "m"), ("a" * (limits.LABEL_NAME_BYTES_MAX + 1), "b")]),
        ("label-name-too-long", [("__name__", "m" * (limits.METRIC_NAME_BYTES_MAX + 1))]),
        ("label-value-too-long", [("__name__", "m"), ("a", LONG + "x")]),
        ("series-too-long", [("__name__", "m"), ("a", LONG), ("b", LONG)]),
        ("too-many-labels", [("__name__", "m"), *((f"l{n}", "x") for n in range(limits.LABELS_MAX))]),
    ],
)
def test_labels_have_limits_and_reasons(receiver, reason, labels):
    body = body_1(series_1(labels, (1.0, NOW_MS)), series_1(TARGET, (1.0, NOW_MS)))
    answer = receiver.post(body, V1)
    expect(answer, 400, 1, 0, 0)
    assert answer["headers"]["Carbyne-Skipped"] == f"{reason}=1"
    assert receiver.meter.sums[f"SamplesRejected.{reason}"] == 1
    assert len(answer["body"]) < 1_000


def test_the_longest_labels_are_stored(receiver):
    labels = [("__name__", "m"), *((f"l{n:02}", "x") for n in range(limits.LABELS_MAX - 3)), ("a", LONG), ("job", LONG)]
    labels.append(("instance", LONG))
    assert len(labels) == limits.LABELS_MAX + 1
    del labels[1]
    expect(receiver.post(body_1(series_1(labels, (1.0, NOW_MS))), V1), 204, 1, 0, 0)


# Pairs of replicas


def replica(name, cluster="eu", number=1.0, at_ms=NOW_MS):
    return Body2().add({**TARGET, "cluster": cluster, "__replica__": name}, (number, at_ms)).bytes()


def values(receiver):
    return {struct.unpack("<d", struct.pack("<Q", value))[0] for value in receiver.stored().samples.values()}


def test_one_replica_of_a_pair_is_taken_and_its_label_dropped(receiver):
    expect(receiver.post(replica("a", number=1.0)), 204, 1, 0, 0)
    answer = receiver.post(replica("b", number=2.0))
    expect(answer, 204, 1, 0, 0)
    assert answer["headers"]["Carbyne-Skipped"] == "not-elected=1"
    expect(receiver.post(replica("b", cluster="us", number=3.0)), 204, 1, 0, 0)
    assert values(receiver) == {1.0, 3.0}
    assert {key for _, _, key, _ in receiver.stored().samples} == {"up{cluster=eu}", "up{cluster=us}"}
    assert receiver.meter.sums["SamplesAccepted"] == 2


def test_another_replica_is_elected_after_half_a_minute_of_silence(receiver):
    receiver.post(replica("a", number=1.0))
    for _ in range(5):
        receiver.now_ms += 15_000
        receiver.post(replica("a", number=1.0))
        receiver.post(replica("b", number=2.0))
    assert values(receiver) == {1.0}
    receiver.now_ms += 1000 * limits.PAIR_SILENT_S
    receiver.post(replica("b", number=3.0))
    receiver.post(replica("a", number=4.0))
    assert values(receiver) == {3.0}, "of one time and series the last"


def test_the_election_holds_across_writers_and_costs_few_writes(receiver):
    other = Receiver(receiver.store)
    receiver.post(replica("a"))
    other.post(replica("b", number=2.0))
    assert not other.stored().samples
    for _ in range(60):
        receiver.now_ms += 1_000
        other.now_ms = receiver.now_ms
        receiver.post(replica("a"))
        other.post(replica("b", number=2.0))
    assert not other.stored().samples
    assert receiver.store.elections <= 2 + 60 // limits.PAIR_NOTED_S + 1 + 60 // limits.PAIR_SILENT_S + 1


def test_labels_of_a_pair_may_have_other_names(receiver):
    receiver.store.standing = Standing(pair_labels=("group", "r"))
    for name in ("a", "b"):
        labels = {**TARGET, "group": "g", "r": name, "__replica__": "kept"}
        receiver.post(Body2().add(labels, (1.0, NOW_MS)).bytes())
    assert [key for _, _, key, _ in receiver.stored().samples] == ["up{__replica__=kept,group=g}"]


def test_a_replica_without_a_cluster_is_no_pair(receiver):
    for name in ("a", "b"):
        expect(receiver.post(Body2().add({**TARGET, "__replica__": name}, (1.0, NOW_MS)).bytes()), 204, 1, 0, 0)
    assert len(receiver.stored().samples) == 2
    assert receiver.store.elections == 0


def test_a_body_asks_for_few_elections(receiver):
    body = Body2()
    for number in range(limits.PAIRS_PER_BODY_MAX + 5):
        body.add({**TARGET, "cluster": f"c{number}", "__replica__": "a"}, (1.0, NOW_MS))
    answer = receiver.post(body.bytes())
    expect(answer, 400, limits.PAIRS_PER_BODY_MAX, 0, 0)
    assert answer["headers"]["Carbyne-Skipped"] == "too-many-pairs=5"


# Hostile bodies


def test_text_that_is_no_utf8_spoils_its_series_alone(receiver):
    good = body_1(series_1(TARGET, (1.0, NOW_MS)))
    bad = body_1(series_1({"__name__": "up", "a": "XX"}, (1.0, NOW_MS))).replace(b"XX", b"\xff\xfe")
    expect(receiver.post(good + bad, V1), 400, 1, 0, 0)
    assert receiver.meter.sums["SamplesRejected.bad-text"] == 1


@pytest.mark.parametrize("references", [[1], [1, 2, 3], [1, 99], [2**32 - 1, 1]])
def test_references_without_symbols_spoil_their_series_alone(receiver, references):
    body = Body2().add(TARGET, (1.0, NOW_MS)).add(metric("m"), (1.0, NOW_MS))
    body.series[1].labels_refs[:] = references
    expect(receiver.post(body.bytes()), 400, 1, 0, 0)
    assert receiver.meter.sums["SamplesRejected.bad-reference"] == 1


def test_metadata_without_symbols_is_ignored(receiver):
    body = Body2().add(TARGET, (1.0, NOW_MS), about=(1, "a", ""))
    body.series[0].metadata.help_ref = 10**6
    expect(receiver.post(body.bytes()), 204, 1, 0, 0)


@pytest.mark.parametrize("content_type", [V1, V2])
def test_every_length_cut_off_is_400_or_less_data(content_type):
    body = packed(
        Body2().add(TARGET, (1.0, NOW_MS)).bytes() if content_type == V2 else body_1(series_1(TARGET, (1.0, NOW_MS)))
    )
    receiver = Receiver()
    for length in range(len(body)):
        assert receiver.post(body[:length], content_type, compressed=False)["statusCode"] == 400
    assert not receiver.entries


def test_every_byte_changed_is_an_answer_and_never_503():
    for content_type, plain in (
        (V1, body_1(series_1(TARGET, (1.0, NOW_MS)))),
        (V2, Body2().add(TARGET, (1.0, NOW_MS), histograms=[histogram(positive=True)]).bytes()),
    ):
        receiver = Receiver()
        for at in range(len(plain)):
            for flip in (0x01, 0x08, 0x80, 0xFF):
                body = plain[:at] + bytes([plain[at] ^ flip]) + plain[at + 1 :]
                assert receiver.post(body, content_type)["statusCode"] in (204, 400), (at, flip)


def test_a_bomb_is_413_before_it_is_inflated(receiver):
    ten_mb = packed(bytes(10 * 1024 * 1024))
    assert len(ten_mb) < 600_000
    assert receiver.post(ten_mb, compressed=False)["statusCode"] == 413
    claims_4_gb = b"\xff\xff\xff\xff\x0f" + b"\0" * 100
    assert receiver.post(claims_4_gb, compressed=False)["statusCode"] in (400, 413)


@pytest.mark.parametrize(
    ("content_type", "unit"),
    [(V1, b"\x0a\x00"), (V1, b"\x1a\x00"), (V2, b"\x2a\x00"), (V2, b"\x22\x00")],
    ids=["series-1", "metadata-1", "series-2", "symbols-2"],
)
def test_too_many_messages_are_413(receiver, content_type, unit):
    assert receiver.post(unit * (limits.SAMPLES_PER_BODY_MAX + 1), content_type)["statusCode"] == 413


def test_too_many_samples_are_413(receiver):
    inside = b"\x12\x00" * (limits.SAMPLES_PER_BODY_MAX + 1)
    size = protobuf._varint(len(inside) + len(LABEL))
    assert receiver.post(b"\x0a" + size + LABEL + inside, V1)["statusCode"] == 413


LABEL = b"\x0a\x0d\x0a\x08__name__\x12\x01m"


def test_deep_nesting_is_an_answer(receiver):
    deep = b""
    for _ in range(200):
        deep = b"\x0a" + protobuf._varint(len(deep)) + deep
    assert receiver.post(b"\x7b" * 100_000, V1)["statusCode"] == 400
    assert receiver.post(deep, V1)["statusCode"] in (204, 400)


def test_the_table_of_messages_is_what_the_library_would_make():
    from google.protobuf import descriptor_pb2  # noqa: PLC0415 - only this test needs it

    described = descriptor_pb2.FileDescriptorProto.FromString(protobuf.description())
    assert described.SerializeToString() == protobuf.description()
    assert {message.name: len(message.field) for message in described.message_type} == {
        name: len(fields) for name, fields in protobuf.MESSAGES.items()
    }


def test_parse_is_the_mirror_of_keys():
    assert parse("up{a=%3D,b=%25}") == {"__name__": "up", "a": "=", "b": "%"}
    assert parse("loadavg5") == {"__name__": "loadavg5"}
    assert parse("") == {}
