"""The body of Mackerel's ``POST /api/v0/tsdb``: ``[{"hostId", "name", "time", "value"}, ...]``.

A bad sample is skipped with its reason, and only a body that is no JSON array of objects is refused, because agents
send a refused body again for an hour.  All good, as nearly always, is found out for the whole body at once; otherwise
each element is decoded for itself.  This API keeps one value per minute: times are floored to it, the last value wins.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from carbyne.errors import RequestError
from carbyne.limits import AHEAD_MS_MAX, HOST_ID_BYTES_MAX, NAME_BYTES_MAX, SAMPLES_PER_BODY_MAX

Value = TypeVar("Value")

MINUTE_S: Final = 60

MISSING_FIELD: Final = "missing-field"
BAD_HOST_ID: Final = "bad-host-id"
BAD_NAME: Final = "bad-name"
BAD_TIME: Final = "bad-time"
TOO_FAR_AHEAD: Final = "too-far-ahead"
BAD_VALUE: Final = "bad-value"
NOT_FINITE: Final = "not-finite"

_CHARACTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
"""Of a metric name, by Mackerel's documents; host ids are held to the same."""

Rows = dict[tuple[str, int], dict[str, float]]
"""(source, ts_ms) -> metric name -> value."""


class Samples(msgspec.Struct, frozen=True):
    """What a body holds: the rows to store, how many samples went into them, and how many were skipped, by reason."""

    rows: Rows
    accepted: int
    skipped: Counter[str]


class Sample(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One element; ``time`` in seconds."""

    host_id: str
    name: str
    time: int
    value: float


class _Refused(Exception):
    """A sample that can't be stored; the reason is its argument."""


_decode_samples = msgspec.json.Decoder(list[Sample]).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_integer = msgspec.json.Decoder(int).decode
_decode_float = msgspec.json.Decoder(float).decode


def parse(body: bytes, now_ms: int) -> Samples:
    """The samples of a body; RequestError 400 if it is no JSON array of objects, 413 if it has too many elements."""
    skipped: Counter[str] = Counter()
    try:
        samples = _samples(body, (now_ms + AHEAD_MS_MAX) // 1000, skipped)
    except RecursionError:
        raise _no_array("it is nested too deep") from None
    return Samples(_rows(samples), len(samples), skipped)


def _samples(body: bytes, time_max_s: int, skipped: Counter[str]) -> list[Sample]:
    samples = _all_good(body, time_max_s)
    if samples is None:
        return list(_good_ones(_elements(body), time_max_s, skipped))
    _check_length(samples)
    return samples


def _rows(samples: Iterable[Sample]) -> Rows:
    by_host: dict[tuple[str, int], dict[str, float]] = {}
    for sample in samples:
        place = (sample.host_id, sample.time // MINUTE_S)
        row = by_host.get(place)
        if row is None:
            row = by_host[place] = {}
        row[sample.name] = sample.value
    return {(f"host/{host_id}", minute * MINUTE_S * 1000): row for (host_id, minute), row in by_host.items()}


def _all_good(body: bytes, time_max_s: int) -> list[Sample] | None:
    """The samples if each one can be stored, None if it takes a closer look."""
    try:
        samples = _decode_samples(body)
    except ValueError:
        return None
    good = not samples or (
        _is_name_all({sample.host_id for sample in samples}, HOST_ID_BYTES_MAX)
        and _is_name_all([sample.name for sample in samples], NAME_BYTES_MAX)
        and min(sample.time for sample in samples) >= 0
        and max(sample.time for sample in samples) <= time_max_s
    )
    return samples if good else None


def _is_name_all(texts: Collection[str], bytes_max: int) -> bool:
    lengths = [len(text) for text in texts]
    return min(lengths) > 0 and max(lengths) <= bytes_max and _has_only_characters("".join(texts))


def _has_only_characters(text: str) -> bool:
    return text.isascii() and not text.encode().translate(None, _CHARACTERS)


def _elements(body: bytes) -> list[msgspec.Raw]:
    try:
        body.decode()  # the decoder does not look into strings that it passes over
        elements = _decode_elements(body)
    except ValueError as error:
        raise _no_array(str(error)) from None
    for index, element in enumerate(elements):
        if _first_byte(element) != b"{":
            raise _no_array(f"element {index} is no object")
    _check_length(elements)
    return elements


def _no_array(why: str) -> RequestError:
    return RequestError(400, f"the body is not a JSON array of objects: {why}")


def _check_length(samples: Collection[object]) -> None:
    if len(samples) > SAMPLES_PER_BODY_MAX:
        message = f"the body has {len(samples)} samples; send at most {SAMPLES_PER_BODY_MAX} at once"
        raise RequestError(413, message)


def _first_byte(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def _good_ones(elements: list[msgspec.Raw], time_max_s: int, skipped: Counter[str]) -> Iterator[Sample]:
    for element in elements:
        try:
            yield _sample(element, time_max_s)
        except _Refused as refused:
            skipped[str(refused)] += 1


def _sample(element: msgspec.Raw, time_max_s: int) -> Sample:
    fields = _decode_fields(element)
    try:
        return Sample(
            host_id=_name(fields["hostId"], HOST_ID_BYTES_MAX, BAD_HOST_ID),
            name=_name(fields["name"], NAME_BYTES_MAX, BAD_NAME),
            time=_time(fields["time"], time_max_s),
            value=_value(fields["value"]),
        )
    except KeyError:
        raise _Refused(MISSING_FIELD) from None


def _name(raw: msgspec.Raw, bytes_max: int, reason: str) -> str:
    text = _typed(_decode_text, raw, reason)
    if not _is_name_all([text], bytes_max):
        raise _Refused(reason)
    return text


def _time(raw: msgspec.Raw, time_max_s: int) -> int:
    time_s = _typed(_decode_integer, raw, BAD_TIME)
    if time_s < 0:
        raise _Refused(BAD_TIME)
    if time_s > time_max_s:
        raise _Refused(TOO_FAR_AHEAD)
    return time_s


def _value(raw: msgspec.Raw) -> float:
    """JSON has no NaN and no infinity, so a number that is no float64 is one too large for it."""
    return _typed(_decode_float, raw, NOT_FINITE if _first_byte(raw) in b"-0123456789" else BAD_VALUE)


def _typed(decode: Callable[[msgspec.Raw], Value], raw: msgspec.Raw, reason: str) -> Value:
    try:
        return decode(raw)
    except msgspec.ValidationError:
        raise _Refused(reason) from None
