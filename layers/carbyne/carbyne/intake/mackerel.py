"""The body of Mackerel's ``POST /api/v0/tsdb``: ``[{"hostId", "name", "time", "value"}, ...]``.

That of ``POST /api/v0/services/<name>/tsdb`` is the same without ``hostId``.

A bad sample is skipped with its reason, and only a body that is no JSON array of objects is refused, because agents
send a refused body again for an hour.  All good, as nearly always, is found out for the whole body at once; otherwise
each element is decoded for itself.  This API keeps one value per minute: times are floored to it, the last value wins.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

import msgspec

from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    AHEAD_MS_MAX,
    HOST_ID_BYTES_MAX,
    LATE_MARGIN_S,
    LIST_REMEMBERED_BYTES_MAX,
    LISTS_PACKED_MAX,
    NAME_BYTES_MAX,
    SAMPLES_PER_BODY_MAX,
)

Decoded = TypeVar("Decoded")

MINUTE_S: Final = 60

MISSING_FIELD: Final = "missing-field"
BAD_TEXT: Final = "bad-text"
TOO_DEEP: Final = "too-deep"
BAD_HOST_ID: Final = "bad-host-id"
BAD_NAME: Final = "bad-name"
BAD_TIME: Final = "bad-time"
TOO_FAR_AHEAD: Final = "too-far-ahead"
TOO_OLD: Final = "too-old"
BAD_VALUE: Final = "bad-value"
NOT_FINITE: Final = "not-finite"

_CHARACTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
"""Of a metric name, by Mackerel's documents; host ids are held to the same."""

_SPACE: Final = b" \t\r\n"
# Groups are atomic, not possessive: Python before 3.11.5 forgets where a possessive group has to begin.
_STRING: Final = rb'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"'
_TOKEN: Final = re.compile(
    rb'%b|[\[{]++(?>(?:(?>(?:[^\[\]{}"]++|%b)+)[\[{]++)*)|[\]}]++(?>(?:[^\[\]{}"]++[\]}]++)*)|,' % (_STRING, _STRING),
    re.DOTALL,
)
"""A string, a run of opening or of closing brackets with what stands between, or a comma."""
_QUOTE: Final = ord('"')
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_MINUS_ZERO: Final = re.compile(rb"-0(?![.\d])(?<=[:\s]-0)")
"""Begins with what it looks for: so it takes a quarter of the time that ``-0 in body`` does."""

RowsByTime = dict[tuple[str, int], dict[str, float]]
"""(source, ts_ms) -> metric name -> value."""


class Samples(msgspec.Struct, frozen=True):
    """What a body holds: the rows to store, how many samples went into them, and how many were skipped, by reason."""

    rows: RowsByTime
    accepted: int
    skipped: Counter[str]


class Sample(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One element; ``time`` in seconds."""

    host_id: str
    name: str
    time: int
    value: float


class SampleOfService(msgspec.Struct, frozen=True, gc=False):
    """One element of a service's body; ``time`` in seconds."""

    name: str
    time: int
    value: float


class _SampleRun(NamedTuple):
    """Samples of one source and time: metric name -> value.  ``source_id``: of the host, or the service's name."""

    source_id: str
    time_s: int
    values: dict[str, float]


class _Refused(Exception):
    """A sample that can't be stored; the reason is its argument."""


_decode_samples = msgspec.json.Decoder(list[Sample]).decode
_decode_of_service = msgspec.json.Decoder(list[SampleOfService]).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_number = msgspec.json.Decoder(int | float).decode
_decode_float = msgspec.json.Decoder(float).decode


def storable(now_ms: int, retention_s: int) -> range:
    """The times in seconds of samples that can be stored: a late one only as long as its whole raw window is kept, or
    recomputing its rollups would wipe them."""
    return range(max(0, now_ms // 1000 - retention_s + LATE_MARGIN_S), (now_ms + AHEAD_MS_MAX) // 1000 + 1)


def parse(body: bytes, times: range, service: str | None = None) -> Samples:
    """The samples of a body, of hosts or of one service, whose name the caller has checked.

    ``times``: those that can be stored, in seconds (``storable``).
    Raises RequestError 400 if it is no JSON array of objects, 413 if it has too many elements.
    """
    return _all_good(body, times, service) or _good_ones(body, times, service)


def _all_good(body: bytes, times: range, service: str | None) -> Samples | None:
    """The samples if each one can be stored, None if it takes a closer look."""
    if _MINUS_ZERO.search(body):  # the decoder takes it for the integer 0
        return None
    try:
        if not body.isascii():
            body.decode()  # the decoder does not look into names that it passes over
        samples = _decode_samples(body) if service is None else _samples_of(service, body)
    except (ValueError, RecursionError):
        return None
    _check_length(samples)
    runs = _runs(samples)
    good = (
        _are_names([run.source_id for run in runs], HOST_ID_BYTES_MAX)
        and all(_are_metrics("\n".join(run.values), len(run.values)) for run in runs)
        and all(run.time_s in times for run in runs)
    )
    return Samples(_rows(runs, service), len(samples), Counter()) if good else None


def _samples_of(service: str, body: bytes) -> list[Sample]:
    return [Sample(service, sample.name, sample.time, sample.value) for sample in _decode_of_service(body)]


def _runs(samples: Iterable[Sample]) -> list[_SampleRun]:
    """Neighbours that share source and time; nearly always that is all samples of a source at once."""
    runs: list[_SampleRun] = []
    host_id, time_s, values = "", -1, dict[str, float]()
    for sample in samples:
        if sample.time != time_s or sample.host_id != host_id or not runs:
            host_id, time_s, values = sample.host_id, sample.time, {}
            runs.append(_SampleRun(host_id, time_s, values))
        values[sample.name] = sample.value
    return runs


def _rows(runs: Iterable[_SampleRun], service: str | None) -> RowsByTime:
    kind = "host" if service is None else "service"
    rows: RowsByTime = {}
    for run in runs:
        ts_ms = run.time_s // MINUTE_S * MINUTE_S * 1000
        rows.setdefault((f"{kind}/{run.source_id}", ts_ms), {}).update(run.values)
    return rows


def _good_ones(body: bytes, times: range, service: str | None) -> Samples:
    """The samples that can be stored, each looked at for itself."""
    samples: list[Sample] = []
    skipped: Counter[str] = Counter()
    for element in _elements(body):
        try:
            samples.append(_sample(element, times, service))
        except _Refused as refused:
            skipped[str(refused)] += 1
    return Samples(_rows(_runs(samples), service), len(samples), skipped)


def _are_metrics(lines: str, number: int) -> bool:
    """Whether so many lines are names of metrics: those of a list that came before, as nearly always, are known."""
    return _are_known(lines, number) if len(lines) <= LIST_REMEMBERED_BYTES_MAX else _are_lines(lines, number)


def _are_lines(lines: str, number: int) -> bool:
    names = lines.split("\n")
    return len(names) == number and _are_names(names, NAME_BYTES_MAX)


_are_known = lru_cache(LISTS_PACKED_MAX)(_are_lines)


def _are_names(texts: Collection[str], bytes_max: int) -> bool:
    lengths = list(map(len, texts))
    return all(lengths) and max(lengths, default=0) <= bytes_max and _has_only_characters("".join(texts))


def _has_only_characters(text: str) -> bool:
    return text.isascii() and not text.encode().translate(None, _CHARACTERS)


def _elements(body: bytes) -> list[bytes]:
    try:
        elements = list(map(bytes, _decode_elements(body)))
    except (ValueError, RecursionError) as error:
        elements = _split(body)
        if not elements:
            raise _no_array(str(error)) from None
    for index, element in enumerate(elements):
        if element[:1] != b"{":
            raise _no_array(f"element {index} is no object")
    _check_length(elements)
    return elements


def _split(body: bytes) -> list[bytes]:
    """The elements of an array, one of which the decoder can't even pass over; empty if it is no array."""
    text, elements, start, depth = body.strip(_SPACE), [], 1, 1
    if text[:1] != b"[" or text[-1:] != b"]":
        return []
    for token in _TOKEN.finditer(text, 1):
        first = text[token.start()]
        if first == _QUOTE:
            continue
        if first in b"[{":
            depth += _brackets(token[0])
        elif first in b"]}":
            depth -= _brackets(token[0])
        elif depth == 1:
            elements.append(text[start : token.start()].strip(_SPACE))
            start = token.end()
            if len(elements) > SAMPLES_PER_BODY_MAX:
                return elements
    return [*elements, text[start:-1].strip(_SPACE)] if depth == 0 else []


def _brackets(run: bytes) -> int:
    """How many brackets a run has; one of two characters has nothing between them."""
    if len(run) < 3:
        return len(run)
    return len((re.sub(_STRING, b"", run, flags=re.DOTALL) if b'"' in run else run).translate(None, _NO_BRACKETS))


def _no_array(why: str) -> RequestError:
    return RequestError(400, f"the body is not a JSON array of objects: {why}")


def _check_length(samples: Collection[object]) -> None:
    if len(samples) > SAMPLES_PER_BODY_MAX:
        message = f"the body has {len(samples)} samples; send at most {SAMPLES_PER_BODY_MAX} at once"
        raise RequestError(413, message)


def _sample(element: bytes, times: range, service: str | None) -> Sample:
    fields = _fields(element)
    try:
        return Sample(
            host_id=service or _name(fields["hostId"], HOST_ID_BYTES_MAX, BAD_HOST_ID),
            name=_name(fields["name"], NAME_BYTES_MAX, BAD_NAME),
            time=_time(fields["time"], times),
            value=_value(fields["value"]),
        )
    except KeyError:
        raise _Refused(MISSING_FIELD) from None


def _fields(element: bytes) -> dict[str, msgspec.Raw]:
    """_Refused if it is nested too deep, or has half of a surrogate pair; RequestError if it is no JSON."""
    try:
        element.decode()  # the decoder does not look into strings that it passes over
        return _decode_fields(element)
    except RecursionError:
        raise _Refused(TOO_DEEP) from None
    except ValueError as error:
        if _is_json_but_for_surrogates(element):
            raise _Refused(BAD_TEXT) from None
        raise _no_array(str(error)) from None


def _is_json_but_for_surrogates(element: bytes) -> bool:
    try:
        # Numbers stay text: Python makes no int of more than 4,300 digits.
        json.loads(element.decode(errors="surrogatepass"), parse_int=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _name(raw: msgspec.Raw, bytes_max: int, reason: str) -> str:
    text = _typed(_decode_text, raw, reason)
    if not _are_names([text], bytes_max):
        raise _Refused(reason)
    return text


def _time(raw: msgspec.Raw, times: range) -> int:
    number = _typed(_decode_number, raw, BAD_TIME)
    time_s = int(number)
    if time_s != number or time_s < 0:
        raise _Refused(BAD_TIME)
    if time_s not in times:
        raise _Refused(TOO_OLD if time_s < times.start else TOO_FAR_AHEAD)
    return time_s


def _value(raw: msgspec.Raw) -> float:
    """JSON has no NaN and no infinity, so a number that is no float64 is one too large for it."""
    first = bytes(memoryview(raw)[:1])
    value = _typed(_decode_float, raw, NOT_FINITE if first in b"-0123456789" else BAD_VALUE)
    return -abs(value) if first == b"-" else value  # -0 is decoded as the integer 0


def _typed(decode: Callable[[msgspec.Raw], Decoded], raw: msgspec.Raw, reason: str) -> Decoded:
    try:
        return decode(raw)
    except msgspec.ValidationError:
        raise _Refused(reason) from None
