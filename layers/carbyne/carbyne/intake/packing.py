"""Rows onto the stream: the rows of a body, of any protocol, as records by lane."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from operator import itemgetter
from struct import pack
from typing import Final, NamedTuple

from carbyne.core import keys
from carbyne.core.limits import (
    LIST_REMEMBERED_BYTES_MAX,
    LISTS_PACKED_MAX,
    RECORD_RAW_BYTES_MAX,
    ROW_RAW_BYTES_MAX,
    ROW_SERIES_MAX,
)
from carbyne.stream import records
from carbyne.stream.putter import Entry

FLOATS: Final = "d"
BITS: Final = "Q"
"""Forms of a row's values: float64, or their 64 bits as an integer, which keeps the payload of a NaN."""

RowValues = Mapping[tuple[str, int], Mapping[str, float]]
"""(source, ts_ms) -> series key -> value, in either form."""

PackedRow = tuple[str, int, bytes, bytes]
"""source, ts_ms, series blob, float64 little-endian values."""


def entries_of(tenant: str, rows: RowValues, form: str = FLOATS) -> list[Entry]:
    """Stream records of the rows, by lane."""
    lanes: dict[int, list[PackedRow]] = {}
    for (source, ts_ms), values in rows.items():
        lanes.setdefault(keys.lane_of(tenant, source), []).extend(pack_row(source, ts_ms, values, form))
    return [
        (keys.lane_tag(lane), data)
        for lane, packed in lanes.items()
        for data in records.pack(tenant, packed, RECORD_RAW_BYTES_MAX)
    ]


def pack_row(source: str, ts_ms: int, values: Mapping[str, float], form: str = FLOATS) -> Iterator[PackedRow]:
    """The row in as many parts as its size asks for; the same set of series gives the same parts each time."""
    lines, numbers = "\n".join(values), list(values.values())
    parts_of = _known_parts if len(lines) <= LIST_REMEMBERED_BYTES_MAX else _parts_of
    for part in parts_of(lines, ROW_SERIES_MAX):
        yield source, ts_ms, part.blob, pack(f"<{part.size}{form}", *part.pick(numbers))


class _PickedList(NamedTuple):
    """``blob``: of ``size`` sorted series; ``pick``: their values out of those of the row."""

    blob: bytes
    size: int
    pick: Callable[[Sequence[float]], Iterable[float]]


def _parts_of(lines: str, series_max: int) -> list[_PickedList]:
    """Of a row of these series, one a line, in any order; each of at most ``series_max``."""
    names = lines.split("\n")
    places = {name: place for place, name in enumerate(names)}
    return [
        _PickedList(keys.join_series(series), len(series), _picking([places[name] for name in series]))
        for series in split_series(sorted(names), series_max)
    ]


_known_parts = lru_cache(LISTS_PACKED_MAX)(_parts_of)


def _picking(places: list[int]) -> Callable[[Sequence[float]], Iterable[float]]:
    """Takes the values at ``places``; itemgetter gives no tuple for a single one."""
    return itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))


def split_series(series: list[str], series_max: int) -> list[list[str]]:
    """2**k parts (less empty ones) by the leading k bits of each key's hash, with the least k for which all fit."""
    if _fits(series, series_max):
        return [series]
    hashes = [keys.series_hash(name) for name in series]
    for bits in count(1):
        parts: dict[int, list[str]] = {}
        for name, name_hash in zip(series, hashes, strict=True):
            parts.setdefault(name_hash >> (64 - bits), []).append(name)
        if all(_fits(part, series_max) for part in parts.values()):
            break
    return list(parts.values())


def _fits(series: list[str], series_max: int) -> bool:
    return len(series) <= series_max and len(keys.join_series(series)) + 8 * len(series) <= ROW_RAW_BYTES_MAX
