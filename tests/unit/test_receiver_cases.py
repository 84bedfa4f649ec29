"""The receiver tests of remote write 2.0, published in prometheus/compliance (remotewrite/receiver, 67b8327), re-made.

Each has a test of its name here, in the words of this project: what it sends, and what it asks of the answer.  What a
receiver should do is asked for as if it must.  Theirs read no data back; here what is stored is compared too.
"""

import math
import re
import struct

import pytest

from tests.support.remote_write import (
    NOW_MS,
    V1,
    V2,
    Body2,
    Receiver,
    bits,
    body_1,
    histogram,
    packed,
    series_1,
    written,
)

PUBLISHED = {
    "combined": """SamplesWithMetadataAndExemplars HistogramsWithMetadataAndExemplars ComplexSamplesRequest
        ComplexHistogramsRequest MultipleMetricFamiliesSamples MultipleMetricFamiliesHistograms EdgeCaseCombinations
        ManySamples ManyHistograms SpecialCharactersCombined CustomBucketsHistogramWithExemplar""",
    "histograms": """Histograms HistogramWithCreatedTimestamp MultipleHistograms EmptyHistogram HistogramWithMetadata
        HistogramWithExemplar HistogramWithMetadataAndExemplar MultipleHistogramsWithMetadata""",
    "exemplar": """Exemplars ExemplarWithCreatedTimestamp MultipleExemplars ExemplarTimestamps ExemplarValidation
        ExemplarSpecialValues""",
    "metadata": """Metadata CounterMetadataWithCreatedTimestamp MetadataWithSamples MultipleMetadata
        MetadataWithComplexLabels MetadataValidation""",
    "metric": "SingleMetric CounterWithCreatedTimestamp MultipleMetrics",
    "request": "BadContentTypes BadContentEncodings CorruptRequestBody",
    "rw1_compat": "RW1BasicCompatibility RW1ErrorHandling",
}
"""Their files, and the names of the tests in them, without ``Test``."""
COUNTER, GAUGE, HISTOGRAM, GAUGE_HISTOGRAM, SUMMARY, INFO, STATESET = range(1, 8)
VALUES = {
    "one": 1.0,
    "zero": 0.0,
    "negative": -123.456,
    "large": 1e10,
    "small": 1e-10,
    "nan": math.nan,
    "inf": math.inf,
    "minus-inf": -math.inf,
    "stale": struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0],
}
TARGET = {"__name__": "up", "job": "node", "instance": "localhost:9100"}
TRACE = {"trace_id": "4bf92f3577b34da6"}
NAMELESS = pytest.mark.parametrize("labels", [{"job": "node"}, {"__name__": ""}, {}], ids=["none", "empty", "nothing"])
HOUR_MS = 3_600_000
every_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)


@pytest.fixture
def receiver():
    return Receiver()


def metric(name, **labels):
    return {"__name__": name, **labels}


def shape(parts):
    """``parts``: names of what a histogram has, with blanks between."""
    return histogram(**dict.fromkeys(parts.split(), True))


def expect(answer, status=204, samples=0, histograms=0, exemplars=0):
    assert answer["statusCode"] == status, answer["body"]
    assert written(answer) == (samples, histograms, exemplars)
    assert (answer["body"] == "") == (status == 204)


def sent(receiver, body, **expected):
    """Post it, and check the answer and that all of its samples, and no more, are stored bit for bit."""
    expect(receiver.post(body.bytes()), **expected)
    assert receiver.by_labels() == {
        (body.labels_of(series), sample.timestamp): bits(sample.value)
        for series in body.series
        for sample in series.samples
    }


def test_each_published_test_is_here():
    names = [f"Test{name}" for names in PUBLISHED.values() for name in names.split()]
    assert len(names) == len(set(names)) == 39
    assert {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() for name in names} <= globals().keys()


# combined


def test_samples_with_metadata_and_exemplars(receiver):
    labels = metric("http_requests_total", job="api", method="POST")
    about = (COUNTER, "Requests by method", "requests")
    sent(receiver, Body2().add(labels, (1.0, NOW_MS), about=about, exemplars=[TRACE]), samples=1, exemplars=1)
    assert receiver.stored().metrics == {"http_requests_total": ("counter", *about[1:])}


def test_histograms_with_metadata_and_exemplars(receiver):
    body = Body2().add(
        metric("request_duration_seconds", service="auth"),
        about=(HISTOGRAM, "Durations", "seconds"),
        exemplars=[TRACE],
        histograms=[shape("positive negative zero")],
    )
    sent(receiver, body, histograms=1, exemplars=1)


def test_complex_samples_request(receiver):
    body = Body2()
    body.add(metric("cpu", instance="a"), (0.85, NOW_MS), about=(GAUGE, "CPU", "ratio"), exemplars=[TRACE])
    body.add(metric("memory", instance="a"), (2.0**33, NOW_MS), about=(GAUGE, "Memory", "bytes"))
    sent(receiver, body, samples=2, exemplars=1)
    assert receiver.stored().metrics == {"cpu": ("gauge", "CPU", "ratio"), "memory": ("gauge", "Memory", "bytes")}


def test_complex_histograms_request(receiver):
    body = Body2()
    about = (HISTOGRAM, "Distribution", "bytes")
    body.add(metric("answer", path="/"), about=about, exemplars=[TRACE], histograms=[shape("positive zero")])
    body.add(metric("request", method="POST"), about=about, histograms=[shape("negative zero")])
    sent(receiver, body, histograms=2, exemplars=1)


def test_multiple_metric_families_samples(receiver):
    body = Body2()
    body.add(metric("requests_total", status="200"), (1e3, NOW_MS), about=(COUNTER, "All", ""), exemplars=[TRACE])
    body.add(metric("temperature", room="1"), (23.5, NOW_MS), about=(GAUGE, "Now", "celsius"))
    sent(receiver, body, samples=2, exemplars=1)


def test_multiple_metric_families_histograms(receiver):
    about = (HISTOGRAM, "Durations", "seconds")
    labels = metric("request_duration_seconds", handler="/metrics")
    body = Body2().add(labels, about=about, exemplars=[TRACE], histograms=[shape("positive zero")])
    sent(receiver, body, histograms=1, exemplars=1)


def test_edge_case_combinations(receiver):
    sent(receiver, Body2().add(metric("orphan"), about=(COUNTER, "Of no series", "count")))
    assert receiver.stored().metrics == {"orphan": ("counter", "Of no series", "count")}
    sent(receiver, Body2().add(metric("orphan"), exemplars=[TRACE]), exemplars=1)
    mixed = Body2().add(metric("old"), (1.0, NOW_MS - HOUR_MS), exemplars=[TRACE]).add(metric("new"), (2.0, NOW_MS))
    sent(receiver, mixed, samples=2, exemplars=1)


def test_many_samples(receiver):
    body = Body2()
    for number in range(50):
        labels, about = metric(f"counter_{number}", series=f"s{number}"), (COUNTER, f"Number {number}", "count")
        body.add(labels, (100.0 * number, NOW_MS), about=about, exemplars=[{"trace_id": f"t{number}"}])
    sent(receiver, body, samples=50, exemplars=50)
    assert len(receiver.stored().metrics) == 50


def test_many_histograms(receiver):
    body = Body2()
    for number in range(50):
        parts = "positive negative zero" if number % 2 else "positive zero"
        labels, about = metric(f"histogram_{number}", bucket=f"b{number}"), (HISTOGRAM, f"Number {number}", "s")
        body.add(labels, about=about, exemplars=[{"trace_id": f"t{number}"}], histograms=[shape(parts)])
    sent(receiver, body, histograms=50, exemplars=50)


def test_special_characters_combined(receiver):
    labels = {**TARGET, "job": "node-exporter_1.8@eu", "environment": "🚀 {a=b},%\x01\x7f"}
    about = (GAUGE, 'äöü, a line\nand "quotes"', "special/units")
    exemplar = {"trace_id": "äöü-123", "span_id": "with.dots-and_lines"}
    sent(receiver, Body2().add(labels, (42.0, NOW_MS), about=about, exemplars=[exemplar]), samples=1, exemplars=1)
    assert receiver.stored().metrics == {"up": ("gauge", *about[1:])}


def test_custom_buckets_histogram_with_exemplar(receiver):
    body = Body2().add(metric("latency", version="v2"), exemplars=[TRACE], histograms=[shape("custom")])
    sent(receiver, body, histograms=1, exemplars=1)


# histograms


@pytest.mark.parametrize("parts", ["positive negative zero", "custom", "positive zero", "negative", "zero", "bad"])
@pytest.mark.parametrize("labels", [metric("h"), metric("h", job="node"), metric("h", instance="localhost")])
def test_histograms(receiver, labels, parts):
    bad = parts == "bad"
    made = histogram(positive=True, count=99) if bad else shape(parts)
    sent(receiver, Body2().add(labels, histograms=[made]), status=400 if bad else 204, histograms=0 if bad else 1)


def test_histogram_with_created_timestamp(receiver):
    made = [shape("positive negative zero")]
    body = Body2().add(metric("duration", job="api"), created_ms=NOW_MS - HOUR_MS // 2, histograms=made)
    sent(receiver, body, histograms=1)


def test_multiple_histograms(receiver):
    body = Body2().add(metric("a", job="node"), histograms=[shape("positive zero")])
    sent(receiver, body.add(metric("b", job="node"), histograms=[shape("negative")]), histograms=2)


def test_empty_histogram(receiver):
    sent(receiver, Body2().add(metric("empty"), histograms=[histogram(total=0.0)]), histograms=1)


def test_histogram_with_metadata(receiver):
    made, about = [shape("positive negative zero")], (HISTOGRAM, "Durations", "seconds")
    sent(receiver, Body2().add(metric("duration", job="api"), about=about, histograms=made), histograms=1)
    assert receiver.stored().metrics == {"duration": ("histogram", "Durations", "seconds")}


def test_histogram_with_exemplar(receiver):
    exemplar, made = {**TRACE, "span_id": "00f067aa0ba902b7"}, [shape("positive zero")]
    body = Body2().add(metric("duration", method="GET"), exemplars=[exemplar], histograms=made)
    sent(receiver, body, histograms=1, exemplars=1)


def test_histogram_with_metadata_and_exemplar(receiver):
    made, about = [histogram(positive=True, negative=True, zero=True, total=1e7)], (HISTOGRAM, "Sizes", "bytes")
    body = Body2().add(metric("answer_bytes", service="up"), about=about, exemplars=[TRACE], histograms=made)
    sent(receiver, body, histograms=1, exemplars=1)


def test_multiple_histograms_with_metadata(receiver):
    body = Body2()
    for name, parts in {"cpu": "positive zero", "memory": "positive negative"}.items():
        about = (HISTOGRAM, f"Of {name}", "ratio")
        body.add(metric(name, instance="a"), about=about, histograms=[shape(parts)])
    sent(receiver, body, histograms=2)
    assert receiver.stored().metrics.keys() == {"cpu", "memory"}


# exemplar


@pytest.mark.parametrize(
    "exemplar",
    [
        TRACE,
        {**TRACE, "span_id": "00f067aa0ba902b7"},
        {"user_id": "user123"},
        {**TRACE, "user": "admin", "endpoint": "/login"},
        {},
        {"trace_id": "with-dashes_and_lines.123"},
        {"trace_id": "trace_测试"},
    ],
    ids=["trace", "span", "no-trace", "several", "none", "signs", "unicode"],
)
@pytest.mark.parametrize("labels", [metric("m"), metric("m", job="api"), metric("m", region="🌍")])
def test_exemplars(receiver, labels, exemplar):
    sent(receiver, Body2().add(labels, (1.0, NOW_MS), exemplars=[exemplar]), samples=1, exemplars=1)


def test_exemplar_with_created_timestamp(receiver):
    labels = metric("http_requests_total", job="api")
    body = Body2().add(labels, (250.0, NOW_MS), created_ms=NOW_MS - 2 * HOUR_MS, exemplars=[TRACE])
    sent(receiver, body, samples=1, exemplars=1)


def test_multiple_exemplars(receiver):
    body = Body2()
    for labels in (metric("duration", method="GET"), metric("duration", method="POST"), metric("errors", job="pay")):
        body.add(labels, (0.25, NOW_MS), exemplars=[TRACE])
    sent(receiver, body, samples=3, exemplars=3)


def test_exemplar_timestamps(receiver):
    body = Body2()
    for back_ms in (HOUR_MS, 60_000, 0):
        body.add(metric("latency"), (0.05, NOW_MS - back_ms), exemplars=[TRACE], exemplars_ms=NOW_MS - back_ms)
    sent(receiver, body, samples=3, exemplars=3)


@NAMELESS
def test_exemplar_validation(receiver, labels):
    expect(receiver.post(Body2().add(labels, (1.0, NOW_MS), exemplars=[TRACE]).bytes()), status=400)
    assert not receiver.entries
    sent(receiver, Body2().add(metric("named"), (1.0, NOW_MS), exemplars=[TRACE]), samples=1, exemplars=1)


@every_value
def test_exemplar_special_values(receiver, value):
    body = Body2().add(metric("m"), (value, NOW_MS), exemplars=[TRACE], exemplars_value=value)
    sent(receiver, body, samples=1, exemplars=1)


# metadata


@pytest.mark.parametrize(
    ("kind", "name", "text", "unit"),
    [
        (COUNTER, "counter", "Requests so far", "requests"),
        (GAUGE, "gauge", "CPU in use", "percent"),
        (HISTOGRAM, "histogram", "Durations", "seconds"),
        (COUNTER, "counter", "", ""),
        (GAUGE, "gauge", 'Two\nlines and "quotes"', "bytes/sec"),
        (0, "unknown", "Of no type", ""),
        (INFO, "info", "Build", ""),
        (STATESET, "stateset", "States", ""),
        (SUMMARY, "summary", "Latencies", "seconds"),
        (GAUGE_HISTOGRAM, "gaugehistogram", "Temperatures", "celsius"),
    ],
)
def test_metadata(receiver, kind, name, text, unit):
    is_sample = kind != HISTOGRAM
    samples, made = ([(1.0, NOW_MS)], []) if is_sample else ([], [shape("positive negative zero")])
    body = Body2().add(metric("m"), *samples, about=(kind, text, unit), histograms=made)
    sent(receiver, body, samples=int(is_sample), histograms=int(not is_sample))
    assert receiver.stored().metrics == {"m": (name, text, unit)}


def test_counter_metadata_with_created_timestamp(receiver):
    labels, about = metric("http_requests_total", job="api"), (COUNTER, "All", "requests")
    body = Body2().add(labels, (150.0, NOW_MS), created_ms=NOW_MS - HOUR_MS, about=about)
    sent(receiver, body, samples=1)
    assert receiver.stored().metrics == {"http_requests_total": ("counter", "All", "requests")}


def test_metadata_with_samples(receiver):
    labels, about = metric("http_requests_total", job="api"), (COUNTER, "All", "requests")
    sent(receiver, Body2().add(labels, (42.0, NOW_MS), about=about), samples=1)
    assert receiver.stored().metrics == {"http_requests_total": ("counter", "All", "requests")}


def test_multiple_metadata(receiver):
    body = Body2()
    for labels in (metric("cpu"), metric("memory"), metric("disk", device="sda1")):
        body.add(labels, (85.5, NOW_MS), about=(GAUGE, f"Of {labels['__name__']}", "percent"))
    sent(receiver, body, samples=3)
    assert receiver.stored().metrics.keys() == {"cpu", "memory", "disk"}


def test_metadata_with_complex_labels(receiver):
    labels = metric(
        "duration", job="api", instance="localhost:80", method="GET", status="200", endpoint="/api/v1/users"
    )
    made, about = [shape("positive negative zero")], (HISTOGRAM, "Durations", "seconds")
    sent(receiver, Body2().add(labels, about=about, histograms=made), histograms=1)


@NAMELESS
def test_metadata_validation(receiver, labels):
    about = (COUNTER, "Of no name", "unit")
    expect(receiver.post(Body2().add(labels, (1.0, NOW_MS), about=about).bytes()), status=400)
    assert not receiver.entries
    sent(receiver, Body2().add(metric("named"), (1.0, NOW_MS), about=about), samples=1)


# metric


@every_value
@pytest.mark.parametrize(
    "labels",
    [
        metric("up"),
        TARGET,
        {**TARGET, "job": "two\nlines\n"},
        metric("resource.cpu.usage", **{"job.name": "node", "instance.name": "localhost:9100"}),
        metric("resource cpu usage", **{"job name": "node", "instance name": "localhost:9100"}),
        {"job": "node", "instance": "localhost:9100"},
        {},
    ],
    ids=["name", "target", "newlines", "dots", "spaces", "no-name", "nothing"],
)
def test_single_metric(receiver, labels, value):
    body = Body2().add(labels, (value, NOW_MS))
    if "__name__" in labels:
        sent(receiver, body, samples=1)
        return
    expect(receiver.post(body.bytes()), status=400)
    assert not receiver.entries and receiver.meter.sums["SamplesRejected.no-name"] == 1


def test_counter_with_created_timestamp(receiver):
    labels = metric("http_requests_total", job="api")
    sent(receiver, Body2().add(labels, (100.0, NOW_MS), created_ms=NOW_MS - HOUR_MS), samples=1)


@every_value
@pytest.mark.parametrize(("nameless", "status"), [(0, 204), (4, 400), (1, 400)])
def test_multiple_metrics(receiver, nameless, status, value):
    body = Body2()
    for number in range(4):
        labels = {"job": "node", "instance": f"localhost:{9100 + number}"}
        body.add(labels if number < nameless else metric("up", **labels), (value, NOW_MS))
    expect(receiver.post(body.bytes()), status=status, samples=4 - nameless)
    assert list(receiver.by_labels().values()) == [bits(value)] * (4 - nameless)


# request


def corrupt():
    """A body whose first byte is another one."""
    return b"0" + packed(Body2().add(metric("up"), (1.0, NOW_MS)).bytes())[1:]


@pytest.mark.parametrize("content_type", ["application/json", "image/png"])
def test_bad_content_types(receiver, content_type):
    assert receiver.post(corrupt(), content_type, compressed=False)["statusCode"] == 415
    assert not receiver.entries


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bad_content_encodings(receiver, encoding):
    answer = receiver.post(corrupt(), headers={"Content-Encoding": encoding}, compressed=False)
    assert answer["statusCode"] == 415 and not receiver.entries


def test_corrupt_request_body(receiver):
    assert receiver.post(corrupt(), compressed=False)["statusCode"] == 400
    assert not receiver.entries


# rw1_compat


def test_rw1_basic_compatibility(receiver):
    body = body_1(series_1(TARGET, (1.0, NOW_MS)), series_1(metric("http_requests_total"), (100.0, NOW_MS)))
    expect(receiver.post(body, V1), samples=2)
    assert sorted(receiver.by_labels().values()) == [bits(1.0), bits(100.0)]


@pytest.mark.parametrize("content_type", [V1, V2])
def test_rw1_error_handling(receiver, content_type):
    body = b"\xff" + packed(body_1(series_1(metric("error"), (1.0, NOW_MS))))[1:]
    assert receiver.post(body, content_type, compressed=False)["statusCode"] == 400
    assert not receiver.entries
