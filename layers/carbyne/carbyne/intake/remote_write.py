"""Prometheus' remote write, 1.0 and 2.0: which of them a request is, and its body.

Snappy in its block format around protobuf.  The first bytes of the block say how much comes out, so that a bomb is
refused before it is inflated.  Everything that may be many within one message is read as bytes and parsed one by one:
empty messages take two bytes on the wire and a hundred in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import isnan
from typing import Any, Final

import cramjam

from carbyne.core import labels
from carbyne.core.errors import RequestError
from carbyne.core.limits import LABELS_MAX, METADATA_BYTES_OF_METRIC_MAX, METRIC_NAME_BYTES_MAX, SAMPLES_PER_BODY_MAX
from carbyne.intake import protobuf
from carbyne.intake.identities import TOO_MANY, Identities, RawLabels, SeriesRefused
from carbyne.intake.labelled import BAD_HISTOGRAM, Taking
from carbyne.stream.records import Metric

MEDIA_TYPE: Final = "application/x-protobuf"
MESSAGE_1: Final = "prometheus.WriteRequest"
MESSAGE_2: Final = "io.prometheus.write.v2.Request"
WRITTEN: Final = "X-Prometheus-Remote-Write-{}-Written"
WRITTEN_HEADERS: Final = {
    WRITTEN.format(kind): f"How many {kind.lower()} were taken" for kind in ("Samples", "Histograms", "Exemplars")
}
KINDS: Final = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")
"""Types of metrics as both versions number them, with the names that Prometheus' API gives them."""

BAD_REFERENCE: Final = "bad-reference"

Parser = Callable[[bytes, Identities, Taking], None]


def message_of(headers: Mapping[str, str]) -> str:
    """The message of a request by its headers (names in lower case); RequestError 415 for what is not read here, so
    that a sender falls back to another version."""
    encoding = headers.get("content-encoding", "snappy")
    if encoding != "snappy":
        raise RequestError(415, f"Content-Encoding must be snappy; got {encoding[:64]!r}")
    media_type, *parameters = (part.strip() for part in headers.get("content-type", "").split(";"))
    given = dict(parameter.partition("=")[::2] for parameter in parameters)
    message = given.get("proto", MESSAGE_1)
    if media_type != MEDIA_TYPE or message not in PARSERS:
        got = headers.get("content-type", "")[:128]
        raise RequestError(415, f"Content-Type must be {MEDIA_TYPE}, with proto={' or '.join(PARSERS)}; got {got!r}")
    return message


def inflate(body: bytes, bytes_max: int) -> bytes:
    """A block of snappy; RequestError 413 if more than ``bytes_max`` come out, 400 if it is none."""
    try:
        size = cramjam.snappy.decompress_raw_len(body)
        if size > bytes_max:
            raise RequestError(413, f"the body is larger than {bytes_max} bytes; send it in smaller parts")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise RequestError(400, f"the body is no block of snappy: {error}") from None


def parse(message: str, body: bytes, identities: Identities, taking: Taking) -> None:
    """Give all series of a body to ``taking``; RequestError 400 if it is no such message, 413 for too many series."""
    try:
        PARSERS[message](body, identities, taking)
    except protobuf.malformed() as error:
        raise RequestError(400, f"the body is no {message}: {error}") from None


def written(taking: Taking) -> dict[str, str]:
    """The headers that say how much was taken."""
    counts = (taking.samples, taking.histograms, taking.exemplars)
    return {name: str(number) for name, number in zip(WRITTEN_HEADERS, counts, strict=True)}


def pairs_of_1(raw: RawLabels) -> Iterable[tuple[bytes, bytes]]:
    """The labels of a series of 1.0, of which each comes as a message; the library's error if one is none."""
    labels = map(protobuf.message("Label1").FromString, raw)
    return ((label.name, label.value) for label in labels)


def pairs_of_2(raw: RawLabels) -> Iterable[tuple[bytes, bytes]]:
    """Those of a series of 2.0: names and values by turns."""
    return zip(raw[::2], raw[1::2], strict=True)


def _parse_1(body: bytes, identities: Identities, taking: Taking) -> None:
    request = protobuf.message("Request1").FromString(body)
    parse_series = protobuf.message("Series1").FromString
    for data in _few(request.timeseries):
        series = parse_series(data)
        _take(series, series.labels, identities, taking)
    for data in _few(request.metadata):
        about = protobuf.message("Metadata1").FromString(data)
        _note(taking, about.name.decode(errors="replace"), about.type, about.help, about.unit)


def _parse_2(body: bytes, identities: Identities, taking: Taking) -> None:
    request = protobuf.message("Request2").FromString(body)
    symbols = list(_few(request.symbols))
    parse_series = protobuf.message("Series2").FromString
    told: set[str] = set()
    for data in _few(request.timeseries):
        series = parse_series(data)
        key = _take(series, _Symbols(symbols, series.labels), identities, taking, series.created)
        metric, _, _ = key.partition("{")
        if metric not in told and series.HasField("metadata"):
            told.add(metric)
            about = series.metadata
            texts = [symbols[index] for index in (about.help, about.unit) if index < len(symbols)]
            if len(texts) == 2:
                _note(taking, labels.metric_of(metric), about.type, *texts)


class _Symbols:
    """The labels of a series of 2.0: references into the symbols of its body."""

    def __init__(self, symbols: Sequence[bytes], references: Sequence[int]) -> None:
        self._symbols = symbols
        self._references = references

    def __len__(self) -> int:
        return len(self._references)

    def __iter__(self) -> Iterator[bytes]:
        """SeriesRefused if a reference has no symbol, or a name no value."""
        if len(self._references) % 2 or max(self._references, default=0) >= len(self._symbols):
            raise SeriesRefused(BAD_REFERENCE, f"references {list(self._references)[:8]} of {len(self._symbols)}")
        return map(self._symbols.__getitem__, self._references)


def _take(
    series: Any,  # noqa: ANN401 - a message of either version
    raw: "Sequence[bytes] | _Symbols",
    identities: Identities,
    taking: Taking,
    created_ms: int = 0,
) -> str:
    """Take what a series has; its key, empty if the series is refused."""
    sent = series.samples
    samples = [(sample.timestamp, sample.bits) for sample in sent]
    try:
        if len(raw) > 2 * LABELS_MAX:
            raise SeriesRefused(TOO_MANY, f"a series of {len(raw)} parts of labels")
        identity = identities.of(tuple(raw))
    except SeriesRefused as refused:
        taking.refuse(refused.reason, refused.shown, max(1, len(samples) + len(series.histograms)))
        return ""
    if not created_ms and samples:
        created_ms = sent[0].created
    if not taking.add(identity, samples, created_ms):
        return ""
    if series.histograms or series.exemplars:
        sound = sum(_is_sound(protobuf.message("Histogram").FromString(data)) for data in series.histograms)
        if bad := len(series.histograms) - sound:
            taking.refuse(BAD_HISTOGRAM, identity.key, bad)
        taking.pass_over(sound, len(series.exemplars))
    return identity.key


def _few(messages: Sequence[bytes]) -> Sequence[bytes]:
    """RequestError 413 for more messages than a body may have samples."""
    if len(messages) > SAMPLES_PER_BODY_MAX:
        message = f"the body has {len(messages)} messages of one kind; send at most {SAMPLES_PER_BODY_MAX} at once"
        raise RequestError(413, message)
    return messages


def _note(taking: Taking, metric: str, kind: int, about: bytes, unit: bytes) -> None:
    """Keep what a body says about a metric; nothing if that is nothing."""
    said = kind or about or unit
    if said and metric not in taking.metadata and 0 < len(metric.encode()) <= METRIC_NAME_BYTES_MAX:
        texts = (text[:METADATA_BYTES_OF_METRIC_MAX].decode(errors="replace") for text in (about, unit))
        taking.metadata[metric] = Metric(KINDS[kind] if 0 <= kind < len(KINDS) else KINDS[0], *texts)


def _is_sound(histogram: Any) -> bool:  # noqa: ANN401 - a message
    """Whether the buckets are as many as their spans say, none is negative, and they add up to the count."""
    counts: list[float] = [histogram.zero_int + histogram.zero_float]
    for spans, deltas, absolute in (
        (histogram.negative_spans, histogram.negative_deltas, histogram.negative_counts),
        (histogram.positive_spans, histogram.positive_deltas, histogram.positive_counts),
    ):
        buckets = [*accumulate(deltas), *absolute]
        if sum(span.length for span in spans) != len(buckets):
            return False
        counts += buckets
    count, total = histogram.count_int + histogram.count_float, sum(counts)
    if not min(counts) >= 0:
        return False
    if histogram.count_float or isnan(histogram.sum):  # NaN is counted and lies in no bucket; floats round
        return bool(total <= count * (1 + 1e-9))
    return bool(total == count)


PARSERS: Final[Mapping[str, Parser]] = {MESSAGE_1: _parse_1, MESSAGE_2: _parse_2}
PAIRS_OF: Final = {MESSAGE_1: pairs_of_1, MESSAGE_2: pairs_of_2}
